//! The log as the feed reads it: valid events of all four topics, judged exactly as the route judges them.
//!
//! A thread reads Kafka ([`crate::source`], `tail.rs`) and hands over slabs; whoever asks for the next batch has them
//! decoded with the same [`Reader`] and the same schemas. A record that the route would refuse is passed over and still
//! moves the offset. No group, no commit: any number of tails may run beside each other.

use crate::registry::{Registry, RegistryError};
use crate::slab::Slab;
use crate::source::{IdentityError, Partition, Source, SourceError, TailEnd};
use crate::writers::{Book, named_in};
use arrow_array::RecordBatch;
use std::sync::Arc;
use std::time::Duration;
use tally_schemas::{Messages, Reader, Topic};
use thiserror::Error;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Slabs that wait for whoever reads; with librdkafka's queue the memory of one tail.
const SLABS_WAITING_MAX: usize = 8;
/// How long the reading thread waits for a record before it looks whether anybody still listens.
const WAIT_MS: u64 = 100;

/// One partition, with the identity of its topic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogPartition {
    /// Its contract.
    pub contract: Topic,
    /// The topic's identity.
    pub topic_id: Uuid,
    /// Topic and number in Kafka.
    pub at: Partition,
}

/// Valid events of one partition, in order, and how far reading has come.
#[derive(Debug)]
pub struct TailBatch {
    /// Which of the partitions given.
    pub place: usize,
    /// The events, in the topic's shape.
    pub events: RecordBatch,
    /// The offset of each.
    pub offsets: Vec<i64>,
    /// The Kafka timestamp of each, milliseconds since 1970 UTC.
    pub appended_at_ms: Vec<i64>,
    /// The offset after the last that was read, valid or not.
    pub next: i64,
}

/// Why there is no next batch.
#[derive(Debug, Error)]
pub enum EventTailError {
    /// Retention took an offset that was to be read.
    #[error("Kafka no longer has an offset that was to be read")]
    Expired,
    /// Kafka refused or did not answer.
    #[error("reading the topics: {0}")]
    Read(String),
    /// Kafka refused or did not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// A topic's identity is not known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The registry does not answer: nothing can be said of the data.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// Rows could not be made.
    #[error("rows could not be made: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A thread of ours ended.
    #[error("a thread ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

/// The four topics in one Kafka.
#[derive(Clone, Debug)]
pub struct EventLog {
    source: Source,
    topics: [(Topic, String); 4],
    books: Arc<[Book; 4]>,
    value_bytes_max: usize,
}

impl EventLog {
    /// The topics that these connection settings name.
    ///
    /// # Errors
    /// Where librdkafka refuses a property.
    pub fn open(
        kafka: &crate::config::Kafka,
        registry: Option<Arc<Registry>>,
        value_bytes_max: usize,
    ) -> Result<EventLog, EventTailError> {
        let config = kafka.client().map_err(EventTailError::Read)?;
        let source = Source::open(config, &kafka.group)?;
        let topics = Topic::ALL.map(|contract| (contract, kafka.topic(contract)));
        let books = Arc::new(Topic::ALL.map(|contract| Book::new(contract, registry.clone())));
        Ok(EventLog { source, topics, books, value_bytes_max })
    }

    /// Every partition of the four topics, in a fixed order: that of the contracts, then of the numbers.
    ///
    /// # Errors
    /// Where Kafka does not answer or lacks a topic.
    pub async fn partitions(&self) -> Result<Vec<LogPartition>, EventTailError> {
        let mut all = Vec::new();
        for (contract, name) in &self.topics {
            let (source, topic) = (self.source.clone(), name.clone());
            let found = tokio::task::spawn_blocking(move || source.partitions(&topic)).await?;
            if found.is_err() {
                self.source.admitted().await?; // a refusal says more than the silence that it looks like
            }
            let mut found = found?;
            found.sort_by_key(|at| at.number);
            let topic_id = self.source.identity(name).await?;
            all.extend(found.into_iter().map(|at| LogPartition { contract: *contract, topic_id, at }));
        }
        Ok(all)
    }

    /// The identity that a topic has now.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub async fn identity(&self, topic: &str) -> Result<Uuid, EventTailError> {
        Ok(self.source.identity(topic).await?)
    }

