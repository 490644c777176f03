//! From when an event is due to a row that ClickHouse shows, and to a frame of the feed that an admin's WebSocket has, at steady rates.
//! A producer that comes late makes its events wait: that counts, too. Not a test: `make bench` prints it.

use super::backlog::{in_confluent, register};
use super::{gauge, report};
use rdkafka::ClientConfig;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::Message;
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use serde_json::{Value, json};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_dashboards::identity::Role;
use tally_pipeline::simulator::{Config, Expect, Simulator};
use tally_schemas::Topic;
use tally_tests::feed::{Desk, Event, Frames as _, Heard, Ws};
use tally_tests::{ClickHouse, Kafka, Raised, Registry, Stage, TempFolder, skip_without};
use uuid::Uuid;

/// Events a second, all topics together.
const RATES: [u32; 3] = [1_000, 10_000, 50_000];
/// How long each rate is kept.
const SECONDS: u32 = 20;
/// What the consumer's start and the first blocks take is not measured.
const WARM_SECONDS: u32 = 5;
/// Steps of a second in which events are due.
const STEPS_A_SECOND: u32 = 1_000;
/// What must be published of the rate that was asked for: else the figures are those of another rate, and are said to be.
const PUBLISHED_SHARE_MIN: f64 = 0.98;
/// Between two looks at the store: the grain of the figures.
const LOOK: Duration = Duration::from_millis(20);
/// For the last records to be acknowledged, and the last rows and frames to be seen.
const DRAIN: Duration = Duration::from_secs(60);
/// After so long without a frame it is looked whether more are to come.
const SILENCE: Duration = Duration::from_secs(1);

/// When each record was due, by topic, partition and offset.
#[derive(Clone, Default)]
struct Sent(Arc<Mutex<ByPartition>>);

/// By topic and partition: when the record of each offset was due.
type ByPartition = HashMap<(String, i32), Vec<Instant>>;

impl ClientContext for Sent {}

impl ProducerContext for Sent {
    type DeliveryOpaque = Box<Instant>;

    fn delivery(&self, result: &DeliveryResult<'_>, due: Box<Instant>) {
        let message = result.as_ref().expect("an acknowledgement");
        let mut sent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let partition = sent.entry((message.topic().to_owned(), message.partition())).or_default();
        assert_eq!(partition.len() as i64, message.offset(), "acknowledged in order, without a hole");
        partition.push(*due);
    }
}

/// What was published so far.
#[derive(Default)]
struct Published {
    records: Sent,
    /// When each valid event was due, by its id: at first, where it was repeated.
    valid: Mutex<HashMap<Uuid, Instant>>,
    /// Whether that is all.
    is_all: AtomicBool,
}

/// When the first frame of each event came, by its id.
type Came = HashMap<Uuid, Instant>;

/// What a run found.
struct Found {
    /// Events a second that were published.
    rate: f64,
    /// The wait of every event that was due after the warm-up and came.
    waits: Vec<Duration>,
    /// Events that had not come within [`DRAIN`] of the last acknowledgement.
    missing: u64,
}

/// Publishes at each rate, first while `tally ingest` runs with its defaults, then while `tally serve` does: beside each other they, their
/// listener and all servers would wait for two cores.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_latency() {
    if skip_without(Kafka::installed()) || skip_without(Registry::installed()) {
        return;
    }
    let (kafka, registry, data) = (Kafka::start(), Registry::start(), TempFolder::new("bench-clickhouse"));
    let ids = register(&registry);
    println!("from when an event is due, ms; load {}", gauge::load());
    println!(
        "  {:>9}{:>11} {:<22}{:>8}{:>8}{:>8}{:>8}{:>9}{:>9}",
        "events/s", "published", "to", "p50", "p99", "p99.9", "most", "events", "missing"
    );
    let mut documents = Vec::new();
    // kept line by line: what the first rates showed outlives a later one that the machine does not keep
    let mut keep = |one: Value| {
        documents.push(one);
        report::keep("latency.json", &format!("{:#}\n", json!(documents)))
    };
    for rate in RATES {
        let run = Run { kafka: &kafka, registry: &registry, ids: &ids, rate };
        keep(told(rate, "a row in ClickHouse", run.to_a_row(&data)));
        let kept = keep(told(rate, "a frame of the feed", run.to_a_frame(&data)));
        println!("figures are in {}", kept.display());
    }
}

