//! A range of the log taken once more: what the store lost comes back, what stands stays.

use std::time::Duration;

use serde_json::Value;
use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::line;
use tally_tests::{Kafka, Registry, Stage, examples, kcat, python, skip_without};

const SOON: Duration = Duration::from_secs(60);

/// `number` task events from `first` on into a partition.
fn publish(stage: &Stage<'_>, partition: &str, first: usize, number: usize, more: &[&str]) {
    let topic = stage.topic(Topic::Task);
    let schema = examples::schema(Topic::Task, 2);
    let more = [&["--partition", partition], more].concat();
    let bootstrap = stage.kafka.bootstrap();
    let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more: &more };
    python::produce(what, &examples::many(Topic::Task, first + number)[first..]);
}

/// `tally replay --json` of this stage's task events.
fn replay(stage: &Stage<'_>, more: &[&str], code: i32) -> Value {
    let topic = stage.topic(Topic::Task);
    let what = ["--topic", &topic, "--group", stage.prefix(), "--json"];
    let ended = stage.tally(&["replay"], &[&what, more].concat()).expect_code(code, SOON);
    serde_json::from_str(&ended.stdout).unwrap_or_else(|error| panic!("{error}: {}", ended.stderr))
}

/// One partition's number in a survey.
fn number(survey: &Value, partition: usize, name: &str) -> u64 {
    let count = survey["partitions"][partition][name].as_u64();
    count.unwrap_or_else(|| panic!("no {name} of {partition} in {survey:#}"))
}

/// Everything that readers see of the three tables, as text.
fn figures(stage: &Stage<'_>) -> String {
    [
        "SELECT hex(toString(tuple(*))) FROM task_events_final ORDER BY event_id",
        "SELECT hex(toString(tuple(*))) FROM audit_log_final ORDER BY topic_id, partition, offset",
        "SELECT hex(toString(tuple(*))) FROM dead_letters_final ORDER BY topic_id, partition, offset",
        "SELECT hex(toString(tuple(*))) FROM gaps_final ORDER BY topic_id, partition, first",
    ]
    .map(|sql| stage.database.query(sql))
    .join("\n")
}

/// Scenario: 40 events, an aborted transaction, 10 events and 2 letters are taken; then of a range the facts of some,
/// the letters, the receipts of others and the gaps are deleted. The range is surveyed, replayed, and replayed again,
/// while `tally ingest` runs.
/// Guarantees: the survey counts exactly what was deleted and writes nothing; after the replay every row that readers
/// see is what it was, byte for byte, and the balance holds; the second replay finds nothing and changes nothing.
#[test]
fn what_the_store_lost_comes_back_as_it_was() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("replay");
    let topic = stage.topic(Topic::Task);
    publish(&stage, "0", 0, 40, &["--transaction", "commit"]); // 0 to 39, marker 40
    publish(&stage, "0", 40, 3, &["--transaction", "abort"]); // 41 to 43, marker 44
    publish(&stage, "0", 43, 10, &[]); // 45 to 54
    for bad in [&b"no event"[..], b"nor this"] {
        kcat::produce(Kafka::shared().bootstrap(), &topic, 0, Some("k"), bad); // 55, 56
    }
    stage.catch_up(&[]);
    let whole = figures(&stage);
    let _running = stage.ingest(&["--linger-ms", "50"]);

    // Lost facts with receipts: 5 to 9. Holes without facts: 20 to 29; holes with facts: 30 to 32. Receipt and letter
    // of 55; letter of 56 only. All gaps: 40 to 44.
    stage.database.query("DELETE FROM task_events WHERE offset BETWEEN 5 AND 9 OR offset BETWEEN 20 AND 29");
    stage.database.query("DELETE FROM audit_log WHERE offset BETWEEN 20 AND 32 OR offset = 55");
    stage.database.query("DELETE FROM dead_letters WHERE offset IN (55, 56)");
    stage.database.query("TRUNCATE TABLE gaps");
    let broken = figures(&stage);
    let range = ["--partition", "0", "--from-offset", "3", "--to-offset", "57"];
    let found = replay(&stage, &range, 1);
    let names =
        ["records", "accepted", "dead", "holes", "facts_lost", "letters_lost", "unrecorded_gap_offsets"];
    // 54 offsets, 5 of them without record; 3 to 54 less 13 holes; 56.
    assert_eq!(names.map(|name| number(&found, 0, name)), [49, 34, 1, 14, 5, 1, 5], "{found:#}");
    assert_eq!(["not_taken", "now_acceptable", "restored", "filled"].map(|n| number(&found, 0, n)), [0; 4]);
    assert_eq!(figures(&stage), broken, "a survey writes nothing");

    let done = replay(&stage, &[&range[..], &["--execute"]].concat(), 0);
    assert_eq!(["restored", "filled", "not_restorable"].map(|n| number(&done, 0, n)), [6, 14, 0], "{done:#}");
    assert_eq!(figures(&stage), whole);
    let again = replay(&stage, &[&range[..], &["--execute"]].concat(), 0);
    assert_eq!(
        ["holes", "facts_lost", "letters_lost", "restored", "filled"].map(|n| number(&again, 0, n)),
        [0; 5]
    );
    assert_eq!(figures(&stage), whole);
    let task = stage.catch_up(&[]);
    let task = line(&task, Topic::Task);
    assert_eq!((task.published, task.accepted, task.dead), (57, 50, 2));
}