    /// The first retained offset of each, and the one that the next committed record will have.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub async fn bounds(&self, partitions: &[LogPartition]) -> Result<Vec<(i64, i64)>, EventTailError> {
        let (source, all) = (self.source.clone(), partitions.to_vec());
        let ask = move || all.iter().map(|one| source.watermarks_now(&one.at)).collect::<Result<Vec<_>, _>>();
        Ok(tokio::task::spawn_blocking(ask).await??)
    }

    /// Reads partitions from offsets on: `from` holds places in `partitions` and an offset each.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub async fn read(
        &self,
        partitions: &[LogPartition],
        from: &[(usize, i64)],
    ) -> Result<EventTail, EventTailError> {
        let named =
            from.iter().filter_map(|(place, offset)| Some((partitions.get(*place)?.at.clone(), *offset)));
        let (source, list): (_, Vec<_>) = (self.source.clone(), named.collect());
        let mut reader = tokio::task::spawn_blocking(move || source.tail(&list)).await??;
        let (sender, slabs) = mpsc::channel(SLABS_WAITING_MAX);
        std::thread::spawn(move || {
            while !sender.is_closed() {
                let mut gone = false;
                let read = reader.read(Duration::from_millis(WAIT_MS), |at, slab| {
                    gone = gone || sender.blocking_send(Ok((at.clone(), slab))).is_err();
                });
                if let Err(end) = read {
                    let _ = sender.blocking_send(Err(end)); // whoever asked may have gone
                    return;
                }
            }
        });
        let readers = Topic::ALL.map(|contract| Reader::new(contract, self.value_bytes_max));
        Ok(EventTail {
            partitions: partitions.to_vec(),
            books: self.books.clone(),
            readers,
            slabs,
            held: None,
        })
    }
}

/// Partitions being read.
#[derive(Debug)]
pub struct EventTail {
    partitions: Vec<LogPartition>,
    books: Arc<[Book; 4]>,
    readers: [Reader; 4],
    slabs: mpsc::Receiver<Result<(Partition, Slab), TailEnd>>,
    /// Taken and not yet decoded: the future that was about to may be dropped.
    held: Option<(usize, Slab)>,
}

impl EventTail {
    /// Waits for the next batch. A future that is dropped loses nothing.
    ///
    /// # Errors
    /// See [`EventTailError`]; after one of Kafka the tail has ended, after one of the registry it may be asked again.
    pub async fn next(&mut self) -> Result<TailBatch, EventTailError> {
        while self.held.is_none() {
            let (at, slab) = match self.slabs.recv().await {
                Some(Ok(taken)) => taken,
                Some(Err(TailEnd::Expired)) => return Err(EventTailError::Expired),
                Some(Err(TailEnd::Failed(said))) => return Err(EventTailError::Read(said)),
                None => return Err(ended()),
            };
            let place = self.partitions.iter().position(|one| one.at == at);
            self.held = place.map(|place| (place, slab));
        }
        let Some((place, slab)) = &self.held else { return Err(ended()) };
        let contract = self.partitions.get(*place).map_or(Topic::Task, |one| one.contract);
        let lane = Topic::ALL.iter().position(|topic| *topic == contract).unwrap_or(0);
        let (Some(book), Some(reader)) = (self.books.get(lane), self.readers.get_mut(lane)) else {
            return Err(ended());
        };
        let writers = book.resolve(named_in(slab)).await?;
        let appended: Vec<i64> = slab.appended_at_ms().collect();
        let values: Vec<Option<&[u8]>> = slab.values().collect();
        let read = reader.read(Messages { values: &values, appended_at_ms: &appended }, &writers)?;
        let offsets: Vec<i64> = slab.offsets().collect();
        let of = |all: &[i64]| read.places.iter().filter_map(|p| all.get(*p as usize).copied()).collect();
        let batch = TailBatch {
            place: *place,
            offsets: of(&offsets),
            appended_at_ms: of(&appended),
            events: read.events,
            next: slab.next(),
        };
        self.held = None;
        Ok(batch)
    }
}

fn ended() -> EventTailError {
    EventTailError::Read("the reading thread ended".to_owned())
}
