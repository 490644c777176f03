//! The source: a Kafka consumer whose partitions are fetched by batch. No rdkafka type leaves this folder.

mod answer;
mod digests;
mod fetch;
mod group;
mod identity;
mod offsets;
mod range;
mod refusals;
mod run;
mod tail;

pub use digests::{Digests, DigestsError};
pub use identity::IdentityError;
pub(crate) use range::{GapError, Next};
pub(crate) use tail::TailEnd;

use crate::inbox::Inbox;
use answer::{IdentityRequest, answer_identities};
use group::Consuming;
use rdkafka::consumer::{CommitMode, Consumer};
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;
use thiserror::Error;
use uuid::Uuid;

/// A partition by name.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Partition {
    /// Kafka topic.
    pub topic: String,
    /// Partition number.
    pub number: i32,
}

impl std::fmt::Display for Partition {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.topic, self.number)
    }
}

/// Kafka refused or did not answer.
#[derive(Debug, Error)]
pub enum SourceError {
    /// A property that librdkafka refuses, or a failed call.
    #[error("Kafka refused or did not answer: {0}")]
    Kafka(KafkaError),
    /// Kafka does not let us in; an operator must mend it.
    #[error("Kafka does not let us in: {said}; {remedy}")]
    Refused {
        /// What a broker, or the check of its certificate, said.
        said: String,
        /// What to do.
        remedy: &'static str,
    },
    /// Another process joined the group under this one's `group.instance.id`, or librdkafka gave this client up.
    #[error(
        "Kafka gives this instance nothing more: {said}; if another runs under its name (kafka.instance: {name:?}), give each its \
         own. Nothing is lost: what was in hand is taken again"
    )]
    Fenced {
        /// The name, empty where it has none.
        name: String,
        /// What librdkafka said.
        said: String,
    },
    /// A thread of ours ended.
    #[error("a thread ended: {0}")]
    Thread(String),
    /// The topic's identity is not known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

impl From<KafkaError> for SourceError {
    fn from(error: KafkaError) -> SourceError {
        SourceError::Kafka(error) // told in the sentence, and so no source of it
    }
}

/// Who owns the lanes. Called from the source's thread.
pub(crate) trait Lanes: Send + Sync + 'static {
    /// These partitions are now ours; they are paused until their lane resumes them.
    fn assigned(&self, partitions: Vec<Partition>);
    /// These are ours no longer. Returns when their blocks are finished or abandoned; `lost`: commit nothing.
    fn revoked(&self, partitions: Vec<Partition>, lost: bool);
    /// All that are ours.
    fn held(&self) -> Vec<Partition>;
    /// Where a partition's records go.
    fn inbox(&self, topic: &str, partition: i32) -> Option<Arc<Inbox>>;
}

/// A Kafka consumer.
#[derive(Clone)]
pub struct Source {
    client: Arc<Client>,
    identities: tokio::sync::mpsc::UnboundedSender<IdentityRequest>,
}

/// The consumer in use. A topic that was created anew needs a new one: librdkafka may go on waiting at the old end.
struct Client {
    config: ClientConfig,
    group: String,
    consumer: RwLock<Consuming>,
    turn: Turn,
    /// Reads again what seems absent; opened when first needed.
    witness: Mutex<Option<range::RangeReader>>,
    /// The identity of each topic, as this consumer first met it.
    met: Mutex<HashMap<String, Uuid>>,
    /// A topic's identity is no longer the one that this consumer met, or a partition can no longer be sought.
    stale: AtomicBool,
}

/// Whose turn it is: the thread's that fetches and delivers, or a lane's that seeks.
#[derive(Debug, Default)]
struct Turn {
    taken: Mutex<()>,
    wanted: AtomicUsize,
}

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// How long a question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(10);

