//! The jobs: one module each, which says what its SQL texts are and how its figures become a verdict.

mod accuracy;
mod balances;
mod completeness;
mod offsets;
mod realtime;
mod repurchase;
mod sla;
mod stability;

use super::job::Job;
pub(super) use repurchase::launch_us;

/// A job's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum JobName {
    /// Does every offset have exactly one disposition, and every disposition its row?
    Offsets,
    /// Is every task in the audit log, with a policy tag and a chain without gaps?
    Completeness,
    /// Were estimates within their tolerance?
    Accuracy,
    /// Do interfaces fail in less than 2 % of attempts?
    Stability,
    /// Did more customers come back after the launch?
    Repurchase,
    /// Were events pushed in time, and connections recovered?
    Realtime,
    /// Does every wallet's money add up?
    Balances,
    /// Were moderation cases decided before they were due?
    Sla,
}

impl JobName {
    /// As it is written on the command line, in reports and in the store.
    pub const fn name(self) -> &'static str {
        match self {
            JobName::Offsets => "offsets",
            JobName::Completeness => "completeness",
            JobName::Accuracy => "accuracy",
            JobName::Stability => "stability",
            JobName::Repurchase => "repurchase",
            JobName::Realtime => "realtime",
            JobName::Balances => "balances",
            JobName::Sla => "sla",
        }
    }

    /// Whether its answer depends on the window.
    pub const fn windowed(self) -> bool {
        job(self).windowed
    }
}

/// Every job, in the order of their questions: first whether the data is whole, then what it says.
pub const fn all() -> [JobName; 8] {
    use JobName::{Accuracy, Balances, Completeness, Offsets, Realtime, Repurchase, Sla, Stability};
    [Offsets, Completeness, Accuracy, Stability, Repurchase, Realtime, Balances, Sla]
}

/// What a job is made of.
pub(super) const fn job(name: JobName) -> &'static Job {
    match name {
        JobName::Offsets => &offsets::JOB,
        JobName::Completeness => &completeness::JOB,
        JobName::Accuracy => &accuracy::JOB,
        JobName::Stability => &stability::JOB,
        JobName::Repurchase => &repurchase::JOB,
        JobName::Realtime => &realtime::JOB,
        JobName::Balances => &balances::JOB,
        JobName::Sla => &sla::JOB,
    }
}
