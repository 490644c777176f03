//! Dead letters once more: judged by what is known today, and published again with their lineage.

use crate::config::{Kafka, SchemaRegistry};
use crate::judge::{REPLAY_ATTEMPT, REPLAY_FIRST, REPLAY_ID};
use crate::registry::RegistryError;
use crate::writers::Book;
use arrow_array::{Array, FixedSizeBinaryArray};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_schemas::{Fault, Messages, Reader, Topic, split};
use thiserror::Error;
use uuid::Uuid;

/// How long one record may wait for its acknowledgement.
const ACK_SECONDS_MAX: u64 = 60;

/// What would become of a letter that is published now.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// An event, with its id and content digest.
    Event {
        /// Its id.
        event_id: Uuid,
        /// Its content digest, hex.
        digest: String,
    },
    /// Dead again.
    Dead(Fault),
}

/// Why a letter could not be judged or published.
#[derive(Debug, Error)]
pub enum DeadError {
    /// The registry does not answer: nothing is known.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Arrow failed.
    #[error("rows could not be made: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// The topic is none of the configured ones.
    #[error("{0} is no topic of this configuration: check --topic-prefix")]
    Topic(String),
    /// A property that cannot be.
    #[error("{0}")]
    Config(String),
    /// Kafka did not take it.
    #[error("Kafka did not take the record: {0}")]
    Kafka(#[from] KafkaError),
}

impl DeadError {
    /// Whether Kafka may have the record all the same: it was handed over, and no answer came.
    pub fn is_unacknowledged(&self) -> bool {
        let code = match self {
            DeadError::Kafka(KafkaError::MessageProduction(code)) => *code,
            _ => return false,
        };
        // what is refused before it is sent, and what the broker says no to; of anything else nobody knows
        let is_refused = matches!(
            code,
            RDKafkaErrorCode::QueueFull
                | RDKafkaErrorCode::MessageSizeTooLarge
                | RDKafkaErrorCode::InvalidMessageSize
                | RDKafkaErrorCode::UnknownTopic
                | RDKafkaErrorCode::UnknownPartition
                | RDKafkaErrorCode::UnknownTopicOrPartition
                | RDKafkaErrorCode::TopicAuthorizationFailed
                | RDKafkaErrorCode::InvalidRecord
        );
        !is_refused
    }
}

/// Judges letters by the contracts and the registry of today.
#[derive(Debug)]
pub struct Rejudge {
    judges: HashMap<String, (Book, Reader)>,
}

impl Rejudge {
    /// A judge of all topics; `value_bytes_max` as in `ingest`.
    ///
    /// # Errors
    /// Where the registry's address is none.
    pub fn new(
        kafka: &Kafka,
        registry: &SchemaRegistry,
        value_bytes_max: usize,
    ) -> Result<Rejudge, DeadError> {
        let registry = registry.client()?.map(Arc::new);
        let judge = |topic| (Book::new(topic, registry.clone()), Reader::new(topic, value_bytes_max));
        Ok(Rejudge { judges: Topic::ALL.map(|topic| (kafka.topic(topic), judge(topic))).into() })
    }

    /// Judges one value as if it were appended now.
    ///
    /// # Errors
    /// Where nothing can be said of it.
    pub async fn judge(&mut self, topic: &str, value: Option<&[u8]>) -> Result<Outcome, DeadError> {
        let Some((book, reader)) = self.judges.get_mut(topic) else {
            return Err(DeadError::Topic(topic.to_owned()));
        };
        let id = value.and_then(|value| split(value).ok()).map(|(id, _)| id);
        let writers = book.resolve(BTreeSet::from_iter(id)).await?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis());
        let now_ms = i64::try_from(now).unwrap_or(i64::MAX);
        let read = reader.read(Messages { values: &[value], appended_at_ms: &[now_ms] }, &writers)?;
        if let Some((_, fault)) = read.faults.into_iter().next() {
            return Ok(Outcome::Dead(fault));
        }
        let ids = read.events.column_by_name("event_id").map(|ids| ids.as_any().downcast_ref());
        let ids: Option<&FixedSizeBinaryArray> = ids.flatten();
        let event_id = ids
            .filter(|ids| !arrow_array::Array::is_empty(*ids))
            .and_then(|ids| Uuid::from_slice(ids.value(0)).ok());
        let digest = read.digests.first().map(hex::encode).unwrap_or_default();
        Ok(Outcome::Event { event_id: event_id.unwrap_or_default(), digest })
    }
}

