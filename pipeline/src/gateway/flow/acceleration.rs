//! A place in the accelerated queue: priced, offered, paid, and taken back if the task does not get it.
//!
//! ```text
//! ESTIMATING_NORMAL ─▶ ESTIMATING ─▶ OFFERING ─▶ OFFERED ─accept─▶ CHARGING ─▶ ACCELERATING ─▶ ACCELERATED ─rollback─┐
//!         └───────────────┴─────────────┴─▶ REFUSED ◀─(refused)───────┘             └─(refused)─▶ ROLLING_BACK ◀─────┘
//!                                          OFFERED ─decline─▶ DECLINED, ─expiry─▶ EXPIRED               └─▶ ROLLED_BACK, ROLLED_BACK_IN_PART
//! ```
//! ROLLED_BACK is the flow's state and no step of the task: a task that was rolled back has ended, and this one goes on.

use super::kind::Command;
use super::machine::{Act, Amounts, Heard, Machine, Next, Prompt, Tell, Turn, states};
use super::share::Share;
use super::texts;
use crate::gateway::code::Code;
use crate::gateway::contract::{
    About, Ask, ChargePurpose, ChargeRequest, EstimateRequest, Queue, RefundOf, RefundReason, RefundRequest,
};
use crate::gateway::moment::micros;
use crate::gateway::platform::TaskStep;
use serde::{Deserialize, Serialize};

states! {
    /// Where it stands.
    State {
        /// What it costs as it is.
        EstimatingNormal "ESTIMATING_NORMAL",
        Estimating "ESTIMATING",
        Offering "OFFERING",
        /// The buyer is asked.
        Offered "OFFERED",
        Charging "CHARGING",
        /// Paid, and the task is about to hear of it.
        Accelerating "ACCELERATING",
        Accelerated "ACCELERATED",
        Declined "DECLINED",
        Expired "EXPIRED",
        RollingBack "ROLLING_BACK",
        RolledBack "ROLLED_BACK",
        /// Less was left to give back than was charged: the rest came back by other hands.
        RolledBackInPart "ROLLED_BACK_IN_PART",
        /// Nothing was taken.
        Refused "REFUSED",
    }
}

/// The machine, and what it knows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Acceleration {
    pub(super) state: State,
    compute_units: u64,
    answer_us: i64,
    /// What the task costs in the normal queue.
    normal: Option<i64>,
    estimate_id: Option<String>,
    estimated: Option<i64>,
    expires_us: Option<i64>,
    pub(super) charged: i64,
    pub(super) refunded: i64,
    /// What of it is asked back now.
    #[serde(default)]
    share: Share,
    /// The place is given up: once the act that is under way has ended, what was paid is given back.
    giving_up: bool,
}

impl Acceleration {
    /// `normal`: the estimate for the normal queue, micros; without it the platform is asked.
    pub(super) fn new(normal: Option<i64>, compute_units: u64, answer_us: i64) -> Acceleration {
        Acceleration {
            state: if normal.is_some() { State::Estimating } else { State::EstimatingNormal },
            compute_units,
            answer_us,
            normal,
            estimate_id: None,
            estimated: None,
            expires_us: None,
            charged: 0,
            refunded: 0,
            share: Share::Whole,
            giving_up: false,
        }
    }

    /// What the place costs beyond the normal queue.
    fn price(&self) -> Option<i64> {
        Some((self.estimated? - self.normal?).max(0))
    }

    fn roll_back(&mut self) {
        let paid = self.charged > self.refunded;
        self.state = if paid { State::RollingBack } else { State::RolledBack };
    }

    /// Where nothing is left to come back, that was all of it, or was not.
    fn go_back_on(&mut self) {
        if self.share.is_over() {
            let whole = self.charged == self.refunded;
            self.state = if whole { State::RolledBack } else { State::RolledBackInPart };
        }
    }

    fn refused(&mut self, turn: &mut Turn<'_>, code: Code) {
        turn.error = Some(code);
        match self.state {
            State::Charging if self.giving_up => self.roll_back(),
            State::EstimatingNormal | State::Estimating | State::Offering | State::Charging => {
                self.state = State::Refused;
            }
            State::Accelerating => self.roll_back(),
            // never given up: once more under another key, since nothing was moved under this one
            _ => turn.pause = true,
        }
    }
}

