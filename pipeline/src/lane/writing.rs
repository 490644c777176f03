//! The writing side of a lane: five steps for each block, then its commit.

use super::outside::{Marks, Outside};
use super::places::Place;
use super::state::Side;
use super::waiting::{Failing, GivenUp, STOP_PAUSE, WAIT_MAX};
use super::{Lane, Route};
use crate::clock;
use crate::fault::{self, Bug};
use crate::judge::Block;
use crate::metrics::Attested;
use crate::write::{Heard, Step};
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tally_sinks::fault::{Point, pass};
use tally_sinks::{Receipts, Refused, Retry};
use tokio::sync::mpsc;
use uuid::Uuid;

/// A commit that was sent.
#[derive(Clone, Copy)]
pub(super) struct Commit {
    pub(super) next: i64,
    pub(super) topic_id: Uuid,
}

/// How long a lane has nothing to write before it asks whether its last commit arrived.
const CONFIRM: Duration = Duration::from_secs(5);

impl<O: Outside> Lane<O> {
    /// `sent` and `attested`: the commit and the last receipt that the lane began with. Returns when no more blocks come; before, with the
    /// first offset of a block that it gives up.
    pub(super) async fn store_blocks(
        &self,
        mut blocks: mpsc::Receiver<(Block, Place)>,
        sent: Commit,
        mut attested: Option<(i64, Instant)>,
    ) -> Result<(), i64> {
        let mut unconfirmed = Some(sent).filter(|sent| sent.next > 0);
        loop {
            let block = match unconfirmed {
                None => blocks.recv().await,
                Some(sent) => match clock::within(CONFIRM, blocks.recv()).await {
                    Some(block) => block,
                    None => {
                        unconfirmed = self.confirm_commit(sent).await;
                        continue;
                    }
                },
            };
            let Some((mut block, place)) = block else { return Ok(()) };
            self.harm(&mut block).await;
            if self.store(&mut block, &place, attested).await.is_err() {
                return Err(block.first());
            }
            attested = block
                .last_receipt()
                .or(attested.map(|(offset, _)| offset))
                .map(|offset| (offset, clock::now()));
            pass(Point::Attested);
            place.leave();
            self.settled().await;
            let (next, topic_id) = (block.next(), block.origin.topic_id);
            self.state.reach(topic_id, next);
            self.state.letters().forget(next);
            self.state.offsets.fetch_add(next - block.first(), Ordering::Relaxed);
            self.route.metrics.attested(&self.partition, &summary(&block));
            let waiting = self.inbox.waiting_since();
            *self.state.oldest.lock().unwrap_or_else(PoisonError::into_inner) = waiting;
            let last = self.state.stop.is_cancelled() && blocks.is_empty();
            // the last one waits for its answer
            if let Err(error) = self.route.outside.commit(&self.partition, next, topic_id, last).await {
                tracing::warn!(lane = %self.partition, error, "not committed; the receipts stand"); // repeated by the next
            }
            pass(Point::Committed);
            unconfirmed = Some(Commit { next, topic_id });
        }
    }

    /// Does what a planted bug does: nothing, but in tests.
    async fn harm(&self, block: &mut Block) {
        if fault::planted(Bug::CommitFirst) {
            let _ =
                self.route.outside.commit(&self.partition, block.next(), block.origin.topic_id, false).await;
        }
        fault::panic_once(Bug::PanicWriting);
        if fault::planted(Bug::SkipOffset) {
            let last = block.next() - 1;
            let _ = block.retain(|offset, _| offset != last); // a bug asks for no outcome
        }
    }

    /// A lane that has nothing to do asks whether its last commit arrived, and sends it again where it did not: nobody is
    /// told of one that is lost, and without a further block the group would stay behind for good. Returns what is still
    /// not confirmed.
    async fn confirm_commit(&self, sent: Commit) -> Option<Commit> {
        let Commit { next, topic_id } = sent;
        let outside = &self.route.outside;
        let asked = self.state.stop.run_until_cancelled(outside.marks(&self.partition)).await;
        match asked {
            Some(Ok(Marks { committed: Some((offset, Some(id))), .. }))
                if id == topic_id && offset >= next =>
            {
                None
            }
            Some(Ok(_)) => {
                tracing::debug!(lane = %self.partition, next, "a commit is sent again");
                let _ = outside.commit(&self.partition, next, topic_id, false).await; // asked for again in any case
                Some(sent)
            }
            Some(Err(_)) | None => Some(sent),
        }
    }

    /// Whether the ledger still has a receipt that this lane wrote `before`, so long ago that the store may have been another since: a receipt
    /// beyond a hole would have every later start pass over it.
    async fn bears_out(&self, before: i64, block: &Block) -> Result<(), GivenUp> {
        let place = (block.origin.topic_id, block.origin.partition);
        let mut failing = Failing::default();
        loop {
            let asked = self.route.outside.last_receipt(place, block.first());
            match self.answered(Side::Write, true, "last receipt", || 0, asked).await? {
                Ok(last) if last.as_ref().is_some_and(|last| last.offset >= before) => return Ok(()),
                Ok(_) => {
                    tracing::warn!(lane = %self.partition, before, "the ledger lacks receipts that this lane wrote");
                    return Err(GivenUp);
                }
                Err(error) => {
                    tracing::warn!(lane = %self.partition, %error, "what the ledger has is not known, waiting");
                    self.hold_out(Side::Write, &mut failing, None).await?;
                }
            }
        }
    }

