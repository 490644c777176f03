//! The schedule of one run: what is published and what goes wrong, from its seed; then quiet, and the balance.

use super::messages::{STRICT_BYTES_MAX, messages};
use super::process;
use super::scheduler::{Chance, Orders, Owner, clock as new_clock, lock, run};
use super::store::Store;
use super::world::{History, Kafka, World};
use crate::clock;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use uuid::Uuid;

/// How long the world may take to come to rest once nothing goes wrong any more.
const QUIET_SECONDS_MAX: u64 = 120;

/// Bounds that every message keeps, bytes of a value.
const LENIENT_BYTES_MAX: usize = 1 << 20;

/// How a run ended.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The rule that was broken.
    pub(super) broken: Option<String>,
    /// Its whole history as a number.
    pub(super) history: u64,
    /// The history in words, where it was asked for.
    pub(super) lines: Vec<String>,
    /// Steps of the scheduler.
    pub(super) steps: u64,
}

/// Something that happens to the world.
#[derive(Clone, Copy, Debug)]
enum Happening {
    Publish,
    Kill,
    Join,
    Freeze,
    Rebalance,
    StoreRestarts,
    KafkaIsAway,
    Retention,
    CreatedAnew,
    Merge,
    Constraint,
    Bounds,
}

/// Runs one seed; `told`: with its history in words.
pub(super) fn follow(seed: u64, told: bool) -> Outcome {
    let mut chance = Chance(seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ 0x7a11);
    let mut world = empty(&mut chance);
    world.history = History { number: seed, lines: told.then(Vec::new) };
    let calm = chance.permille(100); // some runs see little else than their happenings
    world.troubled = true;
    world.deaths_permille = if calm { 0 } else { chance.below(20) };
    world.failures_permille = if calm { 0 } else { chance.below(120) };
    play(world, chance, live)
}

/// One record is taken and its commit is lost; nothing else goes wrong, and nothing follows.
pub(super) fn lose_a_commit() -> Outcome {
    let mut chance = Chance(1);
    let mut world = empty(&mut chance);
    world.commits_to_lose = 1;
    world.kafka.partitions = 1;
    world.kafka.log(0).push(Some((0, 1_741_000_000_000)));
    play(world, chance, async |world, chance| {
        let mut fleet = Fleet::new(world, chance);
        fleet.calm().await;
    })
}

/// A world in which nothing was published yet and nothing goes wrong.
fn empty(chance: &mut Chance) -> World {
    let mut world = World {
        clock: new_clock(),
        orders: Arc::new(Mutex::new(Orders::default())),
        history: History { number: 0, lines: None },
        kafka: Kafka {
            topic_id: id(1),
            partitions: if chance.permille(500) { 1 } else { 2 + i32::from(chance.permille(300)) },
            ..Kafka::default()
        },
        store: Store { tokens_max: chance.place(12), constraint: chance.permille(500), ..Store::default() },
        troubled: false,
        deaths_permille: 0,
        failures_permille: 0,
        value_bytes_max: LENIENT_BYTES_MAX,
        commits_to_lose: 0,
        dead: Vec::new(),
        broken: None,
        chance: Chance(chance.below(u64::MAX)),
    };
    for partition in 0..world.kafka.partitions {
        world.kafka.log(partition);
    }
    world
}

fn play<F: Future<Output = ()> + Send + 'static>(
    world: World,
    mut chance: Chance,
    life: impl FnOnce(Arc<Mutex<World>>, Chance) -> F,
) -> Outcome {
    let (clock, orders) = (world.clock.clone(), world.orders.clone());
    let world = Arc::new(Mutex::new(world));
    let scheduling = Chance(chance.below(u64::MAX));
    let steps = run(&clock, scheduling, &orders, life(world.clone(), chance));
    let mut world = lock(&world);
    world.rule(steps.is_some(), || "everybody waits for ever".to_owned());
    Outcome {
        broken: world.broken.take(),
        history: world.history.number,
        lines: world.history.lines.take().unwrap_or_default(),
        steps: steps.unwrap_or_default(),
    }
}

