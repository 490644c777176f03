//! The truth, recomputed from decoded events alone.

use super::super::{Calls, Cases, Settlements, Split, Truth};
use super::{Row, WORLD, number};
use std::collections::{BTreeMap, BTreeSet};
use tally_schemas::Topic;

/// Scenario: half-way, with tasks and cases in the midst of life, and at the end.
/// Guarantees: the truth covers the events handed out, no more and no less.
#[test]
fn the_truth_is_what_the_events_say() {
    let (count, halfway) = &WORLD.halfway;
    compare(halfway, &WORLD.rows[..*count]);
    compare(&WORLD.truth, &WORLD.rows);
}

/// Guarantees: most estimates are right in each class, and not all.
#[test]
fn estimates_are_mostly_right() {
    for class in ["NORMAL", "ACCELERATED", "MOVED"] {
        let share = WORLD.truth.settlements.customer[class].settled;
        assert!(share.tasks > 100 && share.hits < share.tasks, "{class}: {share:?}");
        assert!(share.hits * 100 > share.tasks * 93, "{class}: {share:?}");
    }
}

/// Guarantees: the interfaces fail, yet less than 2 % of the time.
#[test]
fn interfaces_are_mostly_stable() {
    for (endpoint, calls) in &WORLD.truth.calls.customer {
        assert!(calls.errors > 0 && calls.errors * 1000 < calls.attempts * 18, "{endpoint}: {calls:?}");
        assert!(calls.rate_limited > 0 && calls.answered + calls.given_up <= calls.requests);
    }
    assert_eq!(WORLD.truth.calls.customer.len(), 4);
}

/// Guarantees: the truth survives JSON.
#[test]
fn the_truth_is_json() {
    let json = serde_json::to_string(&WORLD.truth).expect("serialises");
    assert_eq!(serde_json::from_str::<Truth>(&json).expect("parses"), WORLD.truth);
}

fn compare(truth: &Truth, rows: &[(Topic, Row)]) {
    let mut kinds: BTreeMap<String, BTreeMap<String, u64>> = BTreeMap::new();
    for (topic, row) in rows {
        *kinds.entry(topic.name().to_owned()).or_default().entry(row["kind"].clone()).or_default() += 1;
    }
    assert_eq!(truth.kinds, kinds);
    for topic in Topic::ALL {
        assert_eq!(truth.emissions[topic.name()]["accepted"], kinds[topic.name()].values().sum::<u64>());
    }
    assert_eq!(Some(truth.first_occurred_at), number(&rows[0].1, "occurred_at"));
    assert_eq!(rows.last().and_then(|(_, row)| number(row, "occurred_at")), Some(truth.last_occurred_at));
    assert_eq!(truth.settlements, settlements(rows));
    assert_eq!(truth.calls, calls(rows));
    assert_eq!(truth.cases, cases(rows));
    let terminal = truth.tasks.customer.terminal.values().chain(truth.tasks.internal.terminal.values());
    let open = truth.tasks.customer.submitted + truth.tasks.internal.submitted - terminal.sum::<u64>();
    let ends = ["SUCCEEDED", "FAILED", "CANCELLED", "ROLLED_BACK"].map(|end| kinds["task-events"].get(end));
    let ended: u64 = ends.into_iter().flatten().sum();
    assert_eq!(open, kinds["task-events"]["SUBMITTED"] - ended);
    assert_eq!(purchases(rows), truth.wallets.iter().map(|(id, w)| (id.clone(), w.purchases)).collect());
}

fn is_customer(row: &Row) -> bool {
    row.get("audience").is_none_or(|audience| audience == "CUSTOMER")
}

fn settlements(rows: &[(Topic, Row)]) -> Split<BTreeMap<String, Settlements>> {
    let mut estimates: BTreeMap<&str, i64> = BTreeMap::new();
    let mut tasks: BTreeMap<&str, Vec<(Topic, &Row)>> = BTreeMap::new();
    for (topic, row) in rows {
        if row["kind"] == "ESTIMATED" {
            estimates.insert(&row["estimate_id"], number(row, "amount_micros").expect("amount"));
        } else if let (Topic::Credit | Topic::Task, Some(task)) = (topic, row.get("task_id")) {
            tasks.entry(task).or_default().push((*topic, row));
        }
    }
    let mut all: Split<BTreeMap<String, Settlements>> = Split::default();
    for rows in tasks.values() {
        let audience = if is_customer(rows[0].1) { &mut all.customer } else { &mut all.internal };
        settle(rows, &estimates, audience);
    }
    all
}

