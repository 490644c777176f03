//! The dead-letter topic, `<topic>.dead`: at least once, keyed by coordinates, acknowledged before attested.

use crate::fault::{self, Point};
use crate::rows::{DeadLetter, Origin};
use futures::stream::{FuturesUnordered, TryStreamExt};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord};
use std::time::Duration;
use thiserror::Error;

/// A dead letter that was not acknowledged; its block is not attested, so it is sent again.
#[derive(Debug, Error)]
#[error("{topic} did not acknowledge: {source}")]
pub struct DeadTopicError {
    topic: String,
    #[source]
    source: KafkaError,
}

/// Producer of dead letters.
#[derive(Clone)]
pub struct DeadTopic {
    producer: FutureProducer,
}

impl std::fmt::Debug for DeadTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeadTopic")
    }
}

/// How long one letter may wait for its acknowledgement before the block is tried again.
const ACK_SECONDS_MAX: u64 = 60;

impl DeadTopic {
    /// A producer over the given connection properties.
    ///
    /// # Errors
    /// Where librdkafka refuses a property.
    pub fn new(mut config: ClientConfig) -> Result<DeadTopic, KafkaError> {
        let config = config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", "67108864")
            .set("queue.buffering.max.kbytes", "65536")
            .set("message.timeout.ms", (ACK_SECONDS_MAX * 1000).to_string());
        Ok(DeadTopic { producer: config.create()? })
    }

    /// Creates the dead-letter topics that are missing, with the brokers' default replication. Trouble is told, not
    /// fatal: the credentials may be allowed to write a topic and not to make one.
    pub async fn ensure(config: &ClientConfig, topics: &[String]) {
        let made: Result<AdminClient<DefaultClientContext>, _> = config.create();
        let names: Vec<String> = topics.iter().map(|topic| DeadTopic::name(topic)).collect();
        let wanted: Vec<_> =
            names.iter().map(|name| NewTopic::new(name, 1, TopicReplication::Fixed(-1))).collect();
        let options = AdminOptions::new().operation_timeout(Some(Duration::from_secs(10)));
        let outcome = match made {
            Ok(admin) => admin.create_topics(&wanted, &options).await,
            Err(error) => Err(error),
        };
        match outcome {
            Err(error) => tracing::warn!(%error, "dead-letter topics could not be looked after"),
            Ok(outcomes) => outcomes.into_iter().for_each(|outcome| match outcome {
                Ok(name) => tracing::info!(name, "dead-letter topic created"),
                Err((_, RDKafkaErrorCode::TopicAlreadyExists)) => {}
                Err((name, code)) => tracing::warn!(name, %code, "dead-letter topic not created"),
            }),
        }
    }

    /// The name of a topic's dead-letter topic.
    pub fn name(topic: &str) -> String {
        format!("{topic}.dead")
    }

    /// Sends the letters of one block and waits until every one is acknowledged by all in-sync replicas.
    ///
    /// # Errors
    /// The first failure; letters before it may be there, and are sent again under the same key.
    pub async fn send(&self, origin: &Origin, letters: &[DeadLetter]) -> Result<(), DeadTopicError> {
        let topic = DeadTopic::name(&origin.topic);
        let acks: FuturesUnordered<_> =
            letters.iter().map(|letter| self.one(&topic, origin, letter)).collect();
        let sent: Result<Vec<()>, KafkaError> = fault::during(Point::LettersSent, acks.try_collect()).await;
        sent.map(drop).map_err(|source| DeadTopicError { topic, source })
    }

    async fn one(&self, topic: &str, origin: &Origin, letter: &DeadLetter) -> Result<(), KafkaError> {
        let key = format!("{}/{}/{}", origin.topic_id, origin.partition, letter.offset);
        match self.produce(topic, &key, letter.value.as_deref(), headers(origin, letter)).await {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {
                let note = Header {
                    key: "tally-value",
                    value: Some("too large for this topic; see table dead_letters"),
                };
                self.produce(topic, &key, None, headers(origin, letter).insert(note)).await
            }
            other => other,
        }
    }

    async fn produce(
        &self,
        topic: &str,
        key: &str,
        value: Option<&[u8]>,
        headers: OwnedHeaders,
    ) -> Result<(), KafkaError> {
        let mut record = FutureRecord::<str, [u8]>::to(topic).key(key).headers(headers);
        record.payload = value;
        let wait = Duration::from_secs(ACK_SECONDS_MAX);
        self.producer.send(record, wait).await.map(|_| ()).map_err(|(error, _)| error)
    }
}

/// The record's own headers first, untouched, then what is known of its death.
fn headers(origin: &Origin, letter: &DeadLetter) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    for (name, value) in &letter.headers {
        headers = headers.insert(Header { key: name, value: value.as_deref() });
    }
    if let Some(key) = &letter.key {
        headers = headers.insert(Header { key: "tally-key", value: Some(key.as_slice()) });
    }
    let text = [
        ("tally-topic", origin.topic.clone()),
        ("tally-topic-id", origin.topic_id.to_string()),
        ("tally-partition", origin.partition.to_string()),
        ("tally-offset", letter.offset.to_string()),
        ("tally-timestamp-ms", letter.appended_at_ms.to_string()),
        ("tally-schema", letter.schema.clone()),
        ("tally-sha256", hex::encode(letter.raw_sha256)),
        ("tally-reason", letter.fault.reason.name().to_owned()),
        ("tally-path", letter.fault.path.clone()),
        ("tally-sentence", letter.fault.sentence.clone()),
    ];
    text.iter().fold(headers, |all, (key, value)| all.insert(Header { key, value: Some(value.as_bytes()) }))
}
