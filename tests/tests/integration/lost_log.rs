//! A Kafka, or a ClickHouse, that loses records which Tally has taken.

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use std::time::Duration;

use tally_schemas::Topic;
use tally_tests::account::{compare, read};
use tally_tests::stage::{PARTITIONS, get, pages};
use tally_tests::{ClickHouse, Kafka, Stage, TempFolder, eventually, skip_without};

const SOON: Duration = Duration::from_secs(90);

fn publish(stage: &Stage<'_>, events: u64, seed: &str, more: &[&str]) {
    let what = ["--events", &events.to_string(), "--seed", seed];
    stage.simulate(&[&what, more].concat()).expect_success(SOON);
}

fn receipts(stage: &Stage<'_>, topic_id: &str, from: i64) -> i64 {
    stage.number(&format!(
        "SELECT uniqExact(offset) FROM audit_log WHERE topic_id = '{topic_id}' AND partition = 0 AND offset >= {from}"
    ))
}

/// Offsets from which on a lane that starts has a backlog, and more.
const BACKLOG: usize = 9_000;

/// Scenario: of a partition in which nothing more is published, or much while it waits, the digest of the last receipt was altered: its
/// log is not the one that was taken. Instances start there. Then the digest is what it was.
/// Guarantees: the partition waits for an operator, and says so at each moment, however often it is tried again; it goes on by itself once the
/// log is what was taken, though nothing comes.
#[test]
fn a_partition_whose_last_record_differs_waits_all_the_while() {
    if skip_without(Kafka::real()) {
        return;
    }
    whose_last_record_differs("lost-idle", 0);
    whose_last_record_differs("lost-busy", BACKLOG);
}

fn whose_last_record_differs(name: &str, backlog: usize) {
    let stage = Stage::shared(name);
    publish(&stage, 300, "1", &[]);
    stage.catch_up(&[]);
    let (id, (_, high)) = (stage.topic_id(Topic::Task), stage.kafka.watermarks(&stage.topic(Topic::Task), 0));
    let alter = || {
        stage.database.query(&format!(
            "ALTER TABLE audit_log UPDATE raw_sha256 = reverse(raw_sha256) WHERE topic_id = '{id}' AND partition = 0
             AND offset = {} SETTINGS mutations_sync = 2",
            high - 1
        ))
    };
    alter();
    let mut instance = stage.ingest(&[]);
    let pages = pages(&mut instance);
    let lane = format!("{}/0", stage.topic(Topic::Task));
    let said = "the lane waits for an operator";
    eventually(SOON, "a lane that waits", || instance.stderr().contains(said).then_some(()));
    eventually(SOON, "readiness that tells", || (get(&format!("{pages}/readyz")).0 == 503).then_some(()));
    let came = produce(&stage, backlog);
    let tried = instance.stderr().matches(said).count();
    eventually(SOON, "two more tries", || {
        for _ in 0..4 {
            let (status, body) = get(&format!("{pages}/readyz"));
            assert!(status == 503 && body.contains(&lane), "{status} {body}");
            std::thread::sleep(Duration::from_millis(5));
        }
        (instance.stderr().matches(said).count() > tried + 1).then_some(())
    });
    alter();
    eventually(SOON, "readiness", || (get(&format!("{pages}/readyz")).0 == 200).then_some(()));
    eventually(SOON, "what came meanwhile", || (receipts(&stage, &id, high) == came as i64).then_some(()));
}

/// Publishes so many records that are no events into the first partition of the tasks' topic, and returns how many.
fn produce(stage: &Stage<'_>, records: usize) -> usize {
    let topic = stage.topic(Topic::Task);
    let mut config = ClientConfig::new();
    let producer: BaseProducer =
        config.set("bootstrap.servers", stage.kafka.bootstrap()).create().expect("a producer");
    for _ in 0..records {
        producer
            .send(BaseRecord::<(), _>::to(&topic).partition(0).payload(b"no event"))
            .map_err(|(error, _)| error)
            .expect("room in its queue");
    }
    producer.flush(SOON).expect("acknowledgements");
    records
}

/// ClickHouse loses what it has of a partition from one offset on: receipts, and facts and dead letters.
fn lose(stage: &Stage<'_>, topic_id: &str, partition: i32, (receipts, rows): (i64, i64)) {
    for (table, from) in [("audit_log", receipts), ("task_events", rows), ("dead_letters", rows)] {
        stage.database.query(&format!(
            "ALTER TABLE {table} DELETE WHERE topic_id = '{topic_id}' AND partition = {partition} AND offset >= {from}
             SETTINGS mutations_sync = 2"
        ));
    }
}

