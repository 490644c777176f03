//! What runs beside the calls: requests whose outcome is not known, keys that are old, gauges.

use super::ask::Gateway;
use super::contract::Endpoint;
use super::moment::now_us;
use super::run::FOLLOW_UP_TIMES_MAX;
use super::store::SWEPT_MIN;
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

/// Follows up until `stop`; what is under way then comes to its end.
pub(super) async fn follow_up(gateway: Gateway, stop: CancellationToken) {
    let (places, tasks) = (Arc::new(Semaphore::new(AT_ONCE_MAX)), TaskTracker::new());
    let longest = gateway.inner.settings.follow_up * FOLLOW_UP_TIMES_MAX;
    while stop.run_until_cancelled(tokio::time::sleep(LOOK_EVERY)).await.is_some() {
        let open = Endpoint::CALLS.into_iter().any(|call| gateway.breaker(call).is_open(Instant::now()));
        // while the platform is left alone one request finds out whether it is back
        let most = if open { places.available_permits().min(1) } else { places.available_permits() };
        if most == 0 {
            continue;
        }
        let due = match gateway.inner.store.due(now_us(), longest, most).await {
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
    let (begun, begun_us) = (Instant::now(), now_us());
    while stop.run_until_cancelled(tokio::time::sleep(GAUGES_EVERY)).await.is_some() {
        gateway.measure();
        match gateway.inner.store.flow_states().await {
            Ok(states) => gateway.inner.metrics.flows(&states),
            Err(error) => tracing::error!(%error, "flows cannot be counted"),
        }
        if swept.elapsed() < SWEEP_EVERY {
            continue;
        }
        swept = Instant::now();
        // a clock that was put forward makes nothing old: no more time has gone by than this process has seen
        let seen_us = begun_us.saturating_add(i64::try_from(begun.elapsed().as_micros()).unwrap_or(i64::MAX));
        // a few at a time, so that no call waits for it
        while let Ok(SWEPT_MIN..) = gateway.inner.store.sweep(now_us().min(seen_us)).await {}
    }
}

impl Gateway {
    /// Brings the gauges up to date.
    fn measure(&self) {
        let (store, metrics) = (&self.inner.store, &self.inner.metrics);
        let age = |since_us: Option<i64>| {
            let age_us = since_us.map_or(0, |since_us| now_us().saturating_sub(since_us));
            Duration::from_micros(u64::try_from(age_us).unwrap_or(0))
        };
        metrics.outbox(store.outbox_depth(), age(store.outbox_oldest_us()));
        metrics.unresolved(store.unresolved(), age(store.unresolved_oldest_us()));
        metrics.flow_age(age(store.flows_oldest_us()));
        for call in Endpoint::ALL {
            metrics.circuit(call, self.breaker(call).is_open(Instant::now()));
        }
    }
}
