//! A topic deleted and created again: the same name, the same offsets, another topic.

use std::time::Duration;

use tally_schemas::Topic;
use tally_tests::python::Produce;
use tally_tests::stage::{PARTITIONS, line};
use tally_tests::{Kafka, Stage, eventually, examples, python, skip_without};

const TAKEN: Duration = Duration::from_secs(90);

/// `number` task events from `first` on, over all partitions alike.
fn publish(stage: &Stage<'_>, first: usize, number: usize) {
    let topic = stage.topic(Topic::Task);
    let schema = examples::schema(Topic::Task, 2);
    let bootstrap = stage.kafka.bootstrap();
    for partition in 0..PARTITIONS {
        let partition = partition.to_string();
        let more = &["--partition", partition.as_str()][..];
        let what = Produce { bootstrap, topic: &topic, schema: &schema, framing: "single-object", more };
        let each = number / PARTITIONS as usize;
        let from = first + each * partition.parse::<usize>().expect("a number");
        python::produce(what, &examples::many(Topic::Task, from + each)[from..]);
    }
}

fn recreate(stage: &Stage<'_>) -> String {
    let topic = stage.topic(Topic::Task);
    stage.kafka.delete_topic(&topic);
    stage.kafka.create_topic(&topic, PARTITIONS, &[]);
    stage.topic_id(Topic::Task)
}

/// Each generation's receipts are complete, from offset 0 on, and every event of either has its fact.
fn assert_both(stage: &Stage<'_>, generations: [(&str, usize); 2]) {
    for (topic_id, events) in generations {
        for partition in 0..PARTITIONS {
            let sql = format!(
                "SELECT count(), uniqExact(offset), min(offset), max(offset) FROM audit_log FINAL \
                 WHERE topic_id = '{topic_id}' AND partition = {partition} AND disposition = 'ACCEPTED'"
            );
            let each = events / PARTITIONS as usize;
            let whole = format!("{each}\t{each}\t0\t{}\n", each - 1);
            assert_eq!(stage.database.query(&sql), whole, "{topic_id}/{partition}");
        }
        let facts = format!("SELECT count() FROM task_events FINAL WHERE topic_id = '{topic_id}'");
        assert_eq!(stage.number(&facts), i64::try_from(events).expect("a small number"), "{topic_id}");
    }
    assert_eq!(stage.number("SELECT uniqExact(topic_id) FROM audit_log"), 2);
}

/// Scenario: a topic is read, deleted and created again while nobody runs, and gets fewer events than it had.
/// Guarantees: offsets committed for the old one say nothing of the new one: all of it is taken, from 0 on, under
/// another identity; the old one's rows and receipts stand.
#[test]
fn a_topic_recreated_while_nobody_runs() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("recreated");
    publish(&stage, 0, 300);
    let old = stage.topic_id(Topic::Task);
    stage.catch_up(&[]);
    let new = recreate(&stage);
    publish(&stage, 1000, 150);
    let balance = stage.catch_up(&[]);
    assert_eq!(line(&balance, Topic::Task).accepted, 150);
    assert_both(&stage, [(&old, 300), (&new, 150)]);
}

/// Scenario: the same, while `tally ingest` runs, is not told, and has more offsets behind it than the new topic has.
/// Guarantees: it finds the new topic by itself and takes all of it; nothing is stored under the wrong identity; the
/// heads of the old topic are ended, those of the new one say what was taken.
#[test]
fn a_topic_recreated_under_a_running_ingest() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("recreated-live");
    let quick = ["--linger-ms", "50", "--kafka-property", "topic.metadata.refresh.interval.ms=1000"];
    let mut ingest = stage.ingest(&quick);
    publish(&stage, 0, 300);
    let old = stage.topic_id(Topic::Task);
    stage.wait_for_receipts(300, TAKEN);
    let heads = "SELECT sum(taken) FROM partition_heads_final";
    eventually(TAKEN, "heads that say so", || {
        (stage.database.try_query(heads).ok()? == "300\n").then_some(())
    });
    let new = recreate(&stage);
    publish(&stage, 1000, 150);
    stage.wait_for_receipts(450, TAKEN);
    publish(&stage, 2000, 300);
    stage.wait_for_receipts(750, TAKEN);
    assert!(ingest.is_running(), "it outlives the change\n{}", ingest.log_tail());
    ingest.sigterm();
    ingest.expect_success(Duration::from_secs(40));
    let balance = stage.catch_up(&[]);
    assert_eq!(line(&balance, Topic::Task).accepted, 450);
    assert_both(&stage, [(&old, 300), (&new, 450)]);
    let heads = format!(
        "SELECT topic_id = '{new}', ended, sum(taken), count() FROM partition_heads_final \
         WHERE topic = '{}' GROUP BY ALL ORDER BY 1",
        stage.topic(Topic::Task)
    );
    assert_eq!(stage.database.query(&heads), "0\ttrue\t300\t3\n1\tfalse\t450\t3\n");
}
