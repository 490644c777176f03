//! Publishing: held against the contract, keyed, framed, acknowledged.

use super::events::{Event, Moment};
use crate::config::{Kafka, set_defaults};
use rdkafka::ClientContext;
use rdkafka::config::{ClientConfig, RDKafkaLogLevel};
use rdkafka::error::KafkaError;
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally_schemas::{Encoder, FieldError, Topic, check_event, frame_single_object, latest};
use thiserror::Error;
use uuid::Uuid;

/// What holds unless it is configured otherwise.
const DEFAULTS: [(&str, &str); 3] =
    [("client.id", "tally-client"), ("compression.type", "lz4"), ("linger.ms", "5")];

/// Where events go, and how long that may take.
#[derive(Clone, Debug)]
pub struct PublisherConfig {
    /// Brokers, credentials, the prefix of the topics' names.
    pub kafka: Kafka,
    /// From the call to Kafka's acknowledgement; default 30 s.
    pub deliver: Duration,
}

impl PublisherConfig {
    /// Brokers without credentials, `host:port` with commas between, and the defaults.
    pub fn at(brokers: impl Into<String>) -> PublisherConfig {
        PublisherConfig { kafka: Kafka::at(brokers), deliver: Duration::from_secs(30) }
    }
}

/// There can be no publisher.
#[derive(Debug, Error)]
pub enum PublisherError {
    /// The configuration does not hold together; the sentence names the setting.
    #[error("{0}")]
    Config(String),
    /// librdkafka does not take it.
    #[error("the Kafka client cannot be made")]
    Kafka(#[from] KafkaError),
    /// A contract that events cannot be written in: a bug of ours.
    #[error("{0} cannot be encoded")]
    Contract(Topic, #[source] FieldError),
}

/// An event was not published, or nobody knows.
#[derive(Debug, Error)]
pub enum PublishError {
    /// It is not what its contract says, and was not sent: it would have become a dead letter.
    #[error("{field}: {problem}")]
    Refused {
        /// The field that is to blame.
        field: String,
        /// What was found and what was expected. Never a value.
        problem: String,
    },
    /// Kafka did not acknowledge it in time, or refused it. It may stand there: publish the same event again, it counts once.
    #[error("event {event_id} was not acknowledged")]
    Undelivered {
        /// Its id.
        event_id: Uuid,
        /// What Kafka said.
        #[source]
        kafka: KafkaError,
    },
}

impl From<FieldError> for PublishError {
    fn from(error: FieldError) -> PublishError {
        PublishError::Refused { field: error.path, problem: error.problem }
    }
}

/// Where Kafka keeps an event.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Placed {
    /// The partition.
    pub partition: i32,
    /// The offset.
    pub offset: i64,
}

/// Publishes events. One for a service: it is shared by reference, and many may publish at once. Events of one key keep the order
/// in which their calls were first polled.
pub struct Publisher {
    config: PublisherConfig,
    client: ClientConfig,
    encoders: Vec<(Topic, Encoder<'static>)>,
    /// With the number of those before it: a producer that cannot go on is replaced once.
    producer: Mutex<(u64, FutureProducer<Log>)>,
}

#[derive(Clone, Copy)]
struct Log;

impl ClientContext for Log {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        tracing::debug!(facility, message, "kafka");
    }

    fn error(&self, error: KafkaError, reason: &str) {
        tracing::warn!(%error, reason, "events wait for kafka");
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Publisher {
    /// For a Kafka that need not be there yet. `acks=all` and idempotence hold whatever is configured.
    ///
    /// # Errors
    /// See [`PublisherError`].
    pub fn new(config: PublisherConfig) -> Result<Publisher, PublisherError> {
        let mut client = config.kafka.client().map_err(PublisherError::Config)?;
        set_defaults(&mut client, &DEFAULTS);
        client.set("enable.idempotence", "true").set("acks", "all");
        client.set("message.timeout.ms", config.deliver.as_millis().max(1).to_string());
        let encoder = |topic| match Encoder::new(latest(topic)) {
            Ok(encoder) => Ok((topic, encoder)),
            Err(error) => Err(PublisherError::Contract(topic, error)),
        };
        let encoders = Topic::ALL.into_iter().map(encoder).collect::<Result<_, _>>()?;
        let producer = Mutex::new((0, client.create_with_context(Log)?));
        Ok(Publisher { config, client, encoders, producer })
    }

    /// Publishes an event and waits until all of its replicas have it. A call that is dropped may have published it.
    ///
    /// # Errors
    /// See [`PublishError`].
    pub async fn publish<E: Event>(&self, event: &E) -> Result<Placed, PublishError> {
        let (key, framed) = self.prepare(event)?;
        let topic = self.config.kafka.topic(E::TOPIC);
        let (number, producer) = self.producer().clone();
        let record = FutureRecord::to(&topic).key(key).payload(&framed);
        match producer.send(record, self.config.deliver).await {
            Ok(placed) => Ok(Placed { partition: placed.partition, offset: placed.offset }),
            Err((kafka, _)) => {
                if producer.client().fatal_error().is_some() {
                    self.replace(number);
                }
                Err(PublishError::Undelivered { event_id: event.head().event_id(), kafka })
            }
        }
    }

    /// What [`publish`](Publisher::publish) would have against an event, without sending it.
    ///
    /// # Errors
    /// [`PublishError::Refused`].
    pub fn check<E: Event>(&self, event: &E) -> Result<(), PublishError> {
        self.prepare(event).map(|_| ())
    }

    /// Its key and its bytes, judged as the route would judge them now.
    fn prepare<'e, E: Event>(&self, event: &'e E) -> Result<(&'e str, Vec<u8>), PublishError> {
        let refused =
            |field: &str, problem: String| PublishError::Refused { field: field.to_owned(), problem };
        let none = |problem: &str| refused(E::TOPIC.key_field(), problem.to_owned());
        let key = event.key().ok_or_else(|| none("absent or empty; it is the Kafka key"))?;
        let fields = serde_json::to_value(event).map_err(|error| refused("", error.to_string()))?;
        let encoder = self.encoders.iter().find(|(topic, _)| *topic == E::TOPIC);
        let (_, encoder) = encoder.ok_or_else(|| none("no contract"))?; // there is one of each
        let framed = frame_single_object(encoder.contract(), &encoder.encode(&fields)?);
        let now_ms = Moment::now().micros().div_euclid(1_000);
        match check_event(E::TOPIC, &framed, now_ms) {
            Ok(()) => Ok((key, framed)),
            Err(fault) => Err(refused(&fault.path, fault.sentence)),
        }
    }

    fn producer(&self) -> MutexGuard<'_, (u64, FutureProducer<Log>)> {
        self.producer.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// After an error that a producer cannot go on from, unless somebody else has replaced it.
    fn replace(&self, number: u64) {
        let mut held = self.producer();
        if held.0 == number {
            match self.client.create_with_context(Log) {
                Ok(producer) => *held = (number + 1, producer),
                Err(error) => tracing::error!(%error, "the kafka producer cannot be made anew"),
            }
        }
    }
}