/// Scenario: a broker is killed, and its disk has lost the last records of a partition that were taken; then others are published and
/// stand at the same offsets and beyond; then the topic is created anew. One instance goes on through it all.
/// Guarantees: the partition waits, and says first that its log is too short and then which offset holds another record; a one-off
/// run does not call it caught up, neither while the log is short nor after; no record is passed over as if it had been taken; all other partitions go on; and so does this one
/// under the topic's new identity.
#[test]
fn what_stands_in_the_place_of_lost_records_is_not_passed_over() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let kafka = Kafka::start();
    let stage = Stage::on(&kafka, ClickHouse::shared(), "lost-log");
    let tasks = stage.topic(Topic::Task);
    let first_life = stage.topic_id(Topic::Task);
    let instance = stage.ingest(&["--linger-ms", "50"]);
    publish(&stage, 600, "1", &[]);
    stage.wait_for_receipts(600, SOON);
    let (_, end) = kafka.watermarks(&tasks, 0);

    kafka.kill();
    let left = kafka.lose_from(&tasks, 0, end - 1);
    kafka.restart();
    assert!(left < end && kafka.watermarks(&tasks, 0).1 == left, "it lost nothing");
    let short = format!("its log ends at {left} and was taken up to {end}");
    eventually(SOON, "who says that the log is short", || instance.stderr().contains(&short).then_some(()));

    let group = ["--group", stage.prefix(), "--listen", "127.0.0.1:0", "--until-caught-up"];
    let said = stage.tally(&["ingest"], &group).expect_code(3, SOON).stderr;
    assert!(said.contains(&short), "{said}");

    publish(&stage, 2_400, "2", &[]);
    let (_, high) = kafka.watermarks(&tasks, 0);
    assert!(high > end, "others are to stand in the place of what was lost, and beyond");
    let other = format!("offset {} holds another record than the ledger says", end - 1);
    eventually(SOON, "who says what differs", || instance.stderr().contains(&other).then_some(()));
    let said = stage.tally(&["ingest"], &group).expect_code(3, SOON).stderr;
    assert!(said.contains(&other), "{said}");
    let published =
        Topic::ALL.iter().flat_map(|topic| (0..PARTITIONS).map(|number| (stage.topic(*topic), number)));
    let elsewhere: i64 = published
        .filter(|(topic, number)| (topic.as_str(), *number) != (tasks.as_str(), 0))
        .map(|(topic, number)| kafka.watermarks(&topic, number).1)
        .sum();
    let taken = u64::try_from(elsewhere + end).expect("a count");
    stage.wait_for_receipts(taken, SOON);
    assert_eq!(receipts(&stage, &first_life, end), 0, "taken, as if nothing were missing before it");

    kafka.delete_topic(&tasks);
    kafka.create_topic(&tasks, PARTITIONS, &[]);
    publish(&stage, 600, "3", &[]);
    let second_life = stage.topic_id(Topic::Task);
    let (_, high) = kafka.watermarks(&tasks, 0);
    eventually(SOON, "what stands in the topic created anew", || {
        (receipts(&stage, &second_life, 0) == high).then_some(())
    });
}

/// Scenario: a broker is killed, and its disk has lost the last letters of a dead-letter topic; then more records come that are refused.
/// Guarantees: the producer of letters, which Kafka refuses from then on for good, is replaced: each of those has its letter.
#[test]
fn letters_go_on_after_their_topic_lost_its_end() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let kafka = Kafka::start();
    let stage = Stage::on(&kafka, ClickHouse::shared(), "lost-letters");
    let topic = stage.topic(Topic::Task);
    let (dead, invalid) = (format!("{topic}.dead"), ["--invalid-permille", "500"]);
    let instance = stage.ingest(&["--linger-ms", "50"]);
    publish(&stage, 300, "1", &invalid);
    stage.wait_for_receipts(300, SOON);
    let (_, end) = kafka.watermarks(&dead, 0);
    kafka.kill();
    let left = kafka.lose_from(&dead, 0, end - 1);
    kafka.restart();
    assert!(left < end, "it lost nothing");
    publish(&stage, 300, "2", &invalid);
    stage.wait_for_receipts(600, SOON);
    let letters = stage.number(&format!("SELECT count() FROM dead_letters_final WHERE topic = '{topic}'"));
    let told = kafka.watermarks(&dead, 0).1 - left; // some perhaps twice
    assert!(told >= letters - end && letters > end, "{told} of {}\n{}", letters - end, instance.log_tail());
    let replaced = "the producer of dead letters has failed for good";
    assert!(instance.stderr().contains(replaced), "{}", instance.log_tail());
}

