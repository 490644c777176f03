//! The source: a Kafka consumer whose partitions are fetched by batch. No rdkafka type leaves this folder.

mod fetch;
mod identity;

pub use identity::IdentityError;

use crate::inbox::{Inbox, Put};
use crate::slab::Budget;
use fetch::{Delivery, FetchQueue};
use rdkafka::consumer::{BaseConsumer, CommitMode, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::message::{Headers, Message};
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
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
    #[error("Kafka refused or did not answer")]
    Kafka(#[from] KafkaError),
    /// The topic's identity is not known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
}

/// Who owns the lanes. Called from the source's thread.
pub(crate) trait Lanes: Send + Sync + 'static {
    /// These partitions are now ours; they are paused until their lane resumes them.
    fn assigned(&self, partitions: Vec<Partition>);
    /// These are ours no longer. Returns when their blocks are finished or abandoned; `lost`: commit nothing.
    fn revoked(&self, partitions: Vec<Partition>, lost: bool);
    /// Where a partition's records go.
    fn inbox(&self, topic: &str, partition: i32) -> Option<Arc<Inbox>>;
}

struct Group {
    lanes: OnceLock<Arc<dyn Lanes>>,
    queue: OnceLock<FetchQueue>,
}

impl ClientContext for Group {}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = named(list);
        let (Some(lanes), Some(queue)) = (self.lanes.get(), self.queue.get()) else { return };
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                partitions.iter().for_each(|p| queue.adopt(&p.topic, p.number));
                // an offset of its own, so that the partition can be sought before anything was ever committed
                let assigned = list.set_all_offsets(Offset::Offset(0));
                let assigned = assigned.and_then(|()| consumer.incremental_assign(list));
                let assigned = assigned.and_then(|()| consumer.pause(list));
                tracing::info!(partitions = partitions.len(), "partitions assigned");
                lanes.assigned(partitions);
                assigned
            }
            _ => {
                let lost = consumer.assignment_lost();
                tracing::info!(partitions = partitions.len(), lost, "partitions revoked");
                lanes.revoked(partitions, lost);
                consumer.incremental_unassign(list)
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "rebalance");
        }
    }
}

fn named(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|e| Partition { topic: e.topic().to_owned(), number: e.partition() }).collect()
}

/// A Kafka consumer.
#[derive(Clone)]
pub struct Source {
    consumer: Arc<BaseConsumer<Group>>,
    turn: Arc<Turn>,
    identities: tokio::sync::mpsc::UnboundedSender<IdentityRequest>,
}

/// Whose turn it is: the thread's that fetches and delivers, or a lane's that seeks.
#[derive(Debug, Default)]
struct Turn {
    taken: Mutex<()>,
    wanted: AtomicUsize,
}

type IdentityRequest = (String, tokio::sync::oneshot::Sender<Result<Uuid, IdentityError>>);

impl std::fmt::Debug for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Source")
    }
}

/// How long a question to the brokers may take.
const ANSWER: Duration = Duration::from_secs(10);
/// How long the group may take to let us go.
const LEAVE: Duration = Duration::from_secs(3);

impl Source {
    /// Opens a consumer with these connection properties; nothing is fetched yet.
    ///
    /// # Errors
    /// Where librdkafka refuses a property.
    pub fn open(mut config: ClientConfig, group: &str) -> Result<Source, SourceError> {
        for (key, default) in DEFAULTS {
            if config.get(key).is_none() {
                config.set(key, default);
            }
        }
        for (key, value) in FIXED {
            config.set(key, value);
        }
        let context = Group { lanes: OnceLock::new(), queue: OnceLock::new() };
        let consumer: BaseConsumer<Group> = config.set("group.id", group).create_with_context(context)?;
        let consumer = Arc::new(consumer);
        let (identities, requests) = tokio::sync::mpsc::unbounded_channel();
        tokio::spawn(answer_identities(Arc::downgrade(&consumer), requests));
        Ok(Source { consumer, turn: Arc::default(), identities })
    }

