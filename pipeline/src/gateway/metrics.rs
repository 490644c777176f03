//! Every metric of the gateway, and the only place that names one.

use super::ask::Told;
use super::contract::Endpoint;
use super::upstream::Attempted;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};
use std::time::Duration;

/// The counters of one `tally gateway`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    calls: IntCounterVec,
    call_seconds: HistogramVec,
    attempts: IntCounterVec,
    attempt_seconds: HistogramVec,
    replayed: IntCounterVec,
    events_lost: IntCounter,
    published: IntCounter,
    outbox: IntGauge,
    outbox_age: IntGauge,
    unresolved: IntGauge,
    unresolved_age: IntGauge,
    open: IntGaugeVec,
    flows: IntGaugeVec,
    flow_age: IntGauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        if let Err(error) = crate::ops::measure_process(&registry) {
            tracing::warn!(%error, "the process is not measured");
        }
        let counters = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauges = |name: &str, help: &str, labels: &[&str]| {
            registered(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let seconds = |name: &str, help: &str| {
            let buckets = prometheus::exponential_buckets(0.0005, 2.0, 16).unwrap_or_default();
            registered(
                &registry,
                HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &["endpoint"]),
            )
        };
        let counter = |name: &str, help: &str| registered(&registry, IntCounter::new(name, help));
        let gauge = |name: &str, help: &str| registered(&registry, IntGauge::new(name, help));
        Metrics {
            calls: counters(
                "tally_gateway_calls_total",
                "Calls answered, by status.",
                &["endpoint", "status"],
            ),
            call_seconds: seconds("tally_gateway_call_seconds", "From a call to its answer."),
            attempts: counters(
                "tally_gateway_attempts_total",
                "Attempts at the platform.",
                &["endpoint", "outcome", "code"],
            ),
            attempt_seconds: seconds("tally_gateway_attempt_seconds", "One attempt at the platform."),
            replayed: counters(
                "tally_gateway_replayed_total",
                "Calls whose answer was known by their key.",
                &["endpoint"],
            ),
            events_lost: counter(
                "tally_gateway_events_lost_total",
                "Attempts whose event could not be made: a bug.",
            ),
            published: counter(
                "tally_gateway_events_published_total",
                "Events that Kafka has taken for good.",
            ),
            outbox: gauge("tally_gateway_outbox_events", "Events that wait for Kafka."),
            outbox_age: gauge("tally_gateway_outbox_age_seconds", "Age of the oldest event that waits."),
            unresolved_age: gauge(
                "tally_gateway_unresolved_age_seconds",
                "Age of the oldest charge or refund of which nobody knows whether it was done.",
            ),
            unresolved: gauge(
                "tally_gateway_unresolved_requests",
                "Charges and refunds that may have been done, and are followed up.",
            ),
            open: gauges("tally_gateway_circuit_open", "1 while the platform is left alone.", &["endpoint"]),
            flows: gauges("tally_gateway_flows", "Flows in each state.", &["kind", "state"]),
            flow_age: gauge(
                "tally_gateway_flow_age_seconds",
                "For how long the flow is under way that has been for longest: it neither waits for a command or a time nor has it ended.",
            ),
            registry,
        }
    }
}

impl Metrics {
    pub(super) fn told(&self, endpoint: Endpoint, told: &Told, took: Duration) {
        self.calls.with_label_values(&[endpoint.symbol(), &told.status.to_string()]).inc();
        self.call_seconds.with_label_values(&[endpoint.symbol()]).observe(took.as_secs_f64());
        if told.replayed {
            self.replayed.with_label_values(&[endpoint.symbol()]).inc();
        }
    }

    pub(super) fn attempted<T>(&self, endpoint: Endpoint, attempted: &Attempted<T>) {
        let code = attempted.code.map_or("", |code| code.name());
        self.attempts.with_label_values(&[endpoint.symbol(), attempted.outcome.symbol(), code]).inc();
        self.attempt_seconds.with_label_values(&[endpoint.symbol()]).observe(attempted.latency.as_secs_f64());
    }

    pub(super) fn event_lost(&self) {
        self.events_lost.inc();
    }

    pub(super) fn published(&self, events: u64) {
        self.published.inc_by(events);
    }

    pub(super) fn outbox(&self, depth: u64, age: Duration) {
        self.outbox.set(i64::try_from(depth).unwrap_or(i64::MAX));
        self.outbox_age.set(i64::try_from(age.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn unresolved(&self, requests: u64, oldest: Duration) {
        self.unresolved.set(i64::try_from(requests).unwrap_or(i64::MAX));
        self.unresolved_age.set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
    }

    pub(super) fn circuit(&self, endpoint: Endpoint, open: bool) {
        self.open.with_label_values(&[endpoint.symbol()]).set(i64::from(open));
    }

    pub(super) fn flows(&self, states: &[(String, String, i64)]) {
        self.flows.reset();
        for (kind, state, count) in states {
            self.flows.with_label_values(&[kind, state]).set(*count);
        }
    }

    pub(super) fn flow_age(&self, oldest: Duration) {
        self.flow_age.set(i64::try_from(oldest.as_secs()).unwrap_or(i64::MAX));
    }

    /// The metrics in Prometheus text.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }
}

fn registered<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let metric = made.unwrap_or_else(|error| panic!("a metric of ours is not valid: {error}"));
    registry.register(Box::new(metric.clone())).unwrap_or_else(|error| panic!("a metric twice: {error}"));
    metric
}
