//! The writing thread: takes what waits, does it in one transaction, commits, and only then replies.

use super::requests::{self, Begin, Begun, Found, Then};
use super::{Gauges, Kept, Op, OpenError, Reply, StoreError, checkpoint, flows, outbox};
use crate::gateway::moment::now_us;
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;
use tokio::sync::mpsc::Receiver;

/// Operations of one commit.
const OPERATIONS_MAX: usize = 512;
/// Bytes of SQLite's log from which the writing thread itself carries over what the checkpoints beside it left: only without a
/// writer the log can begin anew.
const LOG_BYTES_MAX: u64 = 128 << 20;

/// Sends replies, after the commit or, with the error, instead of it.
type After = Box<dyn FnOnce(Result<(), &StoreError>) + Send>;

struct Writer {
    connection: Connection,
    path: PathBuf,
    /// Requests that a task of this process runs.
    running: HashSet<i64>,
    /// Who waits for one of them.
    waiting: HashMap<i64, Vec<Reply<Begun>>>,
    /// What the next event gets, and how many wait.
    seq: i64,
    depth: u64,
    /// Requests that were taken up, and let go, by operations that are not committed.
    claimed: Vec<i64>,
    freed: Vec<i64>,
    gauges: Arc<Gauges>,
}

pub(super) fn start(
    opened: super::open::Opened,
    mut asked: Receiver<Op>,
    gauges: Arc<Gauges>,
) -> Result<JoinHandle<()>, OpenError> {
    let super::open::Opened { connection, path, lock, durability } = opened;
    let sqlite = |error| OpenError::Sqlite { path: path.clone(), error };
    requests::orphan(&connection).map_err(sqlite)?;
    let seq = outbox::next_seq(&connection).map_err(sqlite)?;
    let mut writer = Writer {
        depth: outbox::depth(&connection).map_err(sqlite)?,
        connection,
        path: path.clone(),
        running: HashSet::new(),
        waiting: HashMap::new(),
        seq,
        claimed: Vec::new(),
        freed: Vec::new(),
        gauges,
    };
    writer.count().map_err(sqlite)?;
    tracing::debug!(?durability, path = %path.display(), "the gateway's store is open");
    let (stop, stopped) = std::sync::mpsc::channel();
    let checkpoints = path.clone();
    let thread = std::thread::Builder::new().name("gateway-store".to_owned()).spawn(move || {
        let beside = std::thread::spawn(move || checkpoint::run(&checkpoints, &stopped));
        let mut batch = Vec::with_capacity(OPERATIONS_MAX);
        while asked.blocking_recv_many(&mut batch, OPERATIONS_MAX) > 0 {
            writer.commit(std::mem::take(&mut batch));
        }
        drop(stop);
        let _ = beside.join(); // it has said itself what was wrong
        drop(lock);
    });
    thread.map_err(|error| OpenError::Folder { path, error })
}

