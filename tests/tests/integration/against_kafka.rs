//! `tally verify --against-kafka`: what was altered before it was sealed, and only Kafka can tell.

use std::time::Duration;

use serde_json::Value;
use tally_schemas::Topic;
use tally_tests::{Kafka, Tally, skip_without};

use super::seals::Sealed;

impl Sealed {
    /// Verifies against Kafka; the report.
    fn against_kafka(&self, code: i32, more: &[&str]) -> Value {
        let kafka = [&["--against-kafka", "--json"][..], &self.stage.at_kafka(), more].concat();
        let said = self.verify("log", code, &kafka);
        serde_json::from_str(&said).unwrap_or_else(|error| panic!("{error} in {said}"))
    }

    /// Table, place and words of each finding.
    fn findings(report: &Value) -> Vec<String> {
        let text = |finding: &Value, name: &str| finding[name].as_str().unwrap_or_default().to_owned();
        let all = report["findings"].as_array().expect("findings").iter();
        all.map(|one| format!("{} {} {}", text(one, "table"), text(one, "at"), text(one, "what"))).collect()
    }

    /// The place of the nth receipt of that disposition, and the condition that finds its row.
    fn place(&self, disposition: &str, nth: u32) -> (String, String) {
        let sql = format!(
            "SELECT topic, topic_id, partition, offset FROM audit_log_final WHERE disposition = '{disposition}'
             ORDER BY endsWith(topic, 'task-events') DESC, topic, partition, offset LIMIT 1 OFFSET {nth}"
        );
        let answer = self.stage.database.query(&sql);
        let parts: Vec<&str> = answer.trim().split('\t').collect();
        let [topic, id, partition, offset] = parts[..] else { panic!("no {disposition} receipt {nth}") };
        let row = format!("topic_id = '{id}' AND partition = {partition} AND offset = {offset}");
        (format!("{topic}/{partition}/{offset}"), row)
    }
}

/// Scenario: before anything is sealed, the raw digest of a receipt is altered; of a dead letter, receipt and letter alike.
/// Guarantees: the seal verifies without Kafka; against Kafka each row is named, the exit code is 1, and the healthy ones count.
#[test]
fn what_was_altered_before_the_seal_only_kafka_sees() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("witness", "1500");
    sealed.seal("log");
    let sound = sealed.against_kafka(0, &[]);
    let records = sealed.stage.number("SELECT count() FROM audit_log_final");
    assert_eq!((&sound["kafka"]["records"], &sound["kafka"]["expired"]), (&records.into(), &0.into()));

    // a store of its own past: the tables are altered, and sealed only then
    let (receipt, receipt_row) = sealed.place("ACCEPTED", 7);
    let (letter, letter_row) = sealed.place("DEAD", 0);
    let other = "raw_sha256 = reverse(raw_sha256)";
    sealed.change(&format!("ALTER TABLE audit_log UPDATE {other} WHERE {receipt_row}"));
    for table in ["audit_log", "dead_letters"] {
        sealed.change(&format!("ALTER TABLE {table} UPDATE {other} WHERE {letter_row}"));
    }
    sealed.change("TRUNCATE TABLE seals");
    std::fs::remove_dir_all(sealed.path("log")).expect("the log");
    sealed.seal("log");
    sealed.verify("log", 0, &[]); // rows and tree agree: nobody could know

    let report = sealed.against_kafka(1, &[]);
    let mut expected = vec![
        format!("audit_log {receipt} raw_sha256 is not that of the bytes in Kafka"),
        format!("audit_log {letter} raw_sha256 is not that of the bytes in Kafka"),
        format!("dead_letters {letter} raw_sha256 is not that of the bytes in Kafka"),
    ];
    let mut found = Sealed::findings(&report);
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
    assert_eq!(report["kafka"]["records"], records - 2, "two receipts differ");
    // a sample that looks at every tile finds the same
    let sampled = sealed.against_kafka(1, &["--sample", "1000", "--seed", "1"]);
    let mut found = Sealed::findings(&sampled);
    found.sort();
    assert_eq!(found, expected);
    let since = sealed.against_kafka(1, &["--since", "2020-01-01T00:00:00Z"]);
    assert_eq!(since["findings"].as_array().map(Vec::len), Some(3));
}

