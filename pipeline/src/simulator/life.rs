//! A life: from a visit over an estimate and a task to the last movement of its money.

use super::calls::Call;
use super::event::{Event, Field, Value};
use super::truth::Account;
use super::world::{CREDIT, LICENCES_PER_WALLET, SECOND, Standing};
use super::{Action, Simulator};
use std::sync::Arc;
use tally_schemas::Topic;

pub(super) const NORMAL: &str = "NORMAL";
pub(super) const ACCELERATED: &str = "ACCELERATED";

/// What a life does next. Each step publishes at most one valid event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    Grant,
    Estimate,
    Check,
    RaiseQuota,
    Submit,
    Hold,
    Queue,
    Offer,
    EstimateAgain,
    HoldMore,
    Accelerate,
    CheckAgain,
    Start,
    Prepay,
    Progress,
    Pause,
    Resume,
    RequireSupplement,
    AskSupplement,
    AwaitSupplement,
    AnswerSupplement,
    DeclineSupplement,
    SettleSupplement,
    End,
    Charge,
    Correct,
    UseQuota,
    Goodwill,
    Release,
    RefundAll,
}

/// The next stage and the delay to it in microseconds; `None` at the end of a life.
pub(super) type Next = Option<(Stage, i64)>;

/// How a task is going to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Succeed,
    Fail(&'static str),
    Cancel,
    RollBack,
}

#[derive(Debug)]
pub(super) struct Life {
    pub(super) wallet: usize,
    pub(super) template: usize,
    /// Where its licence is in the world, and which licence it was there.
    pub(super) place: usize,
    pub(super) licence: Option<Arc<str>>,
    /// `None` until it is submitted: nothing may refer to a task that does not exist.
    pub(super) task: Option<Arc<str>>,
    pub(super) trace: [u8; 16],
    pub(super) stage: Stage,
    pub(super) call: Option<Call>,
    /// The queue at acceptance, and the one it is in.
    pub(super) accepted: &'static str,
    pub(super) queue: &'static str,
    pub(super) estimate_id: Option<Arc<str>>,
    /// The price of acceleration and its estimate, until it is taken.
    pub(super) offer: Option<(i64, Arc<str>)>,
    pub(super) account: Account,
    pub(super) hold: i64,
    /// What the task turns out to cost.
    pub(super) actual: i64,
    pub(super) supplement: i64,
    pub(super) prepaid: bool,
    pub(super) version: i64,
    pub(super) progress: i64,
    pub(super) fate: Fate,
    /// Events that move no money until one loses its tag; `None` where none will.
    pub(super) tagged_events_left: Option<u64>,
}

impl Life {
    /// The next stage after `delay`.
    pub(super) fn then(stage: Stage, delay: i64) -> Next {
        Some((stage, delay))
    }
}

impl Simulator {
    /// Somebody comes: tops up where credits run low, then tries a template.
    pub(super) fn visit(&mut self) {
        let gap = self.rng.between(0, 2 * self.config.visit_gap_micros);
        self.at(gap, Action::Visit);
        let wallet = self.any(self.world.visitors);
        self.top_up(wallet);
        if self.rng.chance(3) {
            self.report_wallet(wallet);
        }
        let life = self.life(wallet);
        let place = self.lives.add(life);
        let delay = self.rng.between(2 * SECOND, 30 * SECOND);
        self.at(delay, Action::Live(place));
    }

    /// A life that has done nothing yet.
    pub(super) fn life(&mut self, wallet: usize) -> Life {
        let places = LICENCES_PER_WALLET as usize;
        let place = wallet * places + self.any(places);
        let again = self.rng.chance(500);
        let found = self.world.licences[place].as_ref().filter(|l| l.standing == Standing::Active || !again);
        let found = found.map(|licence| (licence.template, Arc::clone(&licence.id)));
        let (template, licence) = match found {
            Some((template, id)) => (template, Some(id)),
            None => (self.any(self.world.templates.len()), None),
        };
        let accelerated = self.rng.chance(self.config.accelerated_permille);
        let queue = if accelerated { ACCELERATED } else { NORMAL };
        Life {
            wallet,
            template,
            place,
            stage: if licence.is_some() { Stage::Estimate } else { Stage::Grant },
            licence,
            task: None,
            trace: self.rng.bytes16(),
            call: None,
            accepted: queue,
            queue,
            estimate_id: None,
            offer: None,
            account: Account {
                customer: self.world.wallets[wallet].audience == "CUSTOMER",
                accelerated,
                ..Account::default()
            },
            hold: 0,
            actual: 0,
            supplement: 0,
            prepaid: self.rng.chance(200),
            version: 0,
            progress: 0,
            fate: self.fate(),
            tagged_events_left: None,
        }
    }

    fn fate(&mut self) -> Fate {
        match self.rng.below(1000) {
            n if n < u64::from(self.config.failure_permille) => {
                Fate::Fail(self.rng.pick(["out_of_memory", "model_error", "worker_lost", "input_invalid"]))
            }
            n if n >= 990 => Fate::RollBack,
            n if n >= 970 => Fate::Cancel,
            _ => Fate::Succeed,
        }
    }

