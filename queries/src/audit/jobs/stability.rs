//! METRICS 3: each interface fails in less than 2 % of the attempts that reached it, and that is proven.

use super::super::job::{Case, Job, Judgement, text, worst};
use super::super::result::{Measure, Target, Verdict};
use super::super::statistics::wilson;
use super::JobName;
use super::accuracy::percent;

pub(super) const JOB: Job = Job {
    name: JobName::Stability,
    subjects: Some(text!("stability/subjects.sql")),
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("stability/figures.sql"),
    offenders: text!("stability/offenders.sql"),
    check: text!("stability/check.sql"),
    broken: &["errors"],
    windowed: true,
    judge,
};

/// The interfaces by the symbol that events carry.
const ENDPOINTS: [(&str, &str); 4] = [
    ("CREDITS_ESTIMATE", "/credits/estimate"),
    ("CREDITS_CHARGE", "/credits/charge"),
    ("CREDITS_REFUND", "/credits/refund"),
    ("LICENSES_CHECK", "/licenses/check"),
];
/// What only flows of the gateway ask for: shown where they did, without a target.
const ACTS: [(&str, &str); 2] =
    [("TASKS_TRANSITIONS", "/tasks/transitions"), ("LICENSES_REVOKE", "/licenses/revoke")];

fn judge(case: &Case<'_>) -> Judgement {
    let attempts: Vec<Measure> = ENDPOINTS.iter().map(|(symbol, path)| rate(case, symbol, path)).collect();
    // each interface must be proven: one that nobody called leaves the whole undecided
    let judged: Vec<Verdict> = attempts.iter().filter_map(|m| m.verdict).collect();
    let verdict = match worst(judged.iter().copied()) {
        Verdict::Pass if judged.contains(&Verdict::NotEvaluated) => Verdict::Insufficient,
        verdict => verdict,
    };
    let of = |wanted| {
        let named: Vec<&str> =
            attempts.iter().filter(|m| m.verdict == Some(wanted)).map(|m| m.group.as_str()).collect();
        named.join(", ")
    };
    let (errors, tried) =
        (attempts.iter().map(|m| m.numerator).sum(), attempts.iter().map(|m| m.denominator).sum());
    let below = case.settings.errors_below_permille;
    let target = percent(below);
    let sentence = match verdict {
        Verdict::NotEvaluated => "No attempt reached an interface in this window.".to_owned(),
        Verdict::Pass => {
            format!("Every interface failed in less than {target} of its attempts, proven at 95 %.")
        }
        Verdict::Fail => format!("{} failed in {target} of the attempts or more.", of(Verdict::Fail)),
        _ => {
            let few = [of(Verdict::Insufficient), of(Verdict::NotEvaluated)];
            let few: Vec<String> = few.into_iter().filter(|names| !names.is_empty()).collect();
            let few = few.join(", ");
            let above =
                attempts.iter().filter(|m| m.denominator > 0 && 1000 * m.numerator >= below * m.denominator);
            let above: Vec<&str> = above.map(|m| m.group.as_str()).collect();
            match above.is_empty() {
                true => format!(
                    "No interface failed in {target} of its attempts or more, but for {few} there are too few attempts to prove it."
                ),
                false => format!(
                    "{} failed in {target} of the attempts or more, but for {few} there are too few attempts to prove anything.",
                    above.join(", ")
                ),
            }
        }
    };
    let asked: Vec<_> = ACTS.iter().filter(|(symbol, _)| case.counters.get(symbol, "attempts") > 0).collect();
    let mut measures = attempts;
    measures.extend(asked.iter().map(|(symbol, path)| Measure {
        target: None,
        verdict: None,
        ..rate(case, symbol, path)
    }));
    let every = ENDPOINTS.iter().chain(asked);
    measures.extend(every.map(|(symbol, path)| requests(case, symbol, path)));
    Judgement { verdict, sentence, numerator: errors, denominator: tried, measures }
}

/// Errors of attempts; those that were turned away for their number (429) stand apart.
fn rate(case: &Case<'_>, symbol: &str, path: &str) -> Measure {
    let of = |name| case.counters.get(symbol, name);
    let (errors, attempts) = (of("errors"), of("attempts") - of("rate_limited"));
    let below = case.settings.errors_below_permille;
    let bounds = wilson(errors, attempts);
    #[expect(clippy::cast_precision_loss, reason = "per mille of a target")]
    let proven = |upper: f64| upper * 1000.0 < below as f64;
    // so few that even none that failed would not prove it
    let could_prove = wilson(0, attempts).is_some_and(|(_, upper)| proven(upper));
    let verdict = match bounds {
        None => Verdict::NotEvaluated,
        Some(_) if !could_prove => Verdict::Insufficient,
        Some(_) if 1000 * errors >= below * attempts => Verdict::Fail,
        Some((_, upper)) if proven(upper) => Verdict::Pass,
        Some(_) => Verdict::Insufficient,
    };
    Measure {
        name: "failed attempts".to_owned(),
        group: path.to_owned(),
        numerator: errors,
        denominator: attempts,
        unit: "attempts".to_owned(),
        bounds,
        bounds_by: "Wilson 95 %".to_owned(),
        target: Some(Target::Below(below)),
        verdict: Some(verdict),
        needed: None,
    }
}

/// The second view: requests that no attempt answered within 60 s.
fn requests(case: &Case<'_>, symbol: &str, path: &str) -> Measure {
    let of = |name| case.counters.get(symbol, name);
    let (failed, judged) = (of("unanswered"), of("answered") + of("unanswered"));
    Measure {
        name: "requests not answered within 60 s".to_owned(),
        group: path.to_owned(),
        numerator: failed,
        denominator: judged,
        unit: "requests".to_owned(),
        bounds: wilson(failed, judged),
        bounds_by: "Wilson 95 %".to_owned(),
        target: None,
        verdict: None,
        needed: None,
    }
}
