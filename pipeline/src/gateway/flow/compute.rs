//! A task's credits: estimated, held, charged, topped up with the buyer's consent, and given back.
//!
//! ```text
//! ESTIMATING ─▶ HOLDING ─▶ HELD ─settle─▶ CHARGING ─▶ RELEASING (what was not needed) ─────────────▶ SETTLED ─refund─▶ REFUNDING ─▶ REFUNDED (─refund─▶ …)
//!      └───────────┴─▶ REFUSED                └─▶ SUPPLEMENT_REQUESTED ─▶ SUPPLEMENT_PROMPTED            ▲
//!                                                   accept ─▶ SUPPLEMENT_CHARGING ─▶ SUPPLEMENT_CHARGED ─┤
//!                                   decline, expiry, refused ─▶ SUPPLEMENT_DECLINED ─────────────────────┘
//! fail, cancel, from everywhere before RELEASING ─▶ ROLLING_BACK_HOLD ─▶ ROLLING_BACK_CHARGES ─▶ ROLLED_BACK, ROLLED_BACK_IN_PART
//! ```
//! RELEASING takes no command: the task has come to its end and is paid for. HELD has an end of its own: where nobody has settled the
//! task by then, it is rolled back as if it were cancelled. REFUNDED takes a further refund. ROLLED_BACK_IN_PART: the platform had less left to give
//! back than this flow has charged; the rest came back by other hands.
//!
//! An act that is under way when the task fails or is cancelled comes to its end first: only then is it known what to give back.

use super::kind::Command;
use super::machine::{Act, Amounts, Heard, Machine, Next, Prompt, Tell, Turn, states};
use super::share::Share;
use super::texts;
use crate::gateway::code::Code;
use crate::gateway::contract::{
    About, Ask, ChargePurpose, ChargeRequest, EstimateRequest, Queue, RefundOf, RefundReason, RefundRequest,
};
use crate::gateway::platform::TaskStep;
use serde::{Deserialize, Serialize};

states! {
    /// Where it stands.
    State {
        Estimating "ESTIMATING",
        Holding "HOLDING",
        /// Its credits are held: the task may run.
        Held "HELD",
        Charging "CHARGING",
        /// What was held and not needed is let go.
        Releasing "RELEASING",
        /// It costs more than was held: the task is about to ask.
        SupplementRequested "SUPPLEMENT_REQUESTED",
        /// The buyer is asked.
        SupplementPrompted "SUPPLEMENT_PROMPTED",
        SupplementCharging "SUPPLEMENT_CHARGING",
        /// He has paid, and the task is about to hear of it.
        SupplementCharged "SUPPLEMENT_CHARGED",
        /// He has not.
        SupplementDeclined "SUPPLEMENT_DECLINED",
        Settled "SETTLED",
        Refunding "REFUNDING",
        Refunded "REFUNDED",
        RollingBackHold "ROLLING_BACK_HOLD",
        RollingBackCharges "ROLLING_BACK_CHARGES",
        RolledBack "ROLLED_BACK",
        /// Less was left to give back than was charged: the rest came back by other hands.
        RolledBackInPart "ROLLED_BACK_IN_PART",
        /// Nothing was held.
        Refused "REFUSED",
    }
}

/// How long things last, microseconds.
#[derive(Clone, Copy, Debug)]
pub(super) struct Times {
    /// The buyer has so long for an answer.
    pub(super) answer_us: i64,
    /// Credits are held for so long.
    pub(super) hold_us: i64,
}

/// The machine, and what it knows.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub(super) struct Compute {
    pub(super) state: State,
    queue: Queue,
    compute_units: u64,
    /// How long the buyer has for an answer.
    answer_us: i64,
    /// How long credits are held; a flow of an earlier version has no end of it.
    #[serde(default)]
    hold_us: Option<i64>,
    held_until_us: Option<i64>,
    estimate_id: Option<String>,
    estimated: Option<i64>,
    /// Held now.
    pub(super) held: i64,
    /// What the task has cost, once it is known.
    actual: Option<i64>,
    /// Taken so far, the supplement among it.
    pub(super) charged: i64,
    /// What the buyer was asked for.
    asked: Option<i64>,
    expires_us: Option<i64>,
    /// What is to come back, and why.
    refund: Option<(i64, RefundReason)>,
    pub(super) refunded: i64,
    /// What of the hold, or of the charges, is asked back now.
    #[serde(default)]
    share: Share,
    /// The task failed or was cancelled: once the act that is under way has ended, all is given back.
    ending: bool,
    /// The platform does not rely upon the estimate any more.
    estimate_gone: bool,
}

