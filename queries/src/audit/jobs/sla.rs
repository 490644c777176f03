//! METRICS 7: cases decided before they were due, by policy tag and risk level.

use super::super::job::{Case, Job, Judgement, text};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;
use super::accuracy::percent;

pub(super) const JOB: Job = Job {
    name: JobName::Sla,
    subjects: Some(text!("sla/subjects.sql")),
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("sla/figures.sql"),
    offenders: text!("sla/offenders.sql"),
    check: text!("sla/check.sql"),
    broken: &["late", "overdue", "without_due"],
    windowed: true,
    judge,
};

fn judge(case: &Case<'_>) -> Judgement {
    let sum = |name| case.counters.sum(name);
    let (in_time, open) = (sum("in_time"), sum("still_open"));
    let judged = sum("cases") - open;
    let target = case.settings.sla_permille;
    let verdict = verdict(in_time, judged, target);
    let share = percent(target);
    let sentence = match verdict {
        Verdict::NotEvaluated => format!("No case reported in this window is due; {open} are open."),
        Verdict::Pass => format!(
            "{in_time} of {judged} cases were decided before they were due, at least {share}; {open} are open and not due."
        ),
        _ => format!(
            "Only {in_time} of {judged} cases were decided before they were due, fewer than {share}: {} late, {} overdue.",
            sum("late"),
            sum("overdue")
        ),
    };
    let measures = case.counters.groups().into_iter().map(|group| measure(case, group)).collect();
    Judgement { verdict, sentence, numerator: in_time, denominator: judged, measures }
}

fn verdict(in_time: i64, judged: i64, target: i64) -> Verdict {
    match judged {
        0 => Verdict::NotEvaluated,
        _ if 1000 * in_time >= target * judged => Verdict::Pass,
        _ => Verdict::Fail,
    }
}

/// One tag and level; shown against the target, judged only in the whole, where numbers are large enough.
fn measure(case: &Case<'_>, group: String) -> Measure {
    let of = |name| case.counters.get(&group, name);
    let judged = of("cases") - of("still_open");
    let (numerator, target) = (of("in_time"), case.settings.sla_permille);
    Measure {
        name: "cases decided in time".to_owned(),
        numerator,
        denominator: judged,
        unit: "cases".to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: Some(Target::AtLeast(target)),
        verdict: Some(verdict(numerator, judged, target)),
        needed: None,
        group,
    }
}
