//! The exact figures of a history: what an audit of the same events must find.

use super::event::{Event, Field};
use super::purchases::OrderEvent;
use super::world::Wallet;
use super::{Emission, Expect};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use tally_schemas::Topic;

/// Counts by name.
type Counts = BTreeMap<String, u64>;

/// The figures of everything emitted so far. Money is in micros of a credit, time in microseconds.
///
/// Each figure follows from the accepted events alone, as METRICS.md defines it; nothing in it is planned,
/// estimated or rounded. Duplicates and invalid events appear only in `emissions` and in `broken_tasks`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Truth {
    /// By topic, by `accepted`, `duplicate` or the reason of the dead letter.
    pub emissions: BTreeMap<String, Counts>,
    /// Accepted events by topic, by kind.
    pub kinds: BTreeMap<String, Counts>,
    /// `occurred_at` of the first accepted event; 0 before there is one.
    pub first_occurred_at: i64,
    /// `occurred_at` of the last accepted event; 0 before there is one.
    pub last_occurred_at: i64,
    /// Tasks; those of both audiences together are the population of the completeness check.
    pub tasks: Split<Tasks>,
    /// Estimates against settlements (METRICS 2) by `NORMAL`, `ACCELERATED` and `MOVED`.
    pub settlements: Split<BTreeMap<String, Settlements>>,
    /// Calls (METRICS 3) by symbol of the endpoint. Licence events do not state an audience: all of theirs
    /// are under `customer`.
    pub calls: Split<BTreeMap<String, Calls>>,
    /// Sums of `amount_micros` by kind; `REFUNDED` by reason, as `REFUNDED/OVERCHARGE`.
    pub amounts: Split<BTreeMap<String, i64>>,
    /// Sums of `price_minor` of purchases by currency, gifts and repeated orders included.
    pub revenue_minor: Split<BTreeMap<String, i64>>,
    /// Sums of `price_minor` that was given back for orders, by currency.
    pub paid_back_minor: Split<BTreeMap<String, i64>>,
    /// Licence checks by result.
    pub checks: Counts,
    /// Moderation cases (METRICS 7) by policy tag.
    pub cases: BTreeMap<String, Cases>,
    /// Tasks with an event that was published without a valid policy tag and never with one, by task id.
    pub broken_tasks: BTreeMap<String, BrokenTask>,
    /// By wallet id; only wallets that were ever credited.
    pub wallets: BTreeMap<String, WalletTruth>,
    /// Every PURCHASED event, and every REFUNDED event of an order, in order of time: what METRICS 4 is computed from.
    pub order_events: Vec<OrderEvent>,
}

/// A task that the audit misses an event of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BrokenTask {
    /// Why the event is a dead letter.
    pub reason: String,
    /// Its kind.
    pub kind: String,
    /// Its `state_version`.
    pub state_version: i64,
    /// Whether a later event of the task was accepted: only then do the accepted events alone show a hole.
    pub followed: bool,
}

/// A figure for customers and the same for TEST, STAFF and CANARY together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Split<T> {
    /// Audience CUSTOMER: what business figures are made of.
    pub customer: T,
    /// Every other audience.
    pub internal: T,
}

impl<T> Split<T> {
    fn of(&mut self, customer: bool) -> &mut T {
        if customer { &mut self.customer } else { &mut self.internal }
    }
}

/// Tasks by how they ended.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tasks {
    /// SUBMITTED events.
    pub submitted: u64,
    /// By terminal state; `submitted` less their sum are still open.
    pub terminal: Counts,
}

/// Tasks and how many of them are within the tolerance.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Share {
    /// The denominator.
    pub tasks: u64,
    /// 100·|S − E| ≤ tolerance·E.
    pub hits: u64,
}

/// Charged tasks of one class, judged by what has been emitted so far.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settlements {
    /// SUCCEEDED, charged, without goodwill. A supplement alone is no charge.
    pub settled: Share,
    /// SUCCEEDED, charged, with a goodwill refund, which does not count into S.
    pub goodwill: Share,
    /// SUCCEEDED but not charged yet.
    pub uncharged: u64,
    /// Charged or supplemented, and ended otherwise than SUCCEEDED: these are refunded in full.
    pub unsuccessful: u64,
    /// Charged or supplemented, and not ended yet.
    pub open: u64,
    /// Σ E over `settled`.
    pub estimated_micros: i64,
    /// Σ S over `settled`.
    pub settled_micros: i64,
    /// Σ |S − E| over `settled`.
    pub deviation_micros: i64,
}

/// Calls of one endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Calls {
    /// Events that carry the endpoint: one each attempt.
    pub attempts: u64,
    /// Outcome ERROR or TIMEOUT.
    pub errors: u64,
    /// Status 429.
    pub rate_limited: u64,
    /// Idempotency keys seen.
    pub requests: u64,
    /// Keys with an attempt that ended OK or in a refusal other than 429; all within 60 s of the first.
    pub answered: u64,
    /// Keys given up after the last attempt. `requests` less both are being retried, or were dropped by a
    /// caller who lost interest; once all is at rest, `requests - answered` is what failed.
    pub given_up: u64,
}

