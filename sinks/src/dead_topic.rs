//! The dead-letter topic, `<topic>.dead`: at least once, keyed by coordinates, acknowledged before attested.

use crate::Retry;
use crate::fault::{self, Point};
use crate::rows::{DeadLetter, Origin};
use futures::stream::{FuturesUnordered, StreamExt};
use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{Header, OwnedHeaders};
use rdkafka::producer::{FutureProducer, FutureRecord, Producer};
use std::sync::{Arc, PoisonError, RwLock};
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

impl DeadTopicError {
    /// What to do about it, and what an operator can.
    pub fn retry(&self) -> (Retry, &'static str) {
        match self.source.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::TopicAuthorizationFailed | RDKafkaErrorCode::ClusterAuthorizationFailed,
            ) => (Retry::Stop, "grant write on the dead-letter topic"),
            _ if is_missing(&self.source) => {
                (Retry::Stop, "create the dead-letter topic, or grant that it is created")
            }
            Some(RDKafkaErrorCode::MessageSizeTooLarge) => {
                (Retry::Stop, "raise max.message.bytes of the dead-letter topic")
            }
            _ => (Retry::Soon, "see that the dead-letter topic exists and may be written"),
        }
    }
}

/// Whether there is no such topic.
fn is_missing(error: &KafkaError) -> bool {
    let missing = [RDKafkaErrorCode::UnknownTopic, RDKafkaErrorCode::UnknownTopicOrPartition].map(Some);
    missing.contains(&error.rdkafka_error_code())
}

/// Producer of dead letters.
#[derive(Clone)]
pub struct DeadTopic {
    config: ClientConfig,
    /// Replaced where it has failed for good.
    producer: Arc<RwLock<FutureProducer>>,
}

impl std::fmt::Debug for DeadTopic {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeadTopic")
    }
}

/// How long one letter may wait for its acknowledgement before the block is tried again.
const ACK_SECONDS_MAX: u64 = 60;
/// Letters of one block that are on their way: what stands in their headers, librdkafka does not count.
const LETTERS_AT_ONCE_MAX: usize = 1_024;
/// Of a letter that fits in no other way.
const TEXT_BYTES_MAX: usize = 1_000;

impl DeadTopic {
    /// A producer over the given connection properties.
    ///
    /// # Errors
    /// Where librdkafka refuses a property.
    pub fn new(mut config: ClientConfig) -> Result<DeadTopic, KafkaError> {
        config
            .set("enable.idempotence", "true")
            .set("acks", "all")
            .set("compression.type", "lz4")
            .set("linger.ms", "5")
            .set("message.max.bytes", "67108864")
            .set("queue.buffering.max.kbytes", "65536")
            .set("queue.buffering.max.messages", (4 * LETTERS_AT_ONCE_MAX).to_string())
            .set("message.timeout.ms", (ACK_SECONDS_MAX * 1000).to_string());
        let producer = Arc::new(RwLock::new(config.create()?));
        Ok(DeadTopic { config, producer })
    }

    /// Creates the dead-letter topics that are missing, with the brokers' default replication. Trouble is told, not
    /// fatal: the credentials may be allowed to write a topic and not to make one.
    pub async fn ensure(config: &ClientConfig, topics: &[String]) {
        let names: Vec<String> = topics.iter().map(|topic| DeadTopic::name(topic)).collect();
        DeadTopic::create(config, &names).await;
    }

