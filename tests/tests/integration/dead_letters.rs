//! Dead letters come back once they are sound; a registry that is away is never the data's fault.

use std::time::Duration;
use tally_schemas::{Encoder, Topic, frame_confluent, latest};
use tally_tests::stage::{get, line, pages};
use tally_tests::{Kafka, Registry, Stage, Tally, eventually, examples, kcat, skip_without};

const SOON: Duration = Duration::from_secs(60);

fn skipped() -> bool {
    skip_without(Kafka::real()) || skip_without(Registry::installed())
}

/// One valid task event, framed with the id that a registry gave the contract.
fn framed(registry: &Registry, number: usize) -> Vec<u8> {
    let contract = latest(Topic::Task);
    let id = registry.register("task-events-value", &contract.json);
    let event = examples::many(Topic::Task, number + 1).pop().expect("as many as asked for");
    frame_confluent(id, &Encoder::new(contract).and_then(|e| e.encode(&event)).expect("a valid example"))
}

fn reasons(stage: &Stage<'_>) -> String {
    stage.database.query("SELECT reason, count() FROM dead_letters_final GROUP BY reason ORDER BY reason")
}

/// `tally dead replay` of this stage's task events, with the registry.
fn replay(stage: &Stage<'_>, registry: &Registry, more: &[&str]) -> Tally {
    let (topic, url) = (stage.topic(Topic::Task), registry.url());
    stage.tally(&["dead", "replay", "--topic", &topic, "--registry", &url], more)
}

/// Scenario: an event names a schema id that ingest does not know; later it does, and the letter is replayed, twice.
/// Guarantees: the dry run sends nothing; the event is accepted once; a second replay passes it over, and when it is
/// forced the event is a duplicate and no figure changes.
#[test]
fn a_letter_that_has_become_sound_is_accepted_once() {
    if skipped() {
        return;
    }
    let stage = Stage::shared("sound");
    let registry = Registry::start();
    let topic = stage.topic(Topic::Task);
    kcat::produce(Kafka::shared().bootstrap(), &topic, 1, Some("task-1"), &framed(&registry, 0));
    let balance = stage.catch_up(&[]);
    assert_eq!(line(&balance, Topic::Task).dead, 1);
    assert_eq!(reasons(&stage), "unknown_schema\t1\n");

    let mut dry = replay(&stage, &registry, &[]);
    dry.expect_success(SOON);
    assert_eq!(Kafka::shared().watermarks(&topic, 1), (0, 1), "{}", dry.stdout());
    replay(&stage, &registry, &["--execute"]).expect_success(SOON);
    let url = registry.url();
    let balance = stage.catch_up(&["--registry", &url]);
    assert_eq!((line(&balance, Topic::Task).accepted, line(&balance, Topic::Task).dead), (1, 1));

    replay(&stage, &registry, &["--execute"]).expect_success(SOON);
    assert_eq!(line(&stage.catch_up(&["--registry", &url]), Topic::Task).accepted, 1, "it was passed over");
    replay(&stage, &registry, &["--execute", "--again"]).expect_success(SOON);
    let balance = stage.catch_up(&["--registry", &url]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.accepted, task.duplicates), (2, 1));
    assert_eq!(stage.number("SELECT count() FROM task_events FINAL"), 1);
}

/// Scenario: a letter that is no event at all is replayed all the same.
/// Guarantees: it becomes a new dead letter that knows its attempt and its first coordinates.
#[test]
fn a_letter_that_stays_dead_keeps_its_lineage() {
    if skipped() {
        return;
    }
    let stage = Stage::shared("lineage");
    let registry = Registry::start();
    kcat::produce(Kafka::shared().bootstrap(), &stage.topic(Topic::Task), 2, Some("k"), b"no event");
    stage.catch_up(&[]);
    replay(&stage, &registry, &["--execute", "--all"]).expect_code(1, SOON);
    stage.catch_up(&[]);
    let lineage = "SELECT replay_attempt, origin_partition, origin_offset, origin_topic_id = topic_id \
        FROM dead_letters FINAL WHERE replay_attempt > 0";
    assert_eq!(stage.database.query(lineage), "1\t2\t0\t1\n");
}

/// Scenario: the registry is down when events come that need it, and comes back.
/// Guarantees: they wait, their lane says so, nothing of them is a dead letter; other topics go on; then all are taken.
#[test]
fn a_registry_that_is_away_is_waited_for() {
    if skipped() {
        return;
    }
    let stage = Stage::shared("registry-away");
    let mut registry = Registry::start();
    let (bootstrap, topic) = (Kafka::shared().bootstrap(), stage.topic(Topic::Task));
    let (value, url) = (framed(&registry, 0), registry.url());
    registry.stop(); // in good order: its store forgets the last id of a killed one
    let mut ingest = stage.ingest(&["--registry", &url, "--linger-ms", "50"]);
    let pages = pages(&mut ingest);
    kcat::produce(bootstrap, &topic, 0, Some("task-1"), &value);
    let lane = format!("{topic}/0");
    eventually(SOON, "a lane that waits", || get(&format!("{pages}/readyz")).1.contains(&lane).then_some(()));
    kcat::produce(bootstrap, &stage.topic(Topic::Moderation), 0, Some("case-1"), b"no event");
    stage.wait_for_receipts(1, SOON);
    assert_eq!(reasons(&stage), "framing\t1\n");
    registry.restart();
    stage.wait_for_receipts(2, SOON);
    assert_eq!(reasons(&stage), "framing\t1\n");
    ingest.sigterm();
    ingest.expect_success(SOON);
}
