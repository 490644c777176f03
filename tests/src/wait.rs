//! Waiting with a bound: the only way a test waits.

use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// Pause between two looks: short beside any start-up, long beside the cost of a look.
const PAUSE: Duration = Duration::from_millis(20);

/// Calls `look` until it answers with a value, and returns that.
///
/// # Panics
/// When `timeout` has passed; the message names `what` was waited for. `look` is called at
/// least once, and once more after the last pause.
pub fn eventually<T>(timeout: Duration, what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        let late = start.elapsed() >= timeout;
        if let Some(found) = look() {
            return found;
        }
        assert!(!late, "waited {timeout:?} in vain: {what}");
        thread::sleep(PAUSE);
    }
}

/// Raises a flag at the end of its scope, however that comes.
#[derive(Debug)]
pub struct Raised<'a>(pub &'a AtomicBool);

impl Drop for Raised<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}
