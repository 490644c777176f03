//! What a job says: a verdict, the figures it rests on, who broke the rule, and what it was computed from.
//!
//! This is also the JSON of `tally audit --format json`: fields are only ever added.

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// The seven states of an answer. Only PASS is a yes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Verdict {
    /// The rule holds.
    Pass,
    /// The rule is broken; offenders are named.
    Fail,
    /// The rule holds, but something beside it asks for attention.
    Warn,
    /// The window is still open: events that belong to it may yet come.
    Pending,
    /// There was nothing to judge.
    NotEvaluated,
    /// Too little to judge: the interval straddles the target.
    Insufficient,
    /// It could not be checked, or two ways of checking disagree.
    Error,
}

impl Verdict {
    /// Every one of them.
    pub const ALL: [Verdict; 7] = [
        Verdict::Pass,
        Verdict::Fail,
        Verdict::Warn,
        Verdict::Pending,
        Verdict::NotEvaluated,
        Verdict::Insufficient,
        Verdict::Error,
    ];

    /// As it is written in reports and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Warn => "WARN",
            Verdict::Pending => "PENDING",
            Verdict::NotEvaluated => "NOT_EVALUATED",
            Verdict::Insufficient => "INSUFFICIENT",
            Verdict::Error => "ERROR",
        }
    }

    /// The exit code of several verdicts together: 0 all PASS, 1 any FAIL, 2 anything undecided, 3 any ERROR or none.
    pub fn exit_code(verdicts: impl IntoIterator<Item = Verdict>) -> u8 {
        let code = |verdict| match verdict {
            Verdict::Pass => 0,
            Verdict::Warn | Verdict::Pending | Verdict::NotEvaluated | Verdict::Insufficient => 2,
            Verdict::Fail => 1,
            Verdict::Error => 3,
        };
        let codes: Vec<u8> = verdicts.into_iter().map(code).collect();
        [3, 1, 2].into_iter().find(|code| codes.contains(code)).unwrap_or(if codes.is_empty() {
            3
        } else {
            0
        })
    }
}

impl std::fmt::Display for Verdict {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.name())
    }
}

/// Whether events may still come that belong to a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WindowState {
    /// The lowest watermark has not passed its end and the grace.
    Open,
    /// It has.
    Closed,
    /// It has, and a checkpoint of the table `seals` covers every receipt that was appended before then. `tally verify` says
    /// whether that checkpoint is what it claims to be.
    Sealed,
}

/// A stretch of event time, [from, to), and how far the data had come when it was judged. Microseconds since 1970 UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// First microsecond.
    pub from_us: i64,
    /// First microsecond that is no longer in it.
    pub to_us: i64,
    /// Open, closed or sealed.
    pub state: WindowState,
    /// Every event before this moment has arrived, as far as the partitions tell; `i64::MAX` once all topics have ended.
    pub watermark_us: i64,
}

/// What a share is held against.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "rule", content = "permille")]
pub enum Target {
    /// The share must reach this many per mille.
    AtLeast(i64),
    /// The share must stay below this many per mille.
    Below(i64),
}

/// One figure: a share, as the pair it is made of, with its bounds and its target.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measure {
    /// What is measured, such as `share within tolerance`.
    pub name: String,
    /// Of whom: a queue, an endpoint, a policy tag; empty for all.
    pub group: String,
    /// How many, of
    pub numerator: i64,
    /// how many.
    pub denominator: i64,
    /// What is counted, such as `tasks`, or `micros` for amounts.
    pub unit: String,
    /// Lower and upper bound of the share (0..=1, or a ratio), where one was computed.
    pub bounds: Option<(f64, f64)>,
    /// How the bounds came about, such as `Wilson 95 %` or `unsettled tasks counted as misses and as hits`.
    pub bounds_by: String,
    /// What it is held against.
    pub target: Option<Target>,
    /// What it says by itself; `None` where it is shown for information.
    pub verdict: Option<Verdict>,
    /// How many more of its denominator would decide it, at the rates of now; `None` where it is decided, or more would not help.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub needed: Option<i64>,
}

/// Somebody or something that broke the rule.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Offender {
    /// A task, a wallet, an order, a case, or `topic/partition/first-next`.
    pub id: String,
    /// Which rule, by the name of its counter.
    pub why: String,
    /// A sentence for people.
    pub detail: String,
}

/// How far one partition's records were read: offsets below `next`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputBound {
    /// Kafka topic.
    pub topic: String,
    /// Its identity.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// First offset that was not read.
    pub next: i64,
}

/// What a result was computed from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Input {
    /// `clickhouse` or `parquet`.
    pub source: String,
    /// The upper bound of the input, by partition.
    pub bounds: Vec<InputBound>,
    /// Rows read by the main plan.
    pub rows_read: u64,
}

