//! One bad message costs one dead letter and none of its neighbours.

use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::line;
use tally_tests::{Kafka, Stage, examples, kcat, python, skip_without};

const NEIGHBOURS: usize = 10_000;

/// Scenario: 5,000 valid events, one of them again but cut off in the middle, and 5,000 more, in one partition
/// and so in one block.
/// Guarantees: 10,000 facts, one dead letter at the place of the cut one, with its bytes and its reason.
#[test]
fn a_truncated_message_costs_one_dead_letter() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("truncated");
    let (topic, bootstrap) = (stage.topic(Topic::Task), stage.kafka.bootstrap());
    let schema = examples::schema(Topic::Task, 2);
    let events = examples::many(Topic::Task, NEIGHBOURS);
    let more = &["--key", "task_id", "--partition", "1"][..];
    let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more };
    let (before, after) = events.split_at(NEIGHBOURS / 2);
    python::produce(what, before);
    let whole = kcat::consume(bootstrap, &topic).pop().and_then(|record| record.value).expect("a last event");
    let cut = &whole[..whole.len() / 2];
    kcat::produce(bootstrap, &topic, 1, Some("task-of-the-cut-one"), cut);
    python::produce(what, after);

    let balance = stage.catch_up(&[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.published, task.accepted, task.dead), (10_001, 10_000, 1), "{}", stage.reasons());
    assert_eq!(stage.number("SELECT count() FROM task_events FINAL"), 10_000);
    assert_eq!(stage.number("SELECT uniqExact(event_id) FROM task_events"), 10_000);
    let letter = "SELECT partition, offset, reason, hex(value), key FROM dead_letters_final";
    let hex: String = cut.iter().map(|byte| format!("{byte:02X}")).collect();
    assert_eq!(stage.database.query(letter), format!("1\t5000\tbody\t{hex}\ttask-of-the-cut-one\n"));
}
