//! A report: queued, reviewed, decided; where a licence falls, its running tasks are paused and paid back.
//!
//! ```text
//! QUEUED ─review─▶ REVIEWING ─decide─▶ CLOSED
//!                              └(LICENSE_REVOKED)─▶ REVOKING ─▶ PAUSING ─▶ RELEASING ─▶ REFUNDING ─▶ CLOSED, CLOSED_IN_PART
//!                                                             (every task)   ▲──(task by task)──┘
//! ```
//! All tasks are paused before the first is paid back. One that is refused comes after all the others, with pauses of its own, and
//! holds up none of them. CLOSED_IN_PART: less was left of what was charged for a task than the platform had told, and the rest came
//! back by other hands; or what it told of a task could not be read, and nothing was done for that one: the view names it.

use super::fallen::{Back, Fallen, Phase};
use super::kind::Command;
use super::life::PAUSE_US_MAX;
use super::machine::{Act, Amounts, By, Heard, Machine, Names, Next, Prompt, Tell, Turn, Unsettled, states};
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
        /// One of the tasks is told to stand still.
        Pausing "PAUSING",
        /// What is held for it is let go.
        Releasing "RELEASING",
        /// What was charged for it is given back.
        Refunding "REFUNDING",
        Closed "CLOSED",
        /// Less was left to give back than was charged, and the rest came back by other hands; or nothing could be done for a task.
        ClosedInPart "CLOSED_IN_PART",
    }
}

