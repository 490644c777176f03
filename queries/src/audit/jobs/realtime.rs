//! METRICS 5: pushes within 3 s of the append, recoveries within 5 s of the reconnect, by the delivery ledger.

use super::super::job::{Case, Job, Judgement, text, worst};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;
use super::accuracy::percent;

pub(super) const JOB: Job = Job {
    name: JobName::Realtime,
    subjects: None,
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("realtime/figures.sql"),
    offenders: text!("realtime/offenders.sql"),
    check: text!("realtime/check.sql"),
    broken: &["misses", "recovery_misses"],
    windowed: true,
    judge,
};

fn judge(case: &Case<'_>) -> Judgement {
    let of = |name| case.counters.get("", name);
    let pushes = of("in_time") + of("misses");
    let recoveries = of("recovered_in_time") + of("recovery_misses");
    let measures = vec![
        measure(case, "pushed within 3 s", "deliveries", of("in_time"), pushes),
        measure(case, "recovered within 5 s", "reconnects", of("recovered_in_time"), recoveries),
    ];
    let verdict = worst(measures.iter().filter_map(|m| m.verdict).filter(|v| *v != Verdict::NotEvaluated));
    let target = percent(case.settings.realtime_permille);
    let sentence = match verdict {
        Verdict::NotEvaluated => "The feed delivered nothing in this window.".to_owned(),
        _ => format!(
            "{} of {pushes} deliveries were acknowledged within 3 s, {} of {recoveries} reconnects recovered within 5 s; the target is {target}.",
            of("in_time"),
            of("recovered_in_time")
        ),
    };
    Judgement { verdict, sentence, numerator: of("in_time"), denominator: pushes, measures }
}

fn measure(case: &Case<'_>, name: &str, unit: &str, numerator: i64, denominator: i64) -> Measure {
    let target = case.settings.realtime_permille;
    let verdict = match denominator {
        0 => Verdict::NotEvaluated,
        _ if 1000 * numerator >= target * denominator => Verdict::Pass,
        _ => Verdict::Fail,
    };
    Measure {
        name: name.to_owned(),
        group: String::new(),
        numerator,
        denominator,
        unit: unit.to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: Some(Target::AtLeast(target)),
        verdict: Some(verdict),
        needed: None,
    }
}