/// A record to publish again.
#[derive(Clone, Debug)]
pub struct Again {
    /// Kafka topic.
    pub topic: String,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers as they were; an earlier lineage is replaced.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Which attempt this is.
    pub attempt: u32,
    /// `topic id/partition/offset` of the first publication.
    pub first: String,
}

impl Again {
    /// The headers under which it is published: the record's own, then its lineage; an earlier lineage is replaced.
    pub fn headers_under(&self, replay_id: Uuid) -> Vec<(String, Option<Vec<u8>>)> {
        let ours = [REPLAY_ID, REPLAY_ATTEMPT, REPLAY_FIRST];
        let kept = self.headers.iter().filter(|(name, _)| !ours.contains(&name.as_str())).cloned();
        let values = [replay_id.to_string(), self.attempt.to_string(), self.first.clone()];
        let new = ours.into_iter().zip(values);
        kept.chain(new.map(|(name, value)| (name.to_owned(), Some(value.into_bytes())))).collect()
    }
}

/// Publishes records again, under the id of one replay.
pub struct Republish {
    producer: FutureProducer,
    /// The replay's id.
    pub id: Uuid,
}

impl std::fmt::Debug for Republish {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Republish({})", self.id)
    }
}

impl Republish {
    /// An idempotent producer that waits for all in-sync replicas.
    ///
    /// # Errors
    /// Where librdkafka refuses a property.
    pub fn new(kafka: &Kafka) -> Result<Republish, DeadError> {
        let mut config = kafka.client().map_err(DeadError::Config)?;
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("message.max.bytes", "67108864")
            .set("queue.buffering.max.kbytes", "65536")
            .set("message.timeout.ms", (ACK_SECONDS_MAX * 1000).to_string());
        Ok(Republish { producer: config.create()?, id: Uuid::now_v7() })
    }

    /// Publishes one record under the producer's id and waits for its acknowledgement: partition and offset.
    ///
    /// # Errors
    /// Where Kafka does not take it.
    pub async fn send(&self, again: &Again) -> Result<(i32, i64), DeadError> {
        self.send_as(again, self.id).await
    }

    /// The same under the id of a replay of its own.
    ///
    /// # Errors
    /// Where Kafka does not take it.
    pub async fn send_as(&self, again: &Again, replay_id: Uuid) -> Result<(i32, i64), DeadError> {
        let headers =
            again.headers_under(replay_id).into_iter().fold(OwnedHeaders::new(), |all, (key, value)| {
                all.insert(Header { key: &key, value: value.as_deref() })
            });
        let mut record = FutureRecord::<[u8], [u8]>::to(&again.topic).headers(headers);
        record.key = again.key.as_deref();
        record.payload = again.value.as_deref();
        let sent = self.producer.send(record, Duration::from_secs(ACK_SECONDS_MAX)).await;
        let delivered = sent.map_err(|(error, _)| error)?;
        Ok((delivered.partition, delivered.offset))
    }
}

#[cfg(test)]
mod tests {
    use super::Again;
    use uuid::Uuid;

    /// Scenario: a letter that was replayed before is replayed again.
    /// Guarantees: its own headers stay in order, also twice the same name; the lineage stands once, and is new.
    #[test]
    fn lineage_is_replaced() {
        let header = |name: &str, value: &str| (name.to_owned(), Some(value.as_bytes().to_vec()));
        let own = [header("trace", "1"), header("tally-replay-attempt", "1"), header("trace", "2")];
        let again = Again {
            topic: "t".to_owned(),
            key: None,
            value: None,
            headers: own.to_vec(),
            attempt: 2,
            first: "id/0/7".to_owned(),
        };
        let nil = Uuid::nil();
        let expected = [
            header("trace", "1"),
            header("trace", "2"),
            header("tally-replay-id", &nil.to_string()),
            header("tally-replay-attempt", "2"),
            header("tally-replay-first", "id/0/7"),
        ];
        assert_eq!(again.headers_under(nil), expected);
    }
}