/// Events at one rate.
struct Run<'a> {
    kafka: &'a Kafka,
    registry: &'a Registry,
    ids: &'a HashMap<u64, u32>,
    rate: u32,
}

impl Run<'_> {
    /// Looks at the ledger, which comes after the facts.
    fn to_a_row(&self, data: &TempFolder) -> Found {
        let clickhouse = ClickHouse::start(data.path());
        let stage = Stage::on(self.kafka, &clickhouse, "latency");
        let _ingest = stage.ingest(&["--registry", &self.registry.url()]);
        let events = self.events();
        let (published, rate, seen) =
            self.publish_beside(&stage, |published| look(&stage, events.into(), &published.is_all));
        let (waits, came) = waits(&published.records, &seen);
        Found { rate, waits, missing: u64::from(events) - came }
    }

    /// Listens to the feed as an admin, who hears everything.
    fn to_a_frame(&self, data: &TempFolder) -> Found {
        let clickhouse = ClickHouse::start(data.path());
        let stage = Stage::on(self.kafka, &clickhouse, "latency");
        stage.tally_at_clickhouse(&["migrate"]).expect_success(DRAIN);
        let desk = Desk::default();
        let service = desk.serve(&stage, &["--registry", &self.registry.url()]);
        let mut feed = service.ws(&desk.pass(Role::Admin, "bench"), "now");
        feed.frame("hello");
        let (published, rate, came) = self.publish_beside(&stage, |published| listen(&mut feed, published));
        pushed(rate, &published, &came)
    }

    /// Events of the run.
    fn events(&self) -> u32 {
        self.rate * (SECONDS + WARM_SECONDS)
    }

    /// What was published, how many events a second, and what somebody saw of them meanwhile.
    fn publish_beside<T: Send>(
        &self,
        stage: &Stage<'_>,
        see: impl FnOnce(&Published) -> T + Send,
    ) -> (Published, f64, T) {
        let published = Published::default();
        let (rate, seen) = std::thread::scope(|scope| {
            let seeing = scope.spawn(|| see(&published));
            let all = Raised(&published.is_all); // else who sees would wait for one that failed
            let rate = self.publish(stage, &published);
            drop(all);
            (rate, seeing.join())
        });
        (published, rate, seen.expect("everything was seen"))
    }

    /// Keeps the rate for as long as it is to be kept, in steps of a millisecond: all events of a step are due at its beginning. Whoever
    /// comes late goes on at once. Returns the events a second up to the last acknowledgement.
    fn publish(&self, stage: &Stage<'_>, published: &Published) -> f64 {
        let mut config = ClientConfig::new();
        config
            .set("bootstrap.servers", stage.kafka.bootstrap())
            .set("compression.type", "lz4")
            .set("acks", "all");
        config.set("linger.ms", "5").set("enable.idempotence", "true");
        let context = published.records.clone();
        let producer: ThreadedProducer<Sent> = config.create_with_context(context).expect("a producer");
        let mut platform = Simulator::new(Config::seeded(u64::from(self.rate)));
        let step = (self.rate / STEPS_A_SECOND).max(1);
        let began = Instant::now();
        for number in 0..self.events() {
            let first_of_step = f64::from(number - number % step);
            let due = began + Duration::from_secs_f64(first_of_step / f64::from(self.rate));
            if number % step == 0 {
                std::thread::sleep(due.saturating_duration_since(Instant::now()));
            }
            let emission = platform.next();
            let value = in_confluent(emission.value, self.ids);
            let topic = stage.topic(emission.topic);
            if !matches!(emission.expect, Expect::Dead(_)) {
                let mut valid = published.valid.lock().unwrap_or_else(PoisonError::into_inner);
                valid.entry(emission.event_id).or_insert(due);
            }
            let record = BaseRecord::with_opaque_to(&topic, Box::new(due));
            let mut record = record.key(&emission.key).payload(&value);
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "the producer refused");
                record = again;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        producer.flush(DRAIN).expect("every record is acknowledged");
        f64::from(self.events()) / began.elapsed().as_secs_f64()
    }
}

