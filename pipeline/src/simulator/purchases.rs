//! METRICS 4 by hand: who bought again, from a plain list of what was bought and given back.
//!
//! Written for reading, not for speed, and apart from every query: it is what the queries are held against.

use super::event::{Event, Field, Value};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 24 * 60 * MINUTE;
const WEEK: i64 = 7 * DAY;

/// A PURCHASED event, or a REFUNDED event that names an order.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct OrderEvent {
    /// The event.
    pub event_id: Uuid,
    /// `PURCHASED` or `REFUNDED`.
    pub kind: String,
    /// Its `occurred_at`, microseconds since 1970 UTC.
    pub at_us: i64,
    /// The wallet that was credited, or whose order it was.
    pub wallet: String,
    /// `CUSTOMER`, `TEST`, `STAFF` or `CANARY`.
    pub audience: String,
    /// The order; its parts have the same.
    pub order: String,
    /// Credits in micros; 0 where money was given back.
    pub amount_micros: i64,
    /// Money paid or given back, in minor units.
    pub price_minor: i64,
    /// ISO 4217.
    pub currency: String,
    /// Bought by somebody else.
    pub gift: bool,
}

impl OrderEvent {
    pub(super) fn of(event: &Event) -> OrderEvent {
        let number = |field| event.int(field).unwrap_or_default();
        let event_id = match *event.get(Field::EventId) {
            Value::Id(id) => id,
            _ => Uuid::nil(),
        };
        let audience = event.word(Field::Audience);
        OrderEvent {
            event_id,
            kind: event.word(Field::Kind).to_owned(),
            at_us: number(Field::OccurredAt),
            wallet: event.text(Field::WalletId).to_owned(),
            audience: if audience.is_empty() { "CUSTOMER" } else { audience }.to_owned(),
            order: event.text(Field::OrderId).to_owned(),
            amount_micros: number(Field::Amount),
            price_minor: number(Field::Price),
            currency: event.word(Field::Currency).to_owned(),
            gift: *event.get(Field::Gift) == Value::Bool(true),
        }
    }
}

/// Of the wallets with a purchase in the 28 days before a week, how many have one in that week.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Week {
    /// First microsecond of the week.
    pub from_us: i64,
    /// Customers' wallets with a purchase in the 28 days before.
    pub base: u64,
    /// Those of them with a purchase in the week.
    pub repurchased: u64,
}

/// Repurchase after a launch, and before it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Repurchase {
    /// The week after the launch.
    pub launch: Week,
    /// The four weeks before, the earliest first.
    pub weeks_before: Vec<Week>,
    /// Their bases together.
    pub baseline_base: u64,
    /// Their repurchases together.
    pub baseline_repurchased: u64,
}

impl Repurchase {
    /// Computes it from the events of all orders, for a launch at `launch_us`.
    pub fn of(events: &[OrderEvent], launch_us: i64) -> Repurchase {
        let purchases = purchases(events);
        let weeks_before: Vec<Week> =
            (1..=4).rev().map(|weeks| week(&purchases, launch_us - weeks * WEEK)).collect();
        Repurchase {
            launch: week(&purchases, launch_us),
            baseline_base: weeks_before.iter().map(|week| week.base).sum(),
            baseline_repurchased: weeks_before.iter().map(|week| week.repurchased).sum(),
            weeks_before,
        }
    }
}

fn week(purchases: &[(i64, &str)], from_us: i64) -> Week {
    let wallets = |from: i64, to: i64| -> BTreeSet<&str> {
        purchases.iter().filter(|(at, _)| (from..to).contains(at)).map(|(_, wallet)| *wallet).collect()
    };
    let base = wallets(from_us - 28 * DAY, from_us);
    let buyers = wallets(from_us, from_us + WEEK);
    let repurchased = base.intersection(&buyers).count() as u64;
    Week { from_us, base: base.len() as u64, repurchased }
}

/// Time and wallet of each purchase of a customer: parts of an order are one, at the time of the first; gifts, orders
/// given back within 7 days, and a second identical order within 10 minutes are none.
fn purchases(events: &[OrderEvent]) -> Vec<(i64, &str)> {
    let mut orders: BTreeMap<&str, Vec<&OrderEvent>> = BTreeMap::new();
    let mut refunds: BTreeMap<&str, Vec<&OrderEvent>> = BTreeMap::new();
    for event in events {
        let of_kind = if event.kind == "PURCHASED" { &mut orders } else { &mut refunds };
        of_kind.entry(&event.order).or_default().push(event);
    }
    let mut placed: Vec<Placed<'_>> =
        orders.iter().filter_map(|(order, parts)| placed(order, parts)).collect();
    placed.sort_by_key(|order| (order.at, order.id));
    let mut latest: BTreeMap<(&str, i64, i64, &str), i64> = BTreeMap::new();
    let mut found = Vec::new();
    for order in placed {
        let earlier = latest.insert(order.content, order.at);
        let again = earlier.is_some_and(|earlier| order.at - earlier <= 10 * MINUTE);
        let soon = |refund: &&&OrderEvent| refund.at_us - order.at <= 7 * DAY;
        let back = refunds.get(order.id).map_or(&[][..], Vec::as_slice).iter();
        let back: i64 = back.filter(soon).map(|refund| refund.price_minor).sum();
        let (wallet, _, price, _) = order.content;
        if !again && price > back {
            found.push((order.at, wallet));
        }
    }
    found
}

/// An order of a customer for their own wallet.
struct Placed<'a> {
    at: i64,
    id: &'a str,
    /// Wallet, credits, price, currency: what makes two orders identical.
    content: (&'a str, i64, i64, &'a str),
}

fn placed<'a>(id: &'a str, parts: &[&'a OrderEvent]) -> Option<Placed<'a>> {
    let first = parts.iter().min_by_key(|part| part.at_us)?;
    if first.gift || first.audience != "CUSTOMER" {
        return None;
    }
    let credits = parts.iter().map(|part| part.amount_micros).sum();
    let price = parts.iter().map(|part| part.price_minor).sum();
    Some(Placed { at: first.at_us, id, content: (&first.wallet, credits, price, &first.currency) })
}
