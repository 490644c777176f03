//! One `tally ingest` of the simulation: a membership, a thread that fetches, and real lanes.

use super::connection::{Connection, State, draw};
use super::scheduler::{Owner, lock};
use super::world::World;
use crate::clock;
use crate::inbox::{Inbox, Limits, Put};
use crate::lane::outside::Outside;
use crate::lane::{Lane, LaneState, Places, Route};
use crate::metrics::Metrics;
use crate::slab::{Budget, Record};
use crate::source::Partition;
use crate::writers::Book;
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::Duration;
use tally_schemas::Topic;
use tokio::sync::oneshot;

/// The topic of every run.
const TOPIC: &str = "task-events";

struct Running {
    inbox: Arc<Inbox>,
    state: Arc<LaneState>,
    ended: oneshot::Receiver<()>,
}

struct Process {
    connection: Connection,
    route: Arc<Route<Connection>>,
    lanes: Mutex<BTreeMap<i32, Running>>,
    limits: Limits,
    budget: Budget,
    stop_max: Duration,
}

/// Starts a process; it works until it is killed.
pub(super) fn start(owner: Owner, world: &Arc<Mutex<World>>) {
    static METRICS: LazyLock<Metrics> = LazyLock::new(Metrics::default);
    let mut chance = draw(world);
    let connection = Connection { owner, world: world.clone(), state: Arc::new(State::default()) };
    let route = Route {
        outside: connection.clone(),
        metrics: METRICS.clone(),
        value_bytes_max: lock(world).value_bytes_max,
        in_hand: Places::new(chance.place(2) + 1),
        backlog_offsets_min: 6,
    };
    let process = Arc::new(Process {
        connection,
        route: Arc::new(route),
        lanes: Mutex::default(),
        limits: Limits { rows_max: chance.place(7) + 1, bytes_max: 1 << 20, linger: chance.millis(1, 40) },
        // of some so little that one lane's records are too much
        budget: if chance.permille(500) { Budget::default() } else { Budget::new(chance.place(3_000)) },
        stop_max: chance.millis(100, 2000),
    });
    let world = lock(world);
    world.spawn(owner, process.clone().member());
    world.spawn(owner, process.clone().fetch());
    world.spawn(owner, process.look());
}

