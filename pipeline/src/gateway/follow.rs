//! What runs beside the calls: requests whose outcome is not known, keys that are old, gauges.

use super::ask::Gateway;
use super::contract::Endpoint;
use super::moment::now_us;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Requests that are followed up at once.
const AT_ONCE_MAX: usize = 32;
/// How often somebody looks.
const LOOK_EVERY: Duration = Duration::from_millis(100);
const GAUGES_EVERY: Duration = Duration::from_secs(1);
const SWEEP_EVERY: Duration = Duration::from_secs(60);
/// Flows are counted by the writing thread, which reads all of them.
const FLOWS_EVERY: Duration = Duration::from_secs(15);

/// Follows up until `stop`; what is under way then comes to its end.
pub(super) async fn follow_up(gateway: Gateway, stop: CancellationToken) {
    let (places, tasks) = (Arc::new(Semaphore::new(AT_ONCE_MAX)), TaskTracker::new());
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let open = Endpoint::ALL.into_iter().any(|call| gateway.breaker(call).is_open(Instant::now()));
        // while the platform is left alone one request finds out whether it is back
        let most = if open { places.available_permits().min(1) } else { places.available_permits() };
        if most == 0 {
            continue;
        }
        let due = match gateway.inner.store.due(now_us(), most).await {
            Ok(due) => due,
            Err(error) => {
                tracing::error!(%error, "nothing can be followed up");
                continue;
            }
        };
        for known in due {
            let (gateway, places) = (gateway.clone(), Arc::clone(&places));
            tasks.spawn(async move {
                let _place = places.acquire_owned().await;
                gateway.follow_up(known).await;
            });
        }
    }
    tasks.close();
    tasks.wait().await;
}

/// Keeps gauges and keys current until `stop`.
pub(super) async fn keep_house(gateway: Gateway, stop: CancellationToken) {
    let mut swept = Instant::now();
    let mut counted: Option<Instant> = None;
    while stop.run_until_cancelled(tokio::time::sleep(GAUGES_EVERY)).await.is_some() {
        gateway.measure();
        if counted.is_none_or(|at| at.elapsed() >= FLOWS_EVERY) {
            counted = Some(Instant::now());
            match gateway.inner.store.flow_states().await {
                Ok(states) => gateway.inner.metrics.flows(&states),
                Err(error) => tracing::error!(%error, "flows cannot be counted"),
            }
        }
        if swept.elapsed() < SWEEP_EVERY {
            continue;
        }
        swept = Instant::now();
        // a thousand keys at a time, so that no call waits for it
        while let Ok(1_000..) = gateway.inner.store.sweep(now_us()).await {}
    }
}

impl Gateway {
    /// Brings the gauges up to date.
    fn measure(&self) {
        let (store, metrics) = (&self.inner.store, &self.inner.metrics);
        let oldest = store.outbox_oldest_us().map_or(0, |oldest| now_us().saturating_sub(oldest));
        let age = Duration::from_micros(u64::try_from(oldest).unwrap_or(0));
        metrics.outbox(store.outbox_depth(), age);
        let open_since = store.unresolved_oldest_us().map_or(0, |oldest| now_us().saturating_sub(oldest));
        let open_for = Duration::from_micros(u64::try_from(open_since).unwrap_or(0));
        metrics.unresolved(store.unresolved(), open_for);
        for call in Endpoint::ALL {
            metrics.circuit(call, self.breaker(call).is_open(Instant::now()));
        }
    }
}
