//! Offsets that hold no record: aborted, control, expired. They are told apart from loss.

use std::time::Duration;
use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::line;
use tally_tests::{Kafka, Stage, eventually, examples, kcat, python, skip_without};

/// Until the broker has compacted a log, on a machine that builds at the same time.
const COMPACTED: Duration = Duration::from_secs(180);

/// `number` task events, from `first` on, into partition 0.
fn publish(stage: &Stage<'_>, first: usize, number: usize, more: &[&str]) {
    let topic = stage.topic(Topic::Task);
    let schema = examples::schema(Topic::Task, 2);
    let more = [&["--partition", "0"], more].concat();
    let bootstrap = stage.kafka.bootstrap();
    let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more: &more };
    python::produce(what, &examples::many(Topic::Task, first + number)[first..]);
}

/// Scenario: five events are committed, three aborted, four committed, two aborted; the log ends with an abort marker.
/// Guarantees: catching up ends; nine facts; the aborted events and the markers are ABSENT gaps, nothing is missing.
#[test]
fn aborted_transactions_become_gaps() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("aborted");
    publish(&stage, 0, 5, &["--transaction", "commit"]);
    publish(&stage, 5, 3, &["--transaction", "abort"]);
    publish(&stage, 8, 4, &["--transaction", "commit"]);
    publish(&stage, 12, 2, &["--transaction", "abort"]);
    // 0-4, marker 5, 6-8 aborted, marker 9, 10-13, marker 14, 15-16 aborted, marker 17.
    assert_eq!(stage.kafka.watermarks(&stage.topic(Topic::Task), 0), (0, 18));

    let balance = stage.catch_up(&[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.published, task.accepted, task.dead, task.missing), (18, 9, 0, 0));
    let absent = "SELECT arraySort(groupUniqArrayArray(range(toUInt64(first), toUInt64(next)))) FROM gaps_final WHERE kind = 'ABSENT'";
    assert_eq!(stage.database.query(absent), "[5,6,7,8,9,14,15,16,17]\n");
    assert_eq!(stage.number("SELECT count() FROM gaps_final WHERE kind = 'EXPIRED'"), 0);
    let aborted = format!(
        "SELECT count() FROM task_events WHERE event_id IN ('{}', '{}')",
        examples::id(5),
        examples::id(12)
    );
    assert_eq!(stage.number(&aborted), 0);
    // Once more, with nothing to do.
    let again = stage.catch_up(&[]);
    assert_eq!(again, balance);
}

/// Scenario: ten events are taken; twenty more come while nobody reads, and retention deletes fifteen of them; then
/// the rest, and then a stretch that is deleted to the very end of the log.
/// Guarantees: what expired unread is an EXPIRED gap of exactly those offsets, what is left is taken, and catching up
/// ends although no record follows.
#[test]
fn what_retention_took_unread_is_told() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("expired");
    let topic = stage.topic(Topic::Task);
    publish(&stage, 0, 10, &[]);
    stage.catch_up(&[]);
    publish(&stage, 10, 20, &[]);
    stage.kafka.delete_records_before(&topic, 0, 25);
    stage.catch_up(&[]);
    let expired = "SELECT first, next FROM gaps_final WHERE kind = 'EXPIRED' ORDER BY first";
    assert_eq!(stage.database.query(expired), "10\t25\n");
    assert_eq!(stage.number("SELECT count() FROM task_events FINAL"), 15);

    publish(&stage, 30, 5, &[]);
    stage.kafka.delete_records_before(&topic, 0, 35);
    stage.catch_up(&[]);
    assert_eq!(stage.database.query(expired), "10\t25\n30\t35\n");
    assert_eq!(stage.number("SELECT count() FROM task_events FINAL"), 15);
}