    /// Writes and attests one block. `attested`: the last receipt before it, and when the ledger had it.
    async fn store(
        &self,
        block: &mut Block,
        place: &Place,
        attested: Option<(i64, Instant)>,
    ) -> Result<(), GivenUp> {
        let mut token = block.token();
        for step in Step::ALL {
            if step == Step::DeadLetters {
                self.state.letters().found(block.origin.topic_id, &block.letters);
            }
            if step == Step::Receipts
                && let Some((before, at)) = attested
                && clock::now().saturating_duration_since(at) >= WAIT_MAX
                && !self.route.outside.may_lag()
            {
                self.bears_out(before, block).await?;
            }
            let refused = self.until_done(step, block, &token).await?;
            if !refused.is_empty() {
                let refused = self.never_stored(block, refused).await?;
                block.refuse(&refused).expect("refused rows can be set aside"); // else it is a bug: never attest what is not settled
                token = block.token(); // an attempt before the refusal may have given letters and receipts the earlier one
            }
            if step == Step::Facts {
                block.forget_facts();
                place.leave_columns();
            }
        }
        Ok(())
    }

    /// Tries a step until it succeeds: a lane that waits loses nothing, and says what it waits for.
    async fn until_done(&self, step: Step, block: &Block, token: &str) -> Result<Vec<Refused>, GivenUp> {
        let Route { outside, metrics, .. } = self.route.as_ref();
        let mut failing = Failing::default();
        let first_began = clock::now();
        loop {
            let began = clock::now();
            let answers = AtomicU64::new(0);
            let sink = Heard::new(outside, &answers, &self.state);
            let heard = || answers.load(Ordering::Relaxed);
            let taken = self.answered(Side::Write, true, step.name(), heard, step.take(&sink, block, token));
            let error = match taken.await? {
                Ok(refused) => {
                    metrics.stored(step.name(), clock::now().saturating_duration_since(began));
                    return Ok(refused);
                }
                Err(error) => error,
            };
            let (class, remedy) = match error.retry() {
                (Retry::Bisect, _) if step != Step::Facts => {
                    (Retry::Stop, "see what its table refuses: a constraint, a column, a view upon it")
                }
                retry => retry,
            };
            metrics.retried(step.name(), class);
            self.asks_operator(Side::Write, class, || format!("{}: {error}; {remedy}", step.name()));
            if class == Retry::Stop {
                tracing::error!(lane = %self.partition, step = step.name(), %error, remedy, "the lane waits for an operator");
            } else {
                tracing::warn!(lane = %self.partition, step = step.name(), %error, remedy, "trying again");
            }
            let pause = match class {
                Retry::Soon | Retry::Bisect => None,
                Retry::Later => Some(Duration::from_secs(3)),
                Retry::Stop => Some(STOP_PAUSE),
            };
            // the store may have come back as another meanwhile, without what this receipt would lie beyond
            if step == Step::Receipts && clock::now().saturating_duration_since(first_began) >= WAIT_MAX {
                self.stall(Side::Write, true).await;
                return Err(GivenUp);
            }
            self.hold_out(Side::Write, &mut failing, pause).await?;
        }
    }

    /// Of the rows that the store refuses, those that it never took; waits until the store says what it took.
    async fn never_stored(&self, block: &Block, refused: Vec<Refused>) -> Result<Vec<Refused>, GivenUp> {
        let place = (block.origin.topic_id, block.origin.partition);
        let mut failing = Failing::default();
        loop {
            let asked = self.route.outside.receipts(self.contract.table(), place, block.first());
            match self.answered(Side::Write, true, "receipts", || 0, asked).await? {
                Ok(Receipts { stored, .. }) => return Ok(block.never_stored(refused, &stored)),
                Err(error) => {
                    tracing::warn!(lane = %self.partition, %error, "what is stored of refused rows is not known, waiting");
                    self.hold_out(Side::Write, &mut failing, None).await?;
                }
            }
        }
    }
}

fn summary(block: &Block) -> Attested {
    let mut distinct: Vec<u64> = block
        .accepted
        .digests
        .iter()
        .filter_map(|d| d.first_chunk())
        .map(|c| u64::from_le_bytes(*c))
        .collect();
    distinct.sort_unstable(); // a digest's first bytes are as good as all, for a counter
    distinct.dedup();
    let width = |expired: bool| -> u64 {
        let gaps = block.gaps.iter().filter(|gap| gap.expired == expired);
        gaps.map(|gap| (gap.next - gap.first).unsigned_abs()).sum()
    };
    Attested {
        accepted: block.accepted.digests.len() as u64,
        duplicates: (block.accepted.digests.len() - distinct.len()) as u64,
        dead: block.letters.iter().map(|letter| letter.fault.reason.name()).collect(),
        bytes: block.bytes as u64,
        gap_offsets: [width(false), width(true)],
        next: block.next(),
    }
}