/// Scenario: the time of a range is given; then ranges that lie before, beyond, or nowhere, another topic, and a
/// partition that is not there.
/// Guarantees: records of every partition within the time are surveyed, and no others; the rest end with code 3 and
/// say what is retained.
#[test]
fn ranges_are_of_offsets_or_of_time() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("replay-range");
    let topic = stage.topic(Topic::Task);
    for (partition, events) in [("0", 6_u64), ("1", 4)] {
        publish(&stage, partition, 0, usize::try_from(events).expect("small"), &[]);
    }
    stage.catch_up(&[]);
    let found = replay(&stage, &["--from", "2020-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"], 0);
    assert_eq!(found["partitions"].as_array().map(Vec::len), Some(2), "the idle one has none of it");
    assert_eq!([0, 1].map(|at| number(&found, at, "accepted")), [6, 4]);
    let half =
        "SELECT toUnixTimestamp64Milli(appended_at) FROM audit_log_final WHERE partition = 0 AND offset = 3";
    let at_ms = u64::try_from(stage.number(half)).expect("after 1970");
    let same =
        format!("SELECT count() FROM audit_log_final WHERE toUnixTimestamp64Milli(appended_at) >= {at_ms}");
    let later = stage.number(&same);
    let moment = stage.database.query(&format!(
        "SELECT formatDateTime(fromUnixTimestamp64Milli(toInt64({at_ms})), '%Y-%m-%dT%H:%i:%S.', 'UTC') || \
         leftPad(toString({at_ms} % 1000), 3, '0') || 'Z'"
    ));
    let found = replay(&stage, &["--from", moment.trim(), "--to", "2100-01-01T00:00:00Z"], 0);
    let partitions = found["partitions"].as_array().map_or(0, Vec::len);
    let counted: u64 = (0..partitions).map(|at| number(&found, at, "records")).sum();
    assert_eq!(i64::try_from(counted), Ok(later), "{found:#}");

    stage.kafka.delete_records_before(&topic, 0, 2);
    let fails = |more: &[&str], said: &str| {
        let what = [&["--topic", topic.as_str(), "--group", stage.prefix()], more].concat();
        let stderr = stage.tally(&["replay"], &what).expect_code(3, SOON).stderr;
        assert!(stderr.contains(said), "{said} is not in {stderr}");
    };
    fails(&["--partition", "0", "--from-offset", "0", "--to-offset", "6"], "2 up to 6 are retained");
    fails(&["--partition", "0", "--from-offset", "2", "--to-offset", "7"], "2 up to 6 are retained");
    fails(&["--partition", "9", "--from-offset", "0", "--to-offset", "1"], "/9 does not exist");
    fails(&["--from", "2099-01-01T00:00:00Z", "--to", "2100-01-01T00:00:00Z"], "nothing that");
}

