use super::prepare::{Frame, Lines, Preparer};
use super::{Pace, PublishArgs, Summary, publish};
use clap::Parser;
use rdkafka::config::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use rdkafka::{Message, Offset, TopicPartitionList};
use serde_json::{Value as Json, json};
use std::io::Cursor;
use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;
use tally_schemas::{Topic, explain, latest};
use tokio_util::sync::CancellationToken;

fn event(task: &str, version: i64) -> Json {
    json!({
        "event_id": format!("019cadde-226c-77ad-9cb8-{version:012x}"),
        "occurred_at": "2025-03-03T09:25:42.124217Z",
        "source": "scheduler",
        "policy_tag": "LIKENESS",
        "actor_id": "service-scheduler",
        "actor_role": "SERVICE",
        "task_id": task,
        "kind": "STARTED",
        "queue": "NORMAL",
        "state_version": version,
    })
}

fn cluster() -> MockCluster<'static, DefaultProducerContext> {
    let cluster = MockCluster::new(1).expect("a broker in this process");
    cluster.create_topic("test.task-events", 3, 1).expect("a topic");
    cluster
}

#[derive(clap::Parser)]
struct Command {
    #[command(flatten)]
    args: PublishArgs,
}

fn run(brokers: &str, file: &Path) -> (Summary, u8) {
    run_until(brokers, file, &CancellationToken::new(), &[])
}

fn run_until(brokers: &str, file: &Path, stop: &CancellationToken, more: &[&str]) -> (Summary, u8) {
    let file = file.to_str().expect("a path in UTF-8");
    let properties = "message.timeout.ms=5000";
    let flags =
        ["--brokers", brokers, "--topic-prefix", "test.", "--kafka-property", properties, "--file", file];
    let command = ["publish", "--topic", "task-events"].into_iter().chain(flags).chain(more.iter().copied());
    let args = Command::parse_from(command).args;
    let preparer =
        Preparer::new(latest(Topic::Task), Frame::SingleObject, 1 << 20, args.record_time).expect("a plan");
    publish(&args, &preparer, stop).expect("it can begin")
}

/// Every message of the topic: key and value.
fn read(brokers: &str) -> Vec<(Vec<u8>, Vec<u8>)> {
    consume(brokers).into_iter().map(|(key, value, _)| (key, value)).collect()
}

/// Every message of the topic: key, value, and timestamp in milliseconds.
fn consume(brokers: &str) -> Vec<(Vec<u8>, Vec<u8>, i64)> {
    let config = [("bootstrap.servers", brokers), ("group.id", "test"), ("enable.partition.eof", "true")];
    let consumer: BaseConsumer =
        ClientConfig::from_iter(config.map(|(key, value)| (key.to_owned(), value.to_owned())))
            .create()
            .expect("a consumer");
    let mut partitions = TopicPartitionList::new();
    for partition in 0..3 {
        partitions.add_partition_offset("test.task-events", partition, Offset::Beginning).expect("an offset");
    }
    consumer.assign(&partitions).expect("assigned");
    let (mut messages, mut ends) = (Vec::new(), 0);
    while ends < 3 {
        match consumer.poll(Duration::from_secs(10)).expect("an answer") {
            Ok(message) => {
                let owned = |bytes: Option<&[u8]>| bytes.expect("not null").to_vec();
                let time = message.timestamp().to_millis().expect("a time");
                messages.push((owned(message.key()), owned(message.payload()), time));
            }
            Err(rdkafka::error::KafkaError::PartitionEOF(_)) => ends += 1,
            Err(e) => panic!("{e}"),
        }
    }
    messages
}

/// Scenario: a file of good events, with blank lines between.
/// Guarantees: each is in Kafka once, keyed by its task, framed by fingerprint, with the content of its line.
#[test]
fn a_good_file_is_published() {
    let cluster = cluster();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let lines: Vec<String> =
        (1..=500).map(|n| format!("{}\n\n", event(&format!("task-{}", n % 7), n))).collect();
    std::fs::write(file.path(), lines.concat()).expect("written");
    let (summary, code) = run(&cluster.bootstrap_servers(), file.path());
    assert_eq!((code, summary.valid, summary.acknowledged, summary.first_line_not_sent), (0, 500, 500, None));
    let mut versions: Vec<i64> = Vec::new();
    for (key, value) in read(&cluster.bootstrap_servers()) {
        let body = value.strip_prefix(&[0xC3, 0x01]).expect("single-object").get(8..).expect("a fingerprint");
        let fields: serde_json::Map<String, Json> =
            explain(&latest(Topic::Task).schema, body).fields.into_iter().collect();
        assert_eq!(fields["task_id"].as_str().map(str::as_bytes), Some(&key[..]));
        versions.push(fields["state_version"].as_i64().expect("a number"));
    }
    versions.sort_unstable();
    assert_eq!(versions, (1..=500).collect::<Vec<_>>());
}

/// Scenario: a file with wrong lines after good ones.
/// Guarantees: every wrong line is named with its field, exit 1, and nothing at all is sent.
#[test]
fn a_wrong_line_holds_back_the_file() {
    let cluster = cluster();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut wrong = event("task-1", 2);
    wrong["queue"] = json!("SLOW");
    std::fs::write(file.path(), format!("{}\n{wrong}\n{{\n{}", event("task-1", 1), event("", 4)))
        .expect("written");
    let (summary, code) = run(&cluster.bootstrap_servers(), file.path());
    assert_eq!((code, summary.acknowledged, summary.refused_count), (1, 0, 3));
    let lines: Vec<String> = summary.refused.iter().map(ToString::to_string).collect();
    assert!(
        lines[0].starts_with("line 2: queue: unknown symbol; expected one of NORMAL, ACCELERATED"),
        "{lines:?}"
    );
    assert!(lines[1].starts_with("line 3: not one JSON value"), "{lines:?}");
    assert!(lines[2].starts_with("line 4: task_id: "), "{lines:?}");
    assert_eq!(read(&cluster.bootstrap_servers()), []);
}

