//! One partition's way: take a slab, judge it, write it, attest it, commit it. Each step may be the last before a
//! crash; the next start goes on from the receipts.

mod outside;
#[cfg(test)]
mod simulation;
mod start;
mod state;
mod writing;

pub(crate) use outside::Servers;
#[cfg(test)]
pub(crate) use simulation::simulated_clock;
pub(crate) use state::LaneState;

use outside::Outside;
use start::Start;
use state::Side;
use writing::Commit;

use crate::clock;
use crate::inbox::Inbox;
use crate::judge::{Block, Known, judge};
use crate::metrics::Metrics;
use crate::slab::Slab;
use crate::source::{GapError, Partition};
use crate::writers::{Book, named_in};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::Duration;
use tally_schemas::{Reader, Topic};
use tally_sinks::fault::{Point, pass};
use tally_sinks::rows::Origin;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};

/// What all lanes share.
#[derive(Debug)]
pub(crate) struct Route<O = Servers> {
    pub(crate) outside: O,
    pub(crate) metrics: Metrics,
    pub(crate) value_bytes_max: usize,
    /// Blocks between judging and receipt, all lanes together: what bounds the memory of a full drain.
    pub(crate) in_hand: Arc<Semaphore>,
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
    /// What it would write contradicts what is stored: it may not go on, and stays stalled until it can.
    Contradiction(String),
}

/// A judged block on its way to its receipt.
struct InHand {
    block: Block,
    permit: Option<OwnedSemaphorePermit>,
}

/// How long a lane keeps its turn while nothing comes.
const TURN: Duration = Duration::from_secs(1);

const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

impl<O: Outside> Lane<O> {
    /// Works until told to stop.
    pub(crate) async fn run(self) {
        let abandon = self.state.abandon.clone();
        abandon.run_until_cancelled(self.work()).await;
        self.inbox.close();
        self.route.metrics.forget(&self.partition);
    }