/// Scenario: a letter of an unknown schema id; the registry learns it; its letter and its receipt are looked at by a
/// replay that knows the registry, once with both there and once with the letter deleted. Then a lane has not come yet.
/// Guarantees: the letter is counted as acceptable today and stays a letter, also when its row was lost; what no lane
/// has committed is left to `tally ingest`.
#[test]
fn what_was_found_dead_stays_dead() {
    if skip_without(Kafka::real()) || skip_without(Registry::installed()) {
        return;
    }
    let stage = Stage::shared("replay-dead");
    let registry = Registry::start();
    let contract = tally_schemas::latest(Topic::Task);
    let id = registry.register("task-events-value", &contract.json);
    let event = examples::many(Topic::Task, 1).remove(0);
    let body = tally_schemas::Encoder::new(contract).and_then(|e| e.encode(&event)).expect("a valid example");
    let value = tally_schemas::frame_confluent(id, &body);
    kcat::produce(Kafka::shared().bootstrap(), &stage.topic(Topic::Task), 1, Some("task-1"), &value);
    stage.catch_up(&[]);
    kcat::produce(Kafka::shared().bootstrap(), &stage.topic(Topic::Task), 1, Some("task-1"), &value);

    let url = registry.url();
    let range =
        ["--partition", "1", "--from-offset", "0", "--to-offset", "2", "--registry", &url, "--execute"];
    let names = ["dead", "now_acceptable", "not_taken", "holes", "restored", "filled"];
    let done = replay(&stage, &range, 2); // one offset was not taken yet
    assert_eq!(names.map(|name| number(&done, 0, name)), [1, 1, 1, 0, 0, 0], "{done:#}");
    stage.database.query("DELETE FROM dead_letters WHERE 1");
    let done = replay(&stage, &range, 2); // one offset was not taken yet
    assert_eq!(names.map(|name| number(&done, 0, name)), [1, 1, 1, 0, 1, 0], "{done:#}");
    assert_eq!(stage.database.query("SELECT offset, reason FROM dead_letters_final"), "0\tunknown_schema\n");
    assert_eq!(stage.database.query("SELECT offset, disposition FROM audit_log_final"), "0\tDEAD\n");
    let task = stage.catch_up(&["--registry", &url]);
    assert_eq!((line(&task, Topic::Task).accepted, line(&task, Topic::Task).dead), (1, 1));
}

/// Scenario: facts were stored and a crash came before the receipts of two, one of which went missing itself; lanes have
/// passed them. Then the operator forbids exactly these rows, and the range is replayed.
/// Guarantees: what stands as a fact stays one and gets its receipt; only the missing one becomes a dead letter.
#[test]
fn a_stored_row_that_the_store_refuses_later_stays_a_fact() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("replay-later");
    publish(&stage, "0", 0, 10, &[]);
    stage.catch_up(&[]);
    stage.database.query("DELETE FROM audit_log WHERE offset IN (4, 7)");
    stage.database.query("DELETE FROM task_events WHERE offset = 7");
    let forbid = "ALTER TABLE task_events ADD CONSTRAINT no_4 CHECK trace_id NOT IN ('trace-4', 'trace-7')";
    stage.database.query(forbid);
    let range = ["--partition", "0", "--from-offset", "0", "--to-offset", "10", "--execute"];
    let done = replay(&stage, &range, 0);
    assert_eq!(["holes", "filled"].map(|name| number(&done, 0, name)), [2, 2], "{done:#}");
    let letters = stage.database.query("SELECT offset, reason FROM dead_letters_final");
    assert_eq!(letters, "7\trejected_by_store\n");
    let receipts = "SELECT offset, disposition FROM audit_log_final WHERE offset IN (4, 7) ORDER BY offset";
    assert_eq!(stage.database.query(receipts), "4\tACCEPTED\n7\tDEAD\n");
    let balance = stage.catch_up(&[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.accepted, task.dead, task.both), (9, 1, 0), "{}", stage.reasons());
}