    /// Joins the group for these topics and fetches until `stop`; blocks the calling thread.
    ///
    /// # Errors
    /// Where the subscription is refused. Passing trouble with brokers is logged and outlived.
    pub(crate) fn run(
        &self,
        topics: &[String],
        lanes: Arc<dyn Lanes>,
        (budget, budget_bytes_max): (&Budget, usize),
        stop: &CancellationToken,
    ) -> Result<(), SourceError> {
        let context = self.consumer.context();
        let queue = context.queue.get_or_init(|| FetchQueue::new(self.consumer.client().native_ptr()));
        let lanes = context.lanes.get_or_init(|| lanes);
        let names: Vec<&str> = topics.iter().map(String::as_str).collect();
        self.consumer.subscribe(&names)?;
        while !stop.is_cancelled() {
            match self.consumer.poll(Duration::ZERO) {
                Some(Err(error)) => tracing::warn!(%error, "kafka"),
                Some(Ok(message)) => stray(lanes.as_ref(), &message),
                None => {}
            }
            if budget.held() > budget_bytes_max {
                std::thread::sleep(Duration::from_millis(2)); // librdkafka's own queue fills and then stops fetching
                continue;
            }
            if self.turn.wanted.load(Ordering::Relaxed) > 0 {
                std::thread::sleep(Duration::from_millis(1)); // a mutex is not fair: let the lanes that start go first
            }
            let _fetching = self.turn.taken.lock().unwrap_or_else(PoisonError::into_inner);
            queue.fetch(Duration::from_millis(10), |topic, partition, deliveries| {
                let Some(inbox) = lanes.inbox(topic, partition) else { return };
                inbox.deliver(|put| deliveries.for_each(|delivery| put(received(delivery))));
            });
        }
        let all = self.consumer.assignment().map(|list| named(&list)).unwrap_or_default();
        lanes.revoked(all, false);
        self.consumer.unsubscribe();
        self.leave();
        Ok(())
    }

    /// Waits until the group knows that we left: librdkafka says so only after the revocation was served, and
    /// unsaid it keeps the partitions from everybody else for a whole session.
    fn leave(&self) {
        let deadline = Instant::now() + LEAVE;
        while Instant::now() < deadline && self.consumer.assignment().is_ok_and(|list| list.count() > 0) {
            drop(self.consumer.poll(Duration::from_millis(20)));
        }
        drop(self.consumer.poll(Duration::from_millis(100))); // the request is on its way
    }

    /// Has a partition fetched from `offset` on; `open` is called between the seek and the first record that comes of
    /// it. No fetch is under way meanwhile, so no record from before the seek can pass for one from after it.
    pub(crate) fn start(
        &self,
        partition: &Partition,
        offset: i64,
        open: impl FnOnce(),
    ) -> Result<(), SourceError> {
        self.turn.wanted.fetch_add(1, Ordering::Relaxed);
        let turn = self.turn.taken.lock().unwrap_or_else(PoisonError::into_inner);
        self.turn.wanted.fetch_sub(1, Ordering::Relaxed);
        if let Err(error) =
            self.consumer.seek(&partition.topic, partition.number, Offset::Offset(offset), ANSWER)
        {
            // after an offset out of range librdkafka no longer fetches the partition: only assigning it anew helps
            tracing::debug!(%partition, %error, "cannot seek, assigning anew");
            let mut list = one(partition);
            self.consumer.incremental_unassign(&list)?;
            list.set_all_offsets(Offset::Offset(offset))?;
            self.consumer.incremental_assign(&list)?;
        }
        open();
        drop(turn);
        self.resume(partition)
    }

    pub(crate) fn pause(&self, partition: &Partition) -> Result<(), SourceError> {
        Ok(self.consumer.pause(&one(partition))?)
    }

    pub(crate) fn resume(&self, partition: &Partition) -> Result<(), SourceError> {
        Ok(self.consumer.resume(&one(partition))?)
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
        self.consumer.commit(&list, if wait { CommitMode::Sync } else { CommitMode::Async })?;
        Ok(())
    }

    /// The group's committed offset and the topic identity it was committed for. Blocks.
    pub(crate) fn committed(
        &self,
        partition: &Partition,
    ) -> Result<Option<(i64, Option<Uuid>)>, SourceError> {
        let list = self.consumer.committed_offsets(one(partition), ANSWER)?;
        Ok(list.elements().first().and_then(|e| match e.offset() {
            Offset::Offset(offset) => Some((offset, Uuid::parse_str(e.metadata()).ok())),
            _ => None,
        }))
    }

