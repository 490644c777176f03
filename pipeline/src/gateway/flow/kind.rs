//! The kinds of flows, and what a caller may tell them.

use super::moderation::Decision;
use crate::gateway::contract::RefundReason;
use serde::Serialize;

/// Which flow it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Kind {
    Compute,
    Acceleration,
    Moderation,
}

impl Kind {
    pub(super) const ALL: [Kind; 3] = [Kind::Compute, Kind::Acceleration, Kind::Moderation];

    /// Its name in paths, rows and metrics.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Kind::Compute => "compute",
            Kind::Acceleration => "acceleration",
            Kind::Moderation => "moderation",
        }
    }

    /// The scope that a caller's token must have.
    pub(super) const fn scope(self) -> &'static str {
        match self {
            Kind::Compute => "flows:compute",
            Kind::Acceleration => "flows:acceleration",
            Kind::Moderation => "flows:moderation",
        }
    }

    /// Every command that it takes in one state or another.
    pub(super) const fn commands(self) -> &'static [&'static str] {
        match self {
            Kind::Compute => &["settle", "accept", "decline", "fail", "cancel", "refund"],
            Kind::Acceleration => &["accept", "decline", "rollback"],
            Kind::Moderation => &["review", "decide"],
        }
    }
}

/// What a caller may tell a flow.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Command {
    /// The task is done and has cost so much.
    Settle { actual_micros: i64, estimate_id: Option<String> },
    /// The buyer takes what he was offered, or pays what he was asked for.
    Accept,
    /// He does not.
    Decline,
    /// The task failed.
    Fail,
    /// Somebody has ended the task.
    Cancel,
    /// So much of what was charged comes back.
    Refund {
        amount_micros: i64,
        reason: RefundReason,
        /// Of two that are otherwise equal.
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
    },
    /// The place in the accelerated queue is given up.
    Rollback,
    /// A moderator begins.
    Review { moderator_id: String },
    /// A moderator has decided.
    Decide { decision: Decision, moderator_id: String },
}

impl Command {
    /// Whether another one of its name, which says something else, may follow it.
    pub(super) const fn repeats(&self) -> bool {
        matches!(self, Command::Refund { .. })
    }

    /// Its name in paths.
    pub(super) const fn name(&self) -> &'static str {
        match self {
            Command::Settle { .. } => "settle",
            Command::Accept => "accept",
            Command::Decline => "decline",
            Command::Fail => "fail",
            Command::Cancel => "cancel",
            Command::Refund { .. } => "refund",
            Command::Rollback => "rollback",
            Command::Review { .. } => "review",
            Command::Decide { .. } => "decide",
        }
    }
}