/// Scenario: before the seal, receipts and facts of a record are deleted and a gap says that nothing was there; a receipt and a fact
/// are put where the partition has ended.
/// Guarantees: the record without a receipt and the receipt without a record are named; exit code 1.
#[test]
fn rows_that_were_left_out_or_invented_before_the_seal_are_named() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("witness-rows", "1000");
    let (lost, lost_row) = sealed.place("ACCEPTED", 11);
    let contents = format!(
        "(source, event_id, digest) IN (SELECT source, event_id, digest FROM audit_log WHERE {lost_row})"
    );
    sealed.change(&format!("DELETE FROM task_events WHERE {contents}"));
    // its repeats go with it: every receipt of that content is a gap now
    let ids = format!(
        "SELECT topic, topic_id, partition, offset, offset + 1, 'ABSENT' FROM audit_log WHERE {contents} AND endsWith(topic, 'task-events')"
    );
    sealed.stage.database.query(&format!("INSERT INTO gaps {ids}"));
    sealed.change(&format!("DELETE FROM audit_log WHERE {contents}"));
    let (copied, row) = sealed.place("ACCEPTED", 3);
    let (lane, _) = copied.rsplit_once('/').expect("a place");
    let partition = lane.rsplit_once('/').expect("a partition").1;
    let id = sealed.stage.topic_id(Topic::Task);
    let end = sealed.stage.number(&format!(
        "SELECT max(offset) + 1 FROM audit_log WHERE topic_id = '{id}' AND partition = {partition}"
    ));
    for table in ["audit_log", "task_events"] {
        let invented = format!(
            "SELECT * REPLACE (toInt64({end}) AS offset, toUUID('00000000-0000-4000-8000-00000000abcd') AS event_id) FROM (SELECT * FROM {table} WHERE {row})"
        );
        sealed.stage.database.query(&format!("INSERT INTO {table} {invented}"));
    }
    sealed.seal("log");
    let report = sealed.against_kafka(1, &[]);
    let found = Sealed::findings(&report);
    let expected = [
        format!("audit_log {lost} Kafka has a record there, and there is no receipt"),
        format!("audit_log {lane}/{end} Kafka retains this offset and has no such record"),
    ];
    for one in expected {
        assert!(found.contains(&one), "{one} is not in {found:#?}");
    }
}

/// Scenario: retention takes the beginning of a partition; then Kafka is asked that never had these topics; then nobody answers.
/// Guarantees: what has expired is counted and no error; a Kafka that has nothing of it is 2, one that does not answer 3: never 0.
#[test]
fn what_kafka_no_longer_has_is_counted() {
    if skip_without(Kafka::real()) {
        return;
    }
    let sealed = Sealed::new("witness-expired", "1000");
    sealed.seal("log");
    let (topic, id) = (sealed.stage.topic(Topic::Task), sealed.stage.topic_id(Topic::Task));
    let low = 20;
    let gone = format!("topic_id = '{id}' AND partition = 1 AND offset < {low}");
    let gone = sealed.stage.number(&format!("SELECT count() FROM audit_log_final WHERE {gone}"));
    assert!(gone > 10, "{gone} receipts below {low}");
    sealed.stage.kafka.delete_records_before(&topic, 1, low);
    let records = sealed.stage.number("SELECT count() FROM audit_log_final");
    let report = sealed.against_kafka(0, &[]);
    assert_eq!(
        (&report["kafka"]["records"], &report["kafka"]["expired"]),
        (&(records - gone).into(), &gone.into())
    );

    let elsewhere = Kafka::in_process();
    let at = ["--against-kafka", "--json", "--brokers", elsewhere.bootstrap()];
    let said = sealed.verify("log", 2, &at);
    assert!(said.contains("nothing was held against their bytes"), "{said}");
    let said = sealed.verify("log", 3, &["--against-kafka", "--brokers", "127.0.0.1:1"]);
    assert!(said.contains("COULD NOT CHECK"), "{said}");
    drop(elsewhere);
    let nobody = ["verify", "--seals", "x", "--keys", "x", "--against-kafka", "--kafka-property", "nonsense"];
    Tally::spawn(&nobody, &[]).expect_code(3, Duration::from_secs(30));
}