fn id(generation: u64) -> Uuid {
    Uuid::from_u64_pair(0x5111, generation)
}

/// The processes there are, and who lets things happen to them.
struct Fleet {
    world: Arc<Mutex<World>>,
    processes: Vec<Owner>,
    next: Owner,
    generation: u64,
    chance: Chance,
    /// In this life an operator changes what the store refuses. Then nobody is frozen: who judges one offset at the same
    /// time and differently makes two of it, which is a known bound.
    has_operator: bool,
}

async fn live(world: Arc<Mutex<World>>, chance: Chance) {
    let mut fleet = Fleet::new(world, chance);
    for _ in 0..=fleet.chance.place(2) {
        fleet.start();
    }
    let happenings = fleet.chance.between(12, 40);
    for _ in 0..happenings {
        let time = fleet.chance.millis(0, 600);
        clock::sleep(time).await;
        if lock(&fleet.world).broken.is_some() {
            return;
        }
        fleet.reap();
        let happening = fleet.draw();
        fleet.let_happen(happening);
    }
    fleet.calm().await;
}

impl Fleet {
    fn new(world: Arc<Mutex<World>>, mut chance: Chance) -> Fleet {
        let has_operator = chance.permille(300);
        Fleet { world, processes: Vec::new(), next: 1, generation: 1, chance, has_operator }
    }

    fn start(&mut self) {
        process::start(self.next, &self.world);
        self.processes.push(self.next);
        self.next += 1;
    }

    /// A process that died at a point is replaced, soon or later.
    fn reap(&mut self) {
        let dead: Vec<Owner> = {
            let mut world = lock(&self.world);
            std::mem::take(&mut world.dead)
        };
        self.processes.retain(|one| !dead.contains(one));
        if self.processes.is_empty() || (self.processes.len() < 2 && self.chance.permille(300)) {
            self.start();
        }
    }

    fn draw(&mut self) -> Happening {
        match self.chance.below(100) {
            0..40 => Happening::Publish,
            40..50 => Happening::Kill,
            50..58 => Happening::Join,
            58..63 if self.has_operator => Happening::Constraint,
            63..68 if self.has_operator => Happening::Bounds,
            58..68 => Happening::Freeze,
            68..76 => Happening::Rebalance,
            76..82 => Happening::StoreRestarts,
            82..86 => Happening::KafkaIsAway,
            86..90 => Happening::Retention,
            90..92 => Happening::CreatedAnew,
            _ => Happening::Merge,
        }
    }

    fn let_happen(&mut self, happening: Happening) {
        let shared = self.world.clone();
        let mut world = lock(&shared);
        match happening {
            Happening::Publish => {
                let partition = self.chance.below(world.kafka.partitions.unsigned_abs().into());
                self.publish(&mut world, i32::try_from(partition).expect("few partitions"));
            }
            Happening::Kill => {
                if let Some(one) = self.one() {
                    world.note("killed", [one.into(), 0, 0]);
                    world.kill(one);
                }
            }
            Happening::Join if self.processes.len() < 4 => {
                drop(world);
                self.start();
            }
            Happening::Join => {}
            Happening::Freeze => {
                if let Some(one) = self.one() {
                    let time = self.chance.millis(100, 6000);
                    world.note("frozen", [one.into(), time.as_millis() as i64, 0]);
                    lock(&world.orders).frozen.insert(one);
                    let orders = world.orders.clone();
                    world.spawn(0, async move {
                        clock::sleep(time).await;
                        lock(&orders).frozen.remove(&one);
                    });
                }
            }
            Happening::Rebalance => world.kafka.turn += 1,
            Happening::StoreRestarts => {
                world.note("the store is away", [0; 3]);
                world.store.down = true;
                world.store.starts += 1;
                self.later(&world, |world| world.store.down = false);
            }
            Happening::KafkaIsAway => {
                world.note("kafka is away", [0; 3]);
                world.kafka.down = true;
                self.later(&world, |world| world.kafka.down = false);
            }
            Happening::Retention => {
                let log = world.kafka.log(0);
                log.low += self.chance.below((log.high() - log.low).unsigned_abs() + 1).cast_signed();
                let low = log.low;
                world.note("retention", [0, low, 0]);
            }
            Happening::CreatedAnew => {
                self.generation += 1;
                world.note("created anew", [self.generation.cast_signed(), 0, 0]);
                world.kafka.topic_id = id(self.generation);
                for partition in 0..world.kafka.partitions {
                    world.kafka.log(partition);
                    self.publish(&mut world, partition);
                }
            }
            Happening::Merge => world.store.merge(),
            Happening::Bounds => {
                world.value_bytes_max = match world.value_bytes_max {
                    LENIENT_BYTES_MAX => STRICT_BYTES_MAX,
                    _ => LENIENT_BYTES_MAX,
                };
                drop(world);
                self.start_anew();
            }
            Happening::Constraint => {
                world.store.starts += 1; // what is under way would be judged by the rules of before
                world.store.constraint = !world.store.constraint;
                let holds = world.store.constraint.into();
                world.note("the constraint", [holds, 0, 0]);
            }
        }
    }

