//! METRICS 0: receipts and gaps tile every partition, and every receipt has its row.

use super::super::job::{Case, Job, Judgement, text};
use super::super::result::{Measure, Target, Verdict};
use super::JobName;

pub(super) const JOB: Job = Job {
    name: JobName::Offsets,
    subjects: None,
    once: &[],
    each_pass: &[],
    by_bucket: false,
    figures: text!("offsets/figures.sql"),
    offenders: text!("offsets/offenders.sql"),
    check: text!("offsets/check.sql"),
    broken: &BROKEN,
    windowed: false,
    judge,
};

/// Any of these is a no. An expired offset is lost; a conflict is never resolved by taking the first.
const BROKEN: [&str; 12] = [
    "holes",
    "overlaps",
    "never_taken",
    "expired",
    "accepted_without_fact",
    "fact_without_receipt",
    "fact_twice",
    "dead_without_letter",
    "letter_without_receipt",
    "both_ways",
    "conflicts",
    "beyond_taken",
];

fn judge(case: &Case<'_>) -> Judgement {
    let counters = case.counters;
    let broken = |name: &&str| {
        (counters.sum(name) > 0).then(|| format!("{} {}", counters.sum(name), name.replace('_', " ")))
    };
    let broken: Vec<String> = BROKEN.iter().filter_map(broken).collect();
    let (receipts, absent) = (counters.sum("receipts"), counters.sum("absent"));
    let (untaken, without_head) = (counters.sum("untaken"), counters.sum("without_head"));
    let total = total([receipts, absent, counters.sum("holes"), counters.sum("never_taken"), untaken]);
    let (verdict, sentence) = match () {
        () if !broken.is_empty() => {
            (Verdict::Fail, format!("The ledger does not balance: {}.", broken.join(", ")))
        }
        () if total == 0 && counters.get("", "beyond_waiting") == 0 => {
            (Verdict::NotEvaluated, "No offset has been taken yet.".to_owned())
        }
        () if untaken > 0 => (
            Verdict::Pending,
            format!(
                "{untaken} offsets below the high watermarks are still to be taken; no other is missing."
            ),
        ),
        () if counters.get("", "beyond_waiting") > 0 => {
            let rows = counters.get("", "beyond_waiting");
            let sentence = format!(
                "No offset is missing up to the last receipts, but {rows} facts or dead letters lie beyond them: they are being written, or their receipts are gone."
            );
            (Verdict::Pending, sentence)
        }
        () if without_head > 0 => {
            let sentence = format!(
                "No offset is missing up to the last one taken, but of {without_head} partitions no high watermark is known: give --ask-kafka with --brokers, or let `tally ingest` run."
            );
            (Verdict::Insufficient, sentence)
        }
        () => {
            let sentence = format!(
                "{total} offsets, each with exactly one disposition: {} accepted, {} dead letters, {absent} legally absent; every row has its receipt.",
                counters.sum("accepted"),
                counters.sum("dead")
            );
            (Verdict::Pass, sentence)
        }
    };
    let measures = counters.groups().into_iter().map(|id| tiling(case, id)).collect();
    Judgement { verdict, sentence, numerator: receipts.saturating_add(absent), denominator: total, measures }
}

/// A sum of offsets. A stored offset may be anything up to the end of 64 bits.
fn total<const N: usize>(parts: [i64; N]) -> i64 {
    parts.into_iter().fold(0, i64::saturating_add)
}

/// How much of one topic identity's offsets is accounted for.
fn tiling(case: &Case<'_>, id: String) -> Measure {
    let of = |name| case.counters.get(&id, name);
    let covered = total([of("receipts"), of("absent")]);
    let total = total([covered, of("holes"), of("never_taken"), of("untaken")]);
    let verdict = match (BROKEN.iter().any(|name| of(name) > 0), of("untaken") > 0, total) {
        (true, _, _) => Verdict::Fail,
        (_, _, 0) => Verdict::NotEvaluated,
        (_, true, _) => Verdict::Pending,
        _ => Verdict::Pass,
    };
    let named = case.snapshot.bounds.iter().find(|bound| bound.topic_id.to_string() == id);
    let group =
        named.map_or_else(|| id.clone(), |bound| format!("{} {}", bound.topic, &id[..8.min(id.len())]));
    Measure {
        name: "offsets with a disposition".to_owned(),
        group,
        numerator: covered,
        denominator: total,
        unit: "offsets".to_owned(),
        bounds: None,
        bounds_by: String::new(),
        target: Some(Target::AtLeast(1000)),
        verdict: Some(verdict),
        needed: None,
    }
}