/// Moderation cases of one policy tag.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cases {
    /// REPORTED events.
    pub reported: u64,
    /// Cases whose first decision came before `sla_due_at`.
    pub decided_in_time: u64,
    /// Cases whose first decision came later.
    pub decided_late: u64,
    /// CLOSED events.
    pub closed: u64,
}

/// One wallet.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WalletTruth {
    /// `CUSTOMER`, `TEST`, `STAFF` or `CANARY`.
    pub audience: String,
    /// PURCHASED events.
    pub purchased_events: u64,
    /// Of these, gifts.
    pub gifts: u64,
    /// Purchases of METRICS 4 before refunds: no gifts, parts of one order once, no second identical order within 10
    /// minutes.
    pub purchases: u64,
    /// Purchases + refunds − charges − supplements.
    pub balance_micros: i64,
}

/// What a task's money has come to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Account {
    pub(super) customer: bool,
    pub(super) accelerated: bool,
    pub(super) moved: bool,
    pub(super) estimate: i64,
    pub(super) charges: u32,
    pub(super) supplements: u32,
    pub(super) charged: i64,
    pub(super) supplemented: i64,
    pub(super) overcharge: i64,
    pub(super) goodwill: bool,
    pub(super) terminal: Option<&'static str>,
}

impl Account {
    /// S: charge + supplements − corrective refunds.
    pub(super) fn settled(&self) -> i64 {
        self.charged + self.supplemented - self.overcharge
    }

    fn class(&self) -> &'static str {
        match (self.moved, self.accelerated) {
            (true, _) => "MOVED",
            (false, true) => "ACCELERATED",
            (false, false) => "NORMAL",
        }
    }

    fn add_to(&self, all: &mut Split<BTreeMap<String, Settlements>>) {
        if self.charges + self.supplements == 0 && self.terminal != Some("SUCCEEDED") {
            return;
        }
        let to = all.of(self.customer).entry(self.class().to_owned()).or_default();
        match self.terminal {
            None => to.open += 1,
            Some("SUCCEEDED") if self.charges == 0 => to.uncharged += 1,
            Some("SUCCEEDED") => self.judge(to),
            Some(_) => to.unsuccessful += 1,
        }
    }

    fn judge(&self, to: &mut Settlements) {
        let tolerance = if self.moved || self.accelerated { 5 } else { 10 };
        let deviation = (self.settled() - self.estimate).abs();
        let share = if self.goodwill { &mut to.goodwill } else { &mut to.settled };
        share.tasks += 1;
        share.hits += u64::from(100 * deviation <= tolerance * self.estimate);
        if !self.goodwill {
            to.estimated_micros += self.estimate;
            to.settled_micros += self.settled();
            to.deviation_micros += deviation;
        }
    }
}

