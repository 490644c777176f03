//! What others may see of a lane, and how they tell it to stop.

use std::sync::atomic::{AtomicBool, AtomicI64};
use std::sync::{Mutex, PoisonError};
use std::time::Instant;
use tokio::sync::OwnedSemaphorePermit;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// What others may see of a lane.
#[derive(Debug, Default)]
pub(crate) struct LaneState {
    /// How far it has come; `None` before it has started.
    reached: Mutex<Option<Reached>>,
    /// Offsets that it attested, gaps included.
    pub(crate) offsets: AtomicI64,
    /// Why it waits for an operator, while it does.
    contradiction: Mutex<Option<String>>,
    /// True while it waits for something outside.
    pub(crate) stalled: AtomicBool,
    /// Which of its sides wait.
    pub(super) waiting: tokio::sync::Mutex<[bool; 2]>,
    /// Its places in hand: one for each of its blocks between taking and receipt; none while it waits.
    pub(super) places: Mutex<Vec<OwnedSemaphorePermit>>,
    /// When the oldest record between inbox and receipt came.
    pub(crate) oldest: Mutex<Option<Instant>>,
    /// Finish the block in hand and stop.
    pub(crate) stop: CancellationToken,
    /// Drop everything and commit nothing.
    pub(crate) abandon: CancellationToken,
}

/// The two sides of a lane, which work at the same time.
#[derive(Clone, Copy, Debug)]
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
        self.contradiction.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn waits_for_operator(&self, why: Option<String>) {
        *self.contradiction.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// The topic's offsets below `next` are attested.
    pub(super) fn reach(&self, topic_id: Uuid, next: i64) {
        *self.reached.lock().unwrap_or_else(PoisonError::into_inner) = Some(Reached { topic_id, next });
    }
}
