//! A report: queued, reviewed, decided; where a licence falls, its running tasks are paused and paid back.
//!
//! ```text
//! QUEUED ─review─▶ REVIEWING ─decide─▶ CLOSED
//!                              └(LICENSE_REVOKED)─▶ REVOKING ─▶ PAUSING ─▶ RELEASING ─▶ REFUNDING ─▶ CLOSED
//!                                                                 ▲──────────(task by task)───┘
//! ```

use super::kind::Command;
use super::machine::{Act, Amounts, By, Heard, Machine, Next, Prompt, Tell, Turn, states};
use crate::gateway::code::Code;
use crate::gateway::contract::{About, Ask, Queue, RefundOf, RefundReason, RefundRequest};
use crate::gateway::platform::{RevokeRequest, RunningTask, TaskStep};
use serde::{Deserialize, Serialize};
use tally_schemas::policy_tags;
use utoipa::ToSchema;

/// Microseconds of a minute.
const MINUTE_US: i64 = 60_000_000;

/// Risk as assessed.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RiskLevel {
    /// Nothing urgent.
    Low,
    /// Ordinary.
    Medium,
    /// Before others.
    High,
    /// At once.
    Critical,
}

/// The outcome of a review.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Decision {
    /// It may stay.
    Approved,
    /// It may stay for some.
    Restricted,
    /// It may not.
    Removed,
    /// Nothing runs under the licence any more.
    LicenseRevoked,
    /// There was nothing to decide.
    Dismissed,
}

/// Who reports.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ReporterRole {
    /// A buyer.
    #[default]
    Buyer,
    /// A creator.
    Creator,
    /// A moderator.
    Moderator,
    /// An admin.
    Admin,
    /// A service.
    Service,
}

impl ReporterRole {
    const fn symbol(self) -> &'static str {
        match self {
            ReporterRole::Buyer => "BUYER",
            ReporterRole::Creator => "CREATOR",
            ReporterRole::Moderator => "MODERATOR",
            ReporterRole::Admin => "ADMIN",
            ReporterRole::Service => "SERVICE",
        }
    }
}

states! {
    /// Where it stands.
    State {
        /// Reported; a moderator is waited for.
        Queued "QUEUED",
        /// One looks at it.
        Reviewing "REVIEWING",
        Revoking "REVOKING",
        /// The first of the tasks that are left is told to stand still.
        Pausing "PAUSING",
        /// What is held for it is let go.
        Releasing "RELEASING",
        /// What was charged for it is given back.
        Refunding "REFUNDING",
        Closed "CLOSED",
    }
}

/// The machine, and what it knows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Moderation {
    pub(super) state: State,
    risk_level: RiskLevel,
    decision: Option<Decision>,
    moderator_id: Option<String>,
    /// Tasks that are still to be paused and paid back; the first of them now.
    pub(super) tasks: Vec<RunningTask>,
    pub(super) released: i64,
    pub(super) refunded: i64,
}

impl Moderation {
    /// A case that begins, and the events of it.
    pub(super) fn report(
        about: &About,
        risk_level: RiskLevel,
        (reporter_id, role): (String, ReporterRole),
        service: By,
        now_us: i64,
    ) -> (Moderation, Vec<Tell>) {
        let case = |kind, by, due_us| Tell::Case { kind, by, risk_level, decision: None, due_us };
        let tag = policy_tags().iter().find(|tag| tag.symbol == about.policy_tag);
        let minutes = tag.map_or(0, |tag| i64::from(tag.review_sla_minutes));
        let due_us = now_us.saturating_add(minutes * MINUTE_US);
        let tells = vec![
            case("REPORTED", By { id: reporter_id, role: role.symbol() }, None),
            case("QUEUED", service, Some(due_us)),
        ];
        let state = State::Queued;
        let (decision, moderator_id, tasks) = (None, None, Vec::new());
        (Moderation { state, risk_level, decision, moderator_id, tasks, released: 0, refunded: 0 }, tells)
    }

    fn moderator(&self) -> By {
        By { id: self.moderator_id.clone().unwrap_or_default(), role: "MODERATOR" }
    }

    fn tell(&self, kind: &'static str) -> Tell {
        let (risk_level, decision) = (self.risk_level, self.decision);
        Tell::Case { kind, by: self.moderator(), risk_level, decision, due_us: None }
    }

    /// The first task is done with as far as it was; on to what is left of it, or to the next one.
    fn go_on(&mut self, turn: &mut Turn<'_>) {
        if self.tasks.first().is_some_and(|task| task.held_micros == 0 && task.charged_micros == 0) {
            self.tasks.remove(0);
            self.state = State::Pausing;
        } else {
            let held = self.tasks.first().is_some_and(|task| task.held_micros > 0);
            self.state = if held { State::Releasing } else { State::Refunding };
        }
        self.close_if_done(turn);
    }

    fn close_if_done(&mut self, turn: &mut Turn<'_>) {
        if self.tasks.is_empty() {
            turn.tells.push(self.tell("CLOSED"));
            self.state = State::Closed;
        }
    }

