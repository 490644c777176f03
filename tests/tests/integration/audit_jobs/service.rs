//! METRICS 5 and 7 by hand: what the feed delivered in time, and which cases were decided in time.

use super::ledger::{DAY, FIRST_DAY, HOUR, Ledger, MINUTE, Record, SECOND, T0, decimal, uuid};
use serde_json::{Value, json};

/// A case's event with a due time so long after the day began.
fn due(case: &str, after: i64) -> Record {
    Record::case(case, "QUEUED", T0 + MINUTE).with("sla_due_at", decimal(T0 + after, 6))
}

fn reported(case: &str) -> Record {
    Record::case(case, "REPORTED", T0)
}

fn decided(case: &str, after: i64) -> Record {
    Record::case(case, "DECIDED", T0 + after).with("decision", "REMOVED")
}

/// Cases decided just before, at and after their due time, and cases that are open. The last event is at 12:00.
pub(super) fn cases(ledger: &mut Ledger) {
    let (two, noon) = (2 * HOUR, 12 * HOUR);
    let tagged = |one: Record| one.with("policy_tag", "COPYRIGHT").with("risk_level", "HIGH");
    for one in [reported("just-in-time"), due("just-in-time", two), decided("just-in-time", two - 1)] {
        ledger.put(tagged(one));
    }
    for one in [reported("at-due"), due("at-due", two), decided("at-due", two)] {
        ledger.put(tagged(one));
    }
    ledger.put_all([reported("overdue"), due("overdue", noon)]);
    ledger.put_all([reported("open"), due("open", noon + 1)]);
    ledger.put(reported("no-due-yet"));
    ledger.put_all([reported("never-due"), decided("never-due", HOUR)]);
    // the first statement of a due time holds, and the first decision
    let moved = Record::case("moved", "ESCALATED", T0 + 90 * MINUTE).with("sla_due_at", decimal(T0 + DAY, 6));
    ledger.put_all([reported("moved"), due("moved", HOUR), moved, decided("moved", two)]);
    ledger.put_all([
        reported("again"),
        due("again", two),
        decided("again", HOUR),
        decided("again", 3 * HOUR),
    ]);
    // reported the day before: not of this window
    ledger.put_all([Record::case("old", "REPORTED", T0 - 1), due("old", HOUR)]);
    ledger.put(Record::case("open", "REVIEW_STARTED", T0 + noon));
}

/// Scenario: those cases; topics have ended.
/// Guarantees: stages by tag and risk as counted by hand; at its due time is late; a case is overdue from that moment.
#[test]
fn cases_and_their_due_times() {
    let mut ledger = Ledger::new();
    cases(&mut ledger);
    ledger.ended();
    let said = ledger.audit("sla", &FIRST_DAY);
    said.says("FAIL", 1).counts(&[
        ("COPYRIGHT HIGH/cases", 2),
        ("COPYRIGHT HIGH/in_time", 1),
        ("COPYRIGHT HIGH/late", 1),
        ("GENERAL_USE LOW/cases", 6),
        ("GENERAL_USE LOW/in_time", 1),
        ("GENERAL_USE LOW/late", 1),
        ("GENERAL_USE LOW/overdue", 1),
        ("GENERAL_USE LOW/still_open", 2),
        ("GENERAL_USE LOW/without_due", 1),
    ]);
    said.names(&[
        ("at-due", "late"),
        ("moved", "late"),
        ("never-due", "without_due"),
        ("overdue", "overdue"),
    ]);
    // 2 in time of 8 less 2 that are open
    assert_eq!((&said.result()["numerator"], &said.result()["denominator"]), (&json!(2), &json!(6)));
    let third = [&FIRST_DAY[..], &["--sla-permille", "333"]].concat(); // 2 of 6 is 333.3 per mille
    ledger.audit("sla", &third).says("PASS", 0);
    let third = [&FIRST_DAY[..], &["--sla-permille", "334"]].concat();
    ledger.audit("sla", &third).says("FAIL", 1);
}