/// Scenario: a topic is compacted. Of records with one key some are taken before compaction removes them, others are removed unread;
/// then another group reads the whole log once more.
/// Guarantees: what was removed unread is ABSENT, of exactly those offsets; what had been taken stays a receipt and is no gap, whoever
/// reads later; nothing is missing, nothing is both, and the audit of offsets agrees.
#[test]
fn what_compaction_removed_is_no_loss() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("compacted");
    let topic = stage.topic(Topic::Task);
    stage.kafka.delete_topic(&topic);
    let policy = [
        ("cleanup.policy", "compact"),
        ("segment.ms", "100"),
        ("min.cleanable.dirty.ratio", "0.01"),
        ("max.compaction.lag.ms", "100"),
    ];
    stage.kafka.create_topic(&topic, tally_tests::stage::PARTITIONS, &policy);
    let one_key = ["--key", "source"]; // all have the same
    publish(&stage, 0, 10, &one_key);
    stage.catch_up(&[]);
    publish(&stage, 10, 10, &one_key);
    let left = || -> Vec<i64> {
        kcat::consume(stage.kafka.bootstrap(), &topic).iter().map(|record| record.offset).collect()
    };
    let mut number = 20;
    let last = eventually(COMPACTED, "a log that was compacted", || {
        publish(&stage, number, 1, &one_key); // the newest segment is left alone: another one has to begin
        number += 1;
        let left = left();
        (!left.is_empty() && left.iter().all(|offset| *offset >= 19)).then_some(number - 1)
    });
    let balance = stage.catch_up(&[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.published, task.missing), (number as u64, 0), "{balance:?}");
    let numbers =
        |sql: &str| -> Vec<usize> { serde_json::from_str(&stage.database.query(sql)).expect("offsets") };
    let account = || {
        let absent = "SELECT arraySort(groupArrayArray(range(toUInt64(first), toUInt64(next)))) FROM gaps_final WHERE kind = 'ABSENT'";
        let receipts =
            "SELECT arraySort(groupArray(toUInt32(offset))) FROM audit_log_final WHERE partition = 0";
        (
            numbers(absent),
            numbers(receipts),
            stage.number("SELECT count() FROM gaps_final WHERE kind != 'ABSENT'"),
        )
    };
    let before = account();
    let (removed, taken, others) = &before;
    assert!((10..19).all(|offset| removed.contains(&offset)), "{removed:?}");
    assert!((0..10).all(|offset| taken.contains(&offset)), "{taken:?}");
    let mut all = [&removed[..], taken].concat();
    all.sort_unstable();
    assert!(all.iter().copied().eq(0..=last), "each offset is one of both: {removed:?}, {taken:?}");
    assert_eq!(*others, 0, "nothing expired");

    stage.catch_up_as(&format!("{}other", stage.prefix()), &[]);
    assert_eq!(account(), before);
    stage.tally_at_clickhouse(&["audit", "offsets", "--no-record"]).expect_success(COMPACTED);
}

/// Scenario: everything is taken; then the receipts of three offsets and one gap are deleted from the midst of the ledger.
/// Guarantees: the balance does not hold: it counts exactly those offsets as missing, and the exit code is 1.
#[test]
fn a_hole_in_the_ledger_is_seen() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("hole");
    publish(&stage, 0, 10, &["--transaction", "commit"]);
    publish(&stage, 10, 5, &[]); // what the ledger lacks at its end would be read again
    stage.catch_up(&[]);
    stage.database.query("DELETE FROM audit_log WHERE offset IN (0, 4, 5)");
    stage.database.query("TRUNCATE TABLE gaps"); // the commit marker at 10
    let again = ["--group", stage.prefix(), "--listen", "127.0.0.1:0", "--until-caught-up", "--json"];
    let ended = stage.tally(&["ingest"], &again).expect_code(1, std::time::Duration::from_secs(60));
    let balance: serde_json::Value = serde_json::from_str(&ended.stdout).expect("a balance");
    let topics = balance["topics"].as_array().expect("topics");
    let task = topics.iter().find(|line| line["topic"] == stage.topic(Topic::Task).as_str()).expect("a line");
    assert_eq!((&balance["verdict"], &task["missing"]), (&"FAIL".into(), &4.into()), "{balance:#}");
}

/// Scenario: records are gone before anybody ever read the topic, and the log holds nothing else; then some come and are
/// taken, and a group that never committed anything starts on the same tables.
/// Guarantees: that is no loss of ours: no gap, nothing missing, and catching up ends.
#[test]
fn what_was_gone_before_us_is_no_loss() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("before");
    publish(&stage, 0, 10, &[]);
    stage.kafka.delete_records_before(&stage.topic(Topic::Task), 0, 10);
    let balance = stage.catch_up(&[]);
    assert_eq!(line(&balance, Topic::Task).published, 0);
    assert_eq!(stage.number("SELECT count() FROM gaps_final"), 0);
    publish(&stage, 10, 5, &[]);
    stage.catch_up(&[]);
    stage.catch_up_as(&format!("{}other", stage.prefix()), &[]);
    assert_eq!(stage.number("SELECT count() FROM gaps_final"), 0);
    assert_eq!(stage.receipts(), 5);
}