impl Compute {
    pub(super) fn new(queue: Queue, compute_units: u64, times: Times) -> Compute {
        Compute {
            state: State::Estimating,
            queue,
            compute_units,
            answer_us: times.answer_us,
            hold_us: Some(times.hold_us),
            held_until_us: None,
            estimate_id: None,
            estimated: None,
            held: 0,
            actual: None,
            charged: 0,
            asked: None,
            expires_us: None,
            refund: None,
            refunded: 0,
            share: Share::Whole,
            ending: false,
            estimate_gone: false,
        }
    }

    /// What the task costs beyond what was taken.
    fn short(&self) -> i64 {
        (self.actual.unwrap_or(0) - self.charged).max(0)
    }

    /// What is charged from the hold.
    fn due(&self) -> i64 {
        self.actual.unwrap_or(0).min(self.held)
    }

    fn charge(&self, about: &About, purpose: ChargePurpose, amount_micros: i64) -> Next {
        let estimate_id = self.estimate_id.clone().filter(|_| !self.estimate_gone);
        let (about, queue) = (about.clone(), Some(self.queue));
        Next::act(Act::Ask(Ask::Charge(ChargeRequest { about, purpose, amount_micros, estimate_id, queue })))
    }

    /// The task may run, for as long as its credits are held.
    fn hold(&mut self, now_us: i64) {
        self.held_until_us = self.hold_us.map(|hold_us| now_us.saturating_add(hold_us));
        self.state = State::Held;
    }

    /// Charging is over, or there was nothing to charge.
    fn charged_up(&mut self, turn: &mut Turn<'_>) {
        if self.ending {
            return self.roll_back();
        }
        self.state = match (self.short(), self.held) {
            (0, 0) => State::Settled,
            (0, _) => State::Releasing,
            (short, _) => {
                self.asked = Some(short);
                turn.tells.push(self.tell("SUPPLEMENT_REQUESTED"));
                State::SupplementRequested
            }
        };
    }

    fn tell(&self, kind: &'static str) -> Tell {
        let (amount_micros, estimate_id) = (self.asked.unwrap_or(0), self.estimate_id.clone());
        Tell::Credit { kind, amount_micros, queue: self.queue, estimate_id }
    }

    /// The supplement is not paid: the task costs what was charged.
    fn decline(&mut self, turn: &mut Turn<'_>) {
        turn.tells.push(self.tell("SUPPLEMENT_DECLINED"));
        self.expires_us = None;
        self.state = State::SupplementDeclined;
    }

    /// The task has heard how the question was answered, or was never told of it.
    fn answered(&mut self) {
        match self.ending {
            true => self.roll_back(),
            false => self.state = State::Settled,
        }
    }

    fn roll_back(&mut self) {
        self.state = match (self.held, self.charged - self.refunded) {
            (0, 0) => State::RolledBack,
            (0, _) => State::RollingBackCharges,
            _ => State::RollingBackHold,
        };
    }

    /// What is still to come back in this state.
    fn owed(&self) -> i64 {
        match self.state {
            State::Releasing | State::RollingBackHold => self.held,
            _ => self.charged - self.refunded,
        }
    }

    /// What was asked back has come back.
    fn came_back(&mut self) {
        let (owed, share) = (self.owed(), self.share);
        match self.state {
            State::Releasing | State::RollingBackHold => self.held -= share.asks(owed),
            _ => self.refunded += share.asks(owed),
        }
        self.share = share.moved(owed);
        self.go_back_on();
    }

    /// More was asked back than is there: somebody else has let it go, charged it, or given it back.
    fn exceeded(&mut self, turn: &mut Turn<'_>, left: Option<i64>) {
        match self.state {
            State::Releasing | State::RollingBackHold | State::RollingBackCharges => {
                turn.error = Some(Code::RefundExceedsCharge);
                self.share = self.share.exceeded(self.owed(), left);
                self.go_back_on();
            }
            _ => self.refused(turn, Code::RefundExceedsCharge),
        }
    }

    /// Where nothing is left to come back, on to what is next.
    fn go_back_on(&mut self) {
        if !self.share.is_over() {
            return;
        }
        self.share = Share::Whole;
        match self.state {
            State::Releasing => (self.held, self.state) = (0, State::Settled),
            State::RollingBackHold => {
                self.held = 0; // by this flow or another
                self.roll_back();
            }
            _ if self.charged > self.refunded => self.state = State::RolledBackInPart,
            _ => self.state = State::RolledBack,
        }
    }

