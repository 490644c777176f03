//! What others may see of a lane, and how they tell it to stop.

use super::letters::Letters;
use super::places::Place;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What others may see of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    /// How far it has come; `None` before it has started.
    reached: Mutex<Option<Reached>>,
    /// Offsets that it attested, gaps included.
    pub(crate) offsets: AtomicI64,
    /// Why either of its sides waits for an operator, while it does.
    contradiction: Mutex<[Option<String>; 2]>,
    /// So often in a row only an operator seemed able to help, and when that was counted last.
    pub(super) stops: Mutex<(u32, Option<Instant>)>,
    letters: Mutex<Letters>,
    /// True while it waits for something outside.
    pub(crate) stalled: AtomicBool,
    /// What it waits with.
    pub(super) waiting: tokio::sync::Mutex<Waiting>,
    /// Places of its blocks between taking and receipt: it holds none while it waits.
    places: Mutex<Vec<Place>>,
    /// When the oldest record between inbox and receipt came.
    pub(crate) oldest: Mutex<Option<Instant>>,
    /// Finish the block in hand and stop.
    pub(crate) stop: CancellationToken,
    /// Drop everything and commit nothing.
    pub(crate) abandon: CancellationToken,
}

/// Which sides of a lane wait, and whether it is paused at the source.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    pub(super) sides: [bool; 2],
    pub(super) is_paused: bool,
}

/// The two sides of a lane, which work at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Starting, taking and judging.
    Read,
    /// Writing and attesting.
    Write,
}

/// How far a lane has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Reached {
    /// The topic's identity.
    pub(crate) topic_id: Uuid,
    /// The offset after the last attested one.
    pub(crate) next: i64,
}

impl LaneState {
    /// How far the lane has come; `None` before it has started.
    pub(crate) fn reached(&self) -> Option<Reached> {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Why the lane waits for an operator; `None` where it does not.
    pub(crate) fn contradiction(&self) -> Option<String> {
        let sides = self.contradiction.lock().unwrap_or_else(PoisonError::into_inner);
        sides.iter().flatten().next().cloned()
    }

    pub(super) fn waits_for_operator(&self, side: Side, why: Option<String>) {
        self.contradiction.lock().unwrap_or_else(PoisonError::into_inner)[side as usize] = why;
    }

    /// A place that its lane may have to leave. False where the lane waits, and keeps none.
    pub(super) fn keeps(&self, place: &Place) -> bool {
        let mut places = self.places();
        places.retain(Place::is_held);
        places.push(place.clone());
        !self.stalled.load(Ordering::Relaxed)
    }

    /// Gives all its places back.
    pub(super) fn leave_all(&self) {
        self.places().drain(..).for_each(|place| place.leave());
    }

    fn places(&self) -> MutexGuard<'_, Vec<Place>> {
        self.places.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its letters that may be stored and may have no receipt.
    pub(crate) fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The topic's offsets below `next` are attested.
    pub(super) fn reach(&self, topic_id: Uuid, next: i64) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reached { topic_id, next });
    }
}