impl Process {
    fn world(&self) -> std::sync::MutexGuard<'_, World> {
        lock(&self.connection.world)
    }

    /// Joins the group and follows what it says.
    async fn member(self: Arc<Self>) {
        let owner = self.connection.owner;
        let join = || {
            let mut world = self.world();
            let now = world.clock.elapsed();
            let generation = world.kafka.join(owner, now);
            world.note("joins", [owner.into(), generation.cast_signed(), 0]);
            *lock(&self.connection.state.generation) = generation;
            generation
        };
        let mut generation = join();
        loop {
            let (time, partitions) = {
                let mut world = self.world();
                (world.chance.millis(10, 200), world.kafka.partitions)
            };
            clock::sleep(time).await;
            let beats = {
                let mut world = self.world();
                let now = world.clock.elapsed();
                world.kafka.beat(owner, generation, now)
            };
            if !beats {
                self.let_go((0..partitions).collect(), true).await;
                generation = join();
                continue;
            }
            if self.connection.state.stale.load(Ordering::Relaxed) {
                self.let_go((0..partitions).collect(), false).await;
                self.world().kafka.leave(owner);
                lock(&self.connection.state.fetches).clear();
                *lock(&self.connection.state.met) = None;
                self.connection.state.stale.store(false, Ordering::Relaxed);
                generation = join();
                continue;
            }
            let running: Vec<i32> = lock(&self.lanes).keys().copied().collect();
            let gone = running.into_iter().filter(|at| !self.world().kafka.is_meant_for(*at, owner));
            let gone: Vec<i32> = gone.collect();
            if !gone.is_empty() {
                self.let_go(gone, false).await;
            }
            for at in 0..partitions {
                if !lock(&self.lanes).contains_key(&at) && self.world().kafka.hold(at, owner) {
                    self.begin(at);
                }
            }
        }
    }

    fn begin(&self, number: i32) {
        static BOOK: LazyLock<Arc<Book>> = LazyLock::new(|| Arc::new(Book::new(Topic::Task, None)));
        let inbox = Arc::new(Inbox::new(&self.budget, self.limits));
        let state = Arc::new(LaneState::default());
        let lane = Lane {
            route: self.route.clone(),
            book: BOOK.clone(),
            contract: Topic::Task,
            partition: Partition { topic: TOPIC.to_owned(), number },
            inbox: inbox.clone(),
            state: state.clone(),
        };
        let (done, ended) = oneshot::channel();
        lock(&self.connection.state.fetches).remove(&number);
        lock(&self.lanes).insert(number, Running { inbox, state, ended });
        let mut world = self.world();
        world.note("begins", [self.connection.owner.into(), number.into(), 0]);
        world.spawn(self.connection.owner, async move {
            Box::pin(lane.run()).await;
            let _ = done.send(()); // who let go of it may have died
        });
    }

    /// As `ingest` does: blocks are finished, or past the deadline abandoned; lost lanes commit nothing.
    async fn let_go(&self, partitions: Vec<i32>, lost: bool) {
        let deadline = clock::now() + self.stop_max;
        let lanes: Vec<(i32, Running)> =
            partitions.iter().filter_map(|at| lock(&self.lanes).remove(at).map(|lane| (*at, lane))).collect();
        for (_, lane) in &lanes {
            lane.state.stop.cancel();
            if lost {
                lane.state.abandon.cancel();
            }
        }
        for (at, mut lane) in lanes {
            let left = deadline.saturating_duration_since(clock::now());
            if clock::within(left, &mut lane.ended).await.is_none() {
                lane.state.abandon.cancel();
                let _ = lane.ended.await; // it ends at its next await
            }
            lock(&self.connection.state.fetches).remove(&at);
            let mut world = self.world();
            world.note("let go", [self.connection.owner.into(), at.into(), lost.into()]);
            world.kafka.release(at, self.connection.owner);
        }
    }

    /// Asks which topic it is, now and then, as `look` does: a lane that hears nothing would not notice a topic created anew.
    async fn look(self: Arc<Self>) {
        loop {
            clock::sleep(Duration::from_secs(2)).await;
            let _ = self.connection.identity(TOPIC).await; // the next look asks again
        }
    }

    /// Delivers what the log holds, in runs of any length; now and then once more, or with a failure, or one too few.
    async fn fetch(self: Arc<Self>) {
        loop {
            let time = self.world().chance.millis(1, 80);
            clock::sleep(time).await;
            let lanes: Vec<(i32, Arc<Inbox>)> =
                lock(&self.lanes).iter().map(|(at, lane)| (*at, lane.inbox.clone())).collect();
            for (at, inbox) in lanes.into_iter().filter(|_| self.budget.has_room()) {
                self.deliver(at, &inbox);
            }
        }
    }

    fn deliver(&self, at: i32, inbox: &Inbox) {
        let mut world = self.world();
        let mut fetches = lock(&self.connection.state.fetches);
        let Some(fetch) = fetches.get_mut(&at) else { return };
        let Some(position) = fetch.position.filter(|_| !fetch.paused && !fetch.held && !world.kafka.down)
        else {
            return;
        };
        let (again, number) = match world.troubled {
            true => (if world.chance.permille(50) { 3 } else { 0 }, world.chance.between(1, 9)),
            false => (0, 9),
        };
        let (fails, skips) = (world.fails() && world.chance.permille(200), world.fails());
        let skipped = if skips { position + world.chance.between(0, 4).cast_signed() } else { -1 };
        let log = world.kafka.log(at).clone();
        if fails || position < log.low || position > log.high() {
            drop((world, fetches));
            return inbox.deliver(|put| put(Put::Failure("out of range".to_owned())));
        }
        let end = (position + number.cast_signed()).min(log.high());
        let tells_end = end == log.high() && !(fetch.ended && end == position);
        fetch.position = Some(end);
        fetch.ended = tells_end || (fetch.ended && end == position);
        // the locks are held: as in the real source, nothing is sought while a fetch is handed over
        inbox.deliver(|put| {
            for offset in (position - again).max(log.low)..end {
                if let Some(entry) = log.entry(offset).filter(|_| offset != skipped) {
                    let value = entry.message().value.as_deref();
                    let headers = Vec::new();
                    put(Put::Record(Record {
                        offset,
                        appended_at_ms: entry.at_ms,
                        key: None,
                        value,
                        headers,
                    }));
                }
            }
            if tells_end {
                put(Put::End(end));
            }
        });
    }
}