    /// The task failed or was cancelled.
    fn end(&mut self, turn: &mut Turn<'_>) {
        self.ending = true;
        match self.state {
            State::Estimating | State::Held => self.roll_back(),
            State::SupplementPrompted => self.decline(turn),
            _ => {} // an act is under way
        }
    }

    /// An act was refused: nothing was moved.
    fn refused(&mut self, turn: &mut Turn<'_>, code: Code) {
        turn.error = Some(code);
        match self.state {
            State::Estimating | State::Holding => self.state = State::Refused,
            State::Charging if self.ending => self.roll_back(),
            State::Charging if self.estimate_lapsed(code) => self.estimate_gone = true, // again without it
            State::Charging => {
                self.state = State::Held;
                turn.forget = Some("settle");
                // a hold that ended meanwhile goes on for a while: the settlement came in time, and may come again
                let again_us = turn.now_us.saturating_add(self.answer_us);
                self.held_until_us = self.held_until_us.map(|until_us| until_us.max(again_us));
            }
            State::SupplementRequested => {
                turn.tells.push(self.tell("SUPPLEMENT_DECLINED"));
                self.answered();
            }
            State::SupplementCharging if !self.ending && self.estimate_lapsed(code) => {
                self.estimate_gone = true;
            }
            State::SupplementCharging => self.decline(turn),
            State::SupplementCharged | State::SupplementDeclined => self.answered(),
            State::Refunding => {
                self.state = if self.refunded > 0 { State::Refunded } else { State::Settled };
                turn.forget = Some("refund");
            }
            // what is owed is never given up: once more under another key, since nothing was moved under this one
            _ => turn.pause = true,
        }
    }

    fn estimate_lapsed(&self, code: Code) -> bool {
        matches!(code, Code::EstimateExpired | Code::EstimateUnknown) && !self.estimate_gone
    }
}

