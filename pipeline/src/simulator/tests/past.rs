//! The past: held against what is decoded of the emissions.

use super::super::{Config, Emission, Expect, OrderEvent, Repurchase, Simulator, Truth};
use super::{Row, decode, number};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;
use tally_schemas::Topic;

const MINUTE: i64 = 60_000_000;
const DAY: i64 = 1_440 * MINUTE;

struct Run {
    opens_at: i64,
    emissions: Vec<Emission>,
    /// Accepted credit events in order.
    credit: Vec<Row>,
    truth: Truth,
}

static RUN: LazyLock<Run> = LazyLock::new(|| run(1));

/// The past and 20,000 emissions of the life after it.
fn run(seed: u64) -> Run {
    let mut simulator = Simulator::new(Config { past_wallets: 1_200, ..Config::seeded(seed) });
    let opens_at = simulator.opens_at();
    let mut emissions = Vec::new();
    let mut open = 0;
    while open < 20_000 {
        let emission = simulator.next();
        open += u32::from(emission.occurred_at >= opens_at);
        emissions.push(emission);
    }
    let credit = emissions.iter().filter(|e| e.topic == Topic::Credit && e.expect == Expect::Accept);
    let credit = credit.map(|e| decode(e).expect("an accepted event")).collect();
    Run { opens_at, emissions, credit, truth: simulator.truth() }
}

/// Guarantees: before the platform opens there are purchases, refunds and attempts at refunds and nothing else, none of them
/// invalid, in order of time, over ten weeks; and life begins at the opening.
#[test]
fn the_past_is_orders_and_refunds() {
    assert!(RUN.emissions.is_sorted_by_key(|emission| emission.occurred_at));
    let (past, life): (Vec<_>, Vec<_>) = RUN.emissions.iter().partition(|e| e.occurred_at < RUN.opens_at);
    assert!((7_000..10_500).contains(&past.len()), "{}", past.len());
    assert!(past.iter().all(|e| e.topic == Topic::Credit && !matches!(e.expect, Expect::Dead(_))));
    let weeks = (RUN.opens_at - past[0].occurred_at) / (7 * DAY);
    assert_eq!(weeks, 9, "the first event lies in the tenth week before");
    assert!(life[0].occurred_at - RUN.opens_at < 60 * MINUTE);
    let kinds: BTreeSet<&str> = RUN
        .credit
        .iter()
        .filter(|row| number(row, "occurred_at") < Some(RUN.opens_at))
        .map(|row| row["kind"].as_str())
        .collect();
    assert_eq!(kinds, ["ATTEMPTED", "PURCHASED", "REFUNDED"].into());
}

/// Guarantees: `/credits/refund` was called so often that METRICS 3 can be decided, and failed now and then; the truth counts each
/// attempt, and a request that failed is tried again under its key.
#[test]
fn refunds_of_the_past_are_calls() {
    let calls: Vec<&Row> = RUN
        .credit
        .iter()
        .filter(|row| number(row, "occurred_at") < Some(RUN.opens_at))
        .filter(|row| row.get("endpoint").is_some_and(|endpoint| endpoint == "CREDITS_REFUND"))
        .collect();
    assert!(calls.len() > 2_500, "{}", calls.len());
    let failed = |row: &&&Row| {
        row["kind"] == "ATTEMPTED" && row.get("http_status").is_none_or(|status| status != "429")
    };
    let failures = calls.iter().filter(failed).count();
    assert!((10..80).contains(&failures), "{failures} of {}", calls.len());
    let again = calls.iter().filter(|row| row["attempt"] == "2").count();
    assert!(again > 10, "{again}");
    let all = RUN
        .credit
        .iter()
        .filter(|row| row.get("endpoint").is_some_and(|name| name == "CREDITS_REFUND"))
        .count();
    let counted = |calls: &std::collections::BTreeMap<String, super::super::Calls>| {
        calls.get("CREDITS_REFUND").map_or(0, |calls| calls.attempts)
    };
    assert_eq!(counted(&RUN.truth.calls.customer) + counted(&RUN.truth.calls.internal), all as u64);
}

/// Guarantees: each balance that is stated is what the wallet's events come to; the truth agrees in the end.
#[test]
fn balances_of_the_past_are_exact() {
    let mut wallets: BTreeMap<&str, i64> = BTreeMap::new();
    for row in &RUN.credit {
        let amount = number(row, "amount_micros").expect("an amount");
        let balance = wallets.entry(&row["wallet_id"]).or_default();
        *balance += match row["kind"].as_str() {
            "PURCHASED" | "REFUNDED" => amount,
            "CHARGED" | "SUPPLEMENT_CHARGED" => -amount,
            _ => 0,
        };
        if let Some(stated) = number(row, "balance_after_micros") {
            assert_eq!(stated, *balance, "{row:?}");
        }
    }
    let truth: BTreeMap<&str, i64> =
        RUN.truth.wallets.iter().map(|(id, wallet)| (id.as_str(), wallet.balance_micros)).collect();
    wallets.retain(|id, _| truth.contains_key(id));
    assert_eq!(wallets, truth);
}