/// Prints one line, and gives the same for machines.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn told(rate: u32, to: &str, found: Found) -> Value {
    let Found { rate: published, mut waits, missing } = found;
    assert!(!waits.is_empty(), "nothing came to {to}");
    waits.sort_unstable();
    let at =
        |permille: usize| waits[(waits.len() * permille / 1000).min(waits.len() - 1)].as_secs_f64() * 1e3;
    let (p50, p99, p999, most, events) = (at(500), at(990), at(999), at(1000), waits.len());
    let is_published = published >= f64::from(rate) * PUBLISHED_SHARE_MIN;
    let said = match (is_published, missing) {
        (true, 0) => "",
        (true, _) => "  not there a minute after the last",
        (false, _) => "  this machine does not publish that rate",
    };
    println!(
        "  {rate:>9}{published:>11.0} {to:<22}{p50:>8.0}{p99:>8.0}{p999:>8.0}{most:>8.0}{events:>9}{missing:>9}{said}"
    );
    json!({
        "events_per_second": rate, "published_per_second": published, "to": to,
        "p50_ms": p50, "p99_ms": p99, "p999_ms": p999, "most_ms": most, "events": events, "missing": missing,
    })
}

/// What the feed pushes, and when each event came first, until all valid ones have come or their time is over.
fn listen(feed: &mut Ws, published: &Published) -> Came {
    let (mut came, mut over) = (Came::new(), None);
    loop {
        match feed.hear(SILENCE) {
            Heard::Frame(frame) if frame["op"] == "event" => {
                let now = Instant::now();
                came.entry(Event::of(&frame).id.parse().expect("an event's id")).or_insert(now);
            }
            Heard::Frame(_) => {} // of the connection itself
            Heard::Silence => {}
            ended => panic!("the feed let its reader go: {ended:?}"),
        }
        // signs of life come for ever
        if published.is_all.load(Ordering::Relaxed) {
            let since = *over.get_or_insert_with(Instant::now);
            let valid = published.valid.lock().unwrap_or_else(PoisonError::into_inner).len();
            if came.len() >= valid || since.elapsed() > DRAIN {
                return came;
            }
        }
    }
}

/// The wait of every valid event that was due after the warm-up; of one that was pushed again, its first frame's, as a client takes it.
fn pushed(rate: f64, published: &Published, came: &Came) -> Found {
    let valid = published.valid.lock().unwrap_or_else(PoisonError::into_inner);
    let missing = valid.keys().filter(|id| !came.contains_key(*id)).count() as u64;
    let first = valid.values().min().copied().expect("an event");
    let warm = first + Duration::from_secs(WARM_SECONDS.into());
    let counted = valid.iter().filter(|(_, due)| **due >= warm);
    let waits = counted.filter_map(|(id, due)| Some(came.get(id)?.saturating_duration_since(*due))).collect();
    Found { rate, waits, missing }
}

/// Per topic and partition: up to which offset the ledger was seen, and when.
type Seen = HashMap<(String, i32), Vec<(i64, Instant)>>;

/// Looks at the ledger again and again, until everything is there or its time is over. Blocks come in order, so of a partition everything
/// up to its last offset is there.
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
            if since.elapsed() > DRAIN {
                break;
            }
        }
        std::thread::sleep(LOOK);
    }
    seen
}

/// The wait of every record that was due after the warm-up, and how many came, warm-up and all.
fn waits(sent: &Sent, seen: &Seen) -> (Vec<Duration>, u64) {
    let sent = sent.0.lock().unwrap_or_else(PoisonError::into_inner);
    let first = sent.values().filter_map(|of| of.first()).min().copied().expect("a record");
    let warm = first + Duration::from_secs(WARM_SECONDS.into());
    let (mut waits, mut came) = (Vec::new(), 0);
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
        came += next as u64;
    }
    (waits, came)
}
