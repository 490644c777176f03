//! How far a job has come: written by the job, read by whoever shows it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// A handle that a job and its streams share; cloning it is cheap. A job that nobody watches pays one atomic addition a
/// batch.
#[derive(Clone, Debug)]
pub struct Progress(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    started: Instant,
    rows: AtomicU64,
    phase: Mutex<String>,
}

/// One reading.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// What is being done, such as `accuracy: subjects`; empty before the first phase.
    pub phase: String,
    /// Rows read since the beginning.
    pub rows: u64,
    /// Time since the beginning.
    pub elapsed: Duration,
}

impl Default for Progress {
    fn default() -> Self {
        Self(Arc::new(Inner { started: Instant::now(), rows: AtomicU64::new(0), phase: Mutex::default() }))
    }
}

impl Progress {
    /// Names what is being done from now on. The count of rows goes on.
    pub fn phase(&self, name: impl Into<String>) {
        *self.0.phase.lock().unwrap_or_else(PoisonError::into_inner) = name.into();
    }

    /// Counts rows that were read: once a batch.
    pub fn add_rows(&self, rows: u64) {
        self.0.rows.fetch_add(rows, Ordering::Relaxed);
    }

    /// Where it stands.
    pub fn read(&self) -> Reading {
        Reading {
            phase: self.0.phase.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            rows: self.0.rows.load(Ordering::Relaxed),
            elapsed: self.0.started.elapsed(),
        }
    }
}

impl Reading {
    /// Rows a second since the beginning; 0 at the beginning.
    pub fn rows_per_second(&self) -> u64 {
        let rate = u128::from(self.rows) * 1_000_000 / self.elapsed.as_micros().max(1);
        if self.elapsed.is_zero() { 0 } else { u64::try_from(rate).unwrap_or(u64::MAX) }
    }
}

#[cfg(test)]
mod tests {
    use super::{Progress, Reading};
    use std::time::Duration;

    /// Scenario: four threads count through clones of one handle.
    /// Guarantees: every row is counted once, and the last phase is shown.
    #[test]
    fn counts_from_everywhere() {
        let progress = Progress::default();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                let progress = progress.clone();
                scope.spawn(move || (0..1_000).for_each(|_| progress.add_rows(7)));
            }
        });
        progress.phase("accuracy: subjects");
        assert_eq!((progress.read().rows, progress.read().phase.as_str()), (28_000, "accuracy: subjects"));
    }

    /// Scenario: 3,000,000 rows in 1.5 s; and a reading at the very beginning.
    /// Guarantees: 2,000,000 a second; no division by zero.
    #[test]
    fn rates() {
        let reading = |rows, ms| Reading { phase: String::new(), rows, elapsed: Duration::from_millis(ms) };
        assert_eq!(reading(3_000_000, 1_500).rows_per_second(), 2_000_000);
        assert_eq!(reading(5, 0).rows_per_second(), 0);
    }
}
