//! The event log that the feed reads. Kafka stands behind it in production; this crate does not know that.

use arrow_array::RecordBatch;
use async_trait::async_trait;
use sha2::{Digest, Sha256};
use tally_schemas::Topic;
use thiserror::Error;
use uuid::Uuid;

/// Bytes of a log's identity within a cursor.
pub(super) const IDENTITY_BYTES: usize = 8;

/// One partition of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPartition {
    /// Its contract.
    pub contract: Topic,
    /// The topic's name in Kafka.
    pub topic: String,
    /// The topic's identity: another one after it was deleted and created again.
    pub topic_id: Uuid,
    /// The partition's number within its topic.
    pub number: i32,
}

/// All partitions of the log, in an order that every replica has alike.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    partitions: Vec<LogPartition>,
    identity: [u8; IDENTITY_BYTES],
}

impl Shape {
    /// A log of these partitions. They are put in order: contracts, then numbers.
    pub fn new(mut partitions: Vec<LogPartition>) -> Shape {
        partitions.sort_by_key(|one| (one.contract, one.number));
        let mut hash = Sha256::new();
        hash.update(b"tally feed log 1\n");
        for one in &partitions {
            hash.update(one.topic_id.as_bytes());
            hash.update(one.number.to_le_bytes());
        }
        let mut identity = [0; IDENTITY_BYTES];
        identity.iter_mut().zip(hash.finalize()).for_each(|(to, from)| *to = from);
        Shape { partitions, identity }
    }

    /// The partitions; a partition's place in this list is what `place` means everywhere here.
    pub fn partitions(&self) -> &[LogPartition] {
        &self.partitions
    }

    /// What a cursor of this log bears.
    pub(super) fn identity(&self) -> [u8; IDENTITY_BYTES] {
        self.identity
    }
}

/// What a partition holds now: offsets from `low` on, and `high` is the next one to come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// First retained offset.
    pub low: i64,
    /// The offset after the last committed record.
    pub high: i64,
}

/// Valid events of one partition, in order, and how far reading has come.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Which partition.
    pub place: usize,
    /// The events, in the topic's shape ([`tally_schemas::arrow_schema`]).
    pub events: RecordBatch,
    /// The offset of each.
    pub offsets: Vec<i64>,
    /// When each was appended, milliseconds since 1970 UTC.
    pub appended_at_ms: Vec<i64>,
    /// The offset after the last that was read, whether it held a valid event or not.
    pub next: i64,
}

/// Why the log gives nothing.
#[derive(Debug, Error)]
pub enum LogError {
    /// Retention took an offset that was asked for.
    #[error("the log no longer has an offset that was asked for")]
    Evicted,
    /// It does not answer; it may later.
    #[error("the log does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// The log: four topics, each in partitions.
#[async_trait]
pub trait EventLog: Send + Sync + 'static {
    /// Which partitions it has now.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn shape(&self) -> Result<Shape, LogError>;

    /// What each partition holds now.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn bounds(&self, shape: &Shape) -> Result<Vec<Bounds>, LogError>;

    /// Reads every partition from an offset on: `from` has one for each. At the end of a partition the reader waits.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn read(&self, shape: &Shape, from: &[i64]) -> Result<Box<dyn LogReader>, LogError>;
}

/// A reader of all partitions at once.
#[async_trait]
pub trait LogReader: Send {
    /// Waits for the next batch. A future that is dropped before it is ready loses nothing.
    ///
    /// # Errors
    /// See [`LogError`].
    async fn next(&mut self) -> Result<Batch, LogError>;
}
