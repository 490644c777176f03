//! From the producer's call to a row that ClickHouse shows, at steady rates. Not a test: `make bench` prints it.

use super::backlog::{in_confluent, register};
use super::gauge;
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_pipeline::simulator::{Config, Simulator};
use tally_schemas::Topic;
use tally_tests::{ClickHouse, Kafka, Registry, Stage, TempFolder, skip_without};

/// Events a second, all topics together.
const RATES: [u32; 3] = [1_000, 10_000, 50_000];
/// How long each rate is kept.
const SECONDS: u32 = 20;
/// What the consumer's start and the first blocks take is not measured.
const WARM_SECONDS: u32 = 5;
/// Between two looks at the store: the grain of the figures.
const LOOK: Duration = Duration::from_millis(20);
/// For the last rows to be seen.
const DRAIN: Duration = Duration::from_secs(60);

/// When each record was handed to the producer, by topic, partition and offset.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<ByPartition>>);

/// By topic and partition: when the record of each offset was handed to the producer.
type ByPartition = HashMap<(String, i32), Vec<Instant>>;

impl ClientContext for Sent {}

impl ProducerContext for Sent {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, at: Box<Instant>) {
        let message = result.as_ref().expect("an acknowledgement");
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = sent.entry((message.topic().to_owned(), message.partition())).or_default();
        assert_eq!(partition.len() as i64, message.offset(), "acknowledged in order, without a hole");
        partition.push(*at);
    }
}

/// Publishes at each rate while `tally ingest` runs with its defaults, and looks at the ledger, which comes after the facts.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_latency() {
    if skip_without(Kafka::installed()) || skip_without(Registry::installed()) {
        return;
    }
    let (kafka, registry, data) = (Kafka::start(), Registry::start(), TempFolder::new("bench-clickhouse"));
    let ids = register(&registry);
    println!("published to visible in ClickHouse, ms; load {}", gauge::load());
    println!("  {:>9}{:>10}{:>10}{:>10}{:>10}{:>9}", "events/s", "p50", "p99", "p99.9", "most", "events");
    for rate in RATES {
        let clickhouse = ClickHouse::start(data.path());
        let stage = Stage::on(&kafka, &clickhouse, "latency");
        let ingest = stage.ingest(&["--registry", &registry.url()]);
        let sent = Sent::default();
        let (done, expected) = (AtomicBool::new(false), u64::from(rate * (SECONDS + WARM_SECONDS)));
        let seen = std::thread::scope(|scope| {
            let looking = scope.spawn(|| look(&stage, expected, &done));
            publish(&stage, &ids, rate, &sent);
            done.store(true, Ordering::Relaxed);
            looking.join().expect("everything was seen")
        });
        let mut waits = waits(&sent, &seen);
        waits.sort_unstable();
        let at = |permille: usize| waits[(waits.len() * permille / 1000).min(waits.len() - 1)].as_millis();
        println!(
            "  {rate:>9}{:>10}{:>10}{:>10}{:>10}{:>9}",
            at(500),
            at(990),
            at(999),
            at(1000),
            waits.len()
        );
        drop(ingest);
    }
}

/// Keeps the rate for as long as it is to be kept, in steps of a millisecond.
fn publish(stage: &Stage<'_>, ids: &HashMap<u64, u32>, rate: u32, sent: &Sent) {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", stage.kafka.bootstrap())
        .set("compression.type", "lz4")
        .set("acks", "all");
    config.set("linger.ms", "5").set("enable.idempotence", "true");
    let producer: ThreadedProducer<Sent> = config.create_with_context(sent.clone()).expect("a producer");
    let mut platform = Simulator::new(Config::seeded(u64::from(rate)));
    let began = Instant::now();
    for number in 0..rate * (SECONDS + WARM_SECONDS) {
        let due = began + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        if number % (rate / 1000).max(1) == 0 {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        let emission = platform.next();
        let value = in_confluent(emission.value, ids);
        let topic = stage.topic(emission.topic);
        let record = BaseRecord::with_opaque_to(&topic, Box::new(Instant::now()));
        let refused = producer.send(record.key(&emission.key).payload(&value)).err();
        assert!(
            refused.is_none(),
            "the producer's queue is full: this machine does not keep {rate} events/s"
        );
    }
    producer.flush(DRAIN).expect("every record is acknowledged");
}

/// Per topic and partition: up to which offset the ledger was seen, and when.
type Seen = HashMap<(String, i32), Vec<(i64, Instant)>>;

/// Looks at the ledger again and again. Blocks come in order, so of a partition everything up to its last offset is there.
fn look(stage: &Stage<'_>, expected: u64, published: &AtomicBool) -> Seen {
    #[derive(serde::Deserialize)]
    struct Last {
        topic: String,
        partition: i32,
        last: i64,
    }
    let topics = Topic::ALL.map(|topic| (stage.topic(topic), stage.topic_id(topic)));
    let mut seen = Seen::new();
    let mut over = None;
    while seen.values().map(|of| of.last().map_or(0, |(last, _)| last + 1)).sum::<i64>().unsigned_abs()
        < expected
    {
        let known: Vec<String> = topics
            .iter()
            .flat_map(|topic| (0..tally_tests::stage::PARTITIONS).map(move |partition| (topic, partition)))
            .map(|((topic, id), partition)| {
                let key = (topic.clone(), partition);
                let last = seen.get(&key).and_then(|of| of.last()).map_or(-1, |(last, _)| *last);
                // by the key of the table, so that looking costs what is new and not what is there
                format!("(topic_id = '{id}' AND partition = {partition} AND offset > {last})")
            })
            .collect();
        let sql = format!(
            "SELECT topic, partition, max(offset) AS last FROM audit_log WHERE {} GROUP BY topic, partition FORMAT JSONEachRow",
            known.join(" OR ")
        );
        let now = Instant::now(); // before the question: what it shows was there at the latest when it was answered
        let answer = stage.database.try_query(&sql).unwrap_or_default();
        let took = now.elapsed();
        for line in answer.lines() {
            let Last { topic, partition, last } = serde_json::from_str(line).expect("a row");
            seen.entry((topic, partition)).or_default().push((last, now + took));
        }
        if published.load(Ordering::Relaxed) {
            let since = *over.get_or_insert_with(Instant::now);
            assert!(since.elapsed() < DRAIN, "not everything was seen");
        }
        std::thread::sleep(LOOK);
    }
    seen
}

/// The wait of every record that was published after the warm-up.
fn waits(sent: &Sent, seen: &Seen) -> Vec<Duration> {
    let sent = sent.0.lock().unwrap_or_else(PoisonError::into_inner);
    let first = sent.values().filter_map(|of| of.first()).min().copied().expect("a record");
    let warm = first + Duration::from_secs(WARM_SECONDS.into());
    let mut waits = Vec::new();
    for (partition, seen) in seen {
        let mut next = 0;
        for (last, at) in seen {
            let reached = usize::try_from(last + 1).expect("an offset");
            let published = sent[partition].get(next..reached).unwrap_or_default();
            waits.extend(
                published.iter().filter(|one| **one >= warm).map(|one| at.saturating_duration_since(*one)),
            );
            next = reached;
        }
    }
    waits
}