impl Machine for Acceleration {
    fn state(&self) -> &'static str {
        self.state.name()
    }

    fn next(&self, about: &About) -> Next {
        let about = about.clone();
        let estimate = |about, queue| {
            let compute_units = self.compute_units;
            Next::act(Act::Ask(Ask::Estimate(EstimateRequest { about, queue, compute_units })))
        };
        match self.state {
            State::EstimatingNormal => estimate(about, Queue::Normal),
            State::Estimating => estimate(about, Queue::Accelerated),
            State::Offering => Next::act(Act::Step(about, TaskStep::AccelerationOffered)),
            State::Offered => Next::Wait(self.expires_us),
            State::Charging => Next::act(Act::Ask(Ask::Charge(ChargeRequest {
                about,
                purpose: ChargePurpose::Acceleration,
                amount_micros: self.price().unwrap_or(0),
                estimate_id: self.estimate_id.clone(),
                queue: Some(Queue::Accelerated),
            }))),
            State::Accelerating => Next::act(Act::Step(about, TaskStep::Accelerated)),
            State::RollingBack => Next::act(Act::Ask(Ask::Refund(RefundRequest {
                about,
                of: RefundOf::Charge,
                amount_micros: self.share.asks(self.charged - self.refunded),
                reason: RefundReason::Rollback,
            }))),
            State::Accelerated
            | State::Declined
            | State::Expired
            | State::RolledBack
            | State::RolledBackInPart
            | State::Refused => Next::Wait(None),
        }
    }

    fn heard(&mut self, turn: &mut Turn<'_>, heard: Heard) {
        match (self.state, heard) {
            (_, Heard::Refused(code)) => self.refused(turn, code),
            (State::RollingBack, Heard::Exceeded(left)) => {
                turn.error = Some(Code::RefundExceedsCharge);
                self.share = self.share.exceeded(self.charged - self.refunded, left);
                self.go_back_on();
            }
            (State::EstimatingNormal, Heard::Estimated(estimate)) => {
                self.normal = Some(estimate.amount_micros);
                self.state = State::Estimating;
            }
            (State::Estimating, Heard::Estimated(estimate)) => {
                self.estimated = Some(estimate.amount_micros);
                self.estimate_id = Some(estimate.estimate_id);
                self.expires_us = micros(&estimate.expires_at);
                self.state = State::Offering;
            }
            (State::Offering, Heard::Stepped(taken)) => {
                turn.tells.push(Tell::Task { about: turn.about.clone(), taken });
                let latest = turn.now_us.saturating_add(self.answer_us);
                // no longer than the price holds
                self.expires_us = Some(self.expires_us.unwrap_or(latest).min(latest));
                self.state = State::Offered;
            }
            (State::Charging, Heard::Moved) => {
                self.charged += self.price().unwrap_or(0);
                self.state = State::Accelerating;
                if self.giving_up {
                    self.roll_back();
                }
            }
            (State::Accelerating, Heard::Stepped(taken)) => {
                turn.tells.push(Tell::Task { about: turn.about.clone(), taken });
                self.state = State::Accelerated;
                if self.giving_up {
                    self.roll_back();
                }
            }
            (State::RollingBack, Heard::Moved) => {
                let owed = self.charged - self.refunded;
                self.refunded += self.share.asks(owed);
                self.share = self.share.moved(owed);
                self.go_back_on();
            }
            _ => {} // what was heard belongs to a state that is over
        }
    }

    fn expired(&mut self, turn: &mut Turn<'_>) {
        let over = self.expires_us.is_some_and(|expires_us| expires_us <= turn.now_us);
        if self.state == State::Offered && over {
            self.state = State::Expired;
        }
    }

    fn takes(&self) -> Vec<&'static str> {
        match self.state {
            _ if self.giving_up => Vec::new(),
            State::Offered => vec!["accept", "decline"],
            State::Charging | State::Accelerating | State::Accelerated => vec!["rollback"],
            _ => Vec::new(),
        }
    }

    fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), Code> {
        match (self.state, command) {
            (State::Offered, Command::Accept) => {
                if self.expires_us.is_some_and(|expires_us| expires_us <= turn.now_us) {
                    return Err(Code::FlowConflict); // too late, although nobody has noticed yet
                }
                let free = self.price().unwrap_or(0) == 0;
                self.state = if free { State::Accelerating } else { State::Charging };
            }
            (State::Offered, Command::Decline) => self.state = State::Declined,
            (State::Accelerated, Command::Rollback) => self.roll_back(),
            (State::Charging | State::Accelerating, Command::Rollback) => self.giving_up = true,
            _ => return Err(Code::FlowConflict),
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        use State::{Accelerated, Declined, Expired, Refused, RolledBack, RolledBackInPart};
        matches!(self.state, Accelerated | Declined | Expired | Refused | RolledBack | RolledBackInPart)
    }

    fn amounts(&self) -> Amounts {
        Amounts {
            estimated_micros: self.estimated,
            held_micros: 0,
            charged_micros: self.charged,
            refunded_micros: self.refunded,
            asked_micros: self.price(),
        }
    }

    fn queue(&self) -> Option<Queue> {
        Some(Queue::Accelerated)
    }

    fn prompt(&self) -> Option<Prompt> {
        (self.state == State::Offered).then_some(Prompt {
            text: &texts::ACCELERATION,
            amount_micros: self.price(),
            queue: Some(Queue::Accelerated),
            expires_us: self.expires_us,
        })
    }
}