impl Client {
    fn consumer(&self) -> Consuming {
        self.consumer.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// A broker said that the topic of this name is that one.
    fn met(&self, topic: &str, id: Uuid) {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *met.entry(topic.to_owned()).or_insert(id);
        if before != id && !self.stale.swap(true, Ordering::Relaxed) {
            tracing::warn!(topic, %before, now = %id, "the topic was deleted and created again");
        }
    }

    /// Puts a fresh consumer in the place of the one in use, which is given back.
    fn reopen(&self) -> Result<Consuming, SourceError> {
        let (_, fresh) = group::open(self.config.clone(), &self.group)?;
        let mut consumer = self.consumer.write().unwrap_or_else(PoisonError::into_inner);
        self.met.lock().unwrap_or_else(PoisonError::into_inner).clear();
        self.stale.store(false, Ordering::Relaxed);
        Ok(std::mem::replace(&mut *consumer, fresh))
    }
}

impl Source {
    /// Opens a consumer with these connection properties; nothing is fetched yet.
    ///
    /// # Errors
    /// Where librdkafka refuses a property.
    pub fn open(config: ClientConfig, group: &str) -> Result<Source, SourceError> {
        let (config, consumer) = group::open(config, group)?;
        let client = Arc::new(Client {
            config,
            group: group.to_owned(),
            consumer: RwLock::new(consumer),
            turn: Turn::default(),
            witness: Mutex::default(),
            met: Mutex::default(),
            stale: AtomicBool::default(),
        });
        let (identities, requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(answer_identities(Arc::downgrade(&client), requests));
        Ok(Source { client, identities })
    }

    /// True from when a topic turned out to be another than this consumer met, or a partition could not be sought, until
    /// the consumer is opened anew: no lane may start on it.
    pub(crate) fn is_stale(&self) -> bool {
        self.client.stale.load(Ordering::Relaxed)
    }

    /// Has a partition fetched from the offset that `open` names. It is called while no fetch is under way, so no record
    /// from before the seek can pass for one from after it. Blocks.
    ///
    /// # Errors
    /// Where librdkafka cannot seek: after an offset out of range it no longer fetches the partition, and the consumer
    /// is opened anew.
    pub(crate) fn start(
        &self,
        partition: &Partition,
        open: impl FnOnce() -> Option<i64>,
    ) -> Result<(), SourceError> {
        let consumer = self.client.consumer();
        let Turn { taken, wanted } = &self.client.turn;
        wanted.fetch_add(1, Ordering::Relaxed);
        let turn = taken.lock().unwrap_or_else(PoisonError::into_inner);
        wanted.fetch_sub(1, Ordering::Relaxed);
        let Some(offset) = open() else { return Ok(()) };
        let sought = consumer.seek(&partition.topic, partition.number, Offset::Offset(offset), ANSWER);
        drop(turn);
        if let Err(error) = sought {
            let is_ours = consumer
                .assignment()
                .is_ok_and(|list| list.find_partition(&partition.topic, partition.number).is_some());
            if is_ours {
                self.client.stale.store(true, Ordering::Relaxed);
            }
            return Err(error.into());
        }
        Ok(consumer.resume(&one(partition))?)
    }

    /// Leaves what is fetched of a partition with librdkafka, or has it handed over again. Nothing is lost or fetched twice.
    pub(crate) fn hold(&self, partition: &Partition, holds: bool) {
        self.client.consumer().context().hold(partition, holds);
    }

    pub(crate) fn pause(&self, partition: &Partition) -> Result<(), SourceError> {
        Ok(self.client.consumer().pause(&one(partition))?)
    }

    /// Commits `next` together with the identity it is an offset of.
    pub(crate) fn commit(
        &self,
        partition: &Partition,
        next: i64,
        topic_id: Uuid,
        wait: bool,
    ) -> Result<(), SourceError> {
        let mut list = TopicPartitionList::new();
        let mut element = list.add_partition(&partition.topic, partition.number);
        element.set_offset(Offset::Offset(next))?;
        element.set_metadata(topic_id.to_string());
        self.client.consumer().commit(&list, if wait { CommitMode::Sync } else { CommitMode::Async })?;
        Ok(())
    }

    /// The group's committed offset and the topic identity it was committed for. Blocks.
    pub(crate) fn committed(
        &self,
        partition: &Partition,
    ) -> Result<Option<(i64, Option<Uuid>)>, SourceError> {
        let list = self.client.consumer().committed_offsets(one(partition), ANSWER)?;
        let elements = list.elements();
        let Some(element) = elements.first() else { return Ok(None) };
        element.error()?;
        Ok(match element.offset() {
            Offset::Offset(offset) => Some((offset, Uuid::parse_str(element.metadata()).ok())),
            _ => None,
        })
    }

    /// Every partition of a topic. Blocks.
    ///
    /// # Errors
    /// Where Kafka does not answer or has no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, SourceError> {
        let metadata = self.client.consumer().fetch_metadata(Some(topic), ANSWER)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        if let Some(error) = found.and_then(rdkafka::metadata::MetadataTopic::error) {
            let code = rdkafka::types::RDKafkaErrorCode::from(error);
            let unknown = code == rdkafka::types::RDKafkaErrorCode::UnknownTopicOrPartition;
            return Err(
                IdentityError::Topic { topic: topic.to_owned(), said: code.to_string(), unknown }.into()
            );
        }
        let numbers = found.map(|t| t.partitions().iter().map(rdkafka::metadata::MetadataPartition::id));
        let partition = |number| Partition { topic: topic.to_owned(), number };
        Ok(numbers.into_iter().flatten().map(partition).collect())
    }

    /// The identity that the topic of that name has now: the question is asked after this call, so whatever was
    /// fetched before it came from this identity or from an earlier one.
    ///
    /// # Errors
    /// See [`IdentityError`].
    pub async fn identity(&self, topic: &str) -> Result<Uuid, IdentityError> {
        let gone = || IdentityError::Unanswered("the consumer is closed".to_owned());
        let (reply, answer) = tokio::sync::oneshot::channel();
        self.identities.send((topic.to_owned(), reply)).map_err(|_| gone())?;
        answer.await.map_err(|_| gone())?
    }
}

fn one(partition: &Partition) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(&partition.topic, partition.number);
    list
}
