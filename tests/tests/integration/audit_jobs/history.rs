//! Results are restated and never overwritten.

use super::ledger::{DAY, FIRST_DAY, HOUR, Ledger, MINUTE, RUN, Record, T0, said};
use serde_json::{Value, json};
use tally_tests::{Tally, TempFolder};

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

/// Scenario: a day is closed and not sealed; it is sealed; then events of the next day come, which are not.
/// Guarantees: the day's window is CLOSED, then SEALED, and stays so; the next day's is CLOSED until it is sealed, too. With a record of
/// the day that came after the seal it is no longer SEALED.
#[test]
fn a_window_is_sealed_once_a_checkpoint_covers_it() {
    let folder = TempFolder::new("sealed-window");
    let path = |name: &str| folder.path().join(name).display().to_string();
    Tally::spawn(&["seal", "keygen", "--out", &path("key")], &[]).expect_success(RUN);
    let mut ledger = Ledger::new();
    let state = |ledger: &Ledger, window: &[&str]| {
        let said = ledger.audit("completeness", window);
        let state = said.result()["window"]["state"].as_str().expect("a state").to_owned();
        let table = [&["audit", "completeness", "--no-record"][..], &ledger.at(), window].concat();
        let shown = Tally::spawn(&table, &[]).end_within(RUN).stdout;
        assert!(shown.contains(&state.to_lowercase()), "{state} is not shown: {shown}");
        state
    };
    let seal = |ledger: &Ledger| {
        let seal = ["seal", "--seals", &path("log"), "--key", &path("key")];
        Tally::spawn(&[&seal[..], &ledger.at()].concat(), &[]).expect_success(RUN);
    };
    ledger.put(Record::task("a", "SUBMITTED", 1, T0 + HOUR));
    ledger.ended();
    assert_eq!(state(&ledger, &FIRST_DAY), "CLOSED");
    seal(&ledger);
    assert_eq!(state(&ledger, &FIRST_DAY), "SEALED");

    let next_day = ["--from", "2026-03-03", "--to", "2026-03-04"];
    ledger.put(Record::task("b", "SUBMITTED", 1, T0 + DAY + 2 * HOUR));
    ledger.ended();
    assert_eq!(state(&ledger, &FIRST_DAY), "SEALED");
    assert_eq!(state(&ledger, &next_day), "CLOSED");
    seal(&ledger);
    assert_eq!(state(&ledger, &next_day), "SEALED");

    // appended within the day, as another partition's records may be
    ledger.put(Record::task("a", "QUEUED", 2, T0 + 2 * HOUR));
    ledger.ended();
    assert_eq!(state(&ledger, &FIRST_DAY), "CLOSED");
    assert_eq!(state(&ledger, &next_day), "CLOSED");
}

/// Scenario: a day is judged; a view is replaced, so that nothing can be checked, and the day is judged twice more and by watch; the view
/// is put right, and watch looks again.
/// Guarantees: that it could not be checked is recorded, once, and stands in place of the PASS; watch does not take such a window for
/// judged and begins with it again; the PASS that follows restates it and finds nothing different in it, since nothing was counted.
#[test]
fn what_could_not_be_checked_takes_the_place_of_a_pass() {
    let mut ledger = Ledger::new();
    ledger.put(Record::task("t", "SUBMITTED", 1, T0 + 12 * HOUR));
    ledger.ended();
    let first = judged(&ledger);
    assert_eq!(first["verdict"], "PASS");
    let view = ledger.database.query("SELECT as_select FROM system.tables WHERE database = currentDatabase() AND name = 'credit_events_final' FORMAT TSVRaw");
    ledger.database.query("CREATE OR REPLACE VIEW credit_events_final AS SELECT * REPLACE (amount_micros + 1 AS amount_micros) FROM credit_events FINAL");
    let (second, third) = (judged(&ledger), judged(&ledger));
    let stands = (&second["verdict"], &second["restates"]["result_id"], &second["restates"]["differences"]);
    assert_eq!(stands, (&json!("ERROR"), &first["result_id"], &json!([])));
    assert_eq!(third["result_id"], second["result_id"]);
    assert_eq!(history(&ledger, &[]), [second.clone(), first]);

    let watch = ["audit", "watch", "--once", "--listen", "127.0.0.1:0", "--window-minutes", "1440"];
    let watched = [&watch[..], &ledger.at()].concat();
    Tally::spawn(&watched, &[]).end_within(RUN);
    assert_eq!(history(&ledger, &["--job", "completeness"])[0]["result_id"], second["result_id"]);
    ledger.database.query(&format!("CREATE OR REPLACE VIEW credit_events_final AS {view}"));
    Tally::spawn(&[&["migrate"][..], &ledger.at()].concat(), &[]).expect_success(RUN);
    Tally::spawn(&watched, &[]).expect_success(RUN);
    let again = history(&ledger, &["--job", "completeness"]);
    let stands =
        (&again[0]["verdict"], &again[0]["restates"]["verdict"], &again[0]["restates"]["differences"]);
    assert_eq!(stands, (&json!("PASS"), &json!("ERROR"), &json!([])));
}
