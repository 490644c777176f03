//! The service's memory over a run, as it was looked at every second.

use serde::Serialize;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// Resident bytes, and when they were seen; in the order of time.
#[derive(Debug, Default)]
pub(super) struct Memory(Mutex<Vec<(Instant, u64)>>);

/// What a stretch of the run did to it, resident bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Around {
    /// At its beginning.
    pub(super) before: u64,
    /// The most within it.
    pub(super) peak: u64,
    /// At the end of the run.
    pub(super) after: u64,
}

impl Memory {
    fn seen(&self) -> MutexGuard<'_, Vec<(Instant, u64)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// It is so much now.
    pub(super) fn note(&self, at: Instant, bytes: u64) {
        self.seen().push((at, bytes));
    }

    /// The most that was seen; `None` where nothing was.
    pub(super) fn peak(&self) -> Option<u64> {
        self.seen().iter().map(|(_, bytes)| *bytes).max()
    }

    /// What a stretch did; `None` where nothing was seen before it or within it.
    pub(super) fn around(&self, from: Instant, until: Instant) -> Option<Around> {
        let seen = self.seen();
        let before = seen.iter().rfind(|(at, _)| *at <= from)?.1;
        let within = seen.iter().filter(|(at, _)| (from..=until).contains(at));
        Some(Around { before, peak: within.map(|(_, bytes)| *bytes).max()?, after: seen.last()?.1 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Scenario: six looks a second apart; a stretch from the second to the fourth, and one before the first.
    /// Guarantees: what was before, the most within, and the end are told apart; nothing is said of what was not seen.
    #[test]
    fn a_stretch_is_told_from_the_rest() {
        let (memory, begun) = (Memory::default(), Instant::now());
        let at = |seconds: u64| begun + Duration::from_secs(seconds);
        (1..).zip([9, 3, 7, 5, 8, 4]).for_each(|(second, bytes)| memory.note(at(second), bytes));
        assert_eq!(memory.around(at(2), at(4)), Some(Around { before: 3, peak: 7, after: 4 }));
        assert_eq!(memory.around(at(0), at(4)), None);
        assert_eq!(memory.peak(), Some(9));
    }
}
