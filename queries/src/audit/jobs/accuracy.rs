//! METRICS 2: settlements against estimates, within 10 % in the normal queue and 5 % in the accelerated one.

use super::super::job::{Case, Job, Judgement, text, worst};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;

pub(super) const JOB: Job = Job {
    name: JobName::Accuracy,
    subjects: Some(text!("accuracy/subjects.sql")),
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("accuracy/figures.sql"),
    offenders: text!("accuracy/offenders.sql"),
    check: text!("accuracy/check.sql"),
    broken: &["misses", "unsettled"],
    windowed: true,
    judge,
};

/// The classes, their names for people, and their tolerances. A task that was moved is judged by the stricter one.
const CLASSES: [(&str, &str, &str); 3] =
    [("NORMAL", "normal", "±10 %"), ("ACCELERATED", "accelerated", "±5 %"), ("MOVED", "moved", "±5 %")];

fn judge(case: &Case<'_>) -> Judgement {
    let shares: Vec<Measure> =
        CLASSES.iter().map(|(class, name, tolerance)| share(case, class, name, tolerance)).collect();
    let verdict =
        worst(shares.iter().filter_map(|measure| measure.verdict).filter(|v| *v != Verdict::NotEvaluated));
    let sum = |name| case.counters.sum(name);
    let (tasks, hits, unsettled) = (sum("tasks"), sum("hits"), sum("unsettled"));
    let target = percent(case.settings.accuracy_permille);
    let beside = format!("{unsettled} were never settled, {} are settling", sum("settling"));
    let failing = shares.iter().zip(CLASSES).filter(|(share, _)| share.verdict == Some(Verdict::Fail));
    let failing: Vec<String> = failing
        .map(|(share, (_, name, _))| format!("{name} {} of {}", share.numerator, share.denominator))
        .collect();
    let sentence = match verdict {
        Verdict::NotEvaluated => "No task was settled in this window.".to_owned(),
        Verdict::Pass => format!(
            "{hits} of {tasks} settled tasks lie within the tolerance of their queue, at least {target} in each; {beside}."
        ),
        Verdict::Fail => format!(
            "Fewer than {target} of the settled tasks lie within the tolerance of their queue: {}; {hits} of {tasks} in all; {beside}.",
            failing.join(", ")
        ),
        _ => format!(
            "{hits} of {tasks} settled tasks lie within tolerance, but tasks that are not settled decide whether {target} are reached: {beside}."
        ),
    };
    let mut measures = shares;
    for (class, name, _) in CLASSES {
        measures.extend(errors(case, class, name));
    }
    Judgement { verdict, sentence, numerator: hits, denominator: tasks, measures }
}

/// The share of hits, with unsettled tasks counted as misses for the lower bound and as hits for the upper one.
fn share(case: &Case<'_>, class: &str, name: &str, tolerance: &str) -> Measure {
    let of = |name| case.counters.get(class, name);
    let (tasks, hits) = (of("tasks"), of("hits"));
    let (overdue, settling) = (of("unsettled"), of("settling"));
    let target = case.settings.accuracy_permille;
    let reaches = |hits: i64, tasks: i64| 1000 * i128::from(hits) >= i128::from(target) * i128::from(tasks);
    let all = tasks + overdue;
    let verdict = match () {
        () if all + settling == 0 => Verdict::NotEvaluated,
        // whatever becomes of those that are settling
        () if reaches(hits, all + settling) => Verdict::Pass,
        () if !reaches(hits + overdue + settling, all + settling) => Verdict::Fail,
        () if settling > 0 => Verdict::Pending,
        () => Verdict::Insufficient,
    };
    #[expect(
        clippy::cast_precision_loss,
        reason = "bounds for display; the verdict is computed from integers"
    )]
    let part = |hits: i64| hits as f64 / all.max(1) as f64;
    Measure {
        name: "share within tolerance".to_owned(),
        group: format!("{name}, {tolerance}"),
        numerator: hits,
        denominator: tasks,
        unit: "tasks".to_owned(),
        bounds: (all > 0).then(|| (part(hits), part(hits + overdue))),
        bounds_by: "unsettled tasks as misses and as hits".to_owned(),
        target: Some(Target::AtLeast(target)),
        verdict: Some(verdict),
        needed: None,
    }
}

/// For information: bias Σ(S−E)/ΣE, weighted absolute error Σ|S−E|/ΣE, and percentiles of |S−E|/E.
fn errors(case: &Case<'_>, class: &str, name: &str) -> Vec<Measure> {
    let of = |name| case.counters.get(class, name);
    let estimated = of("estimated_micros");
    if estimated == 0 {
        return Vec::new();
    }
    let measure = |what: &str, numerator, denominator| Measure {
        name: what.to_owned(),
        group: name.to_owned(),
        numerator,
        denominator,
        unit: "micros".to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: None,
        verdict: None,
        needed: None,
    };
    let error = |what: &str, numerator| Measure {
        unit: "of the estimate".to_owned(),
        ..measure(what, numerator, 10_000)
    };
    vec![
        measure("bias", of("settled_micros") - estimated, estimated),
        measure("weighted absolute error", of("deviation_micros"), estimated),
        error("median absolute error", of("error_p50_permyriad")),
        error("95th percentile of the absolute error", of("error_p95_permyriad")),
    ]
}

/// A share per mille for people.
pub(super) fn percent(permille: i64) -> String {
    match permille % 10 {
        0 => format!("{} %", permille / 10),
        rest => format!("{}.{rest} %", permille / 10),
    }
}
