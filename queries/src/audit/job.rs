//! What makes a job: its SQL texts, and the function that turns its figures into a verdict.

use super::figures::Counters;
use super::jobs::JobName;
use super::result::{Measure, Verdict, Window};
use super::settings::Settings;
use crate::catalog::Snapshot;
use sha2::{Digest, Sha256};

/// An SQL text and the file it stands in.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text {
    pub(super) name: &'static str,
    pub(super) sql: &'static str,
}

impl Text {
    /// SHA-256 of the text, hexadecimal.
    pub(super) fn sha256(self) -> String {
        hex::encode(Sha256::digest(self.sql))
    }

    /// The name of its file, without folder and ending.
    pub(super) fn stem(self) -> &'static str {
        let file = self.name.rsplit('/').next().unwrap_or(self.name);
        file.strip_suffix(".sql").unwrap_or(file)
    }

    /// Whether it reads a table.
    pub(super) fn mentions(self, table: &str) -> bool {
        let bare = self.sql.lines().filter(|line| !line.starts_with("--"));
        let mut words = bare.flat_map(|line| line.split(|c: char| !c.is_alphanumeric() && c != '_'));
        words.any(|word| word == table)
    }
}

/// The text in a file below `sql/audit`.
macro_rules! text {
    ($name:literal) => {
        $crate::audit::job::Text { name: $name, sql: include_str!(concat!("../../../sql/audit/", $name)) }
    };
}
pub(super) use text;

/// One question.
pub(super) struct Job {
    pub(super) name: JobName,
    /// One row for each task, wallet or case: a view that the other texts read, named `subjects`.
    pub(super) subjects: Option<Text>,
    /// Texts that are computed once a run; the others read each as a table under the name of its file.
    pub(super) once: &'static [Text],
    /// Texts that are computed once a pass, in this order; those after them read each as a table under the name of its file.
    pub(super) each_pass: &'static [Text],
    /// Every text takes its rows from `task_bucket` in [`$bucket_first`, `$bucket_next`) and every counter is a sum over tasks, so
    /// that buckets may be read one after another and added up. Offenders are in order of their ids.
    pub(super) by_bucket: bool,
    /// `grp` and integers: the counters.
    pub(super) figures: Text,
    /// `id`, `why`, `detail`: who broke the rule.
    pub(super) offenders: Text,
    /// Some of the same counters by another way, in words that DataFusion and ClickHouse share.
    pub(super) check: Text,
    /// Counters that offenders are behind: where all are 0 nobody is asked for.
    pub(super) broken: &'static [&'static str],
    /// Whether it waits for its window to close.
    pub(super) windowed: bool,
    /// Figures to verdict; a total function.
    pub(super) judge: fn(&Case<'_>) -> Judgement,
}

impl Job {
    /// Its own texts that read rows, in the order in which they are computed; offenders apart, which are asked for only where there are any.
    pub(super) fn plans(&self) -> impl Iterator<Item = Text> {
        self.each_pass.iter().copied().chain(self.subjects).chain([self.figures])
    }
}

/// What a judge looks at.
pub(super) struct Case<'a> {
    pub(super) counters: &'a Counters,
    pub(super) settings: &'a Settings,
    pub(super) snapshot: &'a Snapshot,
    pub(super) window: Window,
}

/// What it says.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Judgement {
    pub(super) verdict: Verdict,
    pub(super) sentence: String,
    pub(super) numerator: i64,
    pub(super) denominator: i64,
    pub(super) measures: Vec<Measure>,
}

/// The verdict of several parts: a failed one outweighs an undecided one, and parts with nothing to judge stand back.
pub(super) fn worst(verdicts: impl IntoIterator<Item = Verdict>) -> Verdict {
    let order = [
        Verdict::Error,
        Verdict::Fail,
        Verdict::Insufficient,
        Verdict::Pending,
        Verdict::Warn,
        Verdict::Pass,
    ];
    let all: Vec<Verdict> = verdicts.into_iter().collect();
    order.into_iter().find(|verdict| all.contains(verdict)).unwrap_or(Verdict::NotEvaluated)
}
