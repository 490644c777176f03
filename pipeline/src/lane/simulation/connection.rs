//! A process's connections: what a lane asks of Kafka and ClickHouse, answered by the world, late, wrongly or never.

use super::scheduler::{Chance, Owner, lock};
use super::store::Rows;
use super::world::World;
use crate::clock;
use crate::lane::outside::{Marks, Outside};
use crate::source::{GapError, IdentityError, Partition};
use crate::write::{Sink, StepError};
use arrow_array::RecordBatch;
use std::collections::{BTreeMap, VecDeque};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;
use tally_sinks::rows::{DeadLetter, Gap, Origin};
use tally_sinks::{Insert, Receipts, StoreError, Taken};
use tokio::sync::oneshot;
use uuid::Uuid;

/// Where a partition is fetched from.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Fetch {
    /// `None` until a lane has said where it starts.
    pub(super) position: Option<i64>,
    pub(super) paused: bool,
    /// What is fetched waits at the client.
    pub(super) held: bool,
    /// The end was told, and nothing came since.
    pub(super) ended: bool,
}

/// The connections of one process.
#[derive(Clone, Debug)]
pub(super) struct Connection {
    pub(super) owner: Owner,
    pub(super) world: Arc<Mutex<World>>,
    pub(super) state: Arc<State>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) fetches: Mutex<BTreeMap<i32, Fetch>>,
    /// The topic as this consumer first met it.
    pub(super) met: Mutex<Option<Uuid>>,
    pub(super) stale: AtomicBool,
    /// Under which the process is a member.
    pub(super) generation: Mutex<u64>,
    /// Commits on their way: they arrive in this order, as over one socket.
    commits: Mutex<VecDeque<(i32, i64, Uuid)>>,
}

/// What becomes of a request to the store.
enum Fate {
    /// It does not arrive.
    Lost,
    /// The server refuses it for a while.
    Refused(u32),
    /// It is done only if the process lives until its last byte is sent.
    Sent,
    /// The server does it, whoever still waits; its answer may be lost.
    Served { answered: bool },
}

impl Connection {
    fn world(&self) -> MutexGuard<'_, World> {
        lock(&self.world)
    }

    /// A moment at which the process may die.
    pub(super) async fn point(&self, name: &'static str) {
        let dies = {
            let mut world = self.world();
            world.note(name, [self.owner.into(), 0, 0]);
            let permille = world.deaths_permille;
            let dies = world.troubled && world.chance.permille(permille);
            if dies {
                world.note("dies", [self.owner.into(), 0, 0]);
                world.kill(self.owner);
            }
            dies
        };
        if dies {
            std::future::pending::<()>().await;
        }
    }

    /// An answer of a server takes this long.
    async fn wait(&self, low: u64, high: u64) {
        let time = self.world().chance.millis(low, high);
        clock::sleep(time).await;
    }

    /// Kafka answers, or says why not.
    async fn ask_kafka(&self, what: &'static str) -> Result<(), String> {
        self.point(what).await;
        self.wait(0, 8).await;
        let mut world = self.world();
        if world.kafka.down || world.fails() {
            return Err(format!("{what}: no answer"));
        }
        Ok(())
    }

    fn fate(&self) -> Fate {
        let mut world = self.world();
        if world.store.down {
            return Fate::Lost;
        }
        let failures = world.failures_permille;
        if !world.troubled || !world.chance.permille(failures) {
            return if world.chance.permille(500) { Fate::Sent } else { Fate::Served { answered: true } };
        }
        match world.chance.below(4) {
            0 => Fate::Lost,
            1 => Fate::Refused([252, 202, 242][world.chance.place(3)]),
            _ => Fate::Served { answered: false },
        }
    }

    async fn apply(&self, table: &'static str, token: &str, rows: &Rows, time: Duration) -> Applied {
        let before = self.world().store.starts;
        clock::sleep(time).await;
        let mut world = self.world();
        if world.store.down || world.store.starts != before {
            return Err(StoreError::Unanswered("the server went away".to_owned()));
        }
        world.apply(table, token, rows)
    }
}

type Applied = Result<(), StoreError>;

