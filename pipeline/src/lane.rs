//! One partition's way: take a slab, judge it, write it, attest it, commit it. Each step may be the last before a
//! crash; the next start goes on from the receipts.

mod letters;
mod outside;
mod places;
#[cfg(test)]
mod simulation;
mod start;
mod state;
mod waiting;
mod writing;

pub(crate) use outside::{Servers, in_time};
pub(crate) use places::Places;
use places::{Filled, Place};
#[cfg(test)]
pub(crate) use simulation::simulated_clock;
pub(crate) use start::{first_unsettled, ledger_end};
pub(crate) use state::{LaneState, Reached};

use outside::Outside;
use start::Start;
use state::Side;
use waiting::{Failing, GivenUp, PAUSES};
use writing::Commit;

use crate::clock;
use crate::fault::{self, Bug};
use crate::inbox::{Failure, Inbox};
use crate::judge::{Block, Known, judge};
use crate::metrics::Metrics;
use crate::slab::Slab;
use crate::source::{GapError, Partition};
use crate::writers::{Book, named_in};
use futures::FutureExt as _;
use futures::future::{Either, select};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::pin::pin;
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Instant;
use tally_schemas::{Reader, Topic};
use tally_sinks::Retry;
use tally_sinks::fault::{Point, pass};
use tally_sinks::rows::Origin;
use tokio::sync::mpsc;
use uuid::Uuid;

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Route<O = Servers> {
    pub(crate) outside: O,
    pub(crate) metrics: Metrics,
    pub(crate) value_bytes_max: usize,
    /// For blocks between taking and receipt, all lanes together.
    pub(crate) in_hand: Places,
    /// From so many offsets on they are a backlog.
    pub(crate) backlog_offsets_min: i64,
}

/// One partition's worker.
#[derive(Debug)]
pub(crate) struct Lane<O = Servers> {
    pub(crate) route: Arc<Route<O>>,
    pub(crate) book: Arc<Book>,
    pub(crate) contract: Topic,
    pub(crate) partition: Partition,
    pub(crate) inbox: Arc<Inbox>,
    pub(crate) state: Arc<LaneState>,
}

/// Why a lane's work ended.
enum End {
    /// It was told to stop.
    Stopped,
    /// The log is not what it was: look again at identity, receipts and watermarks.
    Restart(String),
    /// What begins at this offset could not go on, and was given up: it is read again.
    GaveUp(i64),
    /// What it would write from this offset on contradicts what is stored: it may not go on, and stays stalled until it can.
    Contradiction(i64, String),
    /// The log is not the one that was taken.
    Rewritten(String),
}

/// What keeps a lane stalled, and in which topic, until it is shown to be over.
#[derive(Clone, Copy, Debug)]
enum Wary {
    /// What begins at this offset could not go on: until it is stored.
    Unstored(Uuid, i64),
    /// Another record stands where one was taken: until the one that was taken is seen there, or nothing is. Nothing new need come.
    Rewritten(Uuid),
}

impl Wary {
    /// What begins at that offset could not go on. That the log is another one outlasts it.
    fn unstored(wary: &mut Option<Wary>, topic_id: Uuid, first: i64) {
        if !matches!(wary, Some(Wary::Rewritten(_))) {
            *wary = Some(Wary::Unstored(topic_id, first));
        }
    }
}

pub(crate) fn rewritten(offset: i64) -> String {
    format!(
        "the log is not the one that was taken: offset {offset} holds another record than the ledger says, and others before it may. \
         Either Kafka lost records, and new ones stand in their place, or the ledger was altered (tally verify). Nothing is passed \
         over: this partition waits. Stop who publishes to the topic, copy all its records, create it anew and publish the copy: what \
         was taken before counts as a repeat"
    )
}

impl<O: Outside> Lane<O> {
    /// Works until told to stop.
    pub(crate) async fn run(self) {
        let abandon = self.state.abandon.clone();
        abandon.run_until_cancelled(self.unfailing()).await;
        self.inbox.close();
        self.state.leave_all();
        self.route.outside.hold(&self.partition, false);
        self.route.metrics.forget(&self.partition);
    }

