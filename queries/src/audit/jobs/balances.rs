//! METRICS 6: what each wallet states is what its movements add up to.

use super::super::job::{Case, Job, Judgement, text};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;

pub(super) const JOB: Job = Job {
    name: JobName::Balances,
    subjects: Some(text!("balances/subjects.sql")),
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("balances/figures.sql"),
    offenders: text!("balances/offenders.sql"),
    check: text!("balances/check.sql"),
    broken: &["differing"],
    windowed: true,
    judge,
};

fn judge(case: &Case<'_>) -> Judgement {
    let of = |name| case.counters.get("", name);
    let (wallets, balanced) = (of("wallets"), of("balanced"));
    let (verdict, sentence) = match wallets {
        0 => (Verdict::NotEvaluated, "No wallet states a balance in this window.".to_owned()),
        _ if balanced == wallets => (Verdict::Pass, format!("The money of all {wallets} wallets adds up.")),
        _ => {
            let (differing, micros) = (of("differing"), of("difference_micros"));
            (
                Verdict::Fail,
                format!(
                    "{differing} of {wallets} wallets state a balance that their movements do not add up to, by {micros} micros in all."
                ),
            )
        }
    };
    let measure = Measure {
        name: "wallets that add up".to_owned(),
        group: String::new(),
        numerator: balanced,
        denominator: wallets,
        unit: "wallets".to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: Some(Target::AtLeast(1000)),
        verdict: Some(verdict),
        needed: None,
    };
    Judgement { verdict, sentence, numerator: balanced, denominator: wallets, measures: vec![measure] }
}