impl Writer {
    fn commit(&mut self, batch: Vec<Op>) {
        let operations = batch.len() as u64;
        let (seq, depth) = (self.seq, self.depth);
        let mut replies: Vec<After> = Vec::with_capacity(batch.len());
        let mut done = self.connection.execute_batch("BEGIN IMMEDIATE");
        for op in batch {
            match done {
                Ok(()) => done = self.apply(op, &mut replies),
                Err(_) => replies.push(refused(op)),
            }
        }
        let counted = done.and_then(|()| self.count());
        let done = counted.and_then(|()| self.connection.execute_batch("COMMIT"));
        let done = done.map_err(|error| {
            (self.seq, self.depth) = (seq, depth);
            self.running.extend(self.freed.drain(..)); // whoever ran them hears of the error, and lets go once more
            for id in self.claimed.drain(..) {
                self.running.remove(&id);
            }
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK"); // what fails here has rolled back by itself
            }
            let error = StoreError::from(error);
            tracing::error!(%error, operations, "a commit of the gateway's store failed");
            error
        });
        self.claimed.clear();
        self.freed.clear();
        for reply in replies {
            reply(done.as_ref().map(|()| ()));
        }
        self.gauges.operations.fetch_add(operations, Ordering::Relaxed);
        self.gauges.commits.fetch_add(1, Ordering::Relaxed);
        self.bound_log();
    }

    /// The log begins anew once nothing of it is needed; the checkpoint beside has done nearly all of it.
    fn bound_log(&self) {
        let log = self.path.with_extension("sqlite-wal");
        if std::fs::metadata(log).is_ok_and(|about| about.len() > LOG_BYTES_MAX) {
            let done = self.connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()));
            if let Err(error) = done {
                tracing::warn!(%error, "the log of the gateway's store could not begin anew");
            }
        }
    }

    fn count(&self) -> rusqlite::Result<()> {
        self.gauges.outbox.store(self.depth, Ordering::Relaxed);
        self.gauges.oldest_us.store(outbox::oldest_us(&self.connection)?, Ordering::Relaxed);
        Ok(())
    }

    fn keep(&mut self, events: &[Kept], now_us: i64) -> rusqlite::Result<()> {
        outbox::keep(&self.connection, &mut self.seq, events, now_us)?;
        self.depth += events.len() as u64;
        Ok(())
    }

    fn apply(&mut self, op: Op, replies: &mut Vec<After>) -> rusqlite::Result<()> {
        let connection = &self.connection;
        match op {
            Op::Begin(begin, reply) => return self.begin(&begin, reply, replies),
            Op::Again { id, now_us, reply } => {
                replies.push(after(reply, requests::again(connection, id, now_us)?));
            }
            Op::End(end, reply) => {
                self.keep(end.event.as_slice(), end.now_us)?;
                requests::end(&self.connection, &end)?;
                self.ended(end.id, end.then, replies);
                replies.push(after(reply, ()));
            }
            Op::Release(id) => {
                requests::abandon(connection, id)?;
                self.free(id);
                self.tell(id, replies, || Begun::Unfinished);
            }
            Op::Due { now_us, max, reply } => {
                let mut due = requests::due(connection, now_us, max.saturating_add(self.running.len()))?;
                due.retain(|known| !self.running.contains(&known.id));
                due.truncate(max);
                self.running.extend(due.iter().map(|known| known.id));
                self.claimed.extend(due.iter().map(|known| known.id));
                self.gauges.unresolved.store(requests::unresolved(connection)?, Ordering::Relaxed);
                replies.push(after(reply, due));
            }
            Op::Keep(events, reply) => {
                self.keep(&events, now_us())?;
                replies.push(after(reply, ()));
            }
            Op::Take { after: behind, max, reply } => {
                replies.push(after(reply, outbox::take(connection, behind, max)?));
            }
            Op::Acknowledged(seqs, reply) => {
                self.depth = self.depth.saturating_sub(outbox::acknowledged(connection, &seqs)?);
                replies.push(after(reply, ()));
            }
            Op::Sweep { before_us, reply } => {
                replies.push(after(reply, requests::sweep(connection, before_us)?));
            }
            Op::FlowGet { id, reply } => replies.push(after(reply, flows::get(connection, &id)?)),
            Op::FlowPut(row, events, reply) => {
                let written = flows::put(connection, &row)?;
                if written {
                    self.keep(&events, row.updated_us)?;
                }
                replies.push(after(reply, written));
            }
            Op::FlowsDue { now_us, max, reply } => {
                replies.push(after(reply, flows::due(connection, now_us, max)?));
            }
            Op::FlowStates { reply } => replies.push(after(reply, flows::states(connection)?)),
        }
        Ok(())
    }

    fn begin(
        &mut self,
        begin: &Begin,
        reply: Reply<Begun>,
        replies: &mut Vec<After>,
    ) -> rusqlite::Result<()> {
        let begun = match requests::find(&self.connection, begin)? {
            Found::Conflict => Begun::Conflict,
            Found::Done { status, answer } => Begun::Done { status, answer },
            Found::Known(known) if self.running.contains(&known.id) => {
                self.waiting.entry(known.id).or_default().push(reply);
                return Ok(());
            }
            Found::None | Found::Known(_) if !begin.may_start => Begun::Left,
            Found::Known(known) => {
                self.claim(known.id);
                Begun::Open(*known)
            }
            Found::None => {
                let id = requests::insert(&self.connection, begin)?;
                self.claim(id);
                Begun::Fresh(id)
            }
        };
        replies.push(after(reply, begun));
        Ok(())
    }

    fn claim(&mut self, id: i64) {
        self.running.insert(id);
        self.claimed.push(id);
    }

    fn free(&mut self, id: i64) {
        if self.running.remove(&id) {
            self.freed.push(id);
        }
    }

    /// Whoever ran a request is through with it, unless it tries again.
    fn ended(&mut self, id: i64, then: Then, replies: &mut Vec<After>) {
        match then {
            Then::Retry { .. } => {}
            Then::Leave { .. } => {
                self.free(id);
                self.tell(id, replies, || Begun::Unfinished);
            }
            Then::Answer { status, answer, .. } => {
                self.free(id);
                self.tell(id, replies, || Begun::Done { status, answer: answer.clone() });
            }
        }
    }

    fn tell(&mut self, id: i64, replies: &mut Vec<After>, begun: impl Fn() -> Begun) {
        for reply in self.waiting.remove(&id).unwrap_or_default() {
            replies.push(after(reply, begun()));
        }
    }
}

/// Sends a value once it is committed, or why it is not.
fn after<T: Send + 'static>(reply: Reply<T>, value: T) -> After {
    Box::new(move |done| {
        let _ = reply.send(done.map(|()| value).map_err(Clone::clone)); // whoever asked may have gone
    })
}

/// The reply to an operation of a transaction that has failed already.
fn refused(op: Op) -> After {
    fn tell<T: Send + 'static>(reply: Reply<T>) -> After {
        Box::new(move |done| {
            let error = done.err().cloned().unwrap_or(StoreError::Closed);
            let _ = reply.send(Err(error)); // whoever asked may have gone
        })
    }
    match op {
        Op::Begin(_, reply) => tell(reply),
        Op::Again { reply, .. } => tell(reply),
        Op::End(_, reply) | Op::Keep(_, reply) | Op::Acknowledged(_, reply) => tell(reply),
        Op::Release(_) => Box::new(|_| {}),
        Op::Due { reply, .. } => tell(reply),
        Op::Take { reply, .. } => tell(reply),
        Op::Sweep { reply, .. } => tell(reply),
        Op::FlowGet { reply, .. } => tell(reply),
        Op::FlowPut(_, _, reply) => tell(reply),
        Op::FlowsDue { reply, .. } => tell(reply),
        Op::FlowStates { reply } => tell(reply),
    }
}
