//! Histories: chains of states, references, money.

use super::{Row, WORLD, number};
use std::collections::{BTreeMap, BTreeSet};
use tally_schemas::Topic;

const TERMINAL: [&str; 4] = ["SUCCEEDED", "FAILED", "CANCELLED", "ROLLED_BACK"];

/// Guarantees: each task's versions run from 1 at SUBMITTED without a gap to its one terminal state.
#[test]
fn state_versions_have_no_gap() {
    let mut last: BTreeMap<&str, (i64, &str)> = BTreeMap::new();
    for (_, row) in WORLD.rows.iter().filter(|(topic, _)| *topic == Topic::Task) {
        let entry = last.entry(&row["task_id"]).or_insert((0, ""));
        assert_eq!(number(row, "state_version"), Some(entry.0 + 1), "{row:?}");
        assert_eq!(entry.0 == 0, row["kind"] == "SUBMITTED", "{row:?}");
        assert!(!TERMINAL.contains(&entry.1), "{row:?}");
        *entry = (entry.0 + 1, &row["kind"]);
    }
    assert!(last.len() > 5_000, "{}", last.len());
    assert!(last.values().all(|(_, kind)| TERMINAL.contains(kind)), "all is at rest");
}

/// Guarantees: no event refers to a task that was not submitted before; a task has one policy tag, one audience.
#[test]
fn nothing_refers_to_a_task_that_is_not_there() {
    let mut tasks: BTreeMap<&str, (&str, &str)> = BTreeMap::new();
    let mut estimates = BTreeSet::new();
    for (topic, row) in &WORLD.rows {
        if row["kind"] == "ESTIMATED" {
            assert!(estimates.insert(&row["estimate_id"]));
        } else if let Some(id) = row.get("estimate_id") {
            assert!(estimates.contains(id), "{row:?}");
        }
        let Some(task) = row.get("task_id") else { continue };
        let audience = row.get("audience");
        if *topic == Topic::Task && row["kind"] == "SUBMITTED" {
            tasks.insert(task, (&row["policy_tag"], &row["audience"]));
        }
        let (tag, whose) = tasks.get(task.as_str()).unwrap_or_else(|| panic!("an orphan: {row:?}"));
        assert_eq!(row["policy_tag"], *tag);
        assert!(audience.is_none_or(|a| a == whose), "{row:?}");
    }
}

/// Guarantees: each stated balance is purchases + refunds − charges − supplements, and never below what is held;
/// at rest nothing is held and the truth agrees.
#[test]
fn balances_are_exact() {
    let mut wallets: BTreeMap<&str, (i64, i64)> = BTreeMap::new();
    let mut holds: BTreeMap<&str, i64> = BTreeMap::new();
    let mut stated = 0;
    for (_, row) in WORLD.rows.iter().filter(|(topic, _)| *topic == Topic::Credit) {
        let amount = number(row, "amount_micros").expect("amount");
        let (balance, held) = wallets.entry(&row["wallet_id"]).or_default();
        match row["kind"].as_str() {
            "PURCHASED" | "REFUNDED" => *balance += amount,
            "CHARGED" => {
                *balance -= amount;
                *held -= holds.remove(row["task_id"].as_str()).unwrap_or_default();
            }
            "SUPPLEMENT_CHARGED" => *balance -= amount,
            "HELD" => {
                *held += amount;
                *holds.entry(&row["task_id"]).or_default() += amount;
            }
            "ROLLED_BACK" => {
                assert_eq!(holds.remove(row["task_id"].as_str()), Some(amount), "{row:?}");
                *held -= amount;
            }
            _ => {}
        }
        assert!(*held >= 0 && *balance >= *held, "{row:?}");
        if let Some(after) = number(row, "balance_after_micros") {
            stated += 1;
            assert_eq!(after, *balance, "{row:?}");
        }
    }
    assert!(stated > 10_000 && holds.is_empty());
    let credited = wallets.iter().filter(|(id, _)| WORLD.truth.wallets.contains_key(**id));
    assert_eq!(credited.clone().count(), WORLD.truth.wallets.len());
    assert!(
        credited.into_iter().all(|(id, (balance, _))| WORLD.truth.wallets[*id].balance_micros == *balance)
    );
}

/// Guarantees: a licence is granted before it is anything else, and quota only falls by settled tasks.
#[test]
fn licences_begin_with_a_grant() {
    let mut granted = BTreeSet::new();
    for (topic, row) in &WORLD.rows {
        let Some(licence) = row.get("license_id") else { continue };
        if *topic == Topic::License && row["kind"] == "GRANTED" {
            assert!(granted.insert(licence), "{row:?}");
            assert_eq!(row["grantee_id"], row["user_id"]);
        }
        assert!(granted.contains(licence), "{row:?}");
    }
}

/// Guarantees: a case goes REPORTED, QUEUED, REVIEW_STARTED, DECIDED …, CLOSED; it is due by its tag's SLA.
#[test]
fn cases_keep_their_order() {
    let mut cases: BTreeMap<&str, Vec<&Row>> = BTreeMap::new();
    for (_, row) in WORLD.rows.iter().filter(|(topic, _)| *topic == Topic::Moderation) {
        cases.entry(&row["case_id"]).or_default().push(row);
    }
    assert!(cases.len() > 100);
    for rows in cases.values() {
        let kinds: Vec<&str> = rows.iter().map(|row| row["kind"].as_str()).collect();
        assert_eq!(kinds[..4], ["REPORTED", "QUEUED", "REVIEW_STARTED", "DECIDED"]);
        assert_eq!(kinds.last(), Some(&"CLOSED"));
        let sla = tally_schemas::policy_tags().iter().find(|t| t.symbol == rows[0]["policy_tag"]);
        let minutes = i64::from(sla.expect("a tag").review_sla_minutes);
        let due = number(rows[0], "occurred_at").expect("time") + minutes * 60_000_000;
        assert_eq!(number(rows[1], "sla_due_at"), Some(due));
    }
}
