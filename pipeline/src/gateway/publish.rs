//! The outbox to Kafka: in its order, each event until Kafka has it for good, however long that takes.
//!
//! Each contract has a producer of its own, so that a topic which Kafka refuses holds up no other. It is idempotent, never gives an
//! event up, and keeps the order of each partition. After a crash, or after an error that it cannot go on from, all that is not
//! acknowledged is sent once more, from the oldest on: an event may then stand twice in Kafka, byte for byte the same, and counts
//! once.

use super::metrics::Metrics;
use super::store::{Store, StoreError};
use crate::config::{Kafka, set_defaults};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;
use tokio_util::sync::CancellationToken;

/// Events that are handed to the producer and not acknowledged.
const IN_FLIGHT_MAX: i32 = 10_000;
/// Events that are read from the store at once.
const TAKE_MAX: usize = 1_000;
/// Events, and news of them, are gathered for so long: each round asks the store twice, whose commits calls wait for, and costs Kafka
/// a request for each partition.
const NEWS: Duration = Duration::from_millis(100);
/// The same while more wait than are read at once: after an absence of Kafka they are to be there soon.
const NEWS_OF_MANY: Duration = Duration::from_millis(20);
/// After an error that the producer cannot go on from.
const PAUSE: Duration = Duration::from_secs(1);
/// What holds unless it is configured otherwise. The order and the promise not to give up hold whatever is configured.
const DEFAULTS: [(&str, &str); 4] = [
    ("client.id", "tally-gateway"),
    ("compression.type", "lz4"),
    ("linger.ms", "5"),
    ("queue.buffering.max.kbytes", "65536"),
];
const FIXED: [(&str, &str); 4] = [
    ("enable.idempotence", "true"),
    ("enable.gapless.guarantee", "true"),
    ("acks", "all"),
    ("message.timeout.ms", "0"), // for ever
];

/// An event that Kafka has for good.
#[derive(Clone, Debug, PartialEq)]
pub struct Acknowledged {
    /// Its contract.
    pub contract: Topic,
    /// Where it stands.
    pub partition: i32,
    /// At which offset; after a crash the same event may stand at another one, too.
    pub offset: i64,
    /// Its bytes.
    pub value: Vec<u8>,
}

/// What the producer has told and nobody has read.
struct News {
    told: Mutex<Told>,
    contract: Topic,
    watched: Option<UnboundedSender<Acknowledged>>,
}

#[derive(Default)]
struct Told {
    acknowledged: Vec<i64>,
    failed: Option<RDKafkaErrorCode>,
}

impl News {
    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ClientContext for News {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "events wait for Kafka");
    }
}

impl ProducerContext for News {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, seq: usize) {
        if let (Ok(message), Some(watched)) = (result, &self.watched) {
            let (contract, partition, offset) = (self.contract, message.partition(), message.offset());
            let value = message.payload().unwrap_or_default().to_vec();
            let _ = watched.send(Acknowledged { contract, partition, offset, value }); // whoever watched may have gone
        }
        let mut told = self.told();
        match result {
            Ok(_) => told.acknowledged.push(i64::try_from(seq).unwrap_or(i64::MAX)),
            Err((error, _)) => {
                told.failed = Some(error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail));
            }
        }
    }
}

/// Hears what became of events, after a while: the producer's own wait would spin through its last millisecond.
fn gather(producer: &BaseProducer<News>, lasts: Duration) {
    std::thread::sleep(lasts);
    loop {
        let before = producer.in_flight_count();
        producer.poll(Duration::ZERO);
        if producer.in_flight_count() >= before {
            return;
        }
    }
}

/// Publishes what waits.
pub(super) struct Publisher {
    store: Store,
    kafka: Kafka,
    metrics: Metrics,
    config: ClientConfig,
    contract: Topic,
    watched: Option<UnboundedSender<Acknowledged>>,
}

impl Publisher {
    /// For a Kafka that need not be there yet. Whoever watches is told of each event that Kafka has.
    pub(super) fn new(
        store: Store,
        kafka: Kafka,
        metrics: Metrics,
        contract: Topic,
        watched: Option<UnboundedSender<Acknowledged>>,
    ) -> Result<Publisher, String> {
        let mut config = kafka.client()?;
        set_defaults(&mut config, &DEFAULTS);
        for (key, value) in FIXED {
            config.set(key, value);
        }
        Ok(Publisher { store, kafka, metrics, config, contract, watched })
    }

