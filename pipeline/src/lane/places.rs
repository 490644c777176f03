//! Places in hand: so many blocks, all lanes together, may be between taking and receipt, and one fewer of them in columns, which take
//! more memory than the records that they come from. They bound the memory of a full drain, and
//! who has one has a turn: it is fetched until its block is full.

use crate::clock;
use crate::inbox::{Failure, Inbox};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// How long a lane keeps its turn while nothing comes, and how long where little comes.
const TURN: Duration = Duration::from_secs(1);
const TURN_MAX: Duration = Duration::from_secs(5);
/// Between two looks at what has come.
const LOOK: Duration = Duration::from_millis(50);

/// What a turn has filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Filled {
    /// A full block, all to the end of the log, or what came in a long turn.
    Whole,
    /// What there was memory for.
    Cut,
}

/// The places of one process.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    in_columns: Arc<Semaphore>,
    filling: Arc<AtomicUsize>,
}

/// What one block holds of them, until it is dropped or told to leave: its lane may tell it from elsewhere.
#[derive(Clone, Debug, Default)]
pub(super) struct Place(Arc<Mutex<Permits>>);

#[derive(Debug, Default)]
struct Permits {
    in_hand: Option<OwnedSemaphorePermit>,
    in_columns: Option<OwnedSemaphorePermit>,
    filling: Option<Filling>,
}

impl Place {
    /// Whether it is one.
    pub(super) fn is_held(&self) -> bool {
        self.lock().in_hand.is_some()
    }

    /// Gives back what it holds.
    pub(super) fn leave(&self) {
        *self.lock() = Permits::default();
    }

    /// Its facts are stored: what is left of its columns is small.
    pub(super) fn leave_columns(&self) {
        self.lock().in_columns = None;
    }

    /// Its records are waited for, or not any more.
    fn fills(&self, filling: Option<&Arc<AtomicUsize>>) {
        let mut permits = self.lock();
        permits.filling = filling.filter(|_| permits.in_hand.is_some()).map(Filling::new);
    }

    fn lock(&self) -> MutexGuard<'_, Permits> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Somebody who has a place and waits for records.
#[derive(Debug)]
struct Filling(Arc<AtomicUsize>);

impl Filling {
    fn new(all: &Arc<AtomicUsize>) -> Filling {
        all.fetch_add(1, Ordering::Relaxed);
        Filling(Arc::clone(all))
    }
}

impl Drop for Filling {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// So many.
    pub(crate) fn new(count: usize) -> Places {
        Places {
            free: Arc::new(Semaphore::new(count)),
            count,
            in_columns: Arc::new(Semaphore::new(count.saturating_sub(1).max(1))),
            filling: Arc::default(),
        }
    }

    /// Waits until `place` is one; first come, first served.
    pub(super) async fn enter(&self, place: &Place) {
        let permit = self.free.clone().acquire_owned().await.ok(); // it is never closed
        place.lock().in_hand = permit;
    }

    /// Waits until what is in `place` may be put into columns; at once where it is no place.
    pub(super) async fn enter_columns(&self, place: &Place) {
        if place.is_held()
            && let Ok(permit) = self.in_columns.clone().acquire_owned().await
        {
            let mut permits = place.lock();
            permits.in_columns = permits.in_hand.is_some().then_some(permit); // it may have left meanwhile
        }
    }

    /// Waits for a full block; in a place, unless the lane is stalled and has none.
    /// `None` where nothing comes although there is room for it. Where there is none, and others
    /// have blocks on their way, they are about to give some back: who gave its turn up for that would be fetched without one, and
    /// take the room of those who have.
    pub(super) async fn fill(&self, inbox: &Inbox, place: &Place) -> Option<Result<Filled, Failure>> {
        place.fills(Some(&self.filling));
        let filled = self.filled(inbox).await;
        place.fills(None);
        filled
    }

    async fn filled(&self, inbox: &Inbox) -> Option<Result<Filled, Failure>> {
        let since = |at| clock::now().saturating_duration_since(at);
        let (mut began, mut came, mut came_at) = (clock::now(), inbox.expected(), clock::now());
        loop {
            if let Some(ready) = clock::within(LOOK, inbox.ready(true)).await {
                return Some(ready.map(|()| Filled::Whole));
            }
            let (has_room, is_empty) = (inbox.budget().has_room(), inbox.waiting_since().is_none());
            if !has_room {
                (began, came_at) = (clock::now(), clock::now());
                if !self.is_writing() {
                    return (!is_empty).then_some(Ok(Filled::Cut));
                }
            } else if came != inbox.expected() {
                (came, came_at) = (inbox.expected(), clock::now());
            } else if since(came_at) >= TURN {
                return None;
            }
            if has_room && since(began) >= TURN_MAX {
                return (!is_empty).then_some(Ok(Filled::Whole));
            }
        }
    }