    /// The first retained offset, and the one that the next committed record will have. Blocks.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub fn watermarks(&self, partition: &Partition) -> Result<(i64, i64), SourceError> {
        Ok(self.consumer.fetch_watermarks(&partition.topic, partition.number, ANSWER)?)
    }

    /// Every partition of a topic. Blocks.
    ///
    /// # Errors
    /// Where Kafka does not answer or has no such topic.
    pub fn partitions(&self, topic: &str) -> Result<Vec<Partition>, SourceError> {
        let metadata = self.consumer.fetch_metadata(Some(topic), ANSWER)?;
        let found = metadata.topics().iter().find(|t| t.name() == topic);
        if let Some(error) = found.and_then(rdkafka::metadata::MetadataTopic::error) {
            let said = rdkafka::types::RDKafkaErrorCode::from(error).to_string();
            return Err(IdentityError::Topic { topic: topic.to_owned(), said }.into());
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

/// Answers all questions that are waiting with one request; those that come meanwhile wait for the next.
async fn answer_identities(
    consumer: std::sync::Weak<BaseConsumer<Group>>,
    mut requests: tokio::sync::mpsc::UnboundedReceiver<IdentityRequest>,
) {
    let mut waiting = Vec::new();
    let mut broker = None; // the controller; where it does not answer, the broker that did
    while requests.recv_many(&mut waiting, 1024).await > 0 {
        let Some(consumer) = consumer.upgrade() else { return };
        let mut topics: Vec<String> = waiting.iter().map(|(topic, _)| topic.clone()).collect();
        topics.sort_unstable();
        topics.dedup();
        let ask = move || describe_by_any(&consumer, &topics, broker);
        let asked = tokio::task::spawn_blocking(ask).await;
        let failed = |e: tokio::task::JoinError| (None, Err(IdentityError::Unanswered(e.to_string())));
        let (answered_by, answer) = asked.unwrap_or_else(failed);
        broker = answered_by;
        for (topic, reply) in waiting.drain(..) {
            let missing = || IdentityError::Unanswered(format!("nothing was said of {topic}"));
            let id = match &answer {
                Ok(ids) => ids.get(&topic).cloned().unwrap_or_else(|| Err(missing())),
                Err(error) => Err(error.clone()),
            };
            let _ = reply.send(id); // whoever asked may have gone
        }
    }
}

type Identities = Result<HashMap<String, Result<Uuid, IdentityError>>, IdentityError>;

/// Asks the broker that answered last, then the others: every broker knows the topics' ids.
fn describe_by_any(
    consumer: &BaseConsumer<Group>,
    topics: &[String],
    last: Option<i32>,
) -> (Option<i32>, Identities) {
    let client = consumer.client().native_ptr();
    let first = identity::describe(client, topics, last);
    if !matches!(first, Err(IdentityError::Unanswered(_))) {
        return (last, first);
    }
    let Ok(metadata) = consumer.fetch_metadata(topics.first().map(String::as_str), ANSWER) else {
        return (None, first);
    };
    for broker in metadata.brokers().iter().map(rdkafka::metadata::MetadataBroker::id) {
        let answer = identity::describe(client, topics, Some(broker));
        if answer.is_ok() {
            return (Some(broker), answer);
        }
    }
    (None, first)
}

fn one(partition: &Partition) -> TopicPartitionList {
    let mut list = TopicPartitionList::with_capacity(1);
    list.add_partition(&partition.topic, partition.number);
    list
}

fn received(delivery: Delivery<'_>) -> Put<'_> {
    match delivery {
        Delivery::Record(record) => Put::Record(record),
        Delivery::End(offset) => Put::End(offset),
        Delivery::Error(code, said) => Put::Failure(format!("{said} ({code:?})")),
    }
}

/// A record that came over the consumer's own queue, before its partition's queue was forwarded: it is one of ours.
fn stray(lanes: &dyn Lanes, message: &rdkafka::message::BorrowedMessage<'_>) {
    let Some(inbox) = lanes.inbox(message.topic(), message.partition()) else { return };
    let headers = message
        .headers()
        .map(|all| all.iter().map(|h| (h.key.to_owned(), h.value.map(<[u8]>::to_vec))).collect());
    let record = crate::slab::Record {
        offset: message.offset(),
        appended_at_ms: message.timestamp().to_millis().unwrap_or(-1),
        key: message.key(),
        value: message.payload(),
        headers: headers.unwrap_or_default(),
    };
    inbox.deliver(|put| put(Put::Record(record)));
}

/// What an operator may override.
const DEFAULTS: [(&str, &str); 8] = [
    ("client.id", "tally"),
    ("fetch.message.max.bytes", "1048576"),
    ("fetch.wait.max.ms", "100"),
    ("queued.max.messages.kbytes", "16384"), // over all partitions: their queues are forwarded into one
    ("queued.min.messages", "50000"),
    ("max.poll.interval.ms", "300000"),
    ("session.timeout.ms", "30000"),
    ("socket.keepalive.enable", "true"),
];

/// What exactly-once rests on.
const FIXED: [(&str, &str); 7] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"), // a lane decides where it starts, and records what it could not read
    ("isolation.level", "read_committed"),
    ("enable.partition.eof", "true"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("check.crcs", "true"),
];
