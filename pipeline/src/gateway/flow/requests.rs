//! What callers send: how flows begin, and the commands.

use super::acceleration::Acceleration;
use super::compute::{Compute, Times};
use super::kind::{Command, Kind};
use super::life::Of;
use super::machine::{By, Tell};
use super::moderation::{Decision, Moderation, ReporterRole, RiskLevel};
use crate::gateway::contract::{
    AMOUNT_MICROS_MAX, About, Malformed, Queue, RefundReason, id, malformed, parse, required, within,
};
use serde::{Deserialize, Serialize};
use tally_schemas::policy_tags;
use utoipa::ToSchema;

/// Seconds for an answer to a prompt, where the caller says nothing.
const ANSWER_S: u32 = 900;
/// The longest time for an answer: a day.
const ANSWER_S_MAX: u32 = 86_400;
/// Seconds for which credits are held, where the caller says nothing: a week.
const HOLD_S: u32 = 604_800;
/// The longest time for which credits are held: thirty days.
const HOLD_S_MAX: u32 = 2_592_000;

/// `POST /flows/compute`: estimate a task and hold its credits.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ComputeStart {
    /// Whom and what it is about; with `task_id`.
    pub about: About,
    /// The queue in which the task waits.
    pub queue: Queue,
    /// Units of compute that the task is expected to need; 1 to 10^9.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub compute_units: u64,
    /// Seconds that the buyer has to answer when he is asked for a supplement; 900 unless it is said, 1 to 86,400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400)]
    pub answer_s: Option<u32>,
    /// Seconds for which credits are held where nobody settles, fails or cancels the task; then they are let go, and the flow's error is
    /// `hold_expired`. 604,800 unless it is said, 1 to 2,592,000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 2_592_000)]
    pub hold_s: Option<u32>,
}

/// `POST /flows/acceleration`: price a place in the accelerated queue and offer it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AccelerationStart {
    /// Whom and what it is about; with `task_id`.
    pub about: About,
    /// Units of compute that the task is expected to need; 1 to 10^9.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub compute_units: u64,
    /// The estimate that was accepted for the normal queue, micros; without it the platform is asked for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000i64)]
    pub normal_micros: Option<i64>,
    /// Seconds that the buyer has to answer; 900 unless it is said, 1 to 86,400, and never longer than the price holds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(minimum = 1, maximum = 86_400)]
    pub answer_s: Option<u32>,
}

/// `POST /flows/moderation`: report a licence, and what runs under it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ModerationStart {
    /// Whom and what it is about; with `case_id` and `license_id`. The time for a decision is that of `policy_tag`.
    pub about: About,
    /// Who reports.
    pub reporter_id: String,
    /// As what.
    #[serde(default)]
    pub reporter_role: ReporterRole,
    /// Risk as assessed; that of the policy tag unless it is said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub risk_level: Option<RiskLevel>,
}

/// `POST /flows/{id}/settle`: the task is done and has cost so much.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Settle {
    /// What the task has cost, micros; 0 to 10^15.
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000i64)]
    pub actual_micros: i64,
    /// The estimate that the cost is held against, where it is another than the flow's: that of an acceleration.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_id: Option<String>,
}

/// `POST /flows/{id}/refund`: give back some of what was charged. As often as anything is left; the same once more is the same refund.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct GiveBack {
    /// How much, micros; 1 to what was charged.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000i64)]
    pub amount_micros: i64,
    /// Why.
    pub reason: RefundReason,
    /// Tells a further refund from one of the same amount and reason that is sent again; 1 to 256 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<String>,
}

/// `POST /flows/{id}/review`: a moderator begins.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Review {
    /// Who.
    pub moderator_id: String,
}

/// `POST /flows/{id}/decide`: a moderator has decided.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Decide {
    /// How.
    pub decision: Decision,
    /// Who.
    pub moderator_id: String,
}

/// A command that says nothing but its name: `{}`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Nothing {}

/// A request for a flow that was read and holds.
#[derive(Debug)]
pub(super) enum Start {
    Compute(ComputeStart),
    Acceleration(AccelerationStart),
    Moderation(ModerationStart),
}

impl Start {
    /// Reads a body and holds every field against its bounds.
    pub(super) fn read(kind: Kind, body: &[u8]) -> Result<Start, Malformed> {
        let start = match kind {
            Kind::Compute => Start::Compute(parse(body)?),
            Kind::Acceleration => Start::Acceleration(parse(body)?),
            Kind::Moderation => Start::Moderation(parse(body)?),
        };
        start.check()?;
        Ok(start)
    }