fn known(table: &str) -> &'static str {
    let all = ["task_events", "dead_letters", "gaps", "audit_log"];
    all.into_iter().find(|one| *one == table).unwrap_or_else(|| panic!("no table {table}"))
}

impl Insert for Connection {
    async fn insert(&self, table: &str, token: &str, batches: &[RecordBatch]) -> Applied {
        self.point("before an insert").await;
        let (table, rows) = (known(table), Rows::read(table, batches));
        let unanswered = || StoreError::Unanswered("no answer".to_owned());
        let (fate, time) = (self.fate(), self.world().chance.millis(0, 25));
        let done = match fate {
            Fate::Lost => {
                clock::sleep(time).await;
                Err(unanswered())
            }
            Fate::Refused(code) => {
                clock::sleep(time).await;
                Err(StoreError::Exception { code, message: "not now".to_owned() })
            }
            Fate::Sent => self.apply(table, token, &rows, time).await,
            Fate::Served { answered } => {
                // what nobody waits for any more may be done much later: a server that is slow, a zombie's last words
                let late = if answered { 0 } else { self.world().chance.below(4) * 1500 };
                let time = time + Duration::from_millis(late);
                let (reply, answer) = oneshot::channel();
                let (server, token) = (self.clone(), token.to_owned());
                self.world().spawn(0, async move {
                    let done = server.apply(table, &token, &rows, time).await;
                    let _ = reply.send(done); // nobody may wait any more
                });
                let patience = if answered { Duration::from_secs(60) } else { Duration::from_millis(20) };
                let answer = clock::within(patience, answer).await;
                answer.filter(|_| answered).and_then(Result::ok).unwrap_or_else(|| Err(unanswered()))
            }
        };
        self.point("after an insert").await;
        done
    }
}

impl Sink for Connection {
    async fn send(
        &self,
        origin: &Origin,
        letters: &[&DeadLetter],
        told: &(dyn Fn(&DeadLetter) + Sync),
    ) -> Result<(), StepError> {
        let failed = || StepError::Store(StoreError::Unanswered("no acknowledgement".to_owned()));
        for letter in letters {
            self.ask_kafka("before a letter is sent").await.map_err(|_| failed())?;
            self.world().told((origin.topic_id, origin.partition, letter.offset));
            self.point("before a letter's acknowledgement").await;
            if self.world().fails() {
                return Err(failed());
            }
            told(letter);
        }
        self.point("after the letters").await;
        Ok(())
    }
}

impl Outside for Connection {
    async fn identity(&self, _topic: &str) -> Result<Uuid, IdentityError> {
        self.ask_kafka("identity").await.map_err(IdentityError::Unanswered)?;
        let id = self.world().kafka.topic_id;
        if *lock(&self.state.met).get_or_insert(id) != id {
            self.state.stale.store(true, Ordering::Relaxed);
        }
        Ok(id)
    }

    fn is_stale(&self) -> bool {
        self.state.stale.load(Ordering::Relaxed)
    }

    async fn marks(&self, partition: &Partition) -> Result<Marks, String> {
        self.ask_kafka("watermarks").await?;
        let (id, low, high) = {
            let mut world = self.world();
            let log = world.kafka.log(partition.number);
            let (low, high) = (log.low, log.high());
            (world.kafka.topic_id, low, high)
        };
        self.ask_kafka("commit asked for").await?;
        let mut world = self.world();
        let committed = world.kafka.committed.get(&partition.number).copied();
        if committed.is_none_or(|(_, of)| of != Some(id)) {
            let before = world.kafka.before_us.entry((id, partition.number)).or_default();
            *before = low.max(*before);
        }
        Ok(Marks { low, high, committed })
    }

    async fn fetch_from(
        &self,
        partition: &Partition,
        open: impl FnOnce() -> Option<i64> + Send + 'static,
    ) -> Result<(), String> {
        if let Err(error) = self.ask_kafka("seek").await {
            self.state.stale.store(true, Ordering::Relaxed); // as a seek that fails does
            return Err(error);
        }
        let mut fetches = lock(&self.state.fetches);
        let Some(position) = open() else { return Ok(()) };
        let held = fetches.get(&partition.number).is_some_and(|fetch| fetch.held);
        let fetch = Fetch { position: Some(position), paused: false, held, ended: false };
        fetches.insert(partition.number, fetch);
        drop(fetches);
        let failed = {
            let mut world = self.world();
            world.fails() && world.chance.permille(300)
        };
        if failed {
            lock(&self.state.fetches).remove(&partition.number);
            self.state.stale.store(true, Ordering::Relaxed);
            return Err("the partition cannot be sought".to_owned());
        }
        Ok(())
    }

