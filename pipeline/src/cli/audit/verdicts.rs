//! Every metric of `tally audit watch`, and the only place that names one.
//!
//! The label of a job is `audit`: Prometheus gives each target a label `job` of its own, and would rename ours.

use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use tally_pipeline::ops::{self, Shown};
use tally_queries::LastVerification;
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
    verification: [IntGaugeVec; 3],
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
        let verification = [
            gauge(
                "tally_verification_at_seconds",
                "When `tally verify` last looked at everything, or found something altered where it never did, seconds since 1970 UTC.",
                &[],
            )?,
            gauge(
                "tally_verification_result",
                "What it found then: 0 verified, 1 tampered, 2 incomplete, 3 could not be checked.",
                &[],
            )?,
            gauge("tally_verification_findings", "How many findings it had.", &[])?,
        ];
        let judged = Mutex::default();
        Ok(Verdicts {
            registry,
            verdict,
            window_end,
            known_at,
            windows,
            numerator,
            denominator,
            verification,
            judged,
        })
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

    /// What `tally verify` found when it last looked at everything.
    pub(super) fn show_verification(&self, last: LastVerification) {
        let findings = i64::try_from(last.findings).unwrap_or(i64::MAX);
        for (gauge, number) in
            self.verification.iter().zip([last.verified_us / 1_000_000, last.code, findings])
        {
            gauge.with_label_values::<&str>(&[]).set(number);
        }
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

#[cfg(test)]
mod tests {
    use super::{JobName, JobResult, Verdicts};
    use serde_json::json;
    use tally_pipeline::ops::Shown;

    /// Hour `from` said so, with one measure of that group.
    fn said(from: i64, verdict: &str, group: &str) -> JobResult {
        let hour = 3_600_000_000_i64;
        let said = json!({
            "result_id": "00000000-0000-4000-8000-000000000001", "job": "stability", "verdict": verdict, "sentence": "",
            "window": { "from_us": from * hour, "to_us": (from + 1) * hour, "state": "CLOSED", "watermark_us": 0 }, "known_at_us": 7_000_000,
            "numerator": 0, "denominator": 0, "counters": {}, "offenders": [], "offenders_total": 0, "sql_sha256": {}, "duration_ms": 1,
            "measures": [{ "name": "failed attempts", "group": group, "numerator": 3, "denominator": 200, "unit": "attempts",
                "bounds": null, "bounds_by": "", "target": null, "verdict": null }],
            "input": { "source": "clickhouse", "bounds": [], "rows_read": 0 }, "restates": null,
            "cross_check": { "by": "", "agrees": true, "differences": [] },
            "versions": { "tally": "", "datafusion": "", "clickhouse": "" },
        });
        serde_json::from_value(said).expect("a result")
    }

    /// Scenario: an hour fails and the next passes; the first is judged anew and passes; a third comes, with another group, when the
    /// first two have left the look-back.
    /// Guarantees: the failure stays until it is restated, while the verdict is the latest window's; a judgement of an earlier window
    /// does not become the latest; windows beyond the look-back and measures that are no more are not shown.
    #[test]
    fn a_failed_window_stays_until_it_is_restated() {
        let verdicts = Verdicts::new().expect("constants");
        let show = |result: &JobResult, back_hour: i64| {
            verdicts.show(JobName::Stability, result, back_hour * 3_600_000_000);
            verdicts.metrics()
        };
        let holds =
            |text: &str, line: &str| assert!(text.lines().any(|one| one == line), "no {line} in\n{text}");
        show(&said(10, "FAIL", "a"), 0);
        let text = show(&said(11, "PASS", "a"), 0);
        holds(&text, "tally_audit_windows{audit=\"stability\",verdict=\"FAIL\"} 1");
        holds(&text, "tally_audit_windows{audit=\"stability\",verdict=\"PASS\"} 1");
        holds(&text, "tally_audit_verdict{audit=\"stability\"} 0");
        let text = show(&said(10, "PASS", "b"), 0);
        holds(&text, "tally_audit_windows{audit=\"stability\",verdict=\"FAIL\"} 0");
        holds(&text, "tally_audit_windows{audit=\"stability\",verdict=\"PASS\"} 2");
        holds(&text, "tally_audit_window_end_seconds{audit=\"stability\"} 43200");
        assert!(!text.contains("group=\"b\""), "the measures are the latest window's\n{text}");
        let text = show(&said(20, "WARN", "c"), 15);
        holds(&text, "tally_audit_windows{audit=\"stability\",verdict=\"PASS\"} 0");
        holds(&text, "tally_audit_windows{audit=\"stability\",verdict=\"WARN\"} 1");
        holds(&text, "tally_audit_verdict{audit=\"stability\"} 2");
        holds(
            &text,
            "tally_audit_measure_denominator{audit=\"stability\",group=\"c\",measure=\"failed attempts\"} 200",
        );
        assert!(!text.contains("group=\"a\""), "{text}");
    }
}
