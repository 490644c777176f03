//! Places in hand: so many blocks, all lanes together, may be between taking and receipt. They bound the memory of a full drain, and
//! who has one has a turn: it is fetched until its block is full.

use crate::clock;
use crate::inbox::{Failure, Inbox};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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
    filling: AtomicUsize,
}

/// Somebody who has a place and waits for records.
struct Filling<'a>(&'a Places);

impl Drop for Filling<'_> {
    fn drop(&mut self) {
        self.0.filling.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Places {
    /// So many.
    pub(crate) fn new(count: usize) -> Places {
        Places { free: Arc::new(Semaphore::new(count)), count, filling: AtomicUsize::new(0) }
    }

    /// Waits for one; first come, first served.
    pub(super) async fn enter(&self) -> Option<OwnedSemaphorePermit> {
        self.free.clone().acquire_owned().await.ok() // it is never closed
    }

    /// Waits for a full block; in a place, unless the lane is stalled and has none.
    /// `None` where nothing comes although there is room for it. Where there is none, and others
    /// have blocks on their way, they are about to give some back: who gave its turn up for that would be fetched without one, and
    /// take the room of those who have.
    pub(super) async fn fill(&self, inbox: &Inbox, has_place: bool) -> Option<Result<Filled, Failure>> {
        let _filling = has_place.then(|| {
            self.filling.fetch_add(1, Ordering::Relaxed);
            Filling(self)
        });
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
    use super::{Filled, Places, TURN};
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
        let (places, mine, others) = (Places::new(2), inbox(&budget.of_lane()), inbox(&budget.of_lane()));
        let mut on_its_way = places.enter().await;
        deliver(&others, 0..4);
        let _place = places.enter().await;
        let done = async {
            tokio::time::sleep(TURN * 3 / 2).await;
            drop((on_its_way.take(), others.take()));
            assert!(budget.has_room());
            deliver(&mine, 0..4);
        };
        let (filled, ()) = tokio::join!(places.fill(&mine, true), done);
        assert_eq!(filled, Some(Ok(Filled::Whole)));

        assert!(!budget.has_room() && mine.take().is_some_and(|slab| slab.rows() == 4));
        deliver(&others, 4..7);
        assert_eq!(places.fill(&mine, true).await, None, "it has nothing to give");
        deliver(&mine, 4..5);
        let began = Instant::now();
        assert_eq!(places.fill(&mine, true).await, Some(Ok(Filled::Cut)));
        assert!(began.elapsed() < TURN, "memory is short, and only it can give some back");

        drop(mine.take());
        assert!(!budget.has_room());
        others.budget().set_aside(true);
        assert!(
            budget.has_room() && budget.held() > BYTES,
            "who waits for something outside takes nobody's room"
        );
        let began = Instant::now();
        assert_eq!(places.fill(&mine, true).await, None);
        assert!(began.elapsed() >= TURN);
        others.budget().set_aside(false);
        assert!(!budget.has_room());
        drop(others.take());
        assert!(budget.has_room() && budget.held() == 0);
    }
}