    /// Works, and begins anew after a bug: what was in hand is read again, as after a crash, and nobody else notices.
    async fn unfailing(&self) {
        let (mut tries, mut wary) = (0, None);
        while let Err(panic) = AssertUnwindSafe(self.work(&mut wary)).catch_unwind().await {
            let said = panic.downcast_ref::<String>().map(String::as_str);
            let said = said.or(panic.downcast_ref::<&str>().copied()).unwrap_or("a panic");
            tracing::error!(lane = %self.partition, said, "a bug: the lane panicked, and starts anew");
            self.asks_operator(Side::Write, Retry::Stop, || format!("a bug, please report it: {said}"));
            if let Some(reached) = self.state.reached() {
                Wary::unstored(&mut wary, reached.topic_id, reached.next);
            }
            self.inbox.close();
            self.stall(Side::Write, true).await;
            self.pause(&mut tries).await;
        }
    }

    /// `wary`: what keeps the lane stalled.
    async fn work(&self, wary: &mut Option<Wary>) {
        let mut tries = 0;
        while !self.state.stop.is_cancelled() {
            let starting = self.answered(Side::Read, false, "start", || 0, self.start());
            let Some(started) = self.state.stop.run_until_cancelled(starting).await else { return };
            let start = match started {
                Ok(Ok(start)) => start,
                Err(GivenUp) => continue,
                Ok(Err(said)) => {
                    self.stall(Side::Read, true).await;
                    tracing::warn!(lane = %self.partition, error = said, "lane cannot start, will try again");
                    self.pause(&mut tries).await;
                    continue;
                }
            };
            self.fetches().await;
            let topic_id = start.origin.topic_id;
            let before = self.state.offsets.load(Ordering::Relaxed);
            let end = match self.is_over(*wary, &start).await {
                Err(end) => end,
                Ok(is_over) => {
                    if is_over {
                        self.goes_on(wary).await;
                    }
                    self.take_blocks(start).await
                }
            };
            if self.state.offsets.load(Ordering::Relaxed) > before {
                tries = 0;
            }
            let contradiction = match end {
                End::Stopped => return,
                End::GaveUp(first) => {
                    Wary::unstored(wary, topic_id, first);
                    tracing::warn!(lane = %self.partition, first, "the block in hand is given up, and read again");
                    None
                }
                End::Restart(why) => {
                    tracing::warn!(lane = %self.partition, why, "lane starts anew");
                    None
                }
                End::Contradiction(first, why) => {
                    Wary::unstored(wary, topic_id, first);
                    Some(why)
                }
                End::Rewritten(why) => {
                    *wary = Some(Wary::Rewritten(topic_id));
                    Some(why)
                }
            };
            if let Some(why) = contradiction {
                tracing::error!(lane = %self.partition, why, "the lane waits for an operator");
                self.state.waits_for_operator(Side::Read, Some(why));
            }
            self.inbox.close();
            self.stall(Side::Read, true).await;
            self.pause(&mut tries).await;
        }
    }

    /// Whether what kept the lane stalled is over, as far as a start can tell.
    async fn is_over(&self, wary: Option<Wary>, start: &Start) -> Result<bool, End> {
        match wary {
            Some(Wary::Unstored(topic_id, first)) if topic_id == start.origin.topic_id => {
                Ok(start.is_at_end || start.next > first)
            }
            Some(Wary::Rewritten(topic_id)) if topic_id == start.origin.topic_id => {
                self.route.outside.hold(&self.partition, false); // also one with a backlog is to be looked at
                let seen = self.state.stop.run_until_cancelled(self.inbox.seen()).await;
                self.route.outside.hold(&self.partition, start.is_behind);
                match seen {
                    None => Err(End::Stopped),
                    Some(Err(failure)) => Err(self.failed(&start.origin, failure).await),
                    Some(Ok(())) => Ok(true),
                }
            }
            Some(Wary::Unstored(..) | Wary::Rewritten(_)) | None => Ok(true),
        }
    }

    /// Nothing is in the way any more, or nothing was.
    async fn goes_on(&self, wary: &mut Option<Wary>) {
        if wary.take().is_some() {
            *self.state.oldest.lock().unwrap_or_else(PoisonError::into_inner) = None; // it was stored after all
        }
        for side in [Side::Read, Side::Write] {
            self.state.waits_for_operator(side, None);
            self.stall(side, false).await;
        }
    }

    async fn pause(&self, tries: &mut usize) {
        let pause = PAUSES[(*tries).min(PAUSES.len() - 1)];
        *tries += 1;
        self.state.stop.run_until_cancelled(clock::sleep(pause)).await;
    }

