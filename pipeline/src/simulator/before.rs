//! The part of a life before its task starts: estimate, submission, hold, queue, acceleration.

use super::Simulator;
use super::calls::{self, Answer, Reply};
use super::event::Field;
use super::life::{ACCELERATED, Fate, Life, NORMAL, Next, Stage};
use super::world::SECOND;
use std::sync::Arc;

impl Simulator {
    /// The price is asked for; some ask twice, some leave.
    pub(super) fn estimate(&mut self, life: &mut Life) -> Next {
        let answer = match self.call(life, calls::ESTIMATE) {
            Reply::Again(delay) => return Life::then(Stage::Estimate, delay),
            Reply::GivenUp => return None,
            Reply::Answered(answer) => answer,
        };
        let (amount, id) = (self.price(life), self.id("e-"));
        self.estimated(life, amount, &id, &answer);
        life.account.estimate = amount;
        life.estimate_id = Some(id);
        let delay = self.rng.between(2 * SECOND, 40 * SECOND);
        match self.rng.below(100) {
            0..10 => Life::then(Stage::Estimate, delay),
            10..22 => None,
            _ => Life::then(Stage::Check, delay),
        }
    }

    fn estimated(&mut self, life: &Life, amount: i64, id: &Arc<str>, answer: &Answer) {
        let mut event = self.credit(life, "ESTIMATED", amount);
        let queue = if life.task.is_some() { ACCELERATED } else { life.accepted };
        event.set(Field::EstimateId, id).set(Field::Queue, queue);
        answer.ok(&mut event);
        self.accept(event);
    }

    pub(super) fn submit(&mut self, life: &mut Life) -> Next {
        life.task = Some(self.id("t-"));
        let mut event = self.task(life, "SUBMITTED");
        let user = &self.world.wallets[life.wallet].user;
        event.set(Field::ActorId, user).set(Field::ActorRole, "BUYER").set(Field::Source, "api");
        self.accept(event);
        Life::then(Stage::Hold, self.rng.between(SECOND / 10, SECOND))
    }

    /// The estimate is held on the wallet, with a margin where there is enough; else the task ends at once.
    pub(super) fn hold(&mut self, life: &mut Life) -> Next {
        let answer = match self.call(life, calls::CHARGE) {
            Reply::Again(delay) => return Life::then(Stage::Hold, delay),
            Reply::GivenUp => {
                life.fate = Fate::Fail("hold_unavailable");
                return Life::then(Stage::End, SECOND);
            }
            Reply::Answered(answer) => answer,
        };
        let estimate = life.account.estimate;
        let available = self.world.wallets[life.wallet].available();
        if available < estimate {
            let mut event = self.credit(life, "HOLD_FAILED", estimate);
            event
                .set(Field::EstimateId, life.estimate_id.as_ref())
                .set(Field::Balance, self.world.wallets[life.wallet].balance);
            answer.rejected(&mut event, 402, "insufficient_balance");
            self.accept(event);
            life.fate = Fate::Fail("hold_failed");
            return Life::then(Stage::End, SECOND);
        }
        let amount = (estimate + estimate / 10).min(available);
        let mut event = self.hold_micros(life, amount);
        answer.ok(&mut event);
        self.accept(event);
        Life::then(Stage::Queue, self.rng.between(SECOND / 10, SECOND))
    }

    pub(super) fn queue(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "QUEUED");
        self.accept(event);
        let wait = if life.queue == NORMAL { self.span(5, 120) } else { self.span(1, 15) };
        match self.rng.below(1000) {
            0..15 => {
                life.fate = Fate::Cancel;
                Life::then(Stage::End, wait)
            }
            15..200 => Life::then(Stage::CheckAgain, wait),
            _ if life.queue == NORMAL && self.rng.chance(self.config.offer_permille) => {
                Life::then(Stage::Offer, wait / 4)
            }
            _ => Life::then(Stage::Start, wait),
        }
    }

    pub(super) fn offer(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "ACCELERATION_OFFERED");
        self.accept(event);
        let wait = self.span(3, 30);
        // nobody is there any more to accept when the platform closes
        let accepts = self.rng.chance(600) && !self.closing;
        let stage = if accepts { Stage::EstimateAgain } else { Stage::Start };
        Life::then(stage, wait)
    }

    /// What acceleration costs. The new estimate is accepted only with the hold for it.
    pub(super) fn estimate_again(&mut self, life: &mut Life) -> Next {
        let answer = match self.call(life, calls::ESTIMATE) {
            Reply::Again(delay) => return Life::then(Stage::EstimateAgain, delay),
            Reply::GivenUp => return Life::then(Stage::Start, self.span(1, 30)),
            Reply::Answered(answer) => answer,
        };
        let (amount, id) = (life.account.estimate / 2 * 3, self.id("e-"));
        self.estimated(life, amount, &id, &answer);
        let more = amount + amount / 20 - life.hold;
        if more > 0 && more <= self.world.wallets[life.wallet].available() {
            life.offer = Some((amount, id));
            return Life::then(Stage::HoldMore, self.rng.between(SECOND, 5 * SECOND));
        }
        Life::then(Stage::Start, self.span(1, 30))
    }

    /// The difference is held, unless another task took the credits meanwhile.
    pub(super) fn hold_more(&mut self, life: &mut Life) -> Next {
        let Some((amount, id)) = life.offer.take() else { return Life::then(Stage::Start, SECOND) };
        let more = amount + amount / 20 - life.hold;
        if more > self.world.wallets[life.wallet].available() {
            life.call = None;
            return Life::then(Stage::Start, self.span(1, 30));
        }
        match self.call(life, calls::CHARGE) {
            Reply::Again(delay) => {
                life.offer = Some((amount, id));
                Life::then(Stage::HoldMore, delay)
            }
            Reply::GivenUp => Life::then(Stage::Start, self.span(1, 30)),
            Reply::Answered(answer) => {
                (life.account.estimate, life.estimate_id) = (amount, Some(id));
                let mut event = self.hold_micros(life, more);
                answer.ok(&mut event);
                self.accept(event);
                Life::then(Stage::Accelerate, self.rng.between(SECOND / 10, SECOND))
            }
        }
    }

    pub(super) fn accelerate(&mut self, life: &mut Life) -> Next {
        life.queue = ACCELERATED;
        life.account.moved = true;
        let mut event = self.task(life, "ACCELERATED");
        let user = &self.world.wallets[life.wallet].user;
        event.set(Field::ActorId, user).set(Field::ActorRole, "BUYER");
        self.accept(event);
        Life::then(Stage::Start, self.span(1, 10))
    }
}
