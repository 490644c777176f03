//! Every metric of the route, and the only place that names one.

use crate::source::Partition;
use crate::write::Step;
use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, TextEncoder,
};
use std::time::Duration;
use tally_sinks::Retry;

/// The counters of one `tally ingest`.
#[derive(Clone, Debug)]
pub struct Metrics {
    registry: Registry,
    taken: IntCounterVec,
    accepted: IntCounterVec,
    dead: IntCounterVec,
    duplicates: IntCounterVec,
    bytes: IntCounterVec,
    retries: IntCounterVec,
    gap_offsets: IntCounterVec,
    passed_over: IntCounterVec,
    lag: IntGaugeVec,
    committed: IntGaugeVec,
    unattested: IntGaugeVec,
    stalled: IntGaugeVec,
    block_rows: HistogramVec,
    insert_seconds: HistogramVec,
    held: prometheus::IntGauge,
}

const LANE: [&str; 2] = ["topic", "partition"];

impl Default for Metrics {
    fn default() -> Self {
        let registry = Registry::new();
        if let Err(error) = crate::ops::measure_process(&registry) {
            tracing::warn!(%error, "the process is not measured");
        }
        let counter = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntCounterVec::new(Opts::new(name, help), labels))
        };
        let gauge = |name: &str, help: &str, labels: &[&str]| {
            register(&registry, IntGaugeVec::new(Opts::new(name, help), labels))
        };
        let histogram = |name: &str, help: &str, labels: &[&str], start: f64| {
            let buckets = prometheus::exponential_buckets(start, 4.0, 10).unwrap_or_default();
            register(&registry, HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), labels))
        };
        let metrics = Metrics {
            taken: counter("tally_records_taken_total", "Records taken from Kafka and attested.", &LANE),
            accepted: counter("tally_events_accepted_total", "Records accepted as events.", &LANE),
            dead: counter(
                "tally_dead_letters_total",
                "Records refused, by reason.",
                &["topic", "partition", "reason"],
            ),
            duplicates: counter(
                "tally_block_duplicates_total",
                "Accepted events whose content stood earlier in the same block; the audit counts all duplicates.",
                &LANE,
            ),
            bytes: counter("tally_value_bytes_total", "Bytes of keys and values attested.", &LANE),
            retries: counter(
                "tally_retries_total",
                "Steps tried again, by step and class.",
                &["step", "class"],
            ),
            gap_offsets: counter(
                "tally_gap_offsets_total",
                "Offsets that hold no record, by kind.",
                &["topic", "partition", "kind"],
            ),
            passed_over: counter(
                "tally_records_passed_over_total",
                "Times a second reading found a record where the first had none; the lane then starts anew.",
                &LANE,
            ),
            lag: gauge("tally_lag_records", "Offsets between the log's end and what is attested.", &LANE),
            committed: gauge("tally_committed_offset", "The offset after the last attested one.", &LANE),
            unattested: gauge(
                "tally_unattested_age_milliseconds",
                "Age of the oldest record that is not attested.",
                &LANE,
            ),
            stalled: gauge(
                "tally_lane_stalled",
                "1 while a lane waits for a store, a registry or Kafka.",
                &LANE,
            ),
            block_rows: histogram("tally_block_rows", "Records of a block.", &["topic"], 1.0),
            insert_seconds: histogram(
                "tally_insert_seconds",
                "Seconds of one step of the store.",
                &["step"],
                0.001,
            ),
            held: {
                let gauge =
                    prometheus::IntGauge::new("tally_buffer_bytes", "Bytes of records held in memory.");
                register(&registry, gauge)
            },
            registry,
        };
        // a counter that appears at 1 has no increase in Prometheus' eyes: what can be named beforehand begins at 0
        for step in Step::ALL {
            for class in [Retry::Soon, Retry::Later, Retry::Bisect, Retry::Stop] {
                metrics.retries.with_label_values(&[step.name(), word(class)]).inc_by(0);
            }
        }
        metrics
    }
}

