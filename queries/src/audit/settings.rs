//! What the jobs hold figures against, and how long they wait. Every default is METRICS' own, unless it says otherwise.

use std::collections::BTreeMap;

/// Targets and waits. Shares are per mille.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Settings {
    /// How long after its end a window is waited for. Default 1 h.
    pub grace_us: i64,
    /// A task is settled when no money has moved for this long after its end. Default 24 h.
    pub settled_after_us: i64,
    /// Share of settled tasks of each queue that must be within the tolerance. Default 950.
    pub accuracy_permille: i64,
    /// Error rate that each interface must stay below. Default 20.
    pub errors_below_permille: i64,
    /// What the repurchase rate must reach, of its baseline. Default 1080.
    pub uplift_permille: i64,
    /// When the launch was, microseconds since 1970 UTC; `None` judges the last week whose refunds can no longer come.
    pub launch_us: Option<i64>,
    /// Share of pushes within 3 s, and of recoveries within 5 s. Default 990.
    pub realtime_permille: i64,
    /// Share of cases decided in time. METRICS names no target; 950 by default, as for estimates.
    pub sla_permille: i64,
    /// The topic of task events: the audit looks for tasks' own receipts there. Default `task-events`.
    pub task_topic: String,
    /// How many offenders a report names. Default 10.
    pub offenders_shown: usize,
}

/// One hour.
pub(super) const HOUR_US: i64 = 3_600_000_000;
/// One day.
pub(super) const DAY_US: i64 = 24 * HOUR_US;

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            grace_us: HOUR_US,
            settled_after_us: DAY_US,
            accuracy_permille: 950,
            errors_below_permille: 20,
            uplift_permille: 1080,
            launch_us: None,
            realtime_permille: 990,
            sla_permille: 950,
            task_topic: "task-events".to_owned(),
            offenders_shown: 10,
        }
    }
}

impl Settings {
    /// Those that may change a verdict, by name.
    pub(super) fn named(&self) -> BTreeMap<String, i64> {
        let always = [
            ("grace_us", self.grace_us),
            ("settled_after_us", self.settled_after_us),
            ("accuracy_permille", self.accuracy_permille),
            ("errors_below_permille", self.errors_below_permille),
            ("uplift_permille", self.uplift_permille),
            ("realtime_permille", self.realtime_permille),
            ("sla_permille", self.sla_permille),
        ];
        let launch = self.launch_us.map(|launch| ("launch_us", launch));
        always.into_iter().chain(launch).map(|(name, value)| (name.to_owned(), value)).collect()
    }
}
