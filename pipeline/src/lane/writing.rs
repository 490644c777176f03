//! The writing side of a lane: five steps for each block, then its commit.

use super::outside::{Marks, Outside};
use super::places::Place;
use super::state::Side;
use super::{Lane, PAUSES, Route};
use crate::clock;
use crate::fault::{self, Bug};
use crate::judge::Block;
use crate::metrics::Attested;
use crate::write::Step;
use futures::future::{Either, select};
use std::pin::pin;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
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

/// Between two looks at whether a block is to be given up, and how long one that cannot be written is kept while there is memory.
const LOOK: Duration = Duration::from_secs(1);
const WAIT_MAX: Duration = Duration::from_secs(10);

/// So often in a row, ten seconds apart, only an operator seemed able to help before that is taken to be so.
const STOPS_MAX: u32 = 2;

impl<O: Outside> Lane<O> {
    /// `sent`: the commit that the lane began with. Returns when no more blocks come; before, with the first offset of a block that it
    /// gives up.
    pub(super) async fn store_blocks(
        &self,
        mut blocks: mpsc::Receiver<(Block, Place)>,
        sent: Commit,
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
            if !self.is_stored(&mut block, &place).await {
                return Err(block.first());
            }
            pass(Point::Attested);
            place.leave();
            let (next, topic_id) = (block.next(), block.origin.topic_id);
            self.state.reach(topic_id, next);
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

    /// Writes and attests one block; false where it is given up.
    async fn is_stored(&self, block: &mut Block, place: &Place) -> bool {
        let (storing, giving_up) = (pin!(self.store(block, place)), pin!(self.gives_up()));
        matches!(select(storing, giving_up).await, Either::Left(_))
    }

    /// Writes and attests one block; returns only when it is done.
    async fn store(&self, block: &mut Block, place: &Place) {
        let mut token = block.token();
        for step in Step::ALL {
            let refused = self.until_done(step, block, &token).await;
            if !refused.is_empty() {
                let refused = self.never_stored(block, refused).await;
                if let Err(error) = block.refuse(&refused) {
                    tracing::error!(lane = %self.partition, %error, "refused rows could not be set aside");
                    return std::future::pending().await; // never attest what is not settled
                }
                token = block.token(); // an attempt before the refusal may have given letters and receipts the earlier one
            }
            if step == Step::Facts {
                block.forget_facts();
                place.leave_columns();
            }
        }
    }

    /// Until what a lane holds had better be given up, and read again from Kafka: the store refuses it or does not answer, and either
    /// others have no memory for theirs, or it has done so for long; then the ledger may not be what it was, and a start looks at it.
    async fn gives_up(&self) {
        let mut since = None;
        loop {
            clock::sleep(LOOK).await;
            if !self.state.waiting.lock().await[Side::Write as usize] {
                since = None;
                continue;
            }
            let waited = clock::now().saturating_duration_since(*since.get_or_insert_with(clock::now));
            if waited >= WAIT_MAX || waited >= LOOK && !self.inbox.budget().has_room() {
                return;
            }
        }
    }

    /// Tries a step until it succeeds: a lane that waits loses nothing, and says what it waits for.
    async fn until_done(&self, step: Step, block: &Block, token: &str) -> Vec<Refused> {
        let Route { outside, metrics, .. } = self.route.as_ref();
        let mut tries = 0;
        loop {
            let began = clock::now();
            let taken = self.answered(Side::Write, step.name(), step.take(outside, block, token));
            let error = match taken.await {
                Ok(refused) => {
                    metrics.stored(step.name(), clock::now().saturating_duration_since(began));
                    self.state.stops.store(0, Ordering::Relaxed);
                    self.state.waits_for_operator(Side::Write, None);
                    self.stall(Side::Write, false).await;
                    return refused;
                }
                Err(error) => error,
            };
            let (class, remedy) = error.retry();
            self.stall(Side::Write, true).await;
            metrics.retried(step.name(), class);
            let stops = if class == Retry::Stop { self.state.stops.load(Ordering::Relaxed) + 1 } else { 0 };
            self.state.stops.store(stops, Ordering::Relaxed);
            if stops > STOPS_MAX {
                self.state
                    .waits_for_operator(Side::Write, Some(format!("{}: {error}; {remedy}", step.name())));
            }
            if class == Retry::Stop {
                tracing::error!(lane = %self.partition, step = step.name(), %error, remedy, "the lane waits for an operator");
            } else {
                tracing::warn!(lane = %self.partition, step = step.name(), %error, remedy, "trying again");
            }
            let pause = match class {
                Retry::Soon | Retry::Bisect => PAUSES[tries.min(PAUSES.len() - 1)],
                Retry::Later => Duration::from_secs(3),
                Retry::Stop => Duration::from_secs(10),
            };
            tries += 1;
            clock::sleep(pause).await;
        }
    }

    /// Of the rows that the store refuses, those that it never took; waits until the store says what it took.
    async fn never_stored(&self, block: &Block, refused: Vec<Refused>) -> Vec<Refused> {
        let place = (block.origin.topic_id, block.origin.partition);
        let mut tries = 0;
        loop {
            match self.route.outside.receipts(self.contract.table(), place, block.first()).await {
                Ok(Receipts { stored, .. }) => return block.never_stored(refused, &stored),
                Err(error) => {
                    self.stall(Side::Write, true).await;
                    tracing::warn!(lane = %self.partition, %error, "what is stored of refused rows is not known, waiting");
                    clock::sleep(PAUSES[tries.min(PAUSES.len() - 1)]).await;
                    tries += 1;
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