/// Scenario: everything is taken and committed; then ClickHouse loses, as where yesterday's backup is brought back, the last receipts of
/// one partition with half of their facts and dead letters, all that it had of another (whose rows come again in the very block that it
/// remembers), and the receipts alone of a third; a one-off run follows.
/// Guarantees: it says that the ledger lacks offsets which were committed, and reads them again: each offset has one disposition, and each
/// event one fact, as before.
#[test]
fn what_a_store_has_lost_is_read_again() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let kafka = Kafka::start();
    let stage = Stage::on(&kafka, ClickHouse::shared(), "lost-ledger");
    let folder = TempFolder::new("lost-ledger");
    let record = folder.path().join("record");
    let file = record.to_str().expect("paths are text");
    let what = ["--events", "1200", "--seed", "1", "--invalid-permille", "100", "--record", file];
    stage.simulate(&what).expect_success(SOON);
    stage.catch_up(&[]);
    let id = stage.topic_id(Topic::Task);
    let (_, high) = kafka.watermarks(&stage.topic(Topic::Task), 0);
    for (partition, receipts, rows) in [(0, high / 2, high * 3 / 4), (1, 0, 0), (2, 0, i64::MAX)] {
        lose(&stage, &id, partition, (receipts, rows));
    }
    assert_eq!(receipts(&stage, &id, high / 2), 0, "it lost nothing");

    let group = ["--group", stage.prefix(), "--listen", "127.0.0.1:0", "--until-caught-up"];
    let said = stage.tally(&["ingest"], &group).expect_success(SOON).stderr;
    assert_eq!(said.matches("the ledger lacks offsets that were committed").count(), 3, "{said}");
    compare(&stage, &read(&record));
}

/// Scenario: an instance has taken everything and waits, longer than a lane trusts its memory; meanwhile ClickHouse loses the last receipts
/// of a partition, with half of their facts, and all that it had of another. Then more is published.
/// Guarantees: it says that the ledger lacks what it wrote, and reads it again before it goes on: each offset has one disposition, each
/// event one fact.
#[test]
fn what_a_store_has_lost_beneath_a_running_instance_is_read_again() {
    if skip_without(Kafka::installed()) {
        return;
    }
    let kafka = Kafka::start();
    let stage = Stage::on(&kafka, ClickHouse::shared(), "lost-beneath");
    let folder = TempFolder::new("lost-beneath");
    let mut instance = stage.ingest(&[]);
    let mut published = Vec::new();
    for seed in ["1", "2"] {
        let record = folder.path().join(seed);
        let file = record.to_str().expect("paths are text");
        let what = ["--events", "1200", "--seed", seed, "--invalid-permille", "100", "--record", file];
        stage.simulate(&what).expect_success(SOON);
        published.extend(read(&record));
        let all = Topic::ALL.into_iter().map(|contract| stage.published(contract)).sum();
        stage.wait_for_receipts(all, SOON);
        if seed == "2" {
            break;
        }
        // what a lane knows of the ledger, it may have written or read
        instance.sigterm();
        instance.expect_success(SOON);
        instance = stage.ingest(&[]);
        eventually(SOON, "twelve lanes", || {
            (instance.stderr().matches("lane starts").count() >= 12).then_some(())
        });
        std::thread::sleep(Duration::from_secs(11));
        let id = stage.topic_id(Topic::Task);
        let (_, high) = kafka.watermarks(&stage.topic(Topic::Task), 0);
        for (partition, receipts, rows) in [(0, high / 2, high * 3 / 4), (1, 0, 0)] {
            lose(&stage, &id, partition, (receipts, rows));
        }
        assert_eq!(receipts(&stage, &id, high / 2), 0, "it lost nothing");
    }
    instance.sigterm();
    let said = instance.expect_success(SOON).stderr;
    assert_eq!(said.matches("the ledger lacks receipts that this lane wrote").count(), 2, "{said}");
    compare(&stage, &published);
}
