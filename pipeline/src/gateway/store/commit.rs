//! The writing thread: takes what waits, does it in one transaction, commits, and only then replies.

use super::open::BUSY;
use super::requests::{self, Begin, Begun, Found, Then};
use super::{Gauges, Kept, Op, OpenError, Reply, checkpoint, flows, outbox};
use crate::gateway::moment::now_us;
use rusqlite::Connection;
use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::mpsc::Receiver;

/// Operations of one commit.
const OPERATIONS_MAX: usize = 512;
/// Pages in SQLite's log from which it is to begin anew at the next checkpoint: soon, since writing over it is cheap, and making it
/// longer is not.
const LOG_FRAMES_MAX: u64 = 16_384;
/// Pages that the checkpoint beside may have left for that.
const LOG_BEHIND_MAX: u64 = 1_024;
/// From so many on it begins anew whatever was left: half a gigabyte. Calls that wait for a second are better than a full disk.
const LOG_FRAMES_LIMIT: u64 = 262_144;

/// Sends a reply once it is known whether all is committed: where it is not, most drop theirs, and whoever asked hears that it was not
/// taken.
type After = Box<dyn FnOnce(bool) + Send>;

struct Writer {
    connection: Connection,
    /// Requests that a task of this process runs.
    running: HashSet<i64>,
    /// Who waits for one of them.
    waiting: HashMap<i64, Vec<Reply<Begun>>>,
    /// What the next event gets, and how many wait.
    seq: i64,
    depth: u64,
    /// What the next request gets.
    next_id: i64,
    flows: flows::Census,
    /// Requests that were taken up, and let go, by operations that are not committed.
    claimed: Vec<i64>,
    freed: Vec<i64>,
    /// Requests that were let go of by a commit that failed: with the next one they are.
    unreleased: Vec<i64>,
    /// Requests that were taken up for somebody who had gone when it was committed.
    missed: Arc<Mutex<Vec<i64>>>,
    gauges: Arc<Gauges>,
}

pub(super) fn start(
    opened: super::open::Opened,
    mut asked: Receiver<Op>,
    gauges: Arc<Gauges>,
) -> Result<JoinHandle<()>, OpenError> {
    let super::open::Opened { connection, path, lock, durability } = opened;
    let sqlite = |error| OpenError::Sqlite { path: path.clone(), error };
    let mut writer = Writer::new(connection, gauges).map_err(sqlite)?;
    tracing::debug!(?durability, path = %path.display(), "the gateway's store is open");
    let (stop, stopped) = std::sync::mpsc::channel();
    let (checkpoints, watched) = (path.clone(), Arc::clone(&writer.gauges));
    let thread = std::thread::Builder::new().name("gateway-store".to_owned()).spawn(move || {
        let beside = std::thread::spawn(move || checkpoint::run(&checkpoints, &watched, &stopped));
        let mut batch = Vec::with_capacity(OPERATIONS_MAX);
        while asked.blocking_recv_many(&mut batch, OPERATIONS_MAX) > 0 {
            writer.commit(std::mem::take(&mut batch));
            if writer.has_missed() {
                writer.commit(Vec::new()); // they are let go at once: somebody may wait for them
            }
        }
        drop(stop);
        let _ = beside.join(); // it has said itself what was wrong
        drop(lock);
    });
    thread.map_err(|error| OpenError::Folder { path, error })
}

impl Writer {
    /// Takes up what the last process left: nobody runs anything, and what was under way is followed up.
    fn new(connection: Connection, gauges: Arc<Gauges>) -> rusqlite::Result<Writer> {
        requests::orphan(&connection, now_us())?;
        let writer = Writer {
            running: HashSet::new(),
            waiting: HashMap::new(),
            seq: outbox::next_seq(&connection)?,
            depth: outbox::depth(&connection)?,
            next_id: requests::next_id(&connection)?,
            flows: flows::Census::take(&connection)?,
            claimed: Vec::new(),
            freed: Vec::new(),
            unreleased: Vec::new(),
            missed: Arc::default(),
            gauges,
            connection,
        };
        writer.count();
        Ok(writer)
    }