    /// Whether a block is on its way to its receipt, which gives back its memory.
    fn is_writing(&self) -> bool {
        self.count - self.free.available_permits() > self.filling.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::{Filled, Place, Places, TURN};
    use crate::inbox::{Inbox, Limits, Put};
    use crate::slab::{Budget, Record};
    use std::time::{Duration, Instant};

    const BYTES: usize = 1_000;

    fn inbox(budget: &Budget) -> Inbox {
        let limits = Limits { rows_max: 4, bytes_max: 1 << 20, linger: Duration::ZERO };
        let inbox = Inbox::new(budget, limits);
        inbox.start(0, None);
        inbox
    }

    fn deliver(inbox: &Inbox, offsets: std::ops::Range<i64>) {
        let value = Some([0_u8; BYTES].as_slice());
        inbox.deliver(|put| {
            for offset in offsets {
                put(Put::Record(Record { offset, appended_at_ms: 0, key: None, value, headers: Vec::new() }));
            }
        });
    }

    /// Scenario: another lane's block takes all the memory there is and is on its way, for longer than a turn; then it is done. Nobody
    /// else has a block on its way. There is room and nothing comes.
    /// Guarantees: the lane keeps its turn and gets a full block; it takes at once what it has; it gives its turn up.
    #[tokio::test]
    async fn a_turn_is_kept_while_others_give_memory_back() {
        let budget = Budget::new(BYTES);
        let (places, mine, others) = (Places::new(2), inbox(&budget), inbox(&budget));
        let (on_its_way, place) = (Place::default(), Place::default());
        places.enter(&on_its_way).await;
        deliver(&others, 0..4);
        places.enter(&place).await;
        let done = async {
            tokio::time::sleep(TURN * 3 / 2).await;
            on_its_way.leave();
            drop(others.take());
            assert!(budget.has_room());
            deliver(&mine, 0..4);
        };
        let (filled, ()) = tokio::join!(places.fill(&mine, &place), done);
        assert_eq!(filled, Some(Ok(Filled::Whole)));

        assert!(!budget.has_room() && mine.take().is_ok_and(|slab| slab.rows() == 4));
        deliver(&others, 4..7);
        assert_eq!(places.fill(&mine, &place).await, None, "it has nothing to give");
        deliver(&mine, 4..5);
        let began = Instant::now();
        assert_eq!(places.fill(&mine, &place).await, Some(Ok(Filled::Cut)));
        assert!(began.elapsed() < TURN, "memory is short, and only it can give some back");

        drop(mine.take());
        assert!(!budget.has_room());
        drop(others.take());
        assert!(budget.has_room() && budget.held() == 0);
    }

    /// Scenario: three places, all taken, two blocks in columns, a third that waits; facts of the first are stored. Then its lane waits for
    /// something outside, while another block waits for columns, and one that has no place comes.
    /// Guarantees: the third goes on then; who has left holds nothing, whichever it waited for; without a place nobody waits.
    #[tokio::test]
    async fn one_block_fewer_in_columns_than_in_hand() {
        let places = Places::new(3);
        let all = [Place::default(), Place::default(), Place::default()];
        for place in &all {
            places.enter(place).await;
        }
        let [one, two, three] = &all;
        places.enter_columns(one).await;
        places.enter_columns(two).await;
        let soon = Duration::from_millis(20);
        assert!(tokio::time::timeout(soon, places.enter_columns(three)).await.is_err());
        one.leave_columns();
        places.enter_columns(three).await;
        assert!(all.iter().all(Place::is_held));

        let ((), ()) = tokio::join!(places.enter_columns(one), async {
            tokio::time::sleep(soon).await;
            one.leave();
            two.leave();
        });
        assert_eq!(places.in_columns.available_permits(), 1);
        places.enter_columns(two).await;
        places.enter_columns(&Place::default()).await;
        assert_eq!((places.in_columns.available_permits(), places.free.available_permits()), (1, 2));
        drop(all);
        assert_eq!((places.in_columns.available_permits(), places.free.available_permits()), (2, 3));
    }
}