    async fn create(config: &ClientConfig, names: &[String]) {
        let made: Result<AdminClient<DefaultClientContext>, _> = config.create();
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

    /// Sends letters of one block and waits for their acknowledgements by all in-sync replicas; `told` hears of each.
    ///
    /// # Errors
    /// The first failure; of the others that were not heard of some may be there. They are sent again under the same key.
    pub async fn send(
        &self,
        origin: &Origin,
        letters: &[&DeadLetter],
        told: &(dyn Fn(&DeadLetter) + Sync),
    ) -> Result<(), DeadTopicError> {
        let topic = DeadTopic::name(&origin.topic);
        let producer = self.producer.read().unwrap_or_else(PoisonError::into_inner).clone();
        let sending = async {
            let (mut left, mut acks, mut failed) = (letters.iter(), FuturesUnordered::new(), None);
            loop {
                let some = left.by_ref().take(LETTERS_AT_ONCE_MAX - acks.len());
                acks.extend(some.map(|letter| one(&producer, &topic, origin, letter)));
                match acks.next().await {
                    Some(Ok(letter)) => told(letter),
                    Some(Err(error)) => failed = failed.or(Some(error)),
                    None => return failed,
                }
            }
        };
        let Some(source) = fault::during(Point::LettersSent, sending).await else { return Ok(()) };
        self.mend(&topic, producer, &source).await;
        Err(DeadTopicError { topic, source })
    }

    /// Does what makes another attempt worth it: a producer that has failed for good never sends again, and a topic may be missing that
    /// could not be made at the start.
    async fn mend(&self, topic: &str, failed: FutureProducer, error: &KafkaError) {
        if failed.client().fatal_error().is_some() {
            let this = self.clone();
            let replacing = move || {
                this.replace();
                drop(failed); // the last one joins its thread
            };
            if let Err(error) = tokio::task::spawn_blocking(replacing).await {
                tracing::error!(%error, "no producer of dead letters");
            }
        }
        if is_missing(error) {
            DeadTopic::create(&self.config, &[topic.to_owned()]).await;
        }
    }

    /// Puts another producer in the place of one that has failed for good, unless another lane has done so. Blocks.
    fn replace(&self) {
        let has_failed = |producer: &FutureProducer| producer.client().fatal_error().is_some();
        if !has_failed(&self.producer.read().unwrap_or_else(PoisonError::into_inner)) {
            return;
        }
        let fresh = self.config.create(); // takes its time, and others send meanwhile
        let mut producer = self.producer.write().unwrap_or_else(PoisonError::into_inner);
        let Some((code, said)) = producer.client().fatal_error() else { return };
        match fresh {
            Ok(fresh) => {
                tracing::warn!(%code, said, "the producer of dead letters has failed for good, another takes its place");
                *producer = fresh;
            }
            Err(error) => tracing::warn!(%error, "no producer of dead letters"),
        }
    }
}

/// What a letter says of its record.
#[derive(Clone, Copy)]
enum Form {
    Whole,
    WithoutValue,
    Coordinates,
}

/// Sends one letter: whole, without its value where that is too large for the topic, or with its coordinates alone.
async fn one<'a>(
    producer: &FutureProducer,
    topic: &str,
    origin: &Origin,
    letter: &'a DeadLetter,
) -> Result<&'a DeadLetter, KafkaError> {
    let key = format!("{}/{}/{}", origin.topic_id, origin.partition, letter.offset);
    let mut sent = Ok(letter);
    for form in [Form::Whole, Form::WithoutValue, Form::Coordinates] {
        let value = letter.value.as_deref().filter(|_| matches!(form, Form::Whole));
        sent = produce(producer, topic, &key, value, headers(origin, letter, form)).await.map(|()| letter);
        match &sent {
            Err(KafkaError::MessageProduction(RDKafkaErrorCode::MessageSizeTooLarge)) => {}
            _ => break,
        }
    }
    sent
}

async fn produce(
    producer: &FutureProducer,
    topic: &str,
    key: &str,
    value: Option<&[u8]>,
    headers: OwnedHeaders,
) -> Result<(), KafkaError> {
    let mut record = FutureRecord::<str, [u8]>::to(topic).key(key).headers(headers);
    record.payload = value;
    let wait = Duration::from_secs(ACK_SECONDS_MAX);
    producer.send(record, wait).await.map(|_| ()).map_err(|(error, _)| error)
}

/// The record's own headers first, untouched, then what is known of its death.
fn headers(origin: &Origin, letter: &DeadLetter, form: Form) -> OwnedHeaders {
    let mut headers = OwnedHeaders::new();
    let is_short = matches!(form, Form::Coordinates);
    for (name, value) in letter.headers.iter().filter(|_| !is_short) {
        headers = headers.insert(Header { key: name, value: value.as_deref() });
    }
    if let Some(key) = letter.key.as_ref().filter(|_| !is_short) {
        headers = headers.insert(Header { key: "tally-key", value: Some(key.as_slice()) });
    }
    let text_bytes_max = if is_short { TEXT_BYTES_MAX } else { usize::MAX };
    let cut = |text: &str| text[..text.floor_char_boundary(text_bytes_max)].to_owned();
    let note = match form {
        Form::Whole => None,
        Form::WithoutValue => Some("too large for this topic; see table dead_letters"),
        Form::Coordinates => {
            Some("too large for this topic, as are its key and headers; see table dead_letters")
        }
    };
    let text = [
        ("tally-topic", origin.topic.clone()),
        ("tally-topic-id", origin.topic_id.to_string()),
        ("tally-partition", origin.partition.to_string()),
        ("tally-offset", letter.offset.to_string()),
        ("tally-timestamp-ms", letter.appended_at_ms.to_string()),
        ("tally-schema", cut(&letter.schema)),
        ("tally-sha256", hex::encode(letter.raw_sha256)),
        ("tally-reason", letter.fault.reason.name().to_owned()),
        ("tally-path", cut(&letter.fault.path)),
        ("tally-sentence", cut(&letter.fault.sentence)),
    ];
    let note = note.map(|note| ("tally-value", note.to_owned()));
    let all = text.into_iter().chain(note);
    all.fold(headers, |all, (key, value)| all.insert(Header { key, value: Some(value.as_bytes()) }))
}