    fn commit(&mut self, batch: Vec<Op>) {
        let operations = batch.len() as u64;
        let (seq, depth) = (self.seq, self.depth);
        let mut replies: Vec<After> = Vec::with_capacity(batch.len());
        let mut done = self.connection.execute_batch("BEGIN IMMEDIATE");
        let missed = std::mem::take(&mut *self.missed.lock().unwrap_or_else(PoisonError::into_inner));
        let again: Vec<Op> = self.unreleased.drain(..).chain(missed).map(Op::Release).collect();
        let mut released = Vec::new();
        for op in again.into_iter().chain(batch) {
            if let Op::Release(id) = op {
                released.push(id);
            }
            done = done.and_then(|()| self.apply(op, &mut replies));
        }
        let done = done.and_then(|()| self.connection.execute_batch("COMMIT"));
        let is_committed = done.is_ok();
        if let Err(error) = done {
            tracing::error!(%error, operations, "a commit of the gateway's store failed");
            (self.seq, self.depth) = (seq, depth);
            self.flows.rolled_back();
            self.running.extend(self.freed.drain(..)); // whoever ran them hears of it, and lets go once more
            for id in self.claimed.drain(..) {
                self.running.remove(&id);
                self.waiting.remove(&id); // nothing was sent for those who came behind it either
            }
            if !self.connection.is_autocommit() {
                let _ = self.connection.execute_batch("ROLLBACK"); // what fails here has rolled back by itself
            }
            self.unreleased = released;
        }
        self.count();
        self.flows.committed();
        self.claimed.clear();
        self.freed.clear();
        for reply in replies {
            reply(is_committed);
        }
        self.gauges.operations.fetch_add(operations, Ordering::Relaxed);
        self.gauges.commits.fetch_add(1, Ordering::Relaxed);
        self.bound_log();
    }