/// The machine, and what it knows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Moderation {
    pub(super) state: State,
    risk_level: RiskLevel,
    decision: Option<Decision>,
    moderator_id: Option<String>,
    /// Tasks that are still to be paused and paid back.
    pub(super) tasks: Vec<Fallen>,
    pub(super) released: i64,
    pub(super) refunded: i64,
    /// What was charged and was not there any more to be given back.
    #[serde(default)]
    missing: i64,
    /// Tasks for which nothing can be done.
    #[serde(default)]
    odd: Names,
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
        let (released, refunded, missing, odd) = (0, 0, 0, Names::default());
        (
            Moderation { state, risk_level, decision, moderator_id, tasks, released, refunded, missing, odd },
            tells,
        )
    }

    fn moderator(&self) -> By {
        By { id: self.moderator_id.clone().unwrap_or_default(), role: "MODERATOR" }
    }

    fn tell(&self, kind: &'static str) -> Tell {
        let (risk_level, decision) = (self.risk_level, self.decision);
        Tell::Case { kind, by: self.moderator(), risk_level, decision, due_us: None }
    }

    /// The task whose turn it is: those that were refused after all others, those that stand still after those that run.
    fn current(&self) -> Option<&Fallen> {
        self.tasks.iter().min_by_key(|task| task.turn())
    }

    fn current_mut(&mut self) -> Option<&mut Fallen> {
        self.tasks.iter_mut().min_by_key(|task| task.turn())
    }

    /// On to the task whose turn it is now, and what is next for it; without one the case is closed.
    fn go_on(&mut self, turn: &mut Turn<'_>) {
        self.tasks.retain(|task| task.phase().is_some());
        let Some(task) = self.current() else { return self.close(turn) };
        turn.until_us = Some(task.due_us);
        self.state = match task.phase() {
            Some(Phase::Refund) => State::Refunding,
            Some(Phase::Release) => State::Releasing,
            Some(Phase::Pause) | None => State::Pausing,
        };
    }

    fn close(&mut self, turn: &mut Turn<'_>) {
        turn.tells.push(self.tell("CLOSED"));
        self.state = if self.missing > 0 || self.odd.count > 0 { State::ClosedInPart } else { State::Closed };
    }

    /// What was asked back for the task has come back, or was more than is there.
    fn back(&mut self, turn: &mut Turn<'_>, back: Back) {
        let releasing = self.state == State::Releasing;
        let Some(task) = self.current_mut() else { return };
        let (amount, missing) = task.back(releasing, back);
        if releasing {
            self.released += amount;
        } else {
            self.refunded += amount;
        }
        self.missing += missing;
        self.go_on(turn);
    }

    fn refused(&mut self, turn: &mut Turn<'_>, code: Code) {
        turn.error = Some(code);
        match (self.state, code) {
            (State::Revoking, Code::LicenseUnknown) => self.close(turn), // it never was: nothing runs under it
            (State::Pausing | State::Releasing | State::Refunding, _) => {
                let pausing = self.state == State::Pausing;
                if let Some(task) = self.current_mut() {
                    match code {
                        // it has ended meanwhile, or stands still already
                        Code::FlowConflict | Code::NotFound if pausing => task.paused = true,
                        _ => {
                            task.put_off(turn.now_us, code);
                            turn.stays = true;
                        }
                    }
                }
                // a clock that has gone back must not keep those that were put off before behind all others
                let latest_us = turn.now_us.saturating_add(PAUSE_US_MAX);
                self.tasks.iter_mut().for_each(|task| task.due_us = task.due_us.min(latest_us));
                self.go_on(turn);
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
            Next::act(Act::Ask(Ask::Refund(RefundRequest { about, of, amount_micros, reason })))
        };
        match (self.state, self.current()) {
            (State::Revoking, _) => Next::act(Act::Revoke(RevokeRequest {
                about: about.clone(),
                moderator_id: self.moderator_id.clone().unwrap_or_default(),
            })),
            (State::Pausing, Some(task)) => {
                Next::act(Act::Step(about_task(about, &task.told), TaskStep::Paused))
            }
            (State::Releasing, Some(task)) => refund(&task.told, RefundOf::Hold, task.asks(true)),
            (State::Refunding, Some(task)) => refund(&task.told, RefundOf::Charge, task.asks(false)),
            _ => Next::Wait(None),
        }
    }

    fn heard(&mut self, turn: &mut Turn<'_>, heard: Heard) {
        match (self.state, heard) {
            (_, Heard::Refused(code)) => self.refused(turn, code),
            (State::Releasing | State::Refunding, Heard::Exceeded(left)) => {
                turn.error = Some(Code::RefundExceedsCharge);
                self.back(turn, Back::Exceeded(left));
            }
            (State::Revoking, Heard::Revoked(fell)) => {
                turn.tells.push(Tell::Revoked { by: self.moderator() });
                self.tasks = fell.tasks.into_iter().map(Fallen::new).collect();
                self.odd = fell.odd;
                if self.odd.count > 0 {
                    turn.error = Some(Code::UpstreamInvalid);
                }
                self.go_on(turn);
            }
            (State::Pausing, Heard::Stepped(taken)) => {
                if let Some(task) = self.current_mut() {
                    turn.tells.push(Tell::Task { about: about_task(turn.about, &task.told), taken });
                    task.stands_still();
                }
                self.go_on(turn);
            }
            (State::Releasing | State::Refunding, Heard::Moved) => self.back(turn, Back::Moved),
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
                    _ => self.close(turn),
                }
            }
            _ => return Err(Code::FlowConflict),
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        matches!(self.state, State::Closed | State::ClosedInPart)
    }

    fn amounts(&self) -> Amounts {
        let held_micros = self.tasks.iter().map(|task| task.told.held_micros).sum();
        let charged = self.tasks.iter().map(Fallen::known_charged).sum::<i64>();
        Amounts {
            held_micros,
            charged_micros: charged + self.refunded + self.missing,
            refunded_micros: self.refunded,
            ..Amounts::default()
        }
    }

    fn queue(&self) -> Option<Queue> {
        None
    }

    fn unsettled(&self) -> Unsettled {
        let mut refused = Names::default();
        for task in self.tasks.iter().filter(|task| task.error.is_some()) {
            refused.push(task.told.task_id.clone());
        }
        Unsettled { refused, odd: self.odd.clone() }
    }

    fn prompt(&self) -> Option<Prompt> {
        None
    }
}
