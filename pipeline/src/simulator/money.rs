//! Wallets: purchases, and the movements that a task makes.

use super::calls::{self, Call, Reply};
use super::event::{Event, Field, Value};
use super::life::{Life, by_service};
use super::world::{CREDIT, SECOND};
use super::{Action, Simulator};
use std::sync::Arc;
use tally_schemas::Topic;

/// Credits and price in minor units of the packs on sale.
pub(super) const PACKS: [(i64, i64); 4] = [(20, 1_900), (50, 4_500), (100, 8_500), (300, 23_900)];
/// No wallet orders on its own twice within this time, so that what METRICS 4 counts is beyond doubt.
const ORDER_GAP: i64 = 30 * 60 * SECOND;

/// One PURCHASED event to come.
#[derive(Clone, Debug)]
pub(super) struct Order {
    pub(super) wallet: usize,
    pub(super) id: Arc<str>,
    pub(super) credits_micros: i64,
    pub(super) price_minor: i64,
    pub(super) gift: bool,
    /// False for a later part of an order and for a second identical one.
    pub(super) counts: bool,
}

impl Order {
    /// The order in two parts under its one id.
    pub(super) fn split(self) -> (Order, Order) {
        let (credits, price) = (self.credits_micros / 2, self.price_minor / 2);
        let first = Order { credits_micros: credits, price_minor: price, ..self.clone() };
        let second = Order {
            credits_micros: self.credits_micros - credits,
            price_minor: self.price_minor - price,
            counts: false,
            ..self
        };
        (first, second)
    }
}

/// One REFUNDED event to come that gives money back for an order; the credits stay in the wallet.
#[derive(Clone, Debug)]
pub(super) struct PayBack {
    pub(super) wallet: usize,
    pub(super) order: Arc<str>,
    pub(super) price_minor: i64,
}

/// A request to give credits back for goodwill, of a customer whose tasks lie before everything that is published.
#[derive(Debug)]
pub(super) struct Goodwill {
    pub(super) wallet: usize,
    pub(super) credits_micros: i64,
    /// The attempt before, where it failed.
    pub(super) call: Option<Call>,
}

impl Simulator {
    /// Orders credits where few are left: now and then in two parts, twice by mistake, or with a gift.
    pub(super) fn top_up(&mut self, buyer: usize) {
        let wallet = &self.world.wallets[buyer];
        let low = wallet.available() < 12 * CREDIT && self.now - wallet.last_order_at > ORDER_GAP;
        if !low || !self.rng.chance(850) {
            return;
        }
        self.world.wallets[buyer].last_order_at = self.now;
        let (credits, price_minor) = self.rng.pick(PACKS);
        let id = self.id("o-");
        let credits_micros = credits * CREDIT;
        let whole = Order { wallet: buyer, id, credits_micros, price_minor, gift: false, counts: true };
        match self.rng.below(100) {
            0..5 => {
                let (first, second) = whole.split();
                self.order(first, SECOND);
                self.order(second, SECOND + 1_000);
            }
            5..7 => {
                let second = Order { id: self.id("o-"), counts: false, ..whole.clone() };
                self.order(whole, SECOND);
                let delay = self.rng.between(5 * SECOND, 300 * SECOND);
                self.order(second, delay);
            }
            7..11 => {
                let wallet = self.any(self.world.visitors);
                let gift = Order { wallet, id: self.id("o-"), gift: true, counts: false, ..whole.clone() };
                self.order(whole, SECOND);
                self.order(gift, 2 * SECOND);
            }
            _ => self.order(whole, SECOND),
        }
    }

    fn order(&mut self, order: Order, delay: i64) {
        self.at(delay, Action::Buy(Box::new(order)));
    }

    /// Credits a wallet.
    pub(super) fn buy(&mut self, order: &Order) {
        let trace = self.rng.bytes16();
        let wallet = &mut self.world.wallets[order.wallet];
        wallet.balance += order.credits_micros;
        wallet.book.purchased_events += 1;
        wallet.book.gifts += u64::from(order.gift);
        wallet.book.purchases += u64::from(order.counts);
        let mut event = Event::new(Topic::Credit, "PURCHASED");
        event
            .set(Field::Source, "billing")
            .set(Field::PolicyTag, "BILLING")
            .set(Field::ActorId, &wallet.user)
            .set(Field::ActorRole, "BUYER")
            .set(Field::TraceId, Value::Hex(trace))
            .set(Field::WalletId, &wallet.id)
            .set(Field::UserId, &wallet.user)
            .set(Field::Amount, order.credits_micros)
            .set(Field::Price, order.price_minor)
            .set(Field::Currency, wallet.currency)
            .set(Field::OrderId, &order.id)
            .set(Field::Gift, order.gift)
            .set(Field::Balance, wallet.balance)
            .set(Field::Audience, wallet.audience);
        if order.gift {
            event.set(Field::ActorId, "svc-gifts").set(Field::ActorRole, "SERVICE");
        }
        self.accept(event);
    }