    async fn work(&self) {
        let (mut tries, mut wary) = (0, false);
        while !self.state.stop.is_cancelled() {
            let Some(started) = self.state.stop.run_until_cancelled(self.start()).await else { return };
            let start = match started {
                Ok(start) => start,
                Err(said) => {
                    self.stall(Side::Read, true).await;
                    tracing::warn!(lane = %self.partition, error = said, "lane cannot start, will try again");
                    self.pause(&mut tries).await;
                    continue;
                }
            };
            if !wary {
                self.stall(Side::Read, false).await;
            }
            let before = self.state.offsets.load(Ordering::Relaxed);
            let end = self.take_blocks(start).await;
            if self.state.offsets.load(Ordering::Relaxed) > before {
                tries = 0;
            }
            wary = matches!(end, End::Contradiction(_));
            match end {
                End::Stopped => return,
                End::Restart(why) => tracing::warn!(lane = %self.partition, why, "lane starts anew"),
                End::Contradiction(why) => {
                    tracing::error!(lane = %self.partition, why, "the lane waits for an operator");
                }
            }
            self.inbox.close();
            self.stall(Side::Read, true).await;
            self.pause(&mut tries).await;
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
        let storing = self.store_blocks(blocks, committing);
        let (end, ()) = tokio::join!(self.judge_blocks(start, judged), storing);
        end
    }

    async fn judge_blocks(&self, start: Start, judged: mpsc::Sender<InHand>) -> End {
        let Start { origin, receipts, mut is_behind, next: _ } = start;
        let receipts = Arc::new(receipts);
        let mut reader = Reader::new(self.contract, self.route.value_bytes_max);
        loop {
            let (slab, turn) = match self.state.stop.run_until_cancelled(self.take(&mut is_behind)).await {
                None => return End::Stopped,
                Some(Err(said)) => return End::Restart(said),
                Some(Ok(taken)) => taken,
            };
            self.state.oldest.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(clock::now);
            match self.state.stop.run_until_cancelled(self.confirm(&origin)).await {
                None => return End::Stopped,
                Some(Err(end)) => return end,
                Some(Ok(())) => {}
            }
            let Some(writers) = self.state.stop.run_until_cancelled(self.writers(&slab)).await else {
                return End::Stopped;
            };
            let permit = match turn {
                Some(turn) => turn,
                None => match self.state.stop.run_until_cancelled(self.place()).await {
                    None => return End::Stopped,
                    Some(permit) => permit,
                },
            };
            let (origin, settled) = (origin.clone(), receipts.clone());
            let work = move || {
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
                return End::Contradiction(why);
            }
            let permit = match block.gaps.is_empty() {
                true => Some(permit),
                false => {
                    drop(permit); // what is read again may take long, and others have work
                    match self.state.stop.run_until_cancelled(self.read_again(&block)).await {
                        None => return End::Stopped,
                        Some(Err(end)) => return end,
                        Some(Ok(())) => None,
                    }
                }
            };
            self.stall(Side::Read, false).await;
            if judged.send(InHand { block, permit }).await.is_err() {
                return End::Stopped;
            }
        }
    }

    /// Takes a block's worth. A lane with a backlog is fetched only while it has a turn, which is the place in hand that its
    /// block then keeps: so few blocks are filled at a time, and each of them becomes full. To ClickHouse one block of 16 MiB is
    /// half the work of four of 4.
    async fn take(&self, is_behind: &mut bool) -> Result<(Slab, Option<OwnedSemaphorePermit>), String> {
        let mut taken = None;
        if *is_behind && !self.inbox.is_at_end() {
            self.route.outside.hold(&self.partition, true);
            let turn = self.place().await;
            self.route.outside.hold(&self.partition, false);
            // whose records do not come has no use for a turn
            taken = clock::within(TURN, self.inbox.take(true)).await.map(|slab| (slab, Some(turn)));
        }
        let (slab, turn) = match taken {
            Some(taken) => taken,
            None => (self.inbox.take(false).await, None),
        };
        let slab = slab?;
        *is_behind = self.inbox.is_full(&slab);
        self.route.outside.hold(&self.partition, *is_behind);
        Ok((slab, turn))
    }

    /// A place in hand.
    async fn place(&self) -> OwnedSemaphorePermit {
        match self.route.in_hand.clone().acquire_owned().await {
            Ok(permit) => permit,
            Err(_closed) => std::future::pending().await, // nobody closes it
        }
    }

    /// Holds the topic's identity against the one the lane started with: asked after the records came, so that
    /// records of a topic created anew never get the old one's name.
    async fn confirm(&self, origin: &Origin) -> Result<(), End> {
        let mut tries = 0;
        loop {
            match self.route.outside.identity(&origin.topic).await {
                Ok(id) if id == origin.topic_id => return Ok(()),
                Ok(id) => {
                    return Err(End::Restart(format!("the topic was deleted and created again as {id}")));
                }
                Err(error) => {
                    self.stall(Side::Read, true).await;
                    tracing::warn!(lane = %self.partition, %error, "the topic's identity is not known, waiting");
                    self.pause(&mut tries).await;
                }
            }
        }
    }

    /// Reads the block's gaps once more, in the same topic: one created anew meanwhile says nothing of them.
    async fn read_again(&self, block: &Block) -> Result<(), End> {
        match self.route.outside.read_again(&self.partition, &block.gaps).await {
            Ok(()) => self.confirm(&block.origin).await,
            Err(error) => {
                if matches!(error, GapError::PassedOver(_)) {
                    self.route.metrics.passed_over(&self.partition);
                }
                Err(End::Restart(error.to_string()))
            }
        }
    }

    async fn writers(&self, slab: &Slab) -> Arc<tally_schemas::Writers> {
        let ids = named_in(slab);
        let mut tries = 0;
        loop {
            match self.book.resolve(ids.clone()).await {
                Ok(writers) => return writers,
                Err(error) => {
                    self.stall(Side::Read, true).await;
                    tracing::warn!(lane = %self.partition, %error, "the registry does not answer, waiting");
                    self.pause(&mut tries).await;
                }
            }
        }
    }

    /// A stalled lane is paused at the source, so that it does not take the memory of the others; it is stalled while
    /// either of its sides waits. It goes on from the offset that its inbox expects: where librdkafka would go on by
    /// itself lies one record further once it has handed out the end of the log.
    async fn stall(&self, side: Side, waits: bool) {
        let mut waiting = self.state.waiting.lock().await; // held to the end: pauses and resumes keep their order
        waiting[side as usize] = waits;
        let stalled = waiting.contains(&true);
        if self.state.stalled.swap(stalled, Ordering::Relaxed) == stalled {
            return;
        }
        let inbox = self.inbox.clone();
        let done = match stalled {
            true => self.route.outside.pause(&self.partition).await,
            false => self.route.outside.fetch_from(&self.partition, move || inbox.expected()).await,
        };
        if let Err(error) = done {
            tracing::warn!(lane = %self.partition, error, stalled, "pause or resume");
        }
    }
}