const fn word(class: Retry) -> &'static str {
    match class {
        Retry::Soon => "soon",
        Retry::Later => "later",
        Retry::Bisect => "bisect",
        Retry::Stop => "stop",
    }
}

fn register<C: prometheus::core::Collector + Clone + 'static>(
    registry: &Registry,
    made: prometheus::Result<C>,
) -> C {
    let registered = made.and_then(|c| registry.register(Box::new(c.clone())).map(|()| c));
    registered.unwrap_or_else(|e| panic!("a metric of this file: {e}"))
}

/// What was attested of one block.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attested {
    pub(crate) accepted: u64,
    pub(crate) duplicates: u64,
    pub(crate) dead: Vec<&'static str>,
    pub(crate) bytes: u64,
    pub(crate) gap_offsets: [u64; 2],
    pub(crate) next: i64,
}

impl Metrics {
    /// One block is attested.
    pub(crate) fn attested(&self, at: &Partition, block: &Attested) {
        let number = at.number.to_string();
        let lane = [at.topic.as_str(), number.as_str()];
        let dead = block.dead.len() as u64;
        self.taken.with_label_values(&lane).inc_by(block.accepted + dead);
        self.accepted.with_label_values(&lane).inc_by(block.accepted);
        self.duplicates.with_label_values(&lane).inc_by(block.duplicates);
        self.bytes.with_label_values(&lane).inc_by(block.bytes);
        for reason in &block.dead {
            self.dead.with_label_values(&[lane[0], lane[1], reason]).inc();
        }
        for (kind, offsets) in ["absent", "expired"].iter().zip(block.gap_offsets) {
            self.gap_offsets.with_label_values(&[lane[0], lane[1], kind]).inc_by(offsets);
        }
        self.committed.with_label_values(&lane).set(block.next);
        #[expect(clippy::cast_precision_loss, reason = "a histogram's sum")]
        self.block_rows.with_label_values(&[lane[0]]).observe((block.accepted + dead) as f64);
    }

    /// Records taken so far, all lanes together.
    pub fn taken(&self) -> u64 {
        let families = prometheus::core::Collector::collect(&self.taken);
        let each =
            families.iter().flat_map(|family| family.get_metric()).map(|one| one.get_counter().get_value());
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count in a float")]
        let all = each.sum::<f64>() as u64;
        all
    }

    /// One step of the store succeeded.
    pub(crate) fn stored(&self, step: &str, took: Duration) {
        self.insert_seconds.with_label_values(&[step]).observe(took.as_secs_f64());
    }

    /// A second reading found a record where the first had none.
    pub(crate) fn passed_over(&self, at: &Partition) {
        self.passed_over.with_label_values(&[at.topic.as_str(), &at.number.to_string()]).inc();
    }

    /// A step is tried again.
    pub(crate) fn retried(&self, step: &str, class: Retry) {
        self.retries.with_label_values(&[step, word(class)]).inc();
    }

    /// What can only be looked at, now and then.
    pub(crate) fn looked_at(&self, at: &Partition, lag: Option<i64>, unattested: Duration, stalled: bool) {
        let number = at.number.to_string();
        let lane = [at.topic.as_str(), number.as_str()];
        if let Some(lag) = lag {
            self.lag.with_label_values(&lane).set(lag);
        }
        let age = i64::try_from(unattested.as_millis()).unwrap_or(i64::MAX);
        self.unattested.with_label_values(&lane).set(age);
        self.stalled.with_label_values(&lane).set(i64::from(stalled));
    }

    /// Bytes held in memory.
    pub(crate) fn held(&self, bytes: usize) {
        self.held.set(i64::try_from(bytes).unwrap_or(i64::MAX));
    }

    /// The lane is no longer ours: its gauges would tell of the past.
    pub(crate) fn forget(&self, at: &Partition) {
        let number = at.number.to_string();
        for gauge in [&self.lag, &self.committed, &self.unattested, &self.stalled] {
            let _ = gauge.remove_label_values(&[at.topic.as_str(), number.as_str()]); // it may never have been set
        }
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics");
        }
        String::from_utf8_lossy(&text).into_owned()
    }
}
