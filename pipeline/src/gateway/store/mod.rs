//! What the gateway must not forget: requests under their keys, events on their way, flows. SQLite, one writing thread.
//!
//! What is asked while one commit runs is committed together by the next one: the more callers, the fewer commits a call. A reply
//! comes after the commit. Then the process may be killed at any moment. Whether the machine may lose its power, too, is the
//! setting [`Durability`].

mod checkpoint;
mod commit;
mod flows;
mod open;
mod outbox;
mod requests;

pub(super) use flows::FlowRow;
pub use open::OpenError;
pub(super) use outbox::{Kept, Waiting};
pub(super) use requests::{Begin, Begun, End, Known, Numbers, Then};

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tally_schemas::Topic;
use thiserror::Error;
use tokio::sync::{mpsc, oneshot};

/// A sweep that has forgotten as many may have left some.
pub(super) const SWEPT_MIN: usize = flows::SWEPT_MAX;
/// Operations that may wait for the writing thread; then who asks waits.
const WAITING_MAX: usize = 4_096;

/// When an answer may be given: how much of the machine may fail then.
#[derive(Clone, Copy, Debug, Eq, PartialEq, clap::ValueEnum)]
pub enum Durability {
    /// The system has it: the process may be killed. It is on the disk within ten seconds.
    Process,
    /// The disk has it: the power may fail. Each commit waits for the disk.
    Disk,
}

/// Where the store is, and its bounds.
#[derive(Clone, Debug)]
pub struct StoreConfig {
    /// The folder; made where there is none, readable for its owner only.
    pub folder: PathBuf,
    /// When an answer may be given.
    pub durability: Durability,
    /// Events that may wait for Kafka; more, and calls are refused.
    pub outbox_events_max: u64,
    /// How long the key of a request that is done is remembered, microseconds.
    pub keys_kept_us: i64,
}

/// Something was not written, and so is not known: the disk is full or gone, or the process is about to end.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
#[error("the gateway's store did not take it; the line of the log before this one says why")]
pub struct StoreError;

type Reply<T> = oneshot::Sender<T>;

/// What is asked of the writing thread.
enum Op {
    Begin(Begin, Reply<Begun>),
    Again {
        id: i64,
        now_us: i64,
        reply: Reply<Numbers>,
    },
    End(Box<End>, Reply<()>),
    /// Whoever ran the request does so no more.
    Release(i64),
    Due {
        by: (i64, i64),
        max: usize,
        reply: Reply<Vec<Known>>,
    },
    Keep(Vec<Kept>, Reply<()>),
    Take {
        contract: Topic,
        after: i64,
        max: usize,
        reply: Reply<Vec<Waiting>>,
    },
    Acknowledged(Topic, Vec<i64>, Reply<()>),
    Sweep {
        before_us: i64,
        reply: Reply<usize>,
    },
    FlowGet {
        id: String,
        reply: Reply<Option<FlowRow>>,
    },
    FlowPut(Box<FlowRow>, Vec<Kept>, Reply<bool>),
    FlowsDue {
        by: (i64, i64),
        max: usize,
        reply: Reply<Vec<FlowRow>>,
    },
    FlowStates {
        reply: Reply<Vec<(String, String, i64)>>,
    },
}

/// What can be read without asking the thread.
#[derive(Debug, Default)]
struct Gauges {
    outbox: AtomicU64,
    /// Of the oldest event that waits, microseconds since 1970; 0 where none waits.
    oldest_us: AtomicI64,
    commits: AtomicU64,
    operations: AtomicU64,
    unresolved: AtomicU64,
    unresolved_oldest_us: AtomicI64,
    /// Of the flow that has been under way for longest: since when; 0 where none is.
    flows_oldest_us: AtomicI64,
    /// Pages in SQLite's log, and how many of them the last checkpoint left.
    log_frames: AtomicU64,
    log_behind: AtomicU64,
}

/// The store. Cloning is cheap.
#[derive(Clone)]
pub(super) struct Store {
    ops: mpsc::Sender<Op>,
    gauges: Arc<Gauges>,
    outbox_events_max: u64,
    keys_kept_us: i64,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Store").field("gauges", &self.gauges).finish_non_exhaustive()
    }
}

impl Store {
    /// Opens the folder, or makes it, and starts the writing thread. It ends when the last clone is dropped; the handle tells.
    ///
    /// # Errors
    /// Where another process has the folder, the file is newer than this program, or the disk says no.
    pub(super) fn open(config: &StoreConfig) -> Result<(Store, std::thread::JoinHandle<()>), OpenError> {
        let opened = open::open(config)?;
        let (ops, asked) = mpsc::channel(WAITING_MAX);
        let gauges = Arc::new(Gauges::default());
        let thread = commit::start(opened, asked, Arc::clone(&gauges))?;
        let (outbox_events_max, keys_kept_us) = (config.outbox_events_max, config.keys_kept_us);
        Ok((Store { ops, gauges, outbox_events_max, keys_kept_us }, thread))
    }

