//! A scheduler that draws the next task from a seed, and a clock that moves when nobody can go on.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

thread_local! {
    static CLOCK: RefCell<Option<Arc<Clock>>> = const { RefCell::new(None) };
}

/// The clock of the simulation that runs on this thread.
pub(crate) fn simulated_clock() -> Option<Arc<Clock>> {
    CLOCK.with(|clock| clock.borrow().clone())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A splitmix64: all chance of one run.
#[derive(Clone, Debug)]
pub(super) struct Chance(pub(super) u64);

impl Chance {
    /// A number below that; 0 for 0.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)).checked_rem(bound).unwrap_or(0)
    }

    /// A number in low..=high.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// A place in a list of that length.
    pub(super) fn place(&mut self, length: usize) -> usize {
        usize::try_from(self.below(length as u64)).expect("below a length")
    }

    /// True so many times out of a thousand.
    pub(super) fn permille(&mut self, permille: u64) -> bool {
        self.below(1000) < permille
    }

    pub(super) fn millis(&mut self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }
}

/// A clock that stands still until it is moved.
#[derive(Debug)]
pub(crate) struct Clock {
    born: Instant,
    timers: Mutex<Timers>,
}

#[derive(Debug, Default)]
struct Timers {
    now: Duration,
    number: u64,
    due: BinaryHeap<std::cmp::Reverse<(Duration, u64)>>,
    wakers: BTreeMap<u64, Waker>,
}

impl Clock {
    pub(crate) fn now(&self) -> Instant {
        self.born + self.elapsed()
    }

    /// Simulated time since the run began.
    pub(super) fn elapsed(&self) -> Duration {
        lock(&self.timers).now
    }

    pub(crate) fn sleep(self: Arc<Self>, time: Duration) -> impl Future<Output = ()> + Send {
        let due = self.elapsed() + time;
        let mut number = None;
        std::future::poll_fn(move |context| {
            let mut timers = lock(&self.timers);
            if timers.now >= due {
                return Poll::Ready(());
            }
            let number = *number.get_or_insert_with(|| {
                timers.number += 1;
                let number = timers.number;
                timers.due.push(std::cmp::Reverse((due, number)));
                number
            });
            timers.wakers.insert(number, context.waker().clone());
            Poll::Pending
        })
    }

    /// Moves to the next moment at which somebody wants to be woken; false where nobody does.
    fn advance(&self) -> bool {
        let mut timers = lock(&self.timers);
        let Some(std::cmp::Reverse((due, number))) = timers.due.pop() else { return false };
        timers.now = timers.now.max(due);
        let mut wake: Vec<Waker> = timers.wakers.remove(&number).into_iter().collect();
        while let Some(std::cmp::Reverse((also, number))) = timers.due.peek().copied() {
            if also > due {
                break;
            }
            timers.due.pop();
            wake.extend(timers.wakers.remove(&number));
        }
        drop(timers);
        wake.into_iter().for_each(Waker::wake);
        true
    }
}

/// A process of the simulation; 0 is the servers' and the schedule's own.
pub(super) type Owner = u32;
type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What is to be started, killed and frozen.
#[derive(Default)]
pub(super) struct Orders {
    pub(super) spawn: Vec<(Owner, Work)>,
    pub(super) kill: BTreeSet<Owner>,
    pub(super) frozen: BTreeSet<Owner>,
}

impl std::fmt::Debug for Orders {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Orders({} to start)", self.spawn.len())
    }
}

struct Ready(Mutex<BTreeSet<u64>>);

struct TaskWaker {
    number: u64,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        lock(&self.ready.0).insert(self.number);
    }
}

/// Runs `main` and whatever it orders until `main` ends. Returns the scheduler's steps; `None` where everybody waits for
/// something that never comes.
pub(super) fn run(
    clock: &Arc<Clock>,
    mut chance: Chance,
    orders: &Arc<Mutex<Orders>>,
    main: impl Future<Output = ()> + Send + 'static,
) -> Option<u64> {
    CLOCK.with(|slot| *slot.borrow_mut() = Some(clock.clone()));
    let ready = Arc::new(Ready(Mutex::default()));
    let mut tasks: BTreeMap<u64, (Owner, Work, Waker)> = BTreeMap::new();
    let (mut number, mut steps) = (0, 0);
    lock(orders).spawn.insert(0, (0, Box::pin(main)));
    let ended = loop {
        let (spawn, kill, frozen) = {
            let mut orders = lock(orders);
            let spawn = std::mem::take(&mut orders.spawn);
            (spawn, std::mem::take(&mut orders.kill), orders.frozen.clone())
        };
        for (owner, work) in spawn {
            let waker = Waker::from(Arc::new(TaskWaker { number, ready: ready.clone() }));
            tasks.insert(number, (owner, work, waker));
            lock(&ready.0).insert(number);
            number += 1;
        }
        if !kill.is_empty() {
            tasks.retain(|_, (owner, _, _)| !kill.contains(owner));
            continue; // what was dropped may have woken others
        }
        let next = {
            let mut ready = lock(&ready.0);
            ready.retain(|number| tasks.contains_key(number));
            let able = ready.iter().filter(|n| tasks.get(n).is_some_and(|task| !frozen.contains(&task.0)));
            let able: Vec<u64> = able.copied().collect();
            let next = (!able.is_empty()).then(|| able[chance.place(able.len())]);
            next.inspect(|next| _ = ready.remove(next))
        };
        let Some(next) = next else {
            if clock.advance() {
                continue;
            }
            break None;
        };
        steps += 1;
        let Some((_, work, waker)) = tasks.get_mut(&next) else { continue };
        if work.as_mut().poll(&mut Context::from_waker(waker)).is_ready() {
            tasks.remove(&next);
            if next == 0 {
                break Some(steps);
            }
        }
    };
    drop(tasks);
    CLOCK.with(|slot| *slot.borrow_mut() = None);
    ended
}

pub(super) fn clock() -> Arc<Clock> {
    Arc::new(Clock { born: Instant::now(), timers: Mutex::default() })
}
