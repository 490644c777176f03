//! What others may see of a lane, and how they tell it to stop.

use super::places::Place;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;
use tally_schemas::Fault;
use tally_sinks::Inherited;
use tally_sinks::rows::DeadLetter;
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
    /// Letters that may be stored, by their offsets, and whether the dead-letter topic has acknowledged them: those are not sent again, and
    /// what was found dead stays dead, until all have their receipts.
    letters: Mutex<(Uuid, BTreeMap<i64, (Fault, bool)>)>,
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

    /// Of these letters, those that the dead-letter topic is not known to have.
    pub(crate) fn not_sent<'a>(&self, topic_id: Uuid, letters: &[&'a DeadLetter]) -> Vec<&'a DeadLetter> {
        let known = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let was_sent = |letter: &DeadLetter| known.1.get(&letter.offset).is_some_and(|(_, sent)| *sent);
        let is_left = |letter: &&&DeadLetter| known.0 != topic_id || !was_sent(letter);
        letters.iter().filter(is_left).copied().collect()
    }

    /// These letters are about to be stored: from now on they may be, whatever is heard of it.
    pub(super) fn found_dead(&self, topic_id: Uuid, letters: &[DeadLetter]) {
        let mut known = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 != topic_id {
            *known = (topic_id, BTreeMap::new());
        }
        for letter in letters {
            known.1.entry(letter.offset).or_insert_with(|| (letter.fault.clone(), false));
        }
    }

    /// The dead-letter topic has it.
    pub(crate) fn sent(&self, topic_id: Uuid, letter: &DeadLetter) {
        let mut known = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        if known.0 == topic_id
            && let Some((_, sent)) = known.1.get_mut(&letter.offset)
        {
            *sent = true;
        }
    }

    /// Letters of a topic that may be stored, and may have no receipt.
    pub(super) fn dead_of(&self, topic_id: Uuid) -> Inherited {
        let known = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        let all = known.1.iter().filter(|_| known.0 == topic_id);
        all.map(|(offset, (fault, _))| (*offset, fault.clone())).collect()
    }

    /// Those below `next` have their receipts.
    pub(super) fn forget_dead(&self, next: i64) {
        let mut known = self.letters.lock().unwrap_or_else(PoisonError::into_inner);
        known.1 = known.1.split_off(&next);
    }

    /// The topic's offsets below `next` are attested.
    pub(super) fn reach(&self, topic_id: Uuid, next: i64) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reached { topic_id, next });
    }
}
