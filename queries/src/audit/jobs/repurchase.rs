//! METRICS 4: how many customers came back in the week after the launch, against the four weeks before it.

use super::super::job::{Case, Job, Judgement, text};
use super::super::result::{Measure, Target, Verdict, Window, moment};
use super::super::settings::{DAY_US, Settings};
use super::super::statistics::{Ratio, fieller, needed_for_ratio, newcombe, wilson};
use super::JobName;
use super::accuracy::percent;
use crate::catalog::Snapshot;

pub(in super::super) const JOB: Job = Job {
    name: JobName::Repurchase,
    subjects: Some(text!("repurchase/subjects.sql")),
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("repurchase/figures.sql"),
    offenders: text!("repurchase/offenders.sql"),
    check: text!("repurchase/check.sql"),
    broken: &[],
    windowed: true,
    judge,
};

const WEEK_US: i64 = 7 * DAY_US;
/// How far before the launch purchases count: four weeks of baseline, the first with four weeks behind it.
const REACH_US: i64 = 8 * WEEK_US;

/// The launch that is judged: the one that was named, or else the beginning of the last whole week whose refunds can no
/// longer come (for topics that have ended, of the last week).
pub(in super::super) fn launch_us(settings: &Settings, snapshot: &Snapshot, window: Window) -> i64 {
    let final_us = match snapshot.watermark_us {
        i64::MAX => i64::MAX,
        watermark => watermark.saturating_sub(WEEK_US),
    };
    settings.launch_us.unwrap_or_else(|| window.to_us.min(final_us).saturating_sub(WEEK_US))
}

fn judge(case: &Case<'_>) -> Judgement {
    let of = |name| case.counters.get("", name);
    let (launch, baseline) =
        ((of("launch_repurchased"), of("launch_base")), (of("baseline_repurchased"), of("baseline_base")));
    let at = launch_us(case.settings, case.snapshot, case.window);
    let uplift = case.settings.uplift_permille;
    let ratio = fieller(launch, baseline);
    let (mut verdict, outcome) = verdict(launch, baseline, uplift, ratio);
    let judged_from = case.snapshot.first_event_us.saturating_add(REACH_US);
    let short = at < judged_from && verdict != Verdict::NotEvaluated;
    if short {
        verdict = Verdict::Insufficient; // wallets that bought before events begin are not among those that could come back
    }
    let refundable = case.snapshot.watermark_us < at.saturating_add(2 * WEEK_US);
    let verdict = if refundable && verdict != Verdict::NotEvaluated { Verdict::Pending } else { verdict };
    let rates = format!(
        "{} of {} wallets came back in the week from {}, {} of {} in the four weeks before",
        launch.0,
        launch.1,
        moment(at),
        baseline.0,
        baseline.1
    );
    let target = percent(uplift);
    let waiting = if refundable { " Refunds of that week may still come." } else { "" };
    let needed = match verdict {
        _ if short => None,
        Verdict::Warn | Verdict::Insufficient => needed_for_ratio(launch, baseline, uplift),
        _ => None,
    };
    let more = |wallets| format!(" At these rates {wallets} more wallets would tell.");
    let would_tell = needed.map_or(String::new(), more);
    let short = match short {
        true => format!(
            " The baseline needs eight weeks before the launch, and events begin at {}: launches from {} on can be judged.",
            moment(case.snapshot.first_event_us),
            moment(judged_from)
        ),
        false => String::new(),
    };
    let sentence = format!("{rates}; {outcome} {target} of the baseline.{waiting}{would_tell}{short}");
    Judgement {
        verdict,
        sentence,
        numerator: launch.0.saturating_mul(baseline.1),
        denominator: launch.1.saturating_mul(baseline.0),
        measures: measures(case, launch, baseline, (ratio, needed)),
    }
}

/// MET_SIGNIFICANT, MET, INSUFFICIENT and NOT_MET as verdicts: PASS, WARN, INSUFFICIENT, FAIL.
fn verdict(launch: (i64, i64), baseline: (i64, i64), uplift: i64, ratio: Ratio) -> (Verdict, &'static str) {
    if launch.1 == 0 || baseline.1 == 0 || baseline.0 == 0 {
        return (Verdict::NotEvaluated, "there is nothing to hold against");
    }
    // r / n >= uplift * r0 / n0, without fractions
    let wide = i128::from;
    let met = 1000 * wide(launch.0) * wide(baseline.1) >= wide(uplift) * wide(baseline.0) * wide(launch.1);
    #[expect(clippy::cast_precision_loss, reason = "per mille of a target")]
    let target = uplift as f64 / 1000.0;
    match (met, ratio) {
        (true, Ratio::Between(low, _)) if low >= target => (Verdict::Pass, "beyond doubt at least"),
        (true, _) => (Verdict::Warn, "at least, but within the reach of chance,"),
        (false, Ratio::Between(_, high)) if high < target => (Verdict::Fail, "beyond doubt less than"),
        (false, _) => (Verdict::Insufficient, "less than, but within the reach of chance,"),
    }
}

fn measures(
    case: &Case<'_>,
    launch: (i64, i64),
    baseline: (i64, i64),
    (ratio, needed): (Ratio, Option<i64>),
) -> Vec<Measure> {
    let of = |name| case.counters.get("", name);
    let rate = |name: &str, (numerator, denominator): (i64, i64)| Measure {
        name: name.to_owned(),
        group: String::new(),
        numerator,
        denominator,
        unit: "wallets".to_owned(),
        bounds: wilson(numerator, denominator),
        bounds_by: "Wilson 95 %".to_owned(),
        target: None,
        verdict: None,
        needed: None,
    };
    let uplift = Measure {
        name: "launch ÷ baseline".to_owned(),
        unit: "ratio of rates".to_owned(),
        bounds: match ratio {
            Ratio::Between(low, high) => Some((low, high)),
            Ratio::Unbounded => None,
        },
        bounds_by: "Fieller 95 %".to_owned(),
        target: Some(Target::AtLeast(case.settings.uplift_permille)),
        needed,
        ..rate("", (launch.0.saturating_mul(baseline.1), launch.1.saturating_mul(baseline.0)))
    };
    let difference = Measure {
        name: "launch − baseline".to_owned(),
        unit: "difference of rates".to_owned(),
        bounds: newcombe(launch, baseline),
        bounds_by: "Newcombe 95 %".to_owned(),
        ..rate(
            "",
            (
                launch.0.saturating_mul(baseline.1) - baseline.0.saturating_mul(launch.1),
                launch.1.saturating_mul(baseline.1),
            ),
        )
    };
    vec![
        rate("came back in the launch week", launch),
        rate("came back in the four weeks before", baseline),
        uplift,
        difference,
        rate("came back within 7 days of the first purchase", (of("followed_again"), of("followed"))),
    ]
}