    /// Gives money back for an order: the price moves, the credits do not.
    pub(super) fn pay_back(&mut self, refund: &PayBack) {
        let trace = self.rng.bytes16();
        let wallet = &self.world.wallets[refund.wallet];
        let mut event = Event::new(Topic::Credit, "REFUNDED");
        event
            .set(Field::Source, "billing")
            .set(Field::PolicyTag, "BILLING")
            .set(Field::TraceId, Value::Hex(trace))
            .set(Field::WalletId, &wallet.id)
            .set(Field::UserId, &wallet.user)
            .set(Field::Amount, 0)
            .set(Field::RefundReason, "GOODWILL")
            .set(Field::Price, refund.price_minor)
            .set(Field::Currency, wallet.currency)
            .set(Field::OrderId, &refund.order)
            .set(Field::Balance, wallet.balance)
            .set(Field::Audience, wallet.audience);
        by_service(&mut event, "svc-billing");
        self.accept(event);
    }

    /// Asks for credits back, once more after a failure; what is answered moves them.
    pub(super) fn compensate(&mut self, mut request: Box<Goodwill>) {
        let (place, amount) = (request.wallet, request.credits_micros);
        let attempted = self.compensation(place, "ATTEMPTED", 0);
        match self.attempt(&mut request.call, calls::REFUND, attempted) {
            Reply::Again(delay) => self.at(delay, Action::Goodwill(request)),
            Reply::GivenUp => {}
            Reply::Answered(answer) => {
                self.world.wallets[place].balance += amount;
                let mut event = self.compensation(place, "REFUNDED", amount);
                event
                    .set(Field::RefundReason, "GOODWILL")
                    .set(Field::Balance, self.world.wallets[place].balance);
                answer.ok(&mut event);
                self.accept(event);
            }
        }
    }

    fn compensation(&mut self, place: usize, kind: &'static str, amount: i64) -> Event {
        let trace = self.rng.bytes16();
        let wallet = &self.world.wallets[place];
        let mut event = Event::new(Topic::Credit, kind);
        event
            .set(Field::Source, "billing")
            .set(Field::PolicyTag, "BILLING")
            .set(Field::TraceId, Value::Hex(trace))
            .set(Field::WalletId, &wallet.id)
            .set(Field::UserId, &wallet.user)
            .set(Field::Amount, amount)
            .set(Field::Audience, wallet.audience);
        by_service(&mut event, "svc-billing");
        event
    }

    /// Takes `amount` from the wallet; up to that much of the life's hold is used up by it.
    pub(super) fn debit(&mut self, life: &mut Life, kind: &'static str, amount: i64, held: i64) -> Event {
        let wallet = &mut self.world.wallets[life.wallet];
        wallet.balance -= amount;
        wallet.held -= held;
        life.hold -= held;
        match kind {
            "CHARGED" => life.account.charges += 1,
            _ => life.account.supplements += 1,
        }
        self.movement(life, kind, amount)
    }

    /// Gives `amount` back to the wallet.
    pub(super) fn refund(&mut self, life: &Life, amount: i64, reason: &'static str) -> Event {
        self.world.wallets[life.wallet].balance += amount;
        let mut event = self.movement(life, "REFUNDED", amount);
        event.set(Field::RefundReason, reason);
        event
    }

    /// Holds `amount` more for the life.
    pub(super) fn hold_micros(&mut self, life: &mut Life, amount: i64) -> Event {
        self.world.wallets[life.wallet].held += amount;
        life.hold += amount;
        self.movement(life, "HELD", amount)
    }

    /// Lets go of all that is held for the life.
    pub(super) fn release_hold(&mut self, life: &mut Life) -> Event {
        let amount = std::mem::take(&mut life.hold);
        self.world.wallets[life.wallet].held -= amount;
        self.movement(life, "ROLLED_BACK", amount)
    }

    fn movement(&self, life: &Life, kind: &'static str, amount: i64) -> Event {
        let mut event = self.credit(life, kind, amount);
        by_service(&mut event, "svc-billing");
        event
            .set(Field::EstimateId, life.estimate_id.as_ref())
            .set(Field::Balance, self.world.wallets[life.wallet].balance);
        event
    }
}
