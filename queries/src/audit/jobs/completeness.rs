//! METRICS 1: every task is in the audit log, with one valid policy tag and a chain of states without gaps.

use super::super::job::{Case, Job, Judgement, text};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;

pub(super) const JOB: Job = Job {
    name: JobName::Completeness,
    subjects: Some(text!("completeness/subjects.sql")),
    once: &[text!("completeness/open_letters.sql"), text!("completeness/letters_again.sql")],
    each_pass: &[
        text!("completeness/unlike.sql"),
        text!("completeness/contents.sql"),
        text!("completeness/cells.sql"),
    ],
    by_bucket: true,
    figures: text!("completeness/figures.sql"),
    offenders: text!("completeness/offenders.sql"),
    check: text!("completeness/check.sql"),
    broken: &["incomplete", "buckets_differing"],
    windowed: true,
    judge,
};

const REASONS: [&str; 8] = [
    "orphan_audit",
    "missing_audit",
    "missing_fact",
    "missing_tag",
    "conflicting_tag",
    "broken_chain",
    "ended_twice",
    "dead_lettered",
];

fn judge(case: &Case<'_>) -> Judgement {
    let of = |name| case.counters.get("", name);
    let (population, complete) = (of("population"), of("complete"));
    let broken = REASONS
        .iter()
        .filter(|name| of(name) > 0)
        .map(|name| format!("{} {}", of(name), name.replace('_', " ")));
    let (buckets, differing) = (of("buckets"), of("buckets_differing"));
    let unlike = match differing {
        0 => String::new(),
        _ => format!(
            " In {differing} of {buckets} buckets, of ten minutes and a 64th of the tasks each, receipts and events are not the same."
        ),
    };
    let (verdict, sentence) = match population {
        0 if differing == 0 => (Verdict::NotEvaluated, "No task began in this window.".to_owned()),
        0 => (Verdict::Warn, format!("No task began in this window.{unlike}")),
        _ if complete == population => {
            let verdict = if differing == 0 { Verdict::Pass } else { Verdict::Warn };
            let sentence =
                format!("All {population} tasks are complete: receipt, policy tag, chain of states.{unlike}");
            (verdict, sentence)
        }
        _ => {
            let why: Vec<String> = broken.collect();
            let incomplete = population - complete;
            let sentence =
                format!("{incomplete} of {population} tasks are incomplete: {}.{unlike}", why.join(", "));
            (Verdict::Fail, sentence)
        }
    };
    let measure = |name: &str, (numerator, denominator): (i64, i64), unit: &str, verdict| Measure {
        name: name.to_owned(),
        group: String::new(),
        numerator,
        denominator,
        unit: unit.to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: Some(Target::AtLeast(1000)),
        verdict: Some(verdict),
        needed: None,
    };
    let alike = match (buckets, differing) {
        (0, _) => Verdict::NotEvaluated,
        (_, 0) => Verdict::Pass,
        _ => Verdict::Fail,
    };
    let whole = match population {
        0 => Verdict::NotEvaluated,
        _ if complete == population => Verdict::Pass,
        _ => Verdict::Fail,
    };
    let measures = vec![
        measure("complete tasks", (complete, population), "tasks", whole),
        measure("buckets whose receipts and events agree", (buckets - differing, buckets), "buckets", alike),
    ];
    Judgement { verdict, sentence, numerator: complete, denominator: population, measures }
}