    fn hold(&self, partition: &Partition, holds: bool) {
        lock(&self.state.fetches).entry(partition.number).or_default().held = holds;
    }

    async fn pause(&self, partition: &Partition) -> Result<(), String> {
        if let Some(fetch) = lock(&self.state.fetches).get_mut(&partition.number) {
            fetch.paused = true;
        }
        Ok(())
    }

    async fn read_again(&self, partition: &Partition, gaps: &[Gap]) -> Result<(), GapError> {
        self.ask_kafka("read again").await.map_err(GapError::Unread)?;
        let mut world = self.world();
        let log = world.kafka.log(partition.number);
        if gaps.iter().any(|gap| gap.first < log.low || gap.next > log.high()) {
            return Err(GapError::Unread("out of range".to_owned()));
        }
        let mut offsets = gaps.iter().flat_map(|gap| gap.first..gap.next);
        match offsets.find(|offset| log.entry(*offset).is_some()) {
            None => Ok(()),
            Some(offset) => Err(GapError::PassedOver(offset)),
        }
    }

    async fn commit(
        &self,
        partition: &Partition,
        next: i64,
        topic_id: Uuid,
        wait: bool,
    ) -> Result<(), String> {
        self.point("before a commit").await;
        let (lost, time) = {
            let mut world = self.world();
            let lost = world.commits_to_lose > 0;
            world.commits_to_lose -= u64::from(lost);
            (lost || world.fails() || world.kafka.down, world.chance.millis(0, 30))
        };
        if lost {
            return if wait { Err("no answer".to_owned()) } else { Ok(()) };
        }
        let (broker, generation) = (self.clone(), *lock(&self.state.generation));
        lock(&self.state.commits).push_back((partition.number, next, topic_id));
        let (reply, answer) = oneshot::channel::<()>();
        self.world().spawn(0, async move {
            clock::sleep(time).await;
            let Some((number, next, topic_id)) = lock(&broker.state.commits).pop_front() else { return };
            let mut world = broker.world();
            let member = world.kafka.members.get(&broker.owner);
            let is_member = member.is_some_and(|member| member.generation == generation);
            // a broker refuses who is no member; this one is now and then more lenient than a broker
            if is_member || (world.troubled && world.chance.permille(300)) {
                world.commit(number, next, topic_id);
            }
            let _ = reply.send(()); // only the last one waits
        });
        if wait {
            let _ = answer.await; // the broker's task always answers
        }
        self.point("after a commit").await;
        Ok(())
    }

    async fn receipts(&self, _facts: &str, place: (Uuid, i32), from: i64) -> Result<Receipts, StoreError> {
        self.point("receipts asked for").await;
        let unanswered = || StoreError::Unanswered("no answer".to_owned());
        self.wait(0, 20).await;
        if self.world().store.down || self.world().fails() {
            return Err(unanswered());
        }
        let open = self.world().store.unattested(place, from);
        self.wait(0, 20).await;
        if self.world().store.down {
            return Err(unanswered());
        }
        let done = self.world().store.done(place, from);
        self.point("receipts read").await;
        Ok(Receipts { done, ..open })
    }

    fn may_lag(&self) -> bool {
        false
    }

    async fn last_receipt(&self, place: (Uuid, i32), below: i64) -> Result<Option<Taken>, StoreError> {
        self.wait(0, 20).await;
        if self.world().store.down || self.world().fails() {
            return Err(StoreError::Unanswered("no answer".to_owned()));
        }
        Ok(self.world().store.last_receipt(place, below))
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        self.wait(0, 3).await;
        let done = work();
        self.point("judged").await;
        Ok(done)
    }
}

/// A draw that belongs to nobody: for those who must not hold the world meanwhile.
pub(super) fn draw(world: &Arc<Mutex<World>>) -> Chance {
    Chance(lock(world).chance.below(u64::MAX))
}
