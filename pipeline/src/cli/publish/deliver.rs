//! Events to Kafka: an idempotent producer, and a count of what it says became of them.

use super::prepare::Prepared;
use anyhow::Context;
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::DeliveryResult;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext, PurgeConfig};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_pipeline::config::set_defaults;
use thiserror::Error;

/// Longest wait for the first answer of a broker.
const REACH: Duration = Duration::from_secs(10);
/// Longest wait for a topic that is only now being created.
const TOPIC: Duration = Duration::from_secs(5);
/// What holds unless it is configured otherwise.
const DEFAULTS: [(&str, &str); 7] = [
    ("client.id", "tally-publish"),
    ("enable.idempotence", "true"),
    ("acks", "all"),
    ("compression.type", "lz4"),
    ("linger.ms", "20"),
    ("queue.buffering.max.kbytes", "65536"),
    ("message.timeout.ms", "30000"), // the longest wait for the acknowledgement of one event
];
/// Longest wait for room in the producer's queue or for news of an event, before looking again.
const NEWS: Duration = Duration::from_millis(100);

/// Why no more can be sent.
#[derive(Clone, Debug, Error)]
pub(super) enum Stopped {
    /// No broker answered.
    #[error("no broker of {brokers} answers ({said}); check --brokers and the network, then run it again")]
    Unreachable { brokers: String, said: String },
    /// The brokers answered, and do not have the topic.
    #[error("Kafka has no topic {topic} ({said}); create it, or check --topic-prefix")]
    NoTopic { topic: String, said: String },
    /// Kafka did not take an event.
    #[error("Kafka did not take the event of line {line}: {said}")]
    NotTaken { line: u64, said: String },
    /// Somebody said stop.
    #[error("stopped by a signal")]
    Told,
}

impl Stopped {
    /// The first line that was handed over and not taken.
    pub(super) fn line(&self) -> Option<u64> {
        match self {
            Stopped::NotTaken { line, .. } => Some(*line),
            Stopped::Unreachable { .. } | Stopped::NoTopic { .. } | Stopped::Told => None,
        }
    }
}

/// An idempotent producer for one topic.
pub(super) struct Delivery {
    producer: BaseProducer<Counts>,
    brokers: String,
    topic: String,
}

#[derive(Default)]
struct Counts {
    acknowledged: AtomicU64,
    /// The first line that was not taken, and why.
    not_taken: Mutex<Option<(usize, RDKafkaErrorCode)>>,
    /// What librdkafka complained of last.
    complaint: Mutex<Option<String>>,
}

impl ClientContext for Counts {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::debug!(%error, reason, "kafka");
        // That all brokers are down only repeats what was said of each of them.
        if error.rdkafka_error_code() != Some(RDKafkaErrorCode::AllBrokersDown) {
            *lock(&self.complaint) = Some(reason.to_owned());
        }
    }
}

impl ProducerContext for Counts {
    type DeliveryOpaque = usize;

    fn delivery(&self, result: &DeliveryResult<'_>, line: usize) {
        match result {
            Ok(_) => {
                self.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err((error, _)) => {
                let code = error.rdkafka_error_code().unwrap_or(RDKafkaErrorCode::Fail);
                let mut first = lock(&self.not_taken);
                // A purge only follows a failure, and says nothing about why.
                let purged = matches!(code, RDKafkaErrorCode::PurgeQueue | RDKafkaErrorCode::PurgeInflight);
                *first = Some(match *first {
                    Some((known, why)) if purged => (known.min(line), why),
                    Some((known, why)) if known <= line => (known, why),
                    _ => (line, code),
                });
            }
        }
    }
}

impl Delivery {
    /// Makes a producer; nothing is sent. Properties that are configured stand above the defaults.
    pub(super) fn new(mut config: ClientConfig, topic: &str) -> anyhow::Result<Delivery> {
        set_defaults(&mut config, &DEFAULTS);
        let brokers = config.get("bootstrap.servers").unwrap_or_default().to_owned();
        let producer = config.create_with_context(Counts::default()).context("configuring the producer")?;
        Ok(Delivery { producer, brokers, topic: topic.to_owned() })
    }

    /// Waits until a broker answers and has the topic.
    pub(super) fn reach(&mut self) -> Result<(), Stopped> {
        let started = Instant::now();
        loop {
            let metadata =
                self.producer.client().fetch_metadata(Some(&self.topic), REACH).map_err(|error| {
                    self.producer.poll(NEWS);
                    let complaint = lock(&self.producer.context().complaint).clone();
                    let said = complaint.unwrap_or_else(|| error.to_string());
                    Stopped::Unreachable { brokers: self.brokers.clone(), said }
                })?;
            let topic = metadata.topics().iter().find(|topic| topic.name() == self.topic);
            let error = match topic {
                Some(topic) => topic.error().map(RDKafkaErrorCode::from),
                None => Some(RDKafkaErrorCode::UnknownTopicOrPartition),
            };
            let Some(error) = error else { return Ok(()) };
            if started.elapsed() > TOPIC {
                return Err(Stopped::NoTopic { topic: self.topic.clone(), said: error.to_string() });
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }

    /// Waits, and hears meanwhile what became of earlier events.
    pub(super) fn wait(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            self.producer.poll(left);
            if left.is_zero() {
                return;
            }
        }
    }

    /// Hands an event over; waits while the producer's queue is full.
    pub(super) fn send(&mut self, event: &Prepared) -> Result<(), Stopped> {
        let line = usize::try_from(event.line).unwrap_or(usize::MAX);
        loop {
            if let Some(stopped) = self.not_taken() {
                return Err(stopped);
            }
            let mut record =
                BaseRecord::with_opaque_to(&self.topic, line).key(&event.key).payload(&event.value);
            if let Some(at) = event.record_at_ms {
                record = record.timestamp(at);
            }
            match self.producer.send(record) {
                Ok(()) => return Ok(()),
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), _)) => {
                    self.producer.poll(NEWS);
                }
                Err((error, _)) => {
                    return Err(Stopped::NotTaken { line: event.line, said: error.to_string() });
                }
            }
        }
    }

    /// Waits until it is known of every event what became of it, at the latest when `message.timeout.ms` has passed
    /// since it was handed over. After a failure those that still wait in the queue are called back.
    pub(super) fn finish(&mut self) -> Result<(), Stopped> {
        while self.producer.in_flight_count() > 0 {
            if self.not_taken().is_some() {
                self.producer.purge(PurgeConfig::default().queue());
            }
            self.producer.poll(NEWS);
        }
        self.producer.poll(Duration::ZERO);
        self.not_taken().map_or(Ok(()), Err)
    }

    /// Events that Kafka has taken for good.
    pub(super) fn acknowledged(&self) -> u64 {
        self.producer.context().acknowledged.load(Ordering::Relaxed)
    }

    fn not_taken(&self) -> Option<Stopped> {
        let first = *lock(&self.producer.context().not_taken);
        first.map(|(line, code)| Stopped::NotTaken { line: line as u64, said: code.to_string() })
    }
}

/// Counters stay right even if a callback panicked.
fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
