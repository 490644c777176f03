//! One bad message costs one dead letter and none of its neighbours.

use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};
use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::line;
use tally_tests::{Kafka, Stage, eventually, examples, kcat, python, skip_without};

const SOON: Duration = Duration::from_secs(60);

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

/// Scenario: a record that is no event, with a key as long as its topic takes, between two others; its key alone is more than a record of the
/// dead-letter topic may have, since that bears what is known of its death, too.
/// Guarantees: the dead-letter topic has its coordinates and why it died, the table all of it; nobody waits for it.
#[test]
fn a_key_too_long_for_a_letter_stops_nobody() {
    if skip_without(Kafka::real()) {
        return;
    }
    const KEY_BYTES: usize = 1_048_400;
    let stage = Stage::shared("long-key");
    let topic = stage.topic(Topic::Task);
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stage.kafka.bootstrap()).set("message.max.bytes", "2000000");
    let producer: BaseProducer = config.create().expect("a producer");
    let mut moments = super::kill::Moments(7);
    let long: String = (0..KEY_BYTES).map(|_| char::from(b'0' + moments.below(64) as u8)).collect(); // else letters are compressed
    for key in ["first", &long, "last"] {
        let record = BaseRecord::to(&topic).partition(0).key(key).payload("no event");
        producer.send(record).map_err(|(error, _)| error).expect("it is queued");
    }
    producer.flush(SOON).expect("Kafka has them");
    assert_eq!(stage.published(Topic::Task), 3, "Kafka refused one");

    let balance = stage.catch_up(&[]);
    let task = line(&balance, Topic::Task);
    assert_eq!((task.published, task.dead), (3, 3), "{}", stage.reasons());
    let letters = kcat::consume(stage.kafka.bootstrap(), &format!("{topic}.dead"));
    let mut sizes: Vec<Option<usize>> =
        letters.iter().map(|letter| letter.value.as_ref().map(Vec::len)).collect();
    sizes.sort();
    assert_eq!(sizes, [None, Some(8), Some(8)], "one letter each, the long one's without a value");
    let kept = "SELECT max(length(key)), max(length(value)) FROM dead_letters_final";
    assert_eq!(stage.database.query(kept), format!("{KEY_BYTES}\t8\n"));
}

/// Scenario: the dead-letter topic is deleted beneath a running instance, on brokers that create none by themselves; then records come
/// that are no events.
/// Guarantees: it is created again and told of each.
#[test]
fn a_dead_letter_topic_that_is_gone_is_created_again() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("dead-gone");
    let (topic, bootstrap) = (stage.topic(Topic::Task), stage.kafka.bootstrap());
    let dead = format!("{topic}.dead");
    let impatient = ["--linger-ms", "20", "--kafka-property", "topic.metadata.propagation.max.ms=500"];
    let _instance = stage.ingest(&impatient);
    let publish = |text: &str| kcat::produce(bootstrap, &topic, 0, Some("k"), text.as_bytes());
    publish("one");
    stage.wait_for_receipts(1, SOON);
    stage.kafka.delete_topic(&dead);
    publish("two");
    stage.wait_for_receipts(2, SOON);
    eventually(SOON, "its letter", || {
        let letters = kcat::consume(bootstrap, &dead);
        letters.iter().any(|letter| letter.value.as_deref() == Some(b"two")).then_some(())
    });
}
