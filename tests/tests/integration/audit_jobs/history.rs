//! Results are restated and never overwritten.

use super::ledger::{FIRST_DAY, HOUR, Ledger, MINUTE, RUN, Record, T0, said};
use serde_json::{Value, json};
use tally_tests::Tally;

/// Runs completeness of the first day and records what it says.
fn judged(ledger: &Ledger) -> Value {
    said(&[&["audit", "completeness"][..], &ledger.at(), &FIRST_DAY].concat()).result().clone()
}

/// Recorded results, the latest first.
fn history(ledger: &Ledger, more: &[&str]) -> Vec<Value> {
    let arguments = [&["audit", "history", "--json"][..], &ledger.at(), more].concat();
    let printed = Tally::spawn(&arguments, &[]).expect_success(RUN).stdout;
    serde_json::from_str(&printed).unwrap_or_else(|error| panic!("{error} in {printed}"))
}

/// Scenario: a day is judged; an event of it comes late and shows a hole; the day is judged again, and once more.
/// Guarantees: the second result restates the first and says what differs; the third says nothing new and is not stored;
/// what was known before the late event is still what it was.
#[test]
fn a_late_event_restates_a_result() {
    let mut ledger = Ledger::new();
    let noon = T0 + 12 * HOUR;
    ledger.put_all([Record::task("t", "SUBMITTED", 1, noon), Record::task("u", "SUBMITTED", 1, noon)]);
    ledger.ended();
    let first = judged(&ledger);
    assert_eq!((&first["verdict"], &first["restates"]), (&json!("PASS"), &Value::Null));
    ledger.put(Record::task("t", "STARTED", 3, noon + MINUTE));
    ledger.ended();
    let second = judged(&ledger);
    let third = judged(&ledger);
    // two tasks as before; "t" lacks its second state
    let differences = json!([
        {"figure": "broken_chain", "before": 0, "after": 1},
        {"figure": "complete", "before": 2, "after": 1},
        {"figure": "incomplete", "before": 0, "after": 1},
    ]);
    let restates = json!({"result_id": first["result_id"], "known_at_us": first["known_at_us"], "verdict": "PASS",
        "differences": differences});
    assert_eq!((&second["verdict"], &second["restates"]), (&json!("FAIL"), &restates));
    assert_eq!(third["result_id"], second["result_id"]);

    let all = history(&ledger, &[]);
    assert_eq!(all, [second.clone(), first.clone()]);
    assert_eq!(history(&ledger, &["--job", "sla"]), [] as [Value; 0]);
    let moment = |us: &Value| {
        let moment = ledger.database.query(&format!("SELECT fromUnixTimestamp64Micro({us}, 'UTC')"));
        moment.trim().to_owned()
    };
    let before = second["known_at_us"].as_i64().expect("a moment") - 1;
    assert_eq!(history(&ledger, &["--as-known-at", &moment(&json!(before))]), [first]);
    assert_eq!(history(&ledger, &["--as-known-at", &moment(&second["known_at_us"])]), all);
}