    /// The log begins anew once it is long and the checkpoint beside has done nearly all of it: only without a writer it can, so the
    /// writing thread does the rest, which takes as long as the disk does twice. While somebody reads the file it is left for later.
    fn bound_log(&self) {
        let behind = self.gauges.log_behind.load(Ordering::Relaxed);
        let frames = self.gauges.log_frames.load(Ordering::Relaxed);
        if (frames > LOG_FRAMES_MAX && behind < LOG_BEHIND_MAX) || frames > LOG_FRAMES_LIMIT {
            self.gauges.log_frames.store(0, Ordering::Relaxed); // until the checkpoint beside has looked again
            let at_once = |connection: &Connection| {
                connection.busy_timeout(Duration::ZERO)?;
                connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()))
            };
            let done = at_once(&self.connection).and(self.connection.busy_timeout(BUSY));
            if let Err(error) = done {
                tracing::warn!(%error, "the log of the gateway's store could not begin anew");
            }
        }
    }

    fn has_missed(&self) -> bool {
        !self.missed.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    fn count(&self) {
        self.gauges.outbox.store(self.depth, Ordering::Relaxed);
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
                // whose key was forgotten meanwhile hears that it was not taken
                if let Some(attempt) = requests::again(connection, id, now_us)? {
                    replies.push(after(reply, attempt));
                }
            }
            Op::End(end, reply) => {
                self.keep(&end.events, end.now_us)?;
                requests::end(&self.connection, &end)?;
                self.ended(end.id, end.then, replies);
                replies.push(after(reply, ()));
            }
            Op::Release(id) => {
                requests::abandon(connection, id)?;
                self.free(id);
                self.tell(id, replies, || Begun::Unfinished);
            }
            Op::Due { by, max, reply } => {
                let mut due = requests::due(connection, by, max.saturating_add(self.running.len()))?;
                due.retain(|known| !self.running.contains(&known.id));
                due.truncate(max);
                self.running.extend(due.iter().map(|known| known.id));
                self.claimed.extend(due.iter().map(|known| known.id));
                self.gauges.oldest_us.store(outbox::oldest_us(connection)?, Ordering::Relaxed);
                let (open, oldest_us) = requests::unresolved(connection)?;
                self.gauges.unresolved.store(open, Ordering::Relaxed);
                self.gauges.unresolved_oldest_us.store(oldest_us, Ordering::Relaxed);
                replies.push(self.claimed_for(reply, due, |due| due.iter().map(|known| known.id).collect()));
            }
            Op::Keep(events, reply) => {
                self.keep(&events, now_us())?;
                replies.push(after(reply, ()));
            }
            Op::Take { contract, after: behind, max, reply } => {
                replies.push(after(reply, outbox::take(connection, contract, behind, max)?));
            }
            Op::Acknowledged(contract, seqs, reply) => {
                self.depth = self.depth.saturating_sub(outbox::acknowledged(connection, contract, &seqs)?);
                replies.push(after(reply, ()));
            }
            Op::Sweep { before_us, reply } => {
                let flows = flows::sweep(connection, before_us, &mut self.flows)?;
                replies.push(after(reply, requests::sweep(connection, before_us)? + flows));
            }
            Op::FlowGet { id, reply } => replies.push(after(reply, flows::get(connection, &id)?)),
            Op::FlowPut(row, events, reply) => {
                let written = flows::put(connection, &row, &mut self.flows)?;
                if written {
                    self.keep(&events, row.updated_us)?;
                }
                replies.push(after(reply, written));
            }
            Op::FlowsDue { by, max, reply } => {
                let oldest_us = flows::oldest_busy_us(connection)?;
                self.gauges.flows_oldest_us.store(oldest_us, Ordering::Relaxed);
                replies.push(after(reply, flows::due(connection, by, max)?));
            }
            Op::FlowStates { reply } => replies.push(after(reply, self.flows.states())),
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
            Found::None if !begin.may_start => {
                Begun::Left { number: requests::refuse(&self.connection, begin, 0)?, maybe_done: false }
            }
            Found::Known(known) if !begin.may_start => {
                let number = requests::refuse(&self.connection, begin, known.numbers.latest)?;
                Begun::Left { number, maybe_done: known.maybe_done || known.open_since_us.is_some() }
            }
            Found::Known(known) => {
                self.claim(known.id);
                Begun::Open(*known)
            }
            Found::None => {
                let id = self.next_id;
                let numbers = requests::insert(&self.connection, id, begin)?;
                self.next_id += 1;
                self.claim(id);
                Begun::Fresh { id, numbers }
            }
        };
        replies.push(self.claimed_for(reply, begun, |begun| match begun {
            Begun::Fresh { id, .. } => vec![*id],
            Begun::Open(known) => vec![known.id],
            _ => Vec::new(),
        }));
        Ok(())
    }

    /// Sends what was taken up for somebody once it is committed. Whoever has gone meanwhile runs nothing: it is let go again.
    fn claimed_for<T: Send + 'static>(&self, reply: Reply<T>, value: T, ids: fn(&T) -> Vec<i64>) -> After {
        let missed = Arc::clone(&self.missed);
        Box::new(move |is_committed| {
            if !is_committed {
                return;
            }
            if let Err(value) = reply.send(value) {
                missed.lock().unwrap_or_else(PoisonError::into_inner).extend(ids(&value));
            }
        })
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

    /// Whoever waited for a request hears how it went. Where that is not committed it may have been done all the same: nobody hears that
    /// the platform was not asked.
    fn tell(&mut self, id: i64, replies: &mut Vec<After>, begun: impl Fn() -> Begun) {
        for reply in self.waiting.remove(&id).unwrap_or_default() {
            let begun = begun();
            replies.push(Box::new(move |is_committed| {
                let _ = reply.send(if is_committed { begun } else { Begun::Unfinished }); // whoever asked may have gone
            }));
        }
    }
}