    /// Publishes until `stop`, then for as long as `drain` what still waits. Blocks its thread.
    pub(super) fn run(&self, runtime: &Handle, stop: &CancellationToken, drain: Duration) {
        let mut until = None;
        while until.is_none_or(|until| Instant::now() < until) {
            let ended = self.with_one_producer(runtime, stop, drain, &mut until);
            match ended {
                Ok(()) => return,
                Err(error) => {
                    let contract = self.contract.name();
                    tracing::error!(error, contract, "all that Kafka has not acknowledged is sent once more");
                }
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// Until all is published after `stop`, or something is wrong that another producer may not have.
    fn with_one_producer(
        &self,
        runtime: &Handle,
        stop: &CancellationToken,
        drain: Duration,
        until: &mut Option<Instant>,
    ) -> Result<(), String> {
        let text = |error: StoreError| error.to_string();
        let producer: BaseProducer<News> =
            self.config.create_with_context(self.news()).map_err(|error| error.to_string())?;
        let topic = self.kafka.topic(self.contract);
        let (mut behind, mut many) = (0, false);
        let mut gone: Vec<i64> = Vec::new();
        loop {
            gather(&producer, if many { NEWS_OF_MANY } else { NEWS });
            let told = std::mem::take(&mut *producer.context().told());
            gone.extend(told.acknowledged);
            if !gone.is_empty() {
                match runtime.block_on(self.store.acknowledged(self.contract, gone.clone())) {
                    Ok(()) => self.metrics.published(gone.drain(..).len() as u64),
                    Err(error) => {
                        // sent again they would only fill Kafka: nothing more is sent until they are let go of
                        tracing::error!(%error, "events that Kafka has cannot be let go of");
                        if stop.is_cancelled() {
                            return Ok(());
                        }
                        std::thread::sleep(PAUSE);
                        continue;
                    }
                }
            }
            if let Some(code) = told.failed {
                return Err(self.give_up(runtime, &producer, code));
            }
            if stop.is_cancelled() {
                let until = *until.get_or_insert_with(|| Instant::now() + drain);
                let drained = producer.in_flight_count() == 0 && gone.is_empty() && {
                    let rest = runtime.block_on(self.store.take(self.contract, 0, 1)).map_err(text)?;
                    rest.is_empty()
                };
                if drained || Instant::now() > until {
                    return Ok(());
                }
            }
            let room = producer.in_flight_count() < IN_FLIGHT_MAX;
            if !room || self.store.outbox_depth() == 0 {
                many = false;
                continue;
            }
            let taken = runtime.block_on(self.store.take(self.contract, behind, TAKE_MAX)).map_err(text)?;
            many = taken.len() == TAKE_MAX;
            for waiting in taken {
                let seq = usize::try_from(waiting.seq).unwrap_or(usize::MAX);
                let record = BaseRecord::with_opaque_to(&topic, seq)
                    .key(&waiting.event.key)
                    .payload(&waiting.event.value);
                match producer.send(record) {
                    Ok(()) => behind = waiting.seq,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                        many = false;
                        break;
                    }
                    Err((error, _)) => {
                        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                        return Err(self.give_up(runtime, &producer, code));
                    }
                }
            }
        }
    }

    fn news(&self) -> News {
        News { told: Mutex::default(), contract: self.contract, watched: self.watched.clone() }
    }

    /// Calls back what is under way, and lets go of what was acknowledged meanwhile.
    fn give_up(&self, runtime: &Handle, producer: &BaseProducer<News>, code: RDKafkaErrorCode) -> String {
        producer.purge(PurgeConfig::default().queue().inflight());
        let begun = Instant::now();
        while producer.in_flight_count() > 0 && begun.elapsed() < PAUSE {
            producer.poll(NEWS);
        }
        let told = std::mem::take(&mut *producer.context().told());
        self.metrics.published(told.acknowledged.len() as u64);
        match runtime.block_on(self.store.acknowledged(self.contract, told.acknowledged)) {
            Ok(()) => format!("Kafka did not take an event: {code}"),
            Err(error) => error.to_string(),
        }
    }
}