    /// All processes end at once and others start, as where a configuration is changed.
    fn start_anew(&mut self) {
        {
            let mut world = lock(&self.world);
            let bounds = i64::try_from(world.value_bytes_max).unwrap_or(i64::MAX);
            world.note("all start anew", [bounds, 0, 0]);
            world.store.starts += 1; // what is under way was judged by the bounds of before
            self.processes.drain(..).for_each(|one| world.kill(one));
        }
        self.start();
    }

    fn one(&mut self) -> Option<Owner> {
        let place = self.chance.place(self.processes.len());
        self.processes.get(place).copied()
    }

    fn later(&mut self, world: &World, end: impl FnOnce(&mut World) + Send + 'static) {
        let (time, shared) = (self.chance.millis(50, 4000), self.world.clone());
        world.spawn(0, async move {
            clock::sleep(time).await;
            end(&mut lock(&shared));
        });
    }

    /// Some messages, or a transaction that ends with a marker, whole or aborted.
    fn publish(&mut self, world: &mut World, partition: i32) {
        let (transaction, aborted) = (self.chance.permille(200), self.chance.permille(500));
        let number = self.chance.between(1, 12);
        let clock = world.clock.elapsed().as_millis() as i64;
        let log = world.kafka.log(partition);
        for _ in 0..number {
            let message = self.chance.place(messages().len());
            // services' clocks are askew, and so times of one partition do not rise
            let at_ms = 1_741_000_000_000 + clock - self.chance.below(50).cast_signed();
            log.push((!(transaction && aborted)).then_some((message, at_ms)));
        }
        if transaction {
            log.push(None);
        }
        let high = log.high();
        world.note("published", [partition.into(), high, number.cast_signed()]);
    }

    /// Nothing goes wrong any more: everything must come to rest, settled and committed; then the balance.
    async fn calm(&mut self) {
        {
            let mut world = lock(&self.world);
            world.note("quiet", [0; 3]);
            world.troubled = false;
            world.store.down = false;
            world.kafka.down = false;
            lock(&world.orders).frozen.clear();
        }
        self.reap();
        if self.has_operator {
            lock(&self.world).value_bytes_max = LENIENT_BYTES_MAX; // a lane that contradicts what is stored waits for that
            self.start_anew();
        } else {
            self.start();
        }
        for _ in 0..QUIET_SECONDS_MAX * 4 {
            clock::sleep(Duration::from_millis(250)).await;
            let world = lock(&self.world);
            if world.broken.is_some() {
                return;
            }
            if world.is_caught_up() {
                break;
            }
        }
        clock::sleep(Duration::from_secs(5)).await; // the last words of zombies
        let mut world = lock(&self.world);
        let caught_up = world.is_caught_up();
        world.rule(caught_up, || "it did not come to rest".to_owned());
        world.balance();
    }
}