    async fn ask<T>(&self, op: impl FnOnce(Reply<T>) -> Op) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        self.ops.send(op(reply)).await.map_err(|_| StoreError)?;
        answer.await.map_err(|_| StoreError)
    }

    /// Writes down a request and its first attempt, or finds what became of it. A request that somebody runs is waited for.
    pub(super) async fn begin(&self, begin: Begin) -> Result<Begun, StoreError> {
        self.ask(|reply| Op::Begin(begin, reply)).await
    }

    /// Writes down that one more attempt begins; gives its number, and of how many before it.
    pub(super) async fn again(&self, id: i64, now_us: i64) -> Result<Numbers, StoreError> {
        self.ask(|reply| Op::Again { id, now_us, reply }).await
    }

    /// Writes down how an attempt ended, its event, and how the request goes on.
    pub(super) async fn end(&self, end: End) -> Result<(), StoreError> {
        self.ask(|reply| Op::End(Box::new(end), reply)).await
    }

    /// Lets go of a request that was not brought to its end. From any thread, without waiting.
    pub(super) fn release(&self, id: i64) {
        if let Err(mpsc::error::TrySendError::Full(op)) = self.ops.try_send(Op::Release(id)) {
            let ops = self.ops.clone();
            tokio::spawn(async move { ops.send(op).await });
        }
    }

    /// Requests that nobody runs and that are to be followed up; whoever gets them runs them. No pause is longer than `longest`: what
    /// is due still later was put off by a clock that has gone back, and its time has come, too.
    pub(super) async fn due(
        &self,
        now_us: i64,
        longest: Duration,
        max: usize,
    ) -> Result<Vec<Known>, StoreError> {
        let by = (now_us, later(now_us, longest));
        self.ask(|reply| Op::Due { by, max, reply }).await
    }

    /// Keeps events of attempts that have no request.
    pub(super) async fn keep(&self, events: Vec<Kept>) -> Result<(), StoreError> {
        self.ask(|reply| Op::Keep(events, reply)).await
    }

    /// The events of a contract behind `after`, in their order.
    pub(super) async fn take(
        &self,
        contract: Topic,
        after: i64,
        max: usize,
    ) -> Result<Vec<Waiting>, StoreError> {
        self.ask(|reply| Op::Take { contract, after, max, reply }).await
    }

    /// Lets go of events that Kafka has for good.
    pub(super) async fn acknowledged(&self, contract: Topic, seqs: Vec<i64>) -> Result<(), StoreError> {
        self.ask(|reply| Op::Acknowledged(contract, seqs, reply)).await
    }

    /// Forgets the keys of requests that were done long enough ago, and flows that ended; gives how many. At least [`SWEPT_MIN`]: there
    /// may be more.
    pub(super) async fn sweep(&self, now_us: i64) -> Result<usize, StoreError> {
        let before_us = now_us.saturating_sub(self.keys_kept_us);
        self.ask(|reply| Op::Sweep { before_us, reply }).await
    }

    /// A flow.
    pub(super) async fn flow(&self, id: &str) -> Result<Option<FlowRow>, StoreError> {
        self.ask(|reply| Op::FlowGet { id: id.to_owned(), reply }).await
    }

    /// Writes a flow of version n + 1 over version n, with the events of the step; `false` where somebody was faster.
    pub(super) async fn put_flow(&self, row: FlowRow, events: Vec<Kept>) -> Result<bool, StoreError> {
        self.ask(|reply| Op::FlowPut(Box::new(row), events, reply)).await
    }

    /// Flows that have something to do by now; of those that are under way no pause is longer than `longest`.
    pub(super) async fn flows_due(
        &self,
        now_us: i64,
        longest: Duration,
        max: usize,
    ) -> Result<Vec<FlowRow>, StoreError> {
        let by = (now_us, later(now_us, longest));
        self.ask(|reply| Op::FlowsDue { by, max, reply }).await
    }

    /// Since when the flow is under way that has been for longest, microseconds since 1970 UTC.
    pub(super) fn flows_oldest_us(&self) -> Option<i64> {
        Some(self.gauges.flows_oldest_us.load(Ordering::Relaxed)).filter(|oldest| *oldest > 0)
    }

    /// How many flows of each kind are in each state.
    pub(super) async fn flow_states(&self) -> Result<Vec<(String, String, i64)>, StoreError> {
        self.ask(|reply| Op::FlowStates { reply }).await
    }

    /// Events that wait for Kafka.
    pub(super) fn outbox_depth(&self) -> u64 {
        self.gauges.outbox.load(Ordering::Relaxed)
    }

    /// When the oldest event that waits was written, microseconds since 1970 UTC.
    pub(super) fn outbox_oldest_us(&self) -> Option<i64> {
        Some(self.gauges.oldest_us.load(Ordering::Relaxed)).filter(|oldest| *oldest > 0)
    }

    /// Whether so many events wait that no more may be made.
    pub(super) fn is_full(&self) -> bool {
        self.outbox_depth() >= self.outbox_events_max
    }

    /// Requests that moved credits or not: nobody knows yet, and they are followed up.
    pub(super) fn unresolved(&self) -> u64 {
        self.gauges.unresolved.load(Ordering::Relaxed)
    }

    /// When the oldest of these came, microseconds since 1970 UTC.
    pub(super) fn unresolved_oldest_us(&self) -> Option<i64> {
        Some(self.gauges.unresolved_oldest_us.load(Ordering::Relaxed)).filter(|oldest| *oldest > 0)
    }

    /// Operations and commits so far.
    #[cfg(test)]
    pub(super) fn commits(&self) -> (u64, u64) {
        (self.gauges.operations.load(Ordering::Relaxed), self.gauges.commits.load(Ordering::Relaxed))
    }
}

fn later(now_us: i64, by: Duration) -> i64 {
    now_us.saturating_add(i64::try_from(by.as_micros()).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