    fn check(&self) -> Result<(), Malformed> {
        self.about().check()?;
        let answer =
            |answer_s: &Option<u32>| within("answer_s", answer_s.unwrap_or(ANSWER_S), 1, ANSWER_S_MAX);
        match self {
            Start::Compute(start) => {
                required("about.task_id", start.about.task_id.as_ref())?;
                within("compute_units", start.compute_units, 1, 1_000_000_000)?;
                within("hold_s", start.hold_s.unwrap_or(HOLD_S), 1, HOLD_S_MAX)?;
                answer(&start.answer_s)
            }
            Start::Acceleration(start) => {
                required("about.task_id", start.about.task_id.as_ref())?;
                within("compute_units", start.compute_units, 1, 1_000_000_000)?;
                within("normal_micros", start.normal_micros.unwrap_or(0), 0, AMOUNT_MICROS_MAX)?;
                answer(&start.answer_s)
            }
            Start::Moderation(start) => {
                required("about.case_id", start.about.case_id.as_ref())?;
                required("about.license_id", start.about.license_id.as_ref())?;
                id("reporter_id", Some(&start.reporter_id))
            }
        }
    }

    pub(super) fn about(&self) -> &About {
        match self {
            Start::Compute(start) => &start.about,
            Start::Acceleration(start) => &start.about,
            Start::Moderation(start) => &start.about,
        }
    }

    /// The body in its one form, behind the flow's kind.
    pub(super) fn canonical(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Start::Compute(start) => (Kind::Compute, serde_json::to_vec(start)),
            Start::Acceleration(start) => (Kind::Acceleration, serde_json::to_vec(start)),
            Start::Moderation(start) => (Kind::Moderation, serde_json::to_vec(start)),
        };
        let mut canonical = kind.name().as_bytes().to_vec();
        canonical.push(0);
        canonical.extend(body.unwrap_or_default()); // texts and numbers: nothing there can fail
        canonical
    }

    /// The machine in its first state, and the events of that. `service`: who tells of it.
    pub(super) fn machine(self, service: By, now_us: i64) -> (Of, Vec<Tell>) {
        let answer_us = |answer_s: Option<u32>| i64::from(answer_s.unwrap_or(ANSWER_S)) * 1_000_000;
        match self {
            Start::Compute(start) => {
                let times = Times {
                    answer_us: answer_us(start.answer_s),
                    hold_us: i64::from(start.hold_s.unwrap_or(HOLD_S)) * 1_000_000,
                };
                (Of::Compute(Compute::new(start.queue, start.compute_units, times)), Vec::new())
            }
            Start::Acceleration(start) => {
                let answer_us = answer_us(start.answer_s);
                let machine = Acceleration::new(start.normal_micros, start.compute_units, answer_us);
                (Of::Acceleration(machine), Vec::new())
            }
            Start::Moderation(start) => {
                let risk = start.risk_level.unwrap_or_else(|| default_risk(&start.about.policy_tag));
                let reporter = (start.reporter_id, start.reporter_role);
                let (machine, tells) = Moderation::report(&start.about, risk, reporter, service, now_us);
                (Of::Moderation(machine), tells)
            }
        }
    }
}

fn default_risk(tag: &str) -> RiskLevel {
    let tag = policy_tags().iter().find(|known| known.symbol == tag);
    match tag.map(|tag| tag.default_risk.as_str()) {
        Some("CRITICAL") => RiskLevel::Critical,
        Some("HIGH") => RiskLevel::High,
        Some("MEDIUM") => RiskLevel::Medium,
        _ => RiskLevel::Low,
    }
}

impl Command {
    /// Reads the command of that name; `None` where there is none.
    pub(super) fn read(name: &str, body: &[u8]) -> Result<Option<Command>, Malformed> {
        let bare = |command: Command| parse::<Nothing>(body).map(|_| command);
        let command = match name {
            "settle" => {
                let Settle { actual_micros, estimate_id } = parse(body)?;
                within("actual_micros", actual_micros, 0, AMOUNT_MICROS_MAX)?;
                id("estimate_id", estimate_id.as_deref())?;
                Command::Settle { actual_micros, estimate_id }
            }
            "accept" => bare(Command::Accept)?,
            "decline" => bare(Command::Decline)?,
            "fail" => bare(Command::Fail)?,
            "cancel" => bare(Command::Cancel)?,
            "rollback" => bare(Command::Rollback)?,
            "refund" => {
                let GiveBack { amount_micros, reason, reference } = parse(body)?;
                within("amount_micros", amount_micros, 1, AMOUNT_MICROS_MAX)?;
                id("reference", reference.as_deref())?;
                Command::Refund { amount_micros, reason, reference }
            }
            "review" => {
                let Review { moderator_id } = parse(body)?;
                id("moderator_id", Some(&moderator_id))?;
                Command::Review { moderator_id }
            }
            "decide" => {
                let Decide { decision, moderator_id } = parse(body)?;
                id("moderator_id", Some(&moderator_id))?;
                Command::Decide { decision, moderator_id }
            }
            _ => return Ok(None),
        };
        if command.name() != name {
            return Err(malformed("the command is not what its name says")); // a test holds them together
        }
        Ok(Some(command))
    }
}
