//! METRICS 1: every task is in the audit log, with one valid policy tag and a chain of states without gaps.

use super::super::job::{Case, Job, Judgement, text};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;

pub(super) const JOB: Job = Job {
    name: JobName::Completeness,
    subjects: Some(text!("completeness/subjects.sql")),
    once: &[text!("completeness/open_letters.sql"), text!("completeness/letters_again.sql")],
    by_bucket: true,
    figures: text!("completeness/figures.sql"),
    offenders: text!("completeness/offenders.sql"),
    check: text!("completeness/check.sql"),
    broken: &["incomplete"],
    windowed: true,
    judge,
};

const REASONS: [&str; 7] = [
    "orphan_audit",
    "missing_audit",
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
    let (verdict, sentence) = match population {
        0 => (Verdict::NotEvaluated, "No task began in this window.".to_owned()),
        _ if complete == population => (
            Verdict::Pass,
            format!("All {population} tasks are complete: receipt, policy tag, chain of states."),
        ),
        _ => {
            let why: Vec<String> = broken.collect();
            (
                Verdict::Fail,
                format!(
                    "{} of {population} tasks are incomplete: {}.",
                    population - complete,
                    why.join(", ")
                ),
            )
        }
    };
    let measure = Measure {
        name: "complete tasks".to_owned(),
        group: String::new(),
        numerator: complete,
        denominator: population,
        unit: "tasks".to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: Some(Target::AtLeast(1000)),
        verdict: Some(verdict),
    };
    Judgement { verdict, sentence, numerator: complete, denominator: population, measures: vec![measure] }
}
