//! The clock that lanes wait by: the machine's, or in tests of a lane the one of their simulation.

use std::time::{Duration, Instant};

/// Now.
pub(crate) fn now() -> Instant {
    #[cfg(test)]
    if let Some(clock) = crate::lane::simulated_clock() {
        return clock.now();
    }
    Instant::now()
}

/// Waits so long.
pub(crate) async fn sleep(time: Duration) {
    #[cfg(test)]
    if let Some(clock) = crate::lane::simulated_clock() {
        return clock.sleep(time).await;
    }
    tokio::time::sleep(time).await;
}

/// Waits for something, but no longer than that: `None` where it did not come.
pub(crate) async fn within<T>(time: Duration, something: impl Future<Output = T>) -> Option<T> {
    #[cfg(test)]
    if crate::lane::simulated_clock().is_some() {
        let (something, end) = (std::pin::pin!(something), std::pin::pin!(sleep(time)));
        return match futures::future::select(something, end).await {
            futures::future::Either::Left((came, _)) => Some(came),
            futures::future::Either::Right(_) => None,
        };
    }
    tokio::time::timeout(time, something).await.ok()
}
