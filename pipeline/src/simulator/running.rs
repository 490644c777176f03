//! The part of a life from the start of its task to the last movement of its money.

use super::Simulator;
use super::calls::{self, Reply};
use super::event::Field;
use super::life::{Fate, Life, NORMAL, Next, Stage};
use super::world::SECOND;

/// A settlement that cannot be made now is tried again after so long, under a new idempotency key.
const SETTLE_AGAIN: i64 = 300 * SECOND;

impl Simulator {
    pub(super) fn start(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "STARTED");
        self.accept(event);
        life.tagged_events_left = self.may_lose_a_tag();
        life.actual = self.cost(life);
        if self.rng.chance(self.config.supplement_permille) {
            life.supplement = life.actual * self.rng.between(5, 15) / 100;
        }
        if self.rng.chance(self.config.report_permille) {
            self.report_task(life);
        }
        let stage = if life.prepaid { Stage::Prepay } else { Stage::Progress };
        Life::then(stage, self.span(1, 20))
    }

    /// What the task turns out to cost: within 90 % of the tolerance, or beyond it up to three times.
    fn cost(&mut self, life: &Life) -> i64 {
        let estimate = life.account.estimate;
        let tolerance = if life.queue == NORMAL { estimate / 10 } else { estimate / 20 };
        if self.rng.chance(self.config.estimate_miss_permille) {
            let beyond = self.rng.between(tolerance + estimate / 500 + 1, 3 * tolerance);
            return if self.rng.chance(600) { estimate + beyond } else { estimate - beyond };
        }
        let within = tolerance * 9 / 10;
        estimate + self.rng.around(-within, within)
    }

    /// The estimate is charged before the work; what the work turns out to cost is corrected after.
    pub(super) fn prepay(&mut self, life: &mut Life) -> Next {
        match self.call(life, calls::CHARGE) {
            Reply::Again(delay) => return Life::then(Stage::Prepay, delay),
            Reply::GivenUp => life.prepaid = false,
            Reply::Answered(answer) => {
                let amount = life.account.estimate;
                let held = life.hold;
                let mut event = self.debit(life, "CHARGED", amount, held);
                life.account.charged += amount;
                answer.ok(&mut event);
                self.accept(event);
                life.supplement = if life.supplement > 0 { (life.actual - amount).max(0) } else { 0 };
            }
        }
        Life::then(Stage::Progress, self.span(5, 60))
    }

    pub(super) fn progress(&mut self, life: &mut Life) -> Next {
        life.progress = (life.progress + self.rng.between(90, 400)).min(1000);
        let mut event = self.task(life, "PROGRESSED");
        event.set(Field::Progress, life.progress);
        self.tell(life, event);
        let delay = self.span(5, 60);
        let stage = match life.fate {
            _ if life.progress == 1000 => Stage::End,
            Fate::Fail(_) | Fate::Cancel | Fate::RollBack if life.progress > 600 => Stage::End,
            _ if life.supplement > 0 && life.progress > 400 => Stage::RequireSupplement,
            _ if self.rng.chance(15) => Stage::Pause,
            _ => Stage::Progress,
        };
        Life::then(stage, delay)
    }

    pub(super) fn pause(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "PAUSED");
        self.tell(life, event);
        Life::then(Stage::Resume, self.span(10, 300))
    }

    pub(super) fn resume(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "RESUMED");
        self.tell(life, event);
        Life::then(Stage::Progress, self.span(5, 60))
    }

    pub(super) fn require_supplement(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "SUPPLEMENT_REQUIRED");
        self.accept(event);
        Life::then(Stage::AskSupplement, self.rng.between(SECOND / 10, SECOND))
    }

    pub(super) fn ask_supplement(&mut self, life: &mut Life) -> Next {
        let event = self.credit(life, "SUPPLEMENT_REQUESTED", life.supplement);
        self.accept(event);
        Life::then(Stage::AwaitSupplement, self.rng.between(SECOND / 10, SECOND))
    }

    pub(super) fn await_supplement(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "PAUSED");
        self.tell(life, event);
        Life::then(Stage::AnswerSupplement, self.span(5, 180))
    }

    /// The user pays four times out of five; who declines loses the task or gets it within the estimate.
    pub(super) fn answer_supplement(&mut self, life: &mut Life) -> Next {
        let amount = life.supplement;
        let pays = life.call.is_some() || self.rng.chance(800);
        if pays && self.world.wallets[life.wallet].available() >= amount {
            match self.call(life, calls::CHARGE) {
                Reply::Again(delay) => return Life::then(Stage::AnswerSupplement, delay),
                Reply::GivenUp => return Life::then(Stage::DeclineSupplement, SECOND),
                Reply::Answered(answer) => {
                    let mut event = self.debit(life, "SUPPLEMENT_CHARGED", amount, 0);
                    life.account.supplemented += amount;
                    answer.ok(&mut event);
                    self.accept(event);
                    life.supplement = 0;
                    return Life::then(Stage::SettleSupplement, self.rng.between(SECOND / 10, SECOND));
                }
            }
        }
        self.decline_supplement(life)
    }

    pub(super) fn decline_supplement(&mut self, life: &mut Life) -> Next {
        life.call = None;
        let amount = std::mem::take(&mut life.supplement);
        life.actual = life.actual.min(life.account.estimate);
        let mut event = self.credit(life, "SUPPLEMENT_DECLINED", amount);
        event.set(Field::Balance, self.world.wallets[life.wallet].balance);
        self.accept(event);
        if self.rng.chance(400) {
            life.fate = Fate::Cancel;
            return Life::then(Stage::End, SECOND);
        }
        Life::then(Stage::Resume, self.span(1, 10))
    }

    pub(super) fn settle_supplement(&mut self, life: &mut Life) -> Next {
        let event = self.task(life, "SUPPLEMENT_SETTLED");
        self.accept(event);
        Life::then(Stage::Resume, self.span(1, 3))
    }

    /// The terminal state, and what it means for the money.
    pub(super) fn end(&mut self, life: &mut Life) -> Next {
        let state = match life.fate {
            Fate::Succeed => "SUCCEEDED",
            Fate::Fail(_) => "FAILED",
            Fate::Cancel => "CANCELLED",
            Fate::RollBack => "ROLLED_BACK",
        };
        life.account.terminal = Some(state);
        let mut event = self.task(life, state);
        if let Fate::Fail(code) = life.fate {
            event.set(Field::ErrorCode, code);
        }
        self.accept(event);
        let delay = self.rng.between(SECOND / 5, 3 * SECOND);
        let paid = life.account.charges + life.account.supplements > 0;
        match life.fate {
            Fate::Succeed if life.account.charged > 0 => Life::then(Stage::Correct, delay),
            Fate::Succeed => Life::then(Stage::Charge, delay),
            _ if life.hold > 0 => Life::then(Stage::Release, delay),
            _ if paid => Life::then(Stage::RefundAll, delay),
            _ => None,
        }
    }

    /// What is left to pay is charged, as far as the wallet reaches; a few bills are too high at first.
    pub(super) fn charge(&mut self, life: &mut Life) -> Next {
        let answer = match self.call(life, calls::CHARGE) {
            Reply::Again(delay) => return Life::then(Stage::Charge, delay),
            Reply::GivenUp => return Life::then(Stage::Charge, SETTLE_AGAIN),
            Reply::Answered(answer) => answer,
        };
        let reach = life.hold + self.world.wallets[life.wallet].available();
        let due = (life.actual - life.account.supplemented).clamp(0, reach);
        life.actual = due + life.account.supplemented;
        let amount = if self.rng.chance(40) { (due + due / 12).min(reach) } else { due };
        let held = life.hold;
        let mut event = self.debit(life, "CHARGED", amount, held);
        life.account.charged += amount;
        answer.ok(&mut event);
        self.accept(event);
        let delay = self.rng.between(SECOND / 5, 3 * SECOND);
        if amount > due {
            return Life::then(Stage::Correct, self.span(60, 3_600));
        }
        Life::then(Stage::UseQuota, delay)
    }

    /// What was charged beyond the cost is given back.
    pub(super) fn correct(&mut self, life: &mut Life) -> Next {
        let amount = life.account.settled() - life.actual;
        if amount > 0 {
            match self.call(life, calls::REFUND) {
                Reply::Again(delay) => return Life::then(Stage::Correct, delay),
                Reply::GivenUp => return Life::then(Stage::Correct, SETTLE_AGAIN),
                Reply::Answered(answer) => {
                    life.account.overcharge += amount;
                    let mut event = self.refund(life, amount, "OVERCHARGE");
                    answer.ok(&mut event);
                    self.accept(event);
                }
            }
        }
        Life::then(Stage::UseQuota, self.rng.between(SECOND / 5, 3 * SECOND))
    }

    pub(super) fn goodwill(&mut self, life: &mut Life) -> Next {
        match self.call(life, calls::REFUND) {
            Reply::Again(delay) => return Life::then(Stage::Goodwill, delay),
            Reply::GivenUp => return Life::then(Stage::Goodwill, SETTLE_AGAIN),
            Reply::Answered(answer) => {
                life.account.goodwill = true;
                let mut event = self.refund(life, life.account.settled() / 5, "GOODWILL");
                answer.ok(&mut event);
                self.accept(event);
            }
        }
        None
    }

    /// The hold of a task that did not succeed is let go.
    pub(super) fn release(&mut self, life: &mut Life) -> Next {
        let event = self.release_hold(life);
        self.accept(event);
        let paid = life.account.charges + life.account.supplements > 0;
        if paid { Life::then(Stage::RefundAll, self.rng.between(SECOND, 60 * SECOND)) } else { None }
    }

    /// All that was paid for a task that did not succeed is given back.
    pub(super) fn refund_all(&mut self, life: &mut Life) -> Next {
        match self.call(life, calls::REFUND) {
            Reply::Again(delay) => return Life::then(Stage::RefundAll, delay),
            Reply::GivenUp => return Life::then(Stage::RefundAll, SETTLE_AGAIN),
            Reply::Answered(answer) => {
                let reason = if life.fate == Fate::RollBack { "ROLLBACK" } else { "TASK_FAILED" };
                let mut event = self.refund(life, life.account.settled(), reason);
                answer.ok(&mut event);
                self.accept(event);
            }
        }
        None
    }
}