/// The second opinion.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CrossCheck {
    /// Who gave it, such as `clickhouse 26.7` or `datafusion, second plan`.
    pub by: String,
    /// Whether every figure was the same.
    pub agrees: bool,
    /// How many figures it computed.
    #[serde(default)]
    pub compared: u64,
    /// Which were not: name, ours, theirs.
    pub differences: Vec<Difference>,
}

/// A figure that differs between two computations.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// Its name.
    pub figure: String,
    /// Here, or before.
    pub before: i64,
    /// There, or now.
    pub after: i64,
}

impl Difference {
    /// Every figure of either that is not the same in both; one that only one of them has is 0 in the other.
    pub(super) fn between(before: &BTreeMap<String, i64>, after: &BTreeMap<String, i64>) -> Vec<Difference> {
        let names: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
        let of = |all: &BTreeMap<String, i64>, name: &String| all.get(name).copied().unwrap_or(0);
        let differs = names.into_iter().filter_map(|figure| {
            let (before, after) = (of(before, figure), of(after, figure));
            (before != after).then(|| Difference { figure: figure.clone(), before, after })
        });
        differs.collect()
    }
}

/// The result that this one puts right.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Restatement {
    /// Its id.
    pub result_id: Uuid,
    /// When it was known.
    pub known_at_us: i64,
    /// What it said.
    pub verdict: Verdict,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// Programs that took part.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// This program.
    pub tally: String,
    /// The query engine.
    pub datafusion: String,
    /// The store; empty over Parquet.
    pub clickhouse: String,
}

/// The whole answer of one job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobResult {
    /// Unique.
    pub result_id: Uuid,
    /// `offsets`, `completeness`, `accuracy`, `stability`, `repurchase`, `realtime`, `balances` or `sla`.
    pub job: String,
    /// The answer.
    pub verdict: Verdict,
    /// The answer in a sentence, with its reason.
    pub sentence: String,
    /// The stretch of event time it is about.
    pub window: Window,
    /// When it was computed, microseconds since 1970 UTC.
    pub known_at_us: i64,
    /// The headline's pair.
    pub numerator: i64,
    /// See `numerator`.
    pub denominator: i64,
    /// Shares, by group.
    pub measures: Vec<Measure>,
    /// Everything counted, by name; differences between results are differences of these.
    pub counters: BTreeMap<String, i64>,
    /// The first offenders, in order of their ids.
    pub offenders: Vec<Offender>,
    /// How many there are.
    pub offenders_total: u64,
    /// What it was computed from.
    pub input: Input,
    /// SHA-256 (hex) of each SQL text that took part, by file name.
    pub sql_sha256: BTreeMap<String, String>,
    /// Targets and waits that it was judged by, by name: shares in per mille, times in microseconds.
    #[serde(default)]
    pub settings: BTreeMap<String, i64>,
    /// The second opinion.
    pub cross_check: CrossCheck,
    /// Programs that took part.
    pub versions: Versions,
    /// How long it took, milliseconds.
    pub duration_ms: u64,
    /// What it puts right, if an earlier result for the same window said something else.
    pub restates: Option<Restatement>,
}

/// A moment as people write it: RFC 3339, UTC, as many decimals as it needs.
pub fn moment(us: i64) -> String {
    match DateTime::<Utc>::from_timestamp_micros(us) {
        Some(at) => at.to_rfc3339_opts(SecondsFormat::AutoSi, true),
        None if us > 0 => "the end".to_owned(),
        None => "the beginning".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::Verdict::{Error, Fail, Insufficient, Pass, Pending, Warn};
    use super::{Verdict, moment};

    /// Scenario: several jobs end in various ways.
    /// Guarantees: only all PASS is 0; ERROR outweighs FAIL, FAIL outweighs undecided; no answer at all is no yes.
    #[test]
    fn exit_codes() {
        let cases: [(&[Verdict], u8); 7] = [
            (&[Pass, Pass], 0),
            (&[Pass, Fail, Pending], 1),
            (&[Pass, Insufficient], 2),
            (&[Warn], 2),
            (&[Fail, Error], 3),
            (&[Pending], 2),
            (&[], 3),
        ];
        for (verdicts, code) in cases {
            assert_eq!(Verdict::exit_code(verdicts.iter().copied()), code, "{verdicts:?}");
        }
    }

    /// Scenario: moments inside and outside of the calendar.
    /// Guarantees: text that cannot be mistaken.
    #[test]
    fn moments() {
        assert_eq!(moment(0), "1970-01-01T00:00:00Z");
        assert_eq!(moment(1_500_000), "1970-01-01T00:00:01.500Z");
        assert_eq!(moment(i64::MAX), "the end");
    }
}