/// The running figures; [`Truth`] is a picture of them.
#[derive(Debug, Default)]
pub(super) struct Tally {
    emissions: BTreeMap<(Topic, &'static str), u64>,
    kinds: BTreeMap<(Topic, &'static str), u64>,
    first_at: i64,
    last_at: i64,
    submitted: Split<u64>,
    terminal: Split<BTreeMap<&'static str, u64>>,
    settlements: Split<BTreeMap<String, Settlements>>,
    calls: Split<BTreeMap<&'static str, Calls>>,
    amounts: Split<BTreeMap<(&'static str, &'static str), i64>>,
    revenue: Split<BTreeMap<&'static str, i64>>,
    paid_back: Split<BTreeMap<&'static str, i64>>,
    broken: BTreeMap<String, BrokenTask>,
    orders: Vec<OrderEvent>,
    checks: BTreeMap<&'static str, u64>,
    cases: BTreeMap<&'static str, Cases>,
}

impl Tally {
    /// Counts what was handed out.
    pub(super) fn emitted(&mut self, emission: &Emission) {
        let label = match emission.expect {
            Expect::Accept => "accepted",
            Expect::Duplicate => "duplicate",
            Expect::Dead(reason) => reason,
        };
        *self.emissions.entry((emission.topic, label)).or_default() += 1;
    }

    /// Counts a valid event that is about to be handed out.
    pub(super) fn accepted(&mut self, event: &Event) {
        self.last_at = event.int(Field::OccurredAt).unwrap_or_default();
        if self.first_at == 0 {
            self.first_at = self.last_at;
        }
        *self.kinds.entry((event.topic, event.word(Field::Kind))).or_default() += 1;
        match event.topic {
            Topic::Credit => self.credit(event),
            Topic::License => match event.word(Field::CheckResult) {
                "" => {}
                result => *self.checks.entry(result).or_default() += 1,
            },
            Topic::Task => self.task(event),
            Topic::Moderation => self.case(event),
        }
        if !event.word(Field::Endpoint).is_empty() {
            self.call(event);
        }
    }

    /// Counts the first decision of a case.
    pub(super) fn decided(&mut self, tag: &'static str, in_time: bool) {
        let cases = self.cases.entry(tag).or_default();
        *(if in_time { &mut cases.decided_in_time } else { &mut cases.decided_late }) += 1;
    }

    /// Takes down a task one of whose events is about to be published without a valid tag.
    pub(super) fn broken(&mut self, event: &Event, reason: &str) {
        let broken = BrokenTask {
            reason: reason.to_owned(),
            kind: event.word(Field::Kind).to_owned(),
            state_version: event.int(Field::StateVersion).unwrap_or_default(),
            followed: false,
        };
        self.broken.insert(event.text(Field::TaskId).to_owned(), broken);
    }

    /// Takes in the account of a task after its last event.
    pub(super) fn ended(&mut self, account: &Account) {
        account.add_to(&mut self.settlements);
    }

    fn credit(&mut self, event: &Event) {
        let customer = event.is_customer();
        let what = (event.word(Field::Kind), event.word(Field::RefundReason));
        let amount = event.int(Field::Amount).unwrap_or_default();
        *self.amounts.of(customer).entry(what).or_default() += amount;
        if let Some(price) = event.int(Field::Price) {
            let purchase = event.word(Field::Kind) == "PURCHASED";
            let money = if purchase { &mut self.revenue } else { &mut self.paid_back };
            *money.of(customer).entry(event.word(Field::Currency)).or_default() += price;
            self.orders.push(OrderEvent::of(event));
        }
    }

    fn task(&mut self, event: &Event) {
        let customer = event.is_customer();
        if !self.broken.is_empty()
            && let Some(broken) = self.broken.get_mut(event.text(Field::TaskId))
        {
            broken.followed = true;
        }
        match event.word(Field::Kind) {
            "SUBMITTED" => *self.submitted.of(customer) += 1,
            end @ ("SUCCEEDED" | "FAILED" | "CANCELLED" | "ROLLED_BACK") => {
                *self.terminal.of(customer).entry(end).or_default() += 1;
            }
            _ => {}
        }
    }

    fn case(&mut self, event: &Event) {
        let cases = self.cases.entry(event.word(Field::PolicyTag)).or_default();
        match event.word(Field::Kind) {
            "REPORTED" => cases.reported += 1,
            "CLOSED" => cases.closed += 1,
            _ => {}
        }
    }

    fn call(&mut self, event: &Event) {
        let calls = self.calls.of(event.is_customer()).entry(event.word(Field::Endpoint)).or_default();
        let attempt = event.int(Field::Attempt).unwrap_or_default();
        let failed = matches!(event.word(Field::Outcome), "ERROR" | "TIMEOUT");
        let limited = event.int(Field::HttpStatus) == Some(429);
        calls.attempts += 1;
        calls.errors += u64::from(failed);
        calls.rate_limited += u64::from(limited);
        calls.requests += u64::from(attempt == 1);
        calls.answered += u64::from(!failed && !limited);
        calls.given_up += u64::from((failed || limited) && attempt == super::calls::ATTEMPTS_MAX);
    }

    /// A picture of the figures; `unfinished` are the accounts of tasks whose events are not all out.
    pub(super) fn truth<'a>(
        &self,
        unfinished: impl Iterator<Item = &'a Account>,
        wallets: &[Wallet],
    ) -> Truth {
        let mut settlements = self.settlements.clone();
        unfinished.for_each(|account| account.add_to(&mut settlements));
        let tasks = |submitted, terminal| Tasks { submitted, terminal: named(terminal) };
        let amount = |((kind, reason), sum): (&(&str, &str), &i64)| {
            (if reason.is_empty() { (*kind).to_owned() } else { format!("{kind}/{reason}") }, *sum)
        };
        let credited = wallets.iter().filter(|wallet| wallet.book.purchased_events > 0);
        Truth {
            emissions: by_topic(&self.emissions),
            kinds: by_topic(&self.kinds),
            first_occurred_at: self.first_at,
            last_occurred_at: self.last_at,
            tasks: Split {
                customer: tasks(self.submitted.customer, &self.terminal.customer),
                internal: tasks(self.submitted.internal, &self.terminal.internal),
            },
            settlements,
            calls: Split { customer: named(&self.calls.customer), internal: named(&self.calls.internal) },
            amounts: Split {
                customer: self.amounts.customer.iter().map(amount).collect(),
                internal: self.amounts.internal.iter().map(amount).collect(),
            },
            revenue_minor: Split {
                customer: named(&self.revenue.customer),
                internal: named(&self.revenue.internal),
            },
            paid_back_minor: Split {
                customer: named(&self.paid_back.customer),
                internal: named(&self.paid_back.internal),
            },
            checks: named(&self.checks),
            cases: named(&self.cases),
            broken_tasks: self.broken.clone(),
            wallets: credited.map(|wallet| (wallet.id.to_string(), wallet.truth())).collect(),
            order_events: self.orders.clone(),
        }
    }
}

fn named<T: Clone>(map: &BTreeMap<&'static str, T>) -> BTreeMap<String, T> {
    map.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
}

fn by_topic(map: &BTreeMap<(Topic, &'static str), u64>) -> BTreeMap<String, Counts> {
    let mut all: BTreeMap<String, Counts> = BTreeMap::new();
    for ((topic, name), count) in map {
        all.entry(topic.name().to_owned()).or_default().insert((*name).to_owned(), *count);
    }
    all
}