impl Machine for Compute {
    fn state(&self) -> &'static str {
        self.state.name()
    }

    fn next(&self, about: &About) -> Next {
        let refund = |of, amount_micros, reason| {
            Next::act(Act::Ask(Ask::Refund(RefundRequest {
                about: about.clone(),
                of,
                amount_micros,
                reason,
            })))
        };
        match self.state {
            State::Estimating => Next::act(Act::Ask(Ask::Estimate(EstimateRequest {
                about: about.clone(),
                queue: self.queue,
                compute_units: self.compute_units,
            }))),
            State::Holding => self.charge(about, ChargePurpose::Hold, self.estimated.unwrap_or(0)),
            State::Charging => self.charge(about, ChargePurpose::Charge, self.due()),
            State::Releasing => {
                refund(RefundOf::Hold, self.share.asks(self.owed()), RefundReason::Overcharge)
            }
            State::SupplementRequested => Next::act(Act::Step(about.clone(), TaskStep::SupplementRequired)),
            State::SupplementPrompted => Next::Wait(self.expires_us),
            State::SupplementCharging => {
                self.charge(about, ChargePurpose::Supplement, self.asked.unwrap_or(0))
            }
            State::SupplementCharged | State::SupplementDeclined => {
                Next::act(Act::Step(about.clone(), TaskStep::SupplementSettled))
            }
            State::Refunding => {
                let (amount, reason) = self.refund.unwrap_or((self.charged, RefundReason::Goodwill));
                refund(RefundOf::Charge, amount, reason)
            }
            State::RollingBackHold => {
                refund(RefundOf::Hold, self.share.asks(self.owed()), RefundReason::TaskFailed)
            }
            State::RollingBackCharges => {
                refund(RefundOf::Charge, self.share.asks(self.owed()), RefundReason::TaskFailed)
            }
            State::Held => Next::Wait(self.held_until_us),
            State::Settled
            | State::Refunded
            | State::RolledBack
            | State::RolledBackInPart
            | State::Refused => Next::Wait(None),
        }
    }

    fn heard(&mut self, turn: &mut Turn<'_>, heard: Heard) {
        match (self.state, heard) {
            (_, Heard::Refused(code)) => self.refused(turn, code),
            (_, Heard::Exceeded(left)) => self.exceeded(turn, left),
            (State::Estimating, Heard::Estimated(estimate)) => {
                self.estimate_id = Some(estimate.estimate_id);
                self.estimated = Some(estimate.amount_micros);
                match estimate.amount_micros {
                    1.. => self.state = State::Holding,
                    _ => self.hold(turn.now_us), // what costs nothing needs no hold
                }
            }
            (State::Holding, Heard::Moved) => {
                self.held = self.estimated.unwrap_or(0);
                self.hold(turn.now_us);
                if self.ending {
                    self.roll_back();
                }
            }
            (State::Charging, Heard::Moved) => {
                let due = self.due();
                (self.charged, self.held) = (self.charged + due, self.held - due);
                self.charged_up(turn);
            }
            (State::SupplementRequested, Heard::Stepped(taken)) => {
                turn.tells.push(Tell::Task { about: turn.about.clone(), taken });
                self.expires_us = Some(turn.now_us.saturating_add(self.answer_us));
                self.state = State::SupplementPrompted;
                if self.ending {
                    self.decline(turn);
                }
            }
            (State::SupplementCharging, Heard::Moved) => {
                self.charged += self.asked.unwrap_or(0);
                self.state = State::SupplementCharged;
            }
            (State::SupplementCharged | State::SupplementDeclined, Heard::Stepped(taken)) => {
                turn.tells.push(Tell::Task { about: turn.about.clone(), taken });
                self.answered();
            }
            (State::Refunding, Heard::Moved) => {
                self.refunded += self.refund.map_or(0, |(amount, _)| amount);
                self.state = State::Refunded;
            }
            (State::Releasing | State::RollingBackHold | State::RollingBackCharges, Heard::Moved) => {
                self.came_back();
            }
            _ => {} // what was heard belongs to a state that is over
        }
    }

    fn expired(&mut self, turn: &mut Turn<'_>) {
        let over = self.expires_us.is_some_and(|expires_us| expires_us <= turn.now_us);
        if self.state == State::SupplementPrompted && over {
            self.decline(turn);
        }
        if self.state == State::Held && self.held_until_us.is_some_and(|until_us| until_us <= turn.now_us) {
            turn.error = Some(Code::HoldExpired);
            self.end(turn);
        }
    }

    fn takes(&self) -> Vec<&'static str> {
        match self.state {
            _ if self.ending => Vec::new(),
            State::Estimating
            | State::Holding
            | State::Charging
            | State::SupplementRequested
            | State::SupplementCharging
            | State::SupplementCharged
            | State::SupplementDeclined => vec!["fail", "cancel"],
            State::Held => vec!["settle", "fail", "cancel"],
            State::SupplementPrompted => vec!["accept", "decline", "fail", "cancel"],
            State::Settled | State::Refunded if self.charged > self.refunded => vec!["refund"],
            _ => Vec::new(),
        }
    }

    fn command(&mut self, turn: &mut Turn<'_>, command: Command) -> Result<(), Code> {
        match (self.state, command) {
            (State::Held, Command::Settle { actual_micros, estimate_id }) => {
                turn.error = None;
                self.actual = Some(actual_micros);
                if estimate_id.is_some() {
                    (self.estimate_id, self.estimate_gone) = (estimate_id, false);
                }
                match self.due() {
                    0 => self.charged_up(turn),
                    _ => self.state = State::Charging,
                }
            }
            (State::SupplementPrompted, Command::Accept) => {
                if self.expires_us.is_some_and(|expires_us| expires_us <= turn.now_us) {
                    return Err(Code::FlowConflict); // too late, although nobody has noticed yet
                }
                self.state = State::SupplementCharging;
            }
            (State::SupplementPrompted, Command::Decline) => self.decline(turn),
            (_, Command::Fail | Command::Cancel) => self.end(turn),
            (State::Settled | State::Refunded, Command::Refund { amount_micros, reason, .. }) => {
                if amount_micros > self.charged - self.refunded {
                    return Err(Code::RefundExceedsCharge);
                }
                turn.error = None;
                self.refund = Some((amount_micros, reason));
                self.state = State::Refunding;
            }
            _ => return Err(Code::FlowConflict),
        }
        Ok(())
    }

    fn has_ended(&self) -> bool {
        use State::{Refunded, Refused, RolledBack, RolledBackInPart, Settled};
        matches!(self.state, Settled | Refunded | RolledBack | RolledBackInPart | Refused)
    }

    fn amounts(&self) -> Amounts {
        Amounts {
            estimated_micros: self.estimated,
            held_micros: self.held,
            charged_micros: self.charged,
            refunded_micros: self.refunded,
            asked_micros: self.asked,
        }
    }

    fn queue(&self) -> Option<Queue> {
        Some(self.queue)
    }

    fn prompt(&self) -> Option<Prompt> {
        (self.state == State::SupplementPrompted).then_some(Prompt {
            text: &texts::SUPPLEMENT,
            amount_micros: self.asked,
            queue: Some(self.queue),
            expires_us: self.expires_us,
        })
    }
}
