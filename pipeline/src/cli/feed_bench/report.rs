//! What a run found, for people and for machines.

use super::faults::Fault;
use super::memory::Around;
use hdrhistogram::Histogram;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write;

/// Quantiles, milliseconds.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Quantiles {
    count: u64,
    p50_ms: f64,
    p90_ms: f64,
    p99_ms: f64,
    p999_ms: f64,
    max_ms: f64,
}

impl Quantiles {
    /// Of a histogram in microseconds.
    pub(super) fn of(histogram: &Histogram<u64>) -> Quantiles {
        let at = |quantile| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
        Quantiles {
            count: histogram.len(),
            p50_ms: at(0.5),
            p90_ms: at(0.9),
            p99_ms: at(0.99),
            p999_ms: at(0.999),
            max_ms: histogram.max() as f64 / 1_000.0,
        }
    }
}

/// What is said of one kind of fault.
#[derive(Debug, Serialize)]
pub(super) struct Struck {
    pub(super) fault: &'static str,
    pub(super) times: u64,
    /// From the fault until everything published meanwhile was there.
    pub(super) caught_up: Option<Quantiles>,
}

/// One subscriber that was revoked.
#[derive(Debug, Serialize)]
pub(super) struct Revoked {
    pub(super) transport: &'static str,
    /// Close code it was let go with; 0 if it was not.
    pub(super) closed_with: u16,
    /// Events that came after two seconds.
    pub(super) late_events: u64,
    /// Close code of another try at its old cursor; 0 if it was let in.
    pub(super) replay_closed_with: u16,
}

impl Revoked {
    fn holds(&self) -> bool {
        let refused = |code| matches!(code, 4001 | 4003 | 4004);
        refused(self.closed_with) && self.late_events == 0 && refused(self.replay_closed_with)
    }
}

/// One run.
#[derive(Debug, Serialize)]
pub(super) struct Report {
    pub(super) subscribers: usize,
    pub(super) seconds: f64,
    pub(super) published: u64,
    pub(super) deliveries: u64,
    pub(super) deliveries_per_second: f64,
    /// Deliveries for each second of one core that the service used; `None` where it was killed meanwhile or is not ours.
    pub(super) deliveries_per_cpu_second: Option<f64>,
    /// Events missing at a subscriber, summed over subscribers.
    pub(super) missing: u64,
    pub(super) foreign: u64,
    /// Events that came again and were dropped by their id.
    pub(super) repeats: u64,
    pub(super) gaps: u64,
    pub(super) resyncs: u64,
    pub(super) silences: u64,
    pub(super) broken: u64,
    pub(super) connects: u64,
    pub(super) signatures_checked: u64,
    pub(super) signatures_wrong: u64,
    /// Keys that signed something.
    pub(super) signing_keys: usize,
    /// Ends of connections by close code; 0: without a word.
    pub(super) ends: BTreeMap<u16, u64>,
    pub(super) push: Quantiles,
    pub(super) faults: Vec<Struck>,
    pub(super) revoked: Vec<Revoked>,
    /// Subscribers that were told not to come again, and should not have been.
    pub(super) stopped: usize,
    /// Readers that the service let go because they took nothing.
    pub(super) slow_closes: Option<u64>,
    /// The service's memory around the stall that took the most.
    pub(super) stalled_bytes: Option<Around>,
    pub(super) connection_bytes: Option<u64>,
    pub(super) service_peak_bytes: Option<u64>,
}

impl Report {
    /// Whether nothing was lost, and nobody got what is not theirs.
    pub(super) fn holds(&self) -> bool {
        let wrong = self.missing + self.foreign + self.signatures_wrong + self.broken + self.resyncs;
        let rolled =
            self.faults.iter().all(|struck| struck.fault != Fault::Roll.name() || self.signing_keys > 1);
        wrong == 0
            && rolled
            && self.stopped == 0
            && self.published > 0
            && self.revoked.iter().all(Revoked::holds)
    }

    /// As a person reads it.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        let mut line = |what: &str, said: String| {
            let _ = writeln!(text, "{what:<22} {said}"); // a string takes everything
        };
        line("published", format!("{} events in {:.1} s", self.published, self.seconds));
        let per_core = self
            .deliveries_per_cpu_second
            .map_or_else(String::new, |n| format!(", {n:.0} a CPU second of the service"));
        line(
            "deliveries",
            format!(
                "{} to {} subscribers, {:.0}/s{per_core}",
                self.deliveries, self.subscribers, self.deliveries_per_second
            ),
        );
        line("missing", self.missing.to_string());
        line("another's", self.foreign.to_string());
        line("repeats dropped", self.repeats.to_string());
        line("push latency", quantiles(&self.push));
        for struck in &self.faults {
            let caught_up = struck.caught_up.filter(|q| q.count > 0);
            let caught_up = caught_up.map_or_else(String::new, |q| format!("; caught up: {}", quantiles(&q)));
            line(struck.fault, format!("{} times{caught_up}", struck.times));
        }
        if let Some(closes) = self.slow_closes.filter(|closes| *closes > 0) {
            line("slow readers", format!("{closes} let go by the service with 4102"));
        }
        if let Some(Around { before, peak, after }) = self.stalled_bytes {
            let [before, peak, after] = [before, peak, after].map(|bytes| bytes >> 20);
            let said = format!("{before} MiB resident before, {peak} at most, {after} at the end of the run");
            line("memory while stalled", said);
        }
        for one in &self.revoked {
            let Revoked { transport, closed_with, late_events, replay_closed_with } = one;
            line(
                "revoked",
                format!(
                    "{transport}: closed with {closed_with}, {late_events} events after 2 s, replay refused with {replay_closed_with}"
                ),
            );
        }
        let ends: Vec<String> = self.ends.iter().map(|(code, times)| format!("{code}: {times}")).collect();
        line("connections", format!("{} opened; ended with {}", self.connects, ends.join(", ")));
        line("noticed", format!("{} gaps, {} silences, {} resyncs", self.gaps, self.silences, self.resyncs));
        line(
            "signatures",
            format!(
                "{} checked, {} wrong, {} keys in use",
                self.signatures_checked, self.signatures_wrong, self.signing_keys
            ),
        );
        if let Some(bytes) = self.connection_bytes {
            line("memory", format!("{:.1} KiB a connection", bytes as f64 / 1024.0));
        }
        if let Some(bytes) = self.service_peak_bytes {
            line("service at its peak", format!("{} MiB resident", bytes >> 20));
        }
        line("verdict", if self.holds() { "PASS: nothing was lost".to_owned() } else { "FAIL".to_owned() });
        text
    }
}

fn quantiles(q: &Quantiles) -> String {
    let Quantiles { count, p50_ms, p90_ms, p99_ms, p999_ms, max_ms } = q;
    format!(
        "p50 {p50_ms:.1} ms, p90 {p90_ms:.1}, p99 {p99_ms:.1}, p99.9 {p999_ms:.1}, max {max_ms:.1} (of {count})"
    )
}