/// Guarantees: the list of orders is what the events say, with money given back apart from money paid.
#[test]
fn the_list_of_orders_is_what_was_emitted() {
    let orders = |row: &&Row| {
        row["kind"] == "PURCHASED" || (row["kind"] == "REFUNDED" && row.contains_key("order_id"))
    };
    let listed: Vec<OrderEvent> = RUN.credit.iter().filter(orders).map(order_event).collect();
    assert_eq!(RUN.truth.order_events, listed);
    let sum = |kind: &str, customer: bool| {
        let mut sums: BTreeMap<String, i64> = BTreeMap::new();
        for one in listed.iter().filter(|one| one.kind == kind && (one.audience == "CUSTOMER") == customer) {
            *sums.entry(one.currency.clone()).or_default() += one.price_minor;
        }
        sums
    };
    assert_eq!(RUN.truth.revenue_minor.customer, sum("PURCHASED", true));
    assert_eq!(RUN.truth.revenue_minor.internal, sum("PURCHASED", false));
    assert_eq!(RUN.truth.paid_back_minor.customer, sum("REFUNDED", true));
    assert!(listed.iter().all(|one| one.kind == "PURCHASED" || one.amount_micros == 0));
}

fn order_event(row: &Row) -> OrderEvent {
    OrderEvent {
        event_id: row["event_id"].parse().expect("a UUID"),
        kind: row["kind"].clone(),
        at_us: number(row, "occurred_at").expect("a time"),
        wallet: row["wallet_id"].clone(),
        audience: row["audience"].clone(),
        order: row["order_id"].clone(),
        amount_micros: number(row, "amount_micros").expect("an amount"),
        price_minor: number(row, "price_minor").expect("a price"),
        currency: row["currency"].clone(),
        gift: row.get("gift").is_some_and(|gift| gift == "true"),
    }
}

/// Guarantees: every rule of METRICS 4 has something to decide on.
#[test]
fn every_rule_has_its_case() {
    let orders = &RUN.truth.order_events;
    let bought: Vec<&OrderEvent> = orders.iter().filter(|one| one.kind == "PURCHASED").collect();
    assert!(bought.iter().any(|one| one.gift) && bought.iter().any(|one| one.audience == "STAFF"));
    let pairs = |close: fn(&OrderEvent, &OrderEvent) -> bool| {
        let mut by_wallet: BTreeMap<&str, Vec<&OrderEvent>> = BTreeMap::new();
        bought.iter().for_each(|one| by_wallet.entry(&one.wallet).or_default().push(one));
        by_wallet.values().flat_map(|all| all.windows(2)).filter(|two| close(two[0], two[1])).count()
    };
    assert!(pairs(|a, b| a.order == b.order) > 50);
    assert!(
        pairs(|a, b| a.order != b.order && a.price_minor == b.price_minor && b.at_us - a.at_us < 10 * MINUTE)
            > 50
    );
    assert!(
        pairs(|a, b| a.order != b.order
            && a.price_minor == b.price_minor
            && (10 * MINUTE..31 * MINUTE).contains(&(b.at_us - a.at_us)))
            > 30
    );
    let refunds = |low: i64, high: i64, full: bool| {
        let back = orders.iter().filter(|one| one.kind == "REFUNDED");
        back.filter(|refund| {
            let order = bought.iter().find(|one| one.order == refund.order).expect("a refund of an order");
            let days = (refund.at_us - order.at_us) / DAY;
            (low..high).contains(&days) && (refund.price_minor == order.price_minor) == full
        })
        .count()
    };
    assert!(refunds(0, 7, true) > 50 && refunds(0, 7, false) > 30 && refunds(7, 13, true) > 20);
}

/// Scenario: several seeds; the launch a week before the opening, and up to an hour and a half to either side.
/// Guarantees: the pairs do not depend on the minute; about 30 % of wallets come back in a week and about 45 % after the
/// launch, so that the rise is beyond doubt: even the lower end of one (two standard errors) exceeds 1.08 times the
/// upper end of the other.
#[test]
fn the_last_week_is_better_beyond_doubt() {
    for seed in 1..=5 {
        let run = run(seed);
        let pairs = |minutes: i64| {
            let found = Repurchase::of(&run.truth.order_events, run.opens_at - 7 * DAY + minutes * MINUTE);
            let week = |week: &super::super::Week| (week.base, week.repurchased);
            let weeks: Vec<_> = found.weeks_before.iter().chain([&found.launch]).map(week).collect();
            assert_eq!(found.baseline_base, weeks[..4].iter().map(|week| week.0).sum::<u64>());
            assert_eq!(found.baseline_repurchased, weeks[..4].iter().map(|week| week.1).sum::<u64>());
            weeks
        };
        let weeks = pairs(0);
        for minutes in [-90, -10, 10, 90] {
            assert_eq!(pairs(minutes), weeks, "seed {seed}, {minutes} minutes");
        }
        let share = |(base, again): (u64, u64)| {
            let (base, again) = (base as f64, again as f64);
            let share = again / base;
            (share, 2.0 * (share * (1.0 - share) / base).sqrt())
        };
        let before = weeks[..4].iter().fold((0, 0), |sum, week| (sum.0 + week.0, sum.1 + week.1));
        let ((usual, usual_error), (launch, launch_error)) = (share(before), share(weeks[4]));
        assert!((0.27..0.35).contains(&usual) && (0.40..0.52).contains(&launch), "{usual} {launch}");
        assert!(launch - launch_error > 1.08 * (usual + usual_error), "seed {seed}: {usual} {launch}");
    }
}