    async fn take_blocks(&self, start: Start) -> End {
        let (judged, blocks) = mpsc::channel(1); // one block is judged while the one before it is written
        tracing::debug!(lane = %self.partition, next = start.next, "taking");
        let committing = Commit { next: start.next, topic_id: start.origin.topic_id };
        let storing = pin!(self.store_blocks(blocks, committing, start.last));
        let judging = pin!(AssertUnwindSafe(self.judge_blocks(start, judged)).catch_unwind());
        let (judged, stored) = match select(judging, storing).await {
            // also after a panic: what was judged before it is stored
            Either::Left((end, storing)) => (end, storing.await),
            Either::Right((Err(first), _)) => (Ok(End::GaveUp(first)), Ok(())),
            Either::Right((Ok(()), judging)) => (judging.await, Ok(())),
        };
        let end = judged.unwrap_or_else(|panic| resume_unwind(panic));
        let end = stored.map_or_else(End::GaveUp, |()| end);
        self.state.leave_all();
        end
    }

    async fn judge_blocks(&self, start: Start, judged: mpsc::Sender<(Block, Place)>) -> End {
        let Start { origin, receipts, mut is_behind, .. } = start;
        let receipts = Arc::new(receipts);
        let mut reader = Reader::new(self.contract, self.route.value_bytes_max);
        loop {
            let (slab, place) = match self.state.stop.run_until_cancelled(self.take(&mut is_behind)).await {
                None => return End::Stopped,
                Some(Err(failure)) => return self.failed(&origin, failure).await,
                Some(Ok(taken)) => taken,
            };
            match self.state.stop.run_until_cancelled(self.confirm(&origin, slab.first())).await {
                None => return End::Stopped,
                Some(Err(end)) => return end,
                Some(Ok(())) => {}
            }
            let writers = match self.state.stop.run_until_cancelled(self.writers(&slab)).await {
                None => return End::Stopped,
                Some(Err(GivenUp)) => return End::GaveUp(slab.first()),
                Some(Ok(writers)) => writers,
            };
            let columns = self.route.in_hand.enter_columns(&place);
            if self.state.stop.run_until_cancelled(columns).await.is_none() {
                return End::Stopped;
            }
            let (origin, settled) = (origin.clone(), receipts.clone());
            let work = move || {
                fault::panic_once(Bug::PanicJudging);
                let known =
                    Known { writers: &writers, settled: &settled.done, inherited: &settled.inherited };
                let block = judge(origin, slab, &mut reader, known);
                (block, reader)
            };
            let block = match self.route.outside.compute(work).await {
                Ok((Ok(block), kept)) => {
                    reader = kept;
                    block
                }
                Ok((Err(error), _)) => return End::Restart(format!("rows could not be made: {error}")),
                Err(error) => return End::Restart(format!("judging failed: {error}")),
            };
            pass(Point::Judged);
            if let Some(why) = block.contradiction(&receipts.stored) {
                return End::Contradiction(block.first(), why);
            }
            if !block.gaps.is_empty() {
                place.leave(); // what is read again may take long, and others have work
                let again = async {
                    self.read_again(&block).await?;
                    self.enter(&place).await;
                    self.route.in_hand.enter_columns(&place).await;
                    Ok(())
                };
                match self.state.stop.run_until_cancelled(again).await {
                    None => return End::Stopped,
                    Some(Err(end)) => return end,
                    Some(Ok(())) => {}
                }
            }
            self.state.waits_for_operator(Side::Read, None);
            self.stall(Side::Read, false).await;
            if judged.send((block, place)).await.is_err() {
                return End::Stopped;
            }
        }
    }

    /// Takes a block, once it has a place in hand for it: what comes while it waits for that is in the block too, so blocks grow
    /// when the store is busy. A lane with a backlog is even fetched only while it has a place: so few blocks are filled at a
    /// time, and each of them becomes full. To ClickHouse one block of 14 MiB is half the work of four of 4.
    async fn take(&self, is_behind: &mut bool) -> Result<(Slab, Place), Failure> {
        let (place, mut filled) = (Place::default(), None);
        if *is_behind && !self.inbox.is_at_end() {
            self.enter(&place).await;
            self.route.outside.hold(&self.partition, false);
            filled = self.route.in_hand.fill(&self.inbox, &place).await;
            if filled.is_none() {
                place.leave(); // whose records do not come has no use for a turn
            } else if !place.is_held() {
                self.enter(&place).await; // it may not be stalled any more
            }
        }
        self.route.outside.hold(&self.partition, false);
        let was_cut = matches!(filled, Some(Ok(Filled::Cut)));
        match filled {
            Some(filled) => drop(filled?),
            None => {
                self.inbox.ready(false).await?;
                self.waits_since(self.inbox.waiting_since());
                let mut entered = pin!(self.enter(&place));
                let full = pin!(self.inbox.full());
                if let Either::Right(_) = select(entered.as_mut(), full).await {
                    self.route.outside.hold(&self.partition, true); // room for more is for those who have a place
                    entered.await;
                }
            }
        }
        self.waits_since(self.inbox.waiting_since());
        let slab = self.inbox.take()?;
        *is_behind = self.inbox.is_full(&slab) || was_cut;
        self.route.outside.hold(&self.partition, *is_behind);
        Ok((slab, place))
    }