    /// What was held, or charged, for the first task has come back; `moved`: by this flow.
    fn back(&mut self, turn: &mut Turn<'_>, moved: bool) {
        let Some(task) = self.tasks.first_mut() else { return };
        let releasing = self.state == State::Releasing;
        let rest = if releasing { &mut task.held_micros } else { &mut task.charged_micros };
        let amount = std::mem::take(rest);
        match (moved, releasing) {
            (true, true) => self.released += amount,
            (true, false) => self.refunded += amount,
            (false, _) => {}
        }
        self.go_on(turn);
    }

    fn refused(&mut self, turn: &mut Turn<'_>, code: Code) {
        turn.error = Some(code);
        match self.state {
            // it never was: nothing runs under it
            State::Revoking if code == Code::LicenseUnknown => self.close_if_done(turn),
            // it has ended meanwhile, or stands still already
            State::Pausing if matches!(code, Code::FlowConflict | Code::NotFound) => self.go_on(turn),
            // somebody else has let it go, or given it back
            State::Releasing | State::Refunding if code == Code::RefundExceedsCharge => {
                self.back(turn, false);
            }
            // never given up: once more under another key, since nothing was moved under this one
            _ => turn.pause = true,
        }
    }
}

/// Whom and what the acts for a task are about.
pub(super) fn about_task(about: &About, task: &RunningTask) -> About {
    About {
        wallet_id: task.wallet_id.clone(),
        policy_tag: task.policy_tag.clone(),
        task_id: Some(task.task_id.clone()),
        user_id: Some(task.user_id.clone()),
        audience: task.audience,
        ..about.clone()
    }
}

impl Machine for Moderation {
    fn state(&self) -> &'static str {
        self.state.name()
    }

    fn next(&self, about: &About) -> Next {
        let refund = |task: &RunningTask, of, amount_micros| {
            let (about, reason) = (about_task(about, task), RefundReason::Rollback);
            Next::Do(Act::Ask(Ask::Refund(RefundRequest { about, of, amount_micros, reason })))
        };
        match (self.state, self.tasks.first()) {
            (State::Revoking, _) => Next::Do(Act::Revoke(RevokeRequest {
                about: about.clone(),
                moderator_id: self.moderator_id.clone().unwrap_or_default(),
            })),
            (State::Pausing, Some(task)) => Next::Do(Act::Step(about_task(about, task), TaskStep::Paused)),
            (State::Releasing, Some(task)) => refund(task, RefundOf::Hold, task.held_micros),
            (State::Refunding, Some(task)) => refund(task, RefundOf::Charge, task.charged_micros),
            _ => Next::Wait(None),
        }
    }

    fn heard(&mut self, turn: &mut Turn<'_>, heard: Heard) {
        match (self.state, heard) {
            (_, Heard::Refused(code)) => self.refused(turn, code),
            (_, Heard::Exceeded(_)) => self.refused(turn, Code::RefundExceedsCharge),
            (State::Revoking, Heard::Revoked(revocation)) => {
                turn.tells.push(Tell::Revoked { by: self.moderator() });
                self.tasks = revocation.tasks;
                self.state = State::Pausing;
                self.close_if_done(turn);
            }
            (State::Pausing, Heard::Stepped(taken)) => {
                if let Some(task) = self.tasks.first() {
                    turn.tells.push(Tell::Task { about: about_task(turn.about, task), taken });
                }
                self.go_on(turn);
            }
            (State::Releasing | State::Refunding, Heard::Moved) => self.back(turn, true),
            _ => {} // what was heard belongs to a state that is over
        }
    }

    fn expired(&mut self, _: &mut Turn<'_>) {}

    fn takes(&self) -> Vec<&'static str> {
        match self.state {
            State::Queued => vec!["review"],
            State::Reviewing => vec!["decide"],
            _ => Vec::new(),
        }
    }

    fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), Code> {
        match (self.state, command) {
            (State::Queued, Command::Review { moderator_id }) => {
                self.moderator_id = Some(moderator_id);
                turn.tells.push(self.tell("REVIEW_STARTED"));
                self.state = State::Reviewing;
            }
            (State::Reviewing, Command::Decide { decision, moderator_id }) => {
                self.moderator_id = Some(moderator_id); // whoever decides answers for it
                self.decision = Some(decision);
                turn.tells.push(self.tell("DECIDED"));
                match decision {
                    Decision::LicenseRevoked => self.state = State::Revoking,
                    _ => self.close_if_done(turn),
                }
            }
            _ => return Err(Code::FlowConflict),
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        self.state == State::Closed
    }

    fn amounts(&self) -> Amounts {
        let held_micros = self.tasks.iter().map(|task| task.held_micros).sum();
        let charged = self.tasks.iter().map(|task| task.charged_micros).sum::<i64>();
        Amounts {
            held_micros,
            charged_micros: charged + self.refunded,
            refunded_micros: self.refunded,
            ..Amounts::default()
        }
    }

    fn queue(&self) -> Option<Queue> {
        None
    }

    fn prompt(&self) -> Option<Prompt> {
        None
    }
}