/// A delivery: appended and acknowledged so long after the day began.
fn delivery(ledger: &mut Ledger, number: u32, appended: i64, acked: Option<i64>) {
    let row = json!({"subject": "buyer", "session": uuid(1), "event_id": uuid(number), "type": "task.progress",
        "topic": "task-events", "topic_id": uuid(103), "partition": 0, "offset": number,
        "appended_at": decimal(T0 + appended, 3), "sent_at": decimal(T0 + appended, 3),
        "acked_at": acked.map(|acked| decimal(T0 + acked, 3)), "version": 1});
    ledger.row("feed_deliveries", &[&row]);
}

fn resume(ledger: &mut Ledger, number: u32, outcome: &str, accepted: i64, recovered: Option<i64>) {
    let row: Value = json!({"subject": "buyer", "session": uuid(number), "accepted_at": decimal(T0 + accepted, 3),
        "recovered_at": recovered.map(|recovered| decimal(T0 + recovered, 3)), "outcome": outcome, "version": 1});
    ledger.row("feed_resumes", &[&row]);
}

/// Deliveries acknowledged at 3 s and a millisecond later, never, and too young to say at 01:00, when an event comes;
/// reconnects likewise.
pub(super) fn deliveries(ledger: &mut Ledger) {
    ledger.put(Record::task("last", "SUBMITTED", 1, T0 + HOUR));
    let ms = SECOND / 1000;
    let unacked = HOUR - 30 * SECOND;
    delivery(ledger, 11, 0, Some(3 * SECOND));
    delivery(ledger, 12, 0, Some(3 * SECOND + ms));
    delivery(ledger, 13, unacked, None); // 30 s: a miss
    delivery(ledger, 14, unacked + ms, None); // too young
    delivery(ledger, 15, DAY, None); // not of this window
    let waiting = HOUR - 5 * SECOND;
    resume(ledger, 21, "RESUMED", 0, Some(5 * SECOND));
    resume(ledger, 22, "RESUMED", 0, Some(5 * SECOND + ms));
    resume(ledger, 23, "RESYNC", 0, Some(SECOND)); // recovered anew: impossible to resume
    resume(ledger, 24, "FIRST", 0, None);
    resume(ledger, 25, "RESUMED", waiting, None); // 5 s: a miss
    resume(ledger, 26, "RESUMED", waiting + ms, None); // too young
}

/// Scenario: those deliveries and reconnects; topics have ended, so clocks are read at the last event.
/// Guarantees: METRICS 5 to the millisecond; first connects in no figure.
#[test]
fn deliveries_and_reconnects() {
    let mut ledger = Ledger::new();
    deliveries(&mut ledger);
    ledger.ended();
    let said = ledger.audit("realtime", &FIRST_DAY);
    said.says("FAIL", 1).counts(&[
        ("deliveries", 4),
        ("in_time", 1),
        ("misses", 2),
        ("young", 1),
        ("unacknowledged", 1),
        ("resumes", 5),
        ("recovered_in_time", 1),
        ("impossible", 1),
        ("recovery_misses", 3),
        ("recovering", 1),
    ]);
    let (delivered, session) =
        (|n| format!("{} to buyer", uuid(n)), |n| format!("session {} of buyer", uuid(n)));
    said.names(&[
        (&delivered(12), "misses"),
        (&delivered(13), "misses"),
        (&session(22), "recovery_misses"),
        (&session(23), "recovery_misses"),
        (&session(25), "recovery_misses"),
    ]);
    let pushed = said.measure("pushed within 3 s", "");
    assert_eq!((&pushed["numerator"], &pushed["denominator"]), (&json!(1), &json!(3)));
    // 1 of 3 pushes and 1 of 4 recoveries: both must reach the target
    let target = |permille: &str| {
        ledger.audit("realtime", &[&FIRST_DAY[..], &["--realtime-permille", permille]].concat())
    };
    target("250").says("PASS", 0);
    target("251").says("FAIL", 1);
    ledger.audit("realtime", &["--from", "2026-03-04", "--to", "2026-03-05"]).says("NOT_EVALUATED", 2);
}