    /// What it means that nothing more can be taken. A topic created anew has other records at the same offsets.
    async fn failed(&self, origin: &Origin, failure: Failure) -> End {
        match failure {
            Failure::Fetch(said) => End::Restart(said),
            Failure::Rewritten(offset) => {
                match self.state.stop.run_until_cancelled(self.confirm(origin, offset)).await {
                    None => End::Stopped,
                    Some(Err(end)) => end,
                    Some(Ok(())) => End::Rewritten(rewritten(offset)),
                }
            }
        }
    }

    /// Records wait in the lane at least since then.
    fn waits_since(&self, since: Option<Instant>) {
        let mut oldest = self.state.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        *oldest = oldest.or(since);
    }

    /// Waits for a place in hand. A lane that waits for something outside keeps none: others have work, and it has three blocks at
    /// most.
    async fn enter(&self, place: &Place) {
        self.route.in_hand.enter(place).await;
        if !self.state.keeps(place) {
            place.leave();
        }
    }

    /// Holds the topic's identity against the one the lane started with: asked after the records came, so that
    /// records of a topic created anew never get the old one's name.
    /// `first`: of what the lane holds meanwhile.
    async fn confirm(&self, origin: &Origin, first: i64) -> Result<(), End> {
        let mut failing = Failing::default();
        loop {
            match self.route.outside.identity(&origin.topic).await {
                Ok(id) if id == origin.topic_id => return Ok(()),
                Ok(id) => {
                    return Err(End::Restart(format!("the topic was deleted and created again as {id}")));
                }
                Err(error) => {
                    tracing::warn!(lane = %self.partition, %error, "the topic's identity is not known, waiting");
                    self.hold_out(Side::Read, &mut failing, None)
                        .await
                        .map_err(|GivenUp| End::GaveUp(first))?;
                }
            }
        }
    }

    /// Reads the block's gaps once more, in the same topic: one created anew meanwhile says nothing of them.
    async fn read_again(&self, block: &Block) -> Result<(), End> {
        let asked = self.route.outside.read_again(&self.partition, &block.gaps);
        let read = self.answered(Side::Read, true, "what stands in a gap", || 0, asked).await;
        match read.map_err(|GivenUp| End::GaveUp(block.first()))? {
            Ok(()) => self.confirm(&block.origin, block.first()).await,
            Err(error @ GapError::PassedOver(_)) => {
                self.route.metrics.passed_over(&self.partition);
                Err(End::Restart(error.to_string()))
            }
            Err(error @ GapError::Unread(_)) => {
                tracing::warn!(lane = %self.partition, %error, "a gap cannot be read again");
                let why = || format!("{error}; see whether Kafka gives this partition to anybody");
                self.asks_operator(Side::Read, Retry::Stop, why);
                Err(End::GaveUp(block.first())) // what an operator is told stays until it is passed
            }
        }
    }

    async fn writers(&self, slab: &Slab) -> Result<Arc<tally_schemas::Writers>, GivenUp> {
        let ids = named_in(slab);
        let mut failing = Failing::default();
        loop {
            let asked = self.book.resolve(ids.clone());
            match self.answered(Side::Read, true, "schemas of the registry", || 0, asked).await? {
                Ok(writers) => return Ok(writers),
                Err(error) => {
                    let class = if error.is_retryable() { Retry::Soon } else { Retry::Stop };
                    self.asks_operator(Side::Read, class, || format!("the registry: {error}"));
                    tracing::warn!(lane = %self.partition, %error, "the registry does not answer, waiting");
                    self.hold_out(Side::Read, &mut failing, None).await?;
                }
            }
        }
    }
}