/// Scenario: the broker does not take an event.
/// Guarantees: exit 3, with the first line from which to go on.
#[test]
fn what_kafka_does_not_take_is_named() {
    use rdkafka::types::{RDKafkaApiKey, RDKafkaRespErr};
    let cluster = cluster();
    let refusals = [RDKafkaRespErr::RD_KAFKA_RESP_ERR_MSG_SIZE_TOO_LARGE; 50];
    cluster.request_errors(RDKafkaApiKey::Produce, &refusals);
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), format!("\n{}\n", event("task-1", 1))).expect("written");
    let (summary, code) = run(&cluster.bootstrap_servers(), file.path());
    assert_eq!(
        (code, summary.acknowledged, summary.first_line_not_sent),
        (3, 0, Some(2)),
        "{:?}",
        summary.stopped
    );
}

/// Scenario: a line of many megabytes among others.
/// Guarantees: it is refused by number, no more than the bound is held, and the next line is read whole.
#[test]
fn long_lines_are_refused_and_skipped() {
    let text = [&b"one\n"[..], &vec![b'x'; 9 << 20], b"\nthree"].concat();
    let mut lines = Lines::new(Box::new(Cursor::new(text)));
    let mut seen = Vec::new();
    while let Some((number, line)) = lines.next().expect("readable") {
        seen.push((number, line.map(<[u8]>::to_vec).map_err(|refused| refused.line)));
    }
    assert_eq!(seen, [(1, Ok(b"one\n".to_vec())), (2, Err(2)), (3, Ok(b"three".to_vec()))]);
}

/// Scenario: ten events at a hundred a second.
/// Guarantees: the n-th is due n hundredths after the first; without a rate nothing waits.
#[test]
fn events_are_spread_by_the_rate() {
    let mut pace = Pace::new(NonZeroU32::new(100));
    let waits: Vec<Duration> = (0..10).map(|_| pace.until_next()).collect();
    assert_eq!(waits[0], Duration::ZERO);
    assert!(waits[9] > Duration::from_millis(50) && waits[9] <= Duration::from_millis(90), "{waits:?}");
    assert_eq!(Pace::new(None).until_next(), Duration::ZERO);
}

/// Scenario: an event that encodes and breaks a rule of its contract.
/// Guarantees: it is refused here, with its field, as the route would refuse it.
#[test]
fn rules_are_held_before_publishing() {
    let cluster = cluster();
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut failed = event("task-1", 1);
    failed["kind"] = json!("FAILED");
    std::fs::write(file.path(), failed.to_string()).expect("written");
    let (summary, code) = run(&cluster.bootstrap_servers(), file.path());
    assert_eq!((code, summary.acknowledged), (1, 0));
    assert_eq!(summary.refused[0].field, "error_code");
}

/// Scenario: a signal came already.
/// Guarantees: exit 3, nothing is sent, and it is said.
#[test]
fn a_signal_stops_it() {
    let cluster = cluster();
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), event("task-1", 1).to_string()).expect("written");
    let stop = CancellationToken::new();
    stop.cancel();
    let (summary, code) = run_until(&cluster.bootstrap_servers(), file.path(), &stop, &[]);
    assert_eq!((code, summary.acknowledged, summary.stopped.as_deref()), (3, 0, Some("stopped by a signal")));
}

/// Scenario: a history is loaded, its times written in each way there is; one event is an hour ahead of the clock.
/// Guarantees: records bear the time of their events, the one ahead the time of sending; without the option all bear
/// the time of sending.
#[test]
fn a_history_keeps_its_time() {
    let began = super::prepare::now_ms();
    let ahead = (began + 3_600_000) * 1_000;
    let times =
        [json!("2025-03-03T09:25:42.124217Z"), json!(1_740_993_943_999_999_i64), json!("1740993944000001")];
    let file = tempfile::NamedTempFile::new().expect("a file");
    let mut text = String::new();
    for (n, time) in (1..).zip(times.into_iter().chain([json!(ahead)])) {
        let mut one = event(&format!("task-{n}"), n);
        one["occurred_at"] = time;
        text += &format!("{one}\n");
    }
    std::fs::write(file.path(), text).expect("written");
    let times = |more: &[&str]| {
        let cluster = cluster();
        let brokers = cluster.bootstrap_servers();
        let (summary, code) = run_until(&brokers, file.path(), &CancellationToken::new(), more);
        assert_eq!((code, summary.acknowledged), (0, 4), "{:?}", summary.refused);
        let mut messages = consume(&brokers);
        messages.sort();
        messages.into_iter().map(|(_, _, time)| time).collect::<Vec<i64>>()
    };
    let kept = times(&["--record-time", "occurred-at"]);
    assert_eq!(kept[..3], [1_740_993_942_124, 1_740_993_943_999, 1_740_993_944_000]);
    let sending = began..=super::prepare::now_ms() + 1_000;
    assert!(sending.contains(&kept[3]), "{kept:?}");
    assert!(times(&[]).iter().all(|time| *time >= began));
}
