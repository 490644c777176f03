//! The outbox to Kafka: in its order, each event until Kafka has it for good, however long that takes.
//!
//! The producer is idempotent, never gives an event up, and keeps the order of each partition. After a crash, or after an error
//! that it cannot go on from, all that is not acknowledged is sent once more, from the oldest on: an event may then stand twice in
//! Kafka, byte for byte the same, and counts once.

use super::metrics::Metrics;
use super::store::{Store, StoreError};
use crate::config::Kafka;
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
/// Longest wait for news of events.
const NEWS: Duration = Duration::from_millis(10);
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
#[derive(Default)]
struct News {
    told: Mutex<Told>,
    topics: Vec<(String, Topic)>,
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
            let found = self.topics.iter().find(|(name, _)| name == message.topic());
            let place = (message.partition(), message.offset());
            if let Some((_, contract)) = found {
                let value = message.payload().unwrap_or_default().to_vec();
                let one = Acknowledged { contract: *contract, partition: place.0, offset: place.1, value };
                let _ = watched.send(one); // whoever watched may have gone
            }
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

/// Publishes what waits.
pub(super) struct Publisher {
    store: Store,
    kafka: Kafka,
    metrics: Metrics,
    config: ClientConfig,
    watched: Option<UnboundedSender<Acknowledged>>,
}

impl Publisher {
    /// For a Kafka that need not be there yet. Whoever watches is told of each event that Kafka has.
    pub(super) fn new(
        store: Store,
        kafka: Kafka,
        metrics: Metrics,
        watched: Option<UnboundedSender<Acknowledged>>,
    ) -> Result<Publisher, String> {
        let mut config = kafka.client()?;
        for (key, default) in DEFAULTS {
            if config.get(key).is_none() {
                config.set(key, default);
            }
        }
        for (key, value) in FIXED {
            config.set(key, value);
        }
        Ok(Publisher { store, kafka, metrics, config, watched })
    }

    /// Publishes until `stop`, then for as long as `drain` what still waits. Blocks its thread.
    pub(super) fn run(&self, runtime: &Handle, stop: &CancellationToken, drain: Duration) {
        let mut until = None;
        while until.is_none_or(|until| Instant::now() < until) {
            let ended = self.with_one_producer(runtime, stop, drain, &mut until);
            match ended {
                Ok(()) => return,
                Err(error) => tracing::error!(error, "all that Kafka has not acknowledged is sent once more"),
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
        let mut behind = 0;
        loop {
            producer.poll(NEWS);
            let told = std::mem::take(&mut *producer.context().told());
            if !told.acknowledged.is_empty() {
                self.metrics.published(told.acknowledged.len() as u64);
                runtime.block_on(self.store.acknowledged(told.acknowledged)).map_err(text)?;
            }
            if let Some(code) = told.failed {
                return Err(self.give_up(runtime, &producer, code));
            }
            if stop.is_cancelled() {
                let until = *until.get_or_insert_with(|| Instant::now() + drain);
                if self.store.outbox_depth() == 0 || Instant::now() > until {
                    return Ok(());
                }
            }
            let room = producer.in_flight_count() < IN_FLIGHT_MAX;
            let waits = self.store.outbox_depth() > u64::try_from(producer.in_flight_count()).unwrap_or(0);
            if !(room && waits) {
                continue;
            }
            for waiting in runtime.block_on(self.store.take(behind, TAKE_MAX)).map_err(text)? {
                let topic = self.kafka.topic(waiting.event.contract);
                let seq = usize::try_from(waiting.seq).unwrap_or(usize::MAX);
                let record = BaseRecord::with_opaque_to(&topic, seq)
                    .key(&waiting.event.key)
                    .payload(&waiting.event.value);
                match producer.send(record) {
                    Ok(()) => behind = waiting.seq,
                    Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => break,
                    Err((error, _)) => {
                        let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                        return Err(self.give_up(runtime, &producer, code));
                    }
                }
            }
        }
    }

    fn news(&self) -> News {
        let topics = Topic::ALL.map(|contract| (self.kafka.topic(contract), contract)).into();
        News { told: Mutex::default(), topics, watched: self.watched.clone() }
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
        match runtime.block_on(self.store.acknowledged(told.acknowledged)) {
            Ok(()) => format!("Kafka did not take an event: {code}"),
            Err(error) => error.to_string(),
        }
    }
}
