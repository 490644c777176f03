//! What the service counts.

use prometheus::{HistogramOpts, HistogramVec, IntCounterVec, IntGauge, Opts, Registry, TextEncoder};
use std::sync::Arc;
use std::time::Duration;

/// Counters of a running service; clones share them.
#[derive(Clone, Debug)]
pub struct ServiceMetrics {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    registry: Registry,
    requests: IntCounterVec,
    seconds: HistogramVec,
    connections: IntGauge,
}

/// Upper bounds of the times of requests, seconds.
const SECONDS: [f64; 10] = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0];

impl ServiceMetrics {
    /// All at 0.
    ///
    /// # Panics
    /// Never: names and labels are constants, and a test makes them.
    #[expect(clippy::expect_used, reason = "names and labels are constants, and a test makes them")]
    pub fn new() -> ServiceMetrics {
        let registry = Registry::new();
        let requests = Opts::new("tally_service_requests_total", "Requests by route and status");
        let requests = IntCounterVec::new(requests, &["route", "status"]).expect("a constant");
        let seconds = HistogramOpts::new(
            "tally_service_request_seconds",
            "From a request's head to that of its answer",
        );
        let seconds = HistogramVec::new(seconds.buckets(SECONDS.to_vec()), &["route"]).expect("a constant");
        let connections = IntGauge::new("tally_service_connections", "Connections now").expect("a constant");
        registry.register(Box::new(requests.clone())).expect("a constant");
        registry.register(Box::new(seconds.clone())).expect("a constant");
        registry.register(Box::new(connections.clone())).expect("a constant");
        ServiceMetrics { inner: Arc::new(Inner { registry, requests, seconds, connections }) }
    }

    /// Where others that are served beside the API register theirs.
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// All of them, in Prometheus text.
    pub fn text(&self) -> String {
        TextEncoder::new().encode_to_string(&self.inner.registry.gather()).unwrap_or_default()
    }

    /// A request was answered. `route` is a pattern of the router, so that labels are bounded.
    pub(super) fn answered(&self, route: &str, status: u16, took: Duration) {
        self.inner.requests.with_label_values(&[route, status.to_string().as_str()]).inc();
        self.inner.seconds.with_label_values(&[route]).observe(took.as_secs_f64());
    }

    /// A connection began (1) or ended (−1).
    pub(super) fn connected(&self, change: i64) {
        self.inner.connections.add(change);
    }
}

impl Default for ServiceMetrics {
    fn default() -> ServiceMetrics {
        ServiceMetrics::new()
    }
}

#[cfg(test)]
mod tests {
    use super::ServiceMetrics;
    use std::time::Duration;

    /// Scenario: a request is answered.
    /// Guarantees: it is counted under its route and status.
    #[test]
    fn requests_are_counted() {
        let metrics = ServiceMetrics::new();
        metrics.answered("/api/v1/tasks", 200, Duration::from_millis(2));
        let text = metrics.text();
        assert!(
            text.contains("tally_service_requests_total{route=\"/api/v1/tasks\",status=\"200\"} 1"),
            "{text}"
        );
        assert!(
            text.contains("tally_service_request_seconds_bucket{route=\"/api/v1/tasks\",le=\"0.003\"} 1"),
            "{text}"
        );
    }
}