/// Sends a value once it is committed.
fn after<T: Send + 'static>(reply: Reply<T>, value: T) -> After {
    Box::new(move |is_committed| {
        if is_committed {
            let _ = reply.send(value); // whoever asked may have gone
        }
    })
}

#[cfg(test)]
mod tests {
    use super::super::{Durability, StoreConfig, open};
    use super::*;
    use crate::gateway::contract::Endpoint;
    use tokio::sync::oneshot;

    /// Scenario: the disk is full while a call is written down, and while whoever runs another lets go of it; then there is room again.
    /// Somebody waits for a third one, whose end is not written either.
    /// Guarantees: the call hears of it, nothing of it stays or is counted, its key can be used, and the other is let go of; who waited is
    /// not told that nothing was done.
    #[test]
    fn a_commit_that_fails_leaves_nothing() {
        let folder = tempfile::tempdir().expect("a folder");
        let config = StoreConfig {
            folder: folder.path().to_owned(),
            durability: Durability::Process,
            outbox_events_max: 10,
            keys_kept_us: 1,
        };
        let opened = open::open(&config).expect("opened");
        let mut writer = Writer::new(opened.connection, Arc::default()).expect("a writer");
        let begin = |writer: &mut Writer| {
            let (reply, mut answer) = oneshot::channel();
            let begin = Begin {
                caller: "svc".to_owned(),
                key: "k".to_owned(),
                endpoint: Endpoint::CreditsCharge,
                digest: [0; 32],
                body: vec![b'x'; 100_000].into(),
                trace_id: None,
                role: "SERVICE".to_owned(),
                now_us: 1,
                may_start: true,
            };
            writer.commit(vec![Op::Begin(begin, reply)]);
            answer.try_recv()
        };
        let pages: i64 =
            writer.connection.query_row("PRAGMA page_count", [], |row| row.get(0)).expect("pages");
        let bound = |writer: &Writer, pages: i64| {
            let sql = format!("PRAGMA max_page_count = {pages}");
            writer.connection.query_row(&sql, [], |_| Ok(())).expect("bounded");
        };
        bound(&writer, pages);
        assert!(begin(&mut writer).is_err(), "whoever asks hears that it was not taken");
        assert!(writer.running.is_empty() && writer.depth == 0);
        writer.running.extend([77, 78]);
        let (reply, mut waited) = oneshot::channel();
        writer.waiting.insert(78, vec![reply]);
        writer.connection.execute_batch("PRAGMA query_only = 1").expect("read only");
        let flow = super::super::FlowRow {
            id: "f".to_owned(),
            kind: "compute".to_owned(),
            caller: "c".to_owned(),
            state: "HELD".to_owned(),
            version: 1,
            data: Vec::new(),
            due_us: None,
            updated_us: 1,
            busy_us: None,
            ended_us: None,
        };
        writer.flows.moved("compute", None, Some("HELD")); // as a move that was done before another one failed
        let flow = Op::FlowPut(Box::new(flow), Vec::new(), oneshot::channel().0);
        writer.commit(vec![
            Op::Release(77),
            Op::Release(78),
            Op::Keep(Vec::new(), oneshot::channel().0),
            flow,
        ]);
        assert!(writer.flows.states().is_empty(), "what is not written is not counted");
        writer.connection.execute_batch("PRAGMA query_only = 0").expect("writable");
        bound(&writer, 1 << 20);
        assert!(matches!(begin(&mut writer), Ok(Begun::Fresh { .. })));
        assert!(
            !writer.running.contains(&77),
            "what was let go of in vain is let go of with the next commit"
        );
        assert!(matches!(waited.try_recv(), Ok(Begun::Unfinished)));
        let (reply, mut waited) = oneshot::channel();
        writer.waiting.insert(79, vec![reply]);
        let mut replies = Vec::new();
        writer.ended(79, Then::Answer { status: 200, answer: Vec::new(), remember: true }, &mut replies);
        replies.into_iter().for_each(|reply| reply(false));
        assert!(matches!(waited.try_recv(), Ok(Begun::Unfinished)), "its answer was not committed");
    }
}
