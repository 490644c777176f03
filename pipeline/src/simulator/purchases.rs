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
        let soon = |refund: &&&OrderEvent| refund.at_us - order.at < 7 * DAY;
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

#[cfg(test)]
mod tests {
    use super::{DAY, MINUTE, OrderEvent, Repurchase, Week};
    use uuid::Uuid;

    /// Monday 2025-03-31, the launch.
    const LAUNCH: i64 = 1_743_379_200_000_000;

    fn event(wallet: &str, order: &str, at_us: i64) -> OrderEvent {
        OrderEvent {
            event_id: Uuid::nil(),
            kind: "PURCHASED".to_owned(),
            at_us,
            wallet: wallet.to_owned(),
            audience: "CUSTOMER".to_owned(),
            order: order.to_owned(),
            amount_micros: 50_000_000,
            price_minor: 4_500,
            currency: "CNY".to_owned(),
            gift: false,
        }
    }

    /// What a wallet that bought ten days before the launch has in the launch's week.
    fn again(in_the_week: Vec<OrderEvent>) -> Week {
        let mut events = vec![event("w", "before", LAUNCH - 10 * DAY)];
        events.extend(in_the_week);
        Repurchase::of(&events, LAUNCH).launch
    }

    /// Scenario: one wallet, and each case of METRICS 4 by itself.
    /// Guarantees: what is a purchase counts, what is none does not, bounds included.
    #[test]
    fn each_rule_decides_as_written() {
        let day = LAUNCH + DAY;
        let refund = |order: &str, at_us, price_minor| OrderEvent {
            kind: "REFUNDED".to_owned(),
            amount_micros: 0,
            price_minor,
            ..event("w", order, at_us)
        };
        let gift = OrderEvent { gift: true, ..event("w", "o", day) };
        let staff = OrderEvent { audience: "STAFF".to_owned(), ..event("w", "o", day) };
        let free = OrderEvent { price_minor: 0, ..event("w", "o", day) };
        let part = |at_us| OrderEvent { price_minor: 2_250, ..event("w", "o", at_us) };
        let cases: Vec<(&str, Vec<OrderEvent>, u64)> = vec![
            ("nothing", vec![], 0),
            ("a purchase", vec![event("w", "o", day)], 1),
            ("the first moment of the week", vec![event("w", "o", LAUNCH)], 1),
            ("the last", vec![event("w", "o", LAUNCH + 7 * DAY - 1)], 1),
            ("too late", vec![event("w", "o", LAUNCH + 7 * DAY)], 0),
            ("a gift", vec![gift], 0),
            ("of the staff", vec![staff], 0),
            ("for nothing", vec![free], 0),
            (
                "given back within seven days",
                vec![event("w", "o", day), refund("o", day + 7 * DAY - 1, 4_500)],
                0,
            ),
            ("given back too late", vec![event("w", "o", day), refund("o", day + 7 * DAY, 4_500)], 1),
            ("given back in part", vec![event("w", "o", day), refund("o", day + DAY, 4_499)], 1),
            ("another order given back", vec![event("w", "o", day), refund("before", day, 4_500)], 1),
            ("two parts, one given back", vec![part(day), part(day + 1), refund("o", day + DAY, 2_250)], 1),
            ("two parts, both given back", vec![part(day), part(day + 1), refund("o", day + DAY, 4_500)], 0),
        ];
        for (case, events, repurchased) in cases {
            let found = again(events);
            assert_eq!((found.from_us, found.repurchased), (LAUNCH, repurchased), "{case}");
        }
    }

    /// Scenario: an order just before the launch, and the same once more just after it.
    /// Guarantees: within ten minutes it is the same purchase, also across the border; a minute later, at another price
    /// or in another wallet it is one of its own.
    #[test]
    fn a_second_identical_order_is_one_after_ten_minutes() {
        let two = |minutes: i64, price_minor| {
            let first = event("w", "first", LAUNCH - MINUTE);
            let second = OrderEvent { price_minor, ..event("w", "second", LAUNCH + (minutes - 1) * MINUTE) };
            Repurchase::of(&[first, second], LAUNCH).launch.repurchased
        };
        assert_eq!([two(10, 4_500), two(11, 4_500), two(5, 4_400)], [0, 1, 1]);
    }

    /// Scenario: three wallets over six weeks; a bought in weeks -6, -4 and 0, b in weeks -5 and -4, c in week 0 only.
    /// Guarantees: bases and repurchases of each week as counted by hand, a look-back of 28 days to the microsecond, and
    /// their sums.
    #[test]
    fn weeks_are_counted_as_by_hand() {
        let week = |weeks: i64| LAUNCH + weeks * 7 * DAY;
        let events = [
            event("a", "1", week(-6)),
            event("b", "2", week(-5) + DAY),
            event("a", "3", week(-4) + DAY),
            event("b", "4", week(-4) + 2 * DAY),
            event("a", "5", week(0) + DAY),
            event("c", "6", week(0) + DAY),
        ];
        let found = Repurchase::of(&events, LAUNCH);
        let pairs: Vec<_> = found.weeks_before.iter().map(|week| (week.base, week.repurchased)).collect();
        // week -4: both bought before, both buy; -3, -2 and -1: both bought within 28 days, nobody buys.
        assert_eq!(pairs, [(2, 2), (2, 0), (2, 0), (2, 0)]);
        assert_eq!((found.launch.base, found.launch.repurchased), (2, 1));
        assert_eq!((found.baseline_base, found.baseline_repurchased), (8, 2));
        let edge =
            |before: i64| Repurchase::of(&[event("a", "1", LAUNCH - 28 * DAY - before)], LAUNCH).launch.base;
        assert_eq!([edge(0), edge(1)], [1, 0]);
    }
}
