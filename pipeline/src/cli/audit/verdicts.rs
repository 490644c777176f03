//! Every metric of `tally audit watch`, and the only place that names one.
//!
//! The label of a job is `audit`: Prometheus gives each target a label `job` of its own, and would rename ours.

use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use tally_pipeline::ops::{self, Shown};
use tally_queries::audit::JobName;
use tally_queries::audit::result::{JobResult, Verdict};

const AUDIT: [&str; 1] = ["audit"];
const MEASURE: [&str; 3] = ["audit", "measure", "group"];

/// The verdicts of one watcher.
pub(super) struct Verdicts {
    registry: Registry,
    verdict: IntGaugeVec,
    window_end: IntGaugeVec,
    known_at: IntGaugeVec,
    windows: IntGaugeVec,
    numerator: IntGaugeVec,
    denominator: IntGaugeVec,
    judged: Mutex<BTreeMap<String, Judged>>,
}

/// What was judged of one job so far.
#[derive(Default)]
struct Judged {
    /// Start of each window, and what was said of it last.
    windows: BTreeMap<i64, Verdict>,
    /// End of the latest one.
    latest_us: i64,
    /// Measures that are shown: name and group.
    measures: BTreeSet<(String, String)>,
}

impl Verdicts {
    /// With nothing judged.
    ///
    /// # Errors
    /// Never: names and labels are constants.
    pub(super) fn new() -> prometheus::Result<Verdicts> {
        let registry = Registry::new();
        ops::measure_process(&registry)?;
        let gauge = |name: &str, help: &str, labels: &[&str]| -> prometheus::Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), labels)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let verdict = gauge(
            "tally_audit_verdict",
            "Verdict of the latest closed window: 0 PASS, 1 FAIL, 2 undecided, 3 could not be checked.",
            &AUDIT,
        )?;
        let window_end = gauge(
            "tally_audit_window_end_seconds",
            "End of the latest window judged, seconds since 1970 UTC.",
            &AUDIT,
        )?;
        let known_at =
            gauge("tally_audit_known_at_seconds", "When it was judged, seconds since 1970 UTC.", &AUDIT)?;
        let windows = gauge(
            "tally_audit_windows",
            "Windows within the look-back by what was said of them last.",
            &["audit", "verdict"],
        )?;
        let numerator = gauge(
            "tally_audit_measure_numerator",
            "Numerator of a measure of the latest closed window.",
            &MEASURE,
        )?;
        let denominator = gauge(
            "tally_audit_measure_denominator",
            "Denominator of a measure of the latest closed window.",
            &MEASURE,
        )?;
        let judged = Mutex::default();
        Ok(Verdicts { registry, verdict, window_end, known_at, windows, numerator, denominator, judged })
    }

    /// A window was judged; those that began before `look_back_us` are forgotten. A job that does not depend on its window has but the
    /// latest one.
    pub(super) fn show(&self, job: JobName, result: &JobResult, look_back_us: i64) {
        let name = [result.job.as_str()];
        let mut judged = self.judged.lock().unwrap_or_else(PoisonError::into_inner);
        let judged = judged.entry(result.job.clone()).or_default();
        let is_latest = result.window.to_us >= judged.latest_us;
        if !job.windowed() && is_latest {
            judged.windows.clear();
        }
        if job.windowed() || is_latest {
            judged.windows.insert(result.window.from_us, result.verdict);
        }
        judged.windows.retain(|from, _| *from >= look_back_us || *from == result.window.from_us);
        for verdict in Verdict::ALL {
            let windows = judged.windows.values().filter(|said| **said == verdict).count();
            let windows = i64::try_from(windows).unwrap_or(i64::MAX);
            self.windows.with_label_values(&[name[0], verdict.name()]).set(windows);
        }
        if !is_latest {
            return; // a window of the look-back, judged anew
        }
        judged.latest_us = result.window.to_us;
        self.verdict.with_label_values(&name).set(Verdict::exit_code([result.verdict]).into());
        self.window_end.with_label_values(&name).set(result.window.to_us / 1_000_000);
        self.known_at.with_label_values(&name).set(result.known_at_us / 1_000_000);
        self.show_measures(judged, result);
    }

    fn show_measures(&self, judged: &mut Judged, result: &JobResult) {
        let mut shown = BTreeSet::new();
        for measure in &result.measures {
            let labels = [result.job.as_str(), measure.name.as_str(), measure.group.as_str()];
            self.numerator.with_label_values(&labels).set(measure.numerator);
            self.denominator.with_label_values(&labels).set(measure.denominator);
            shown.insert((measure.name.clone(), measure.group.clone()));
        }
        for (name, group) in judged.measures.difference(&shown) {
            let labels = [result.job.as_str(), name.as_str(), group.as_str()];
            for gauge in [&self.numerator, &self.denominator] {
                let _ = gauge.remove_label_values(&labels); // it was set when it was shown
            }
        }
        judged.measures = shown;
    }
}

impl Shown for Verdicts {
    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    fn waiting_for(&self) -> Option<String> {
        None
    }
}
