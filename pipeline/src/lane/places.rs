//! Places in hand: so many blocks, all lanes together, may be between taking and receipt. They bound the memory of a full drain.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The places of one process.
#[derive(Debug)]
pub(crate) struct Places {
    free: Arc<Semaphore>,
    count: usize,
    filling: AtomicUsize,
}

/// Somebody who has a place and waits for records.
pub(super) struct Filling<'a>(&'a Places);

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

    /// From now on the caller waits for records in its place.
    pub(super) fn fill(&self) -> Filling<'_> {
        self.filling.fetch_add(1, Ordering::Relaxed);
        Filling(self)
    }

    /// Whether a block is on its way to its receipt, which gives back its memory.
    pub(super) fn is_writing(&self) -> bool {
        self.count - self.free.available_permits() > self.filling.load(Ordering::Relaxed)
    }
}
