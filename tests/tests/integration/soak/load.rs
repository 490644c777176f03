//! Events at a rate that can be changed, by an idempotent producer that outlives the broker's faults; and what all of them were.

use super::Place;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DeliveryResult, Producer, ProducerContext, ThreadedProducer};
use rdkafka::{ClientConfig, ClientContext};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tally_pipeline::simulator::{Config, Expect, Simulator};
use tally_schemas::{Topic, sha256};

/// Events that are made once; each turn gives them other ids.
const EVENTS: usize = 20_000;
/// Time between two looks at the clock.
const STEP: Duration = Duration::from_millis(5);
/// Last digits of an id, which tell the turns apart.
const ID_DIGITS: usize = 12;

/// One event, and where in its bytes the last digits of its id stand.
struct Event {
    topic: String,
    key: String,
    value: Vec<u8>,
    digits: Option<(usize, u64)>,
    expect: Expect,
}

#[derive(Clone, Default)]
struct Acknowledged(Arc<AtomicU64>);

impl ClientContext for Acknowledged {}

impl ProducerContext for Acknowledged {
    type DeliveryOpaque = ();

    fn delivery(&self, result: &DeliveryResult<'_>, (): ()) {
        let refused = result.as_ref().err().map(|(error, _)| error);
        assert!(refused.is_none(), "a record was given up: {refused:?}");
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// What a set of records was: their number, how many of them become dead letters and how many facts of their own, and two sums over the
/// SHA-256 of their values, modulo 2^64, so that records by the ten millions need no memory. A record missing, doubled or altered
/// changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Account {
    pub(super) records: u64,
    pub(super) dead: u64,
    pub(super) facts: u64,
    pub(super) sums: [u64; 2],
}

impl Account {
    fn add(&mut self, event: &Event) {
        let digest = sha256(&event.value);
        let word = |at: usize| {
            u64::from_le_bytes(*digest[at..].first_chunk().expect("32 bytes")) // as ClickHouse reads them
        };
        self.records += 1;
        self.dead += u64::from(matches!(event.expect, Expect::Dead(_)));
        self.facts += u64::from(event.expect == Expect::Accept);
        self.sums = [self.sums[0].wrapping_add(word(0)), self.sums[1].wrapping_add(word(8))];
    }
}

/// A running producer.
pub(super) struct Load {
    /// Events a second, as bits.
    rate: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    acknowledged: Acknowledged,
    thread: JoinHandle<Account>,
}

impl Load {
    pub(super) fn start(place: &Place, rate: f64) -> Load {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", place.kafka.bootstrap()).set("compression.type", "lz4");
        config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "20");
        // the broker comes back; nothing may be given up or doubled meanwhile
        config.set("message.timeout.ms", "0").set("queue.buffering.max.messages", "200000");
        let acknowledged = Acknowledged::default();
        let producer = config.create_with_context(acknowledged.clone()).expect("a producer");
        let (rate, stop) = (Arc::new(AtomicU64::new(rate.to_bits())), Arc::new(AtomicBool::new(false)));
        let (events, asked, stopped) = (events(&place.prefix), Arc::clone(&rate), Arc::clone(&stop));
        let thread = std::thread::spawn(move || publish(&producer, events, &asked, &stopped));
        Load { rate, stop, acknowledged, thread }
    }

    /// From now on so many a second; infinity is as many as the producer takes.
    pub(super) fn keep(&self, rate: f64) {
        self.rate.store(rate.to_bits(), Ordering::Relaxed);
    }

    /// What Kafka has acknowledged so far; it goes on counting.
    pub(super) fn acknowledged(&self) -> Arc<AtomicU64> {
        Arc::clone(&self.acknowledged.0)
    }

    /// Stops; everything that was published, all of which is acknowledged.
    pub(super) fn end(self) -> Account {
        self.stop.store(true, Ordering::Relaxed);
        let published = self.thread.join().expect("every record is acknowledged");
        assert_eq!(self.acknowledged.0.load(Ordering::Relaxed), published.records);
        published
    }
}

fn events(prefix: &str) -> Vec<Event> {
    let mut platform = Simulator::new(Config::seeded(7));
    let one = |_| {
        let emission = platform.next();
        let id = emission.event_id.to_string();
        let at = emission.value.windows(id.len()).position(|window| window == id.as_bytes());
        let digits = u64::from_str_radix(&id[id.len() - ID_DIGITS..], 16).expect("digits");
        Event {
            topic: format!("{prefix}{}", Topic::name(emission.topic)),
            key: emission.key,
            digits: at.map(|at| (at + id.len() - ID_DIGITS, digits)),
            value: emission.value,
            expect: emission.expect,
        }
    };
    (0..EVENTS).map(one).collect()
}

fn publish(
    producer: &ThreadedProducer<Acknowledged>,
    mut events: Vec<Event>,
    rate: &AtomicU64,
    stop: &AtomicBool,
) -> Account {
    let mut account = Account::default();
    let (mut number, mut owed, mut before) = (0_u64, 0.0, Instant::now());
    while !stop.load(Ordering::Relaxed) {
        let rate = f64::from_bits(rate.load(Ordering::Relaxed));
        let most = rate.min(1e6) * STEP.as_secs_f64() * 20.0; // what the broker's absence kept back is not made up for at once
        owed = (owed + rate.min(1e6) * before.elapsed().as_secs_f64()).min(most);
        before = Instant::now();
        while owed >= 1.0 {
            let place = usize::try_from(number % EVENTS as u64).expect("a place");
            let event = &mut events[place];
            if !send(producer, event, number / EVENTS as u64) {
                break;
            }
            account.add(event);
            number += 1;
            owed -= 1.0;
        }
        std::thread::sleep(STEP);
    }
    producer.flush(Duration::from_secs(120)).expect("every record is acknowledged");
    account
}

/// False where the producer's queue is full.
fn send(producer: &ThreadedProducer<Acknowledged>, event: &mut Event, turn: u64) -> bool {
    if let Some((at, digits)) = event.digits {
        let text = format!("{:012x}", (digits ^ turn.wrapping_mul(0x9E37_79B9)) & 0xffff_ffff_ffff);
        event.value[at..at + ID_DIGITS].copy_from_slice(text.as_bytes());
    }
    match producer.send(BaseRecord::to(&event.topic).key(&event.key).payload(&event.value)) {
        Ok(()) => true,
        Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => false,
        Err((error, _)) => panic!("the producer refused: {error}"),
    }
}