    /// Takes the next step of the life at `place`.
    pub(super) fn live(&mut self, place: usize) {
        let Some(mut life) = self.lives.take(place) else { return };
        // who has not submitted a task when the platform closes leaves without one
        let leaves = self.closing && life.task.is_none();
        let next = if leaves { None } else { self.step(&mut life) };
        match next {
            Some((stage, delay)) => {
                life.stage = stage;
                self.lives.put_back(place, life);
                self.at(delay, Action::Live(place));
            }
            None => {
                self.tally.ended(&life.account);
                self.lives.release(place);
            }
        }
    }

    fn step(&mut self, life: &mut Life) -> Next {
        match life.stage {
            Stage::Grant => self.grant(life),
            Stage::Estimate => self.estimate(life),
            Stage::Check => self.check(life),
            Stage::RaiseQuota => self.raise_quota(life),
            Stage::Submit => self.submit(life),
            Stage::Hold => self.hold(life),
            Stage::Queue => self.queue(life),
            Stage::Offer => self.offer(life),
            Stage::EstimateAgain => self.estimate_again(life),
            Stage::HoldMore => self.hold_more(life),
            Stage::Accelerate => self.accelerate(life),
            Stage::CheckAgain => self.check_again(life),
            Stage::Start => self.start(life),
            Stage::Prepay => self.prepay(life),
            Stage::Progress => self.progress(life),
            Stage::Pause => self.pause(life),
            Stage::Resume => self.resume(life),
            Stage::RequireSupplement => self.require_supplement(life),
            Stage::AskSupplement => self.ask_supplement(life),
            Stage::AwaitSupplement => self.await_supplement(life),
            Stage::AnswerSupplement => self.answer_supplement(life),
            Stage::DeclineSupplement => self.decline_supplement(life),
            Stage::SettleSupplement => self.settle_supplement(life),
            Stage::End => self.end(life),
            Stage::Charge => self.charge(life),
            Stage::Correct => self.correct(life),
            Stage::UseQuota => self.use_quota(life),
            Stage::Goodwill => self.goodwill(life),
            Stage::Release => self.release(life),
            Stage::RefundAll => self.refund_all(life),
        }
    }

    /// An event about a life, with every id that it has, acted by its user.
    pub(super) fn event(&self, life: &Life, topic: Topic, kind: &'static str) -> Event {
        let wallet = &self.world.wallets[life.wallet];
        let template = &self.world.templates[life.template];
        let mut event = Event::new(topic, kind);
        event
            .set(Field::Source, source(topic))
            .set(Field::PolicyTag, template.tag.symbol.as_str())
            .set(Field::ActorId, &wallet.user)
            .set(Field::ActorRole, "BUYER")
            .set(Field::TraceId, Value::Hex(life.trace))
            .set(Field::TaskId, life.task.as_ref())
            .set(Field::WalletId, &wallet.id)
            .set(Field::UserId, &wallet.user)
            .set(Field::CreatorId, &template.creator)
            .set(Field::LicenseId, life.licence.as_ref())
            .set(Field::TemplateId, &template.id);
        if matches!(topic, Topic::Credit | Topic::Task) {
            event.set(Field::Audience, wallet.audience);
        }
        event
    }

    /// A credit event about a life; movements state the balance themselves.
    pub(super) fn credit(&self, life: &Life, kind: &'static str, amount: i64) -> Event {
        let mut event = self.event(life, Topic::Credit, kind);
        event.set(Field::Amount, amount).set(Field::Queue, life.accepted);
        event
    }

    /// The next event of a task, acted by the scheduler.
    pub(super) fn task(&self, life: &mut Life, kind: &'static str) -> Event {
        life.version += 1;
        let mut event = self.event(life, Topic::Task, kind);
        event.set(Field::Queue, life.queue).set(Field::StateVersion, life.version);
        by_service(&mut event, "svc-scheduler");
        event
    }

    /// A duration of waiting or computing, in microseconds.
    pub(super) fn span(&mut self, low_seconds: i64, high_seconds: i64) -> i64 {
        let scale = i64::from(self.config.life_permille) * (SECOND / 1000);
        self.rng.between(low_seconds * scale, high_seconds * scale)
    }

    /// A short id with 16 hexadecimal digits.
    pub(super) fn id(&mut self, prefix: &str) -> Arc<str> {
        let bits = self.rng.bits();
        format!("{prefix}{bits:016x}").into()
    }

    /// A place in 0..count.
    pub(super) fn any(&mut self, count: usize) -> usize {
        usize::try_from(self.rng.below(count as u64)).unwrap_or(0)
    }

    /// A first price for a template, in micros.
    pub(super) fn price(&mut self, life: &Life) -> i64 {
        let base = self.world.templates[life.template].price;
        let premium = if life.queue == ACCELERATED { 3 } else { 2 };
        (base * self.rng.between(50, 200) * premium / 200).max(CREDIT / 10)
    }
}

/// Marks an event as acted by a service account.
pub(super) fn by_service(event: &mut Event, account: &'static str) {
    event.set(Field::ActorId, account).set(Field::ActorRole, "SERVICE");
}

pub(super) fn source(topic: Topic) -> &'static str {
    match topic {
        Topic::Credit => "billing",
        Topic::License => "licensing",
        Topic::Task => "scheduler",
        Topic::Moderation => "moderation",
    }
}