fn settle(rows: &[(Topic, &Row)], estimates: &BTreeMap<&str, i64>, all: &mut BTreeMap<String, Settlements>) {
    let sum = |kind: &str, reason: Option<&str>| -> i64 {
        let wanted = rows.iter().filter(|(topic, row)| {
            *topic == Topic::Credit
                && row["kind"] == kind
                && row.get("refund_reason").map(String::as_str) == reason
        });
        wanted.map(|(_, row)| number(row, "amount_micros").expect("amount")).sum()
    };
    let paid = sum("CHARGED", None) + sum("SUPPLEMENT_CHARGED", None);
    let state = |(topic, row): &(Topic, &Row)| (*topic == Topic::Task).then(|| row["kind"].clone());
    let ends = ["SUCCEEDED", "FAILED", "CANCELLED", "ROLLED_BACK"];
    let end = rows.iter().filter_map(state).find(|kind| ends.contains(&kind.as_str()));
    let queues: BTreeSet<&str> = rows
        .iter()
        .filter(|(topic, _)| *topic == Topic::Task)
        .map(|(_, row)| row["queue"].as_str())
        .collect();
    let class = if queues.len() > 1 { "MOVED" } else { queues.first().expect("a queue") };
    if paid == 0 && end.as_deref() != Some("SUCCEEDED") {
        return;
    }
    let to = all.entry(class.to_owned()).or_default();
    match end.as_deref() {
        None => to.open += 1,
        Some("SUCCEEDED") => {
            let Some(charge) = rows.iter().rfind(|(_, row)| row["kind"] == "CHARGED") else {
                to.uncharged += 1; // a supplement alone is no charge
                return;
            };
            let estimate = estimates[charge.1["estimate_id"].as_str()];
            let settled = paid - sum("REFUNDED", Some("OVERCHARGE"));
            let tolerance = if class == "NORMAL" { 10 } else { 5 };
            let hit = u64::from(100 * (settled - estimate).abs() <= tolerance * estimate);
            let goodwill = sum("REFUNDED", Some("GOODWILL")) > 0;
            let share = if goodwill { &mut to.goodwill } else { &mut to.settled };
            share.tasks += 1;
            share.hits += hit;
            if !goodwill {
                to.estimated_micros += estimate;
                to.settled_micros += settled;
                to.deviation_micros += (settled - estimate).abs();
            }
        }
        Some(_) => to.unsuccessful += 1,
    }
}

fn calls(rows: &[(Topic, Row)]) -> Split<BTreeMap<String, Calls>> {
    let mut all: Split<BTreeMap<String, Calls>> = Split::default();
    let mut keys: BTreeMap<&str, (&Row, i64)> = BTreeMap::new();
    for (_, row) in rows {
        let Some(endpoint) = row.get("endpoint") else { continue };
        let key = row["idempotency_key"].as_str();
        let attempt = number(row, "attempt").expect("attempt");
        let at = number(row, "occurred_at").expect("time");
        let (last, first_at) = *keys.entry(key).or_insert((row, at));
        assert!(at - first_at < 60_000_000 && number(last, "attempt") <= Some(attempt));
        keys.insert(key, (row, first_at));
        let calls = if is_customer(row) { &mut all.customer } else { &mut all.internal };
        let calls = calls.entry(endpoint.clone()).or_default();
        calls.attempts += 1;
        calls.errors += u64::from(matches!(row["outcome"].as_str(), "ERROR" | "TIMEOUT"));
        calls.rate_limited += u64::from(number(row, "http_status") == Some(429));
    }
    for (row, _) in keys.values() {
        let calls = if is_customer(row) { &mut all.customer } else { &mut all.internal };
        let calls = calls.get_mut(&row["endpoint"]).expect("counted");
        let good =
            matches!(row["outcome"].as_str(), "OK" | "REJECTED") && number(row, "http_status") != Some(429);
        calls.requests += 1;
        calls.answered += u64::from(good);
        calls.given_up += u64::from(!good && row["attempt"] == "3");
    }
    all
}

fn cases(rows: &[(Topic, Row)]) -> BTreeMap<String, Cases> {
    let mut all: BTreeMap<String, Cases> = BTreeMap::new();
    let mut due: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, row) in rows.iter().filter(|(topic, _)| *topic == Topic::Moderation) {
        let cases = all.entry(row["policy_tag"].clone()).or_default();
        match row["kind"].as_str() {
            "REPORTED" => cases.reported += 1,
            "QUEUED" => drop(due.insert(&row["case_id"], number(row, "sla_due_at").expect("due"))),
            "DECIDED" => match due.remove(row["case_id"].as_str()) {
                Some(due) if number(row, "occurred_at") < Some(due) => cases.decided_in_time += 1,
                Some(_) => cases.decided_late += 1,
                None => {}
            },
            "CLOSED" => cases.closed += 1,
            _ => {}
        }
    }
    all
}

/// METRICS 4, first paragraph, without the refunds that a purchase never has here.
fn purchases(rows: &[(Topic, Row)]) -> BTreeMap<String, u64> {
    let mut all: BTreeMap<String, u64> = BTreeMap::new();
    let mut orders = BTreeSet::new();
    let mut latest: BTreeMap<(&str, i64, i64), i64> = BTreeMap::new();
    for (_, row) in rows.iter().filter(|(_, row)| row["kind"] == "PURCHASED") {
        let count = all.entry(row["wallet_id"].clone()).or_default();
        let at = number(row, "occurred_at").expect("time");
        if row["gift"] == "true" || !orders.insert(row["order_id"].as_str()) {
            continue;
        }
        let what = ["amount_micros", "price_minor"].map(|field| number(row, field).expect("a number"));
        let earlier = latest.insert((&row["wallet_id"], what[0], what[1]), at);
        *count += u64::from(earlier.is_none_or(|earlier| at - earlier > 600_000_000));
    }
    all
}
