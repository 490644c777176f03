//! Every metric of the feed, and the only place that names one.

use super::bell::Transport;
use super::frame::{Close, Resync};
use prometheus::core::Collector;
use prometheus::{
    Encoder, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
    TextEncoder,
};

/// The counters of one feed.
#[derive(Clone, Debug)]
pub(super) struct FeedMetrics {
    registry: Registry,
    connections: IntGaugeVec,
    deliveries: IntCounterVec,
    closes: IntCounterVec,
    resumes: IntCounterVec,
    push: Histogram,
    lag: IntGauge,
    ring_events: IntGauge,
    ring_bytes: IntGauge,
    ledger_retries: IntCounter,
    ledger_lost: IntCounter,
}

impl Default for FeedMetrics {
    fn default() -> Self {
        let registry = Registry::new();
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str| register(&registry, IntGauge::new(name, help));
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 10.0];
        let push = HistogramOpts::new(
            "tally_feed_push_seconds",
            "From an event's Kafka timestamp to its handing over to a live connection.",
        );
        let metrics = FeedMetrics {
            connections: register(
                &registry,
                IntGaugeVec::new(Opts::new("tally_feed_connections", "Open streams."), &["transport"]),
            ),
            deliveries: counter("tally_feed_deliveries_total", "Events handed over.", &["transport"]),
            closes: counter(
                "tally_feed_closes_total",
                "Streams ended by the service, by reason.",
                &["reason"],
            ),
            resumes: counter("tally_feed_resumes_total", "Streams begun, by outcome.", &["outcome"]),
            push: register(&registry, Histogram::with_opts(push.buckets(buckets))),
            lag: gauge(
                "tally_feed_lag_milliseconds",
                "Age of the newest event when it was last read from the log; while the log is silent, for how long.",
            ),
            ring_events: gauge("tally_feed_ring_events", "Events held in memory."),
            ring_bytes: gauge("tally_feed_ring_bytes", "Bytes of events held in memory, about."),
            ledger_retries: register(
                &registry,
                IntCounter::new(
                    "tally_feed_ledger_retries_total",
                    "Writes of the delivery ledger tried again.",
                ),
            ),
            ledger_lost: register(
                &registry,
                IntCounter::new(
                    "tally_feed_ledger_lost_total",
                    "Rows of the delivery ledger that were lost.",
                ),
            ),
            registry,
        };
        metrics.begin();
        metrics
    }
}

fn register<C: Collector + Clone + 'static>(registry: &Registry, made: prometheus::Result<C>) -> C {
    let registered = made.and_then(|c| registry.register(Box::new(c.clone())).map(|()| c));
    registered.unwrap_or_else(|e| panic!("a metric of this file: {e}"))
}

/// Outcome of a stream that began without a cursor, and of one that got all it had missed.
const FIRST: &str = "first";
const RECOVERED: &str = "recovered";

impl FeedMetrics {
    /// Shows every series from the start, at 0: a counter that appears at 1 has no increase in Prometheus' eyes.
    fn begin(&self) {
        for transport in Transport::ALL {
            self.connections.with_label_values(&[transport.name()]).set(0);
            self.deliveries.with_label_values(&[transport.name()]).inc_by(0);
        }
        for why in Close::ALL {
            self.closes.with_label_values(&[why.word()]).inc_by(0);
        }
        for outcome in [FIRST, RECOVERED].into_iter().chain(Resync::ALL.map(Resync::word)) {
            self.resumes.with_label_values(&[outcome]).inc_by(0);
        }
    }

    /// A connection took its place.
    pub(super) fn entered(&self, transport: Transport) {
        self.connections.with_label_values(&[transport.name()]).inc();
    }

    /// It left.
    pub(super) fn left(&self, transport: Transport) {
        self.connections.with_label_values(&[transport.name()]).dec();
    }

    /// Events are handed over; `ages_ms` of live ones.
    pub(super) fn sent(
        &self,
        transport: Transport,
        events: usize,
        ages_ms: Option<impl Iterator<Item = i64>>,
    ) {
        self.deliveries.with_label_values(&[transport.name()]).inc_by(events as u64);
        #[expect(clippy::cast_precision_loss, reason = "a histogram's seconds")]
        ages_ms.into_iter().flatten().for_each(|ms| self.push.observe(ms.max(0) as f64 / 1000.0));
    }

    /// The service ended a stream.
    pub(super) fn closed(&self, why: Close) {
        self.closes.with_label_values(&[why.word()]).inc();
    }

    /// A stream began.
    pub(super) fn resumed(&self, resync: Option<Resync>, first: bool) {
        let outcome = match resync {
            Some(why) => why.word(),
            None if first => FIRST,
            None => RECOVERED,
        };
        self.resumes.with_label_values(&[outcome]).inc();
    }

    /// The ring took what was read.
    pub(super) fn taken(&self, lag_ms: Option<i64>, events: usize, bytes: usize) {
        if let Some(lag) = lag_ms {
            self.lag.set(lag.max(0));
        }
        self.ring_events.set(i64::try_from(events).unwrap_or(i64::MAX));
        self.ring_bytes.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The log is silent for so long already.
    pub(super) fn silent(&self, silence: std::time::Duration) {
        self.lag.set(i64::try_from(silence.as_millis()).unwrap_or(i64::MAX));
    }

    /// A write of the ledger is tried again.
    pub(super) fn ledger_retried(&self) {
        self.ledger_retries.inc();
    }

    /// Rows of the ledger are lost.
    pub(super) fn ledger_lost(&self, rows: u64) {
        self.ledger_lost.inc_by(rows);
    }

    /// The text that Prometheus reads.
    pub(super) fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
