//! `tally replay`: reads a range of a topic once more, says what the store lacks of it, and fills that in.
//!
//! What stands in the ledger stays: a receipt is never written anew, and a row is restored only where today's judgement
//! says what its receipt says. Offsets without a receipt are taken as a lane takes them, with the lane's own code.

mod stretch;
mod survey;

pub use survey::Survey;

use crate::config::Sections;
use crate::registry::RegistryError;
use crate::source::{IdentityError, Partition, Source, SourceError};
use crate::write::{Sinks, StepError};
use crate::writers::Book;
use std::sync::Arc;
use stretch::Stretch;
use tally_schemas::Topic;
use tally_sinks::{DeadTopic, Store, StoreError};
use thiserror::Error;
use uuid::Uuid;

/// Which part of a topic.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Range {
    /// Offsets [from, to) of one partition.
    Offsets {
        /// Partition.
        partition: i32,
        /// First offset.
        from: i64,
        /// The offset after the last.
        to: i64,
    },
    /// Records of every partition appended in [from, to), milliseconds since 1970 UTC.
    Times {
        /// From when.
        from_ms: i64,
        /// Until when.
        to_ms: i64,
    },
}

/// Why a range was not replayed, or not to its end. What was written by then stands; replaying again goes on.
#[derive(Debug, Error)]
pub enum ReplayError {
    /// The configuration does not hold together.
    #[error("{0}")]
    Config(String),
    /// The topic is none of the configured ones.
    #[error("{topic} is none of the topics {known}: check --topic-prefix")]
    Topic {
        /// What was given.
        topic: String,
        /// What there is.
        known: String,
    },
    /// There is no such partition.
    #[error("{0} does not exist")]
    Partition(Partition),
    /// Kafka no longer has the range, or not yet.
    #[error("{at}: offsets {from} up to {to} are asked for, {low} up to {high} are retained")]
    Range {
        /// The partition.
        at: Partition,
        /// First offset wanted.
        from: i64,
        /// The offset after the last wanted.
        to: i64,
        /// First retained offset.
        low: i64,
        /// The offset after the last retained.
        high: i64,
    },
    /// Nothing that Kafka retains was appended in that time.
    #[error("nothing that {0} retains was appended in that time")]
    Empty(String),
    /// Kafka refused or did not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The topic's identity is not known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// A record is stored as a fact, has no receipt, and is refused today.
    #[error("{0}")]
    Contradiction(String),
    /// The partition could not be read to the end of the range.
    #[error("{0}")]
    Read(String),
    /// The topic was deleted and created again under the replay: what was read of it is not judged.
    #[error("{0} was deleted and created again meanwhile; replay again")]
    Recreated(String),
    /// The registry does not answer: nothing can be said of the data.
    #[error(transparent)]
    Registry(#[from] RegistryError),
    /// The store refused or did not answer.
    #[error("ClickHouse")]
    Store(#[from] StoreError),
    /// A step was tried several times in vain.
    #[error("writing {step}; {remedy}")]
    Step {
        /// The step.
        step: &'static str,
        /// What an operator can do.
        remedy: &'static str,
        /// The last answer.
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Rows could not be made.
    #[error("rows could not be made: {0}")]
    Arrow(#[from] arrow_schema::ArrowError),
    /// A thread of ours ended.
    #[error("judging ended: {0}")]
    Thread(#[from] tokio::task::JoinError),
}

impl ReplayError {
    fn step(step: &'static str, error: StepError) -> ReplayError {
        ReplayError::Step { step, remedy: error.retry().1, source: Box::new(error) }
    }
}

/// Looks a range through, and with `execute` fills in what is missing. One survey for each partition that has some of
/// the range, in the order of partitions.
///
/// # Errors
/// See [`ReplayError`].
pub async fn replay(
    sections: &Sections,
    store: &Store,
    (topic, range): (&str, Range),
    execute: bool,
) -> Result<Vec<Survey>, ReplayError> {
    let Sections { kafka, registry, bounds, .. } = sections;
    let contract = Topic::ALL.into_iter().find(|contract| kafka.topic(*contract) == topic);
    let known = || Topic::ALL.map(|contract| kafka.topic(contract)).join(", ");
    let contract = contract.ok_or_else(|| ReplayError::Topic { topic: topic.to_owned(), known: known() })?;
    let client = kafka.client().map_err(ReplayError::Config)?;
    let source = Source::open(client.clone(), &kafka.group)?;
    source.admitted().await?;
    let topic_id = source.identity(topic).await?;
    let (asked, name) = (source.clone(), topic.to_owned());
    let ranges = tokio::task::spawn_blocking(move || resolve(&asked, &name, range)).await??;
    let dead_topic = DeadTopic::new(client).map_err(SourceError::from)?;
    let stretch = Stretch {
        book: Book::new(contract, registry.client()?.map(Arc::new)),
        source,
        sinks: Sinks { store: store.clone(), dead_topic },
        contract,
        topic_id,
        bounds: bounds.clone(),
        // a token of its own: ClickHouse may still remember the block's, whose rows were deleted since
        run: execute.then(Uuid::now_v7),
    };
    let mut surveys = Vec::with_capacity(ranges.len());
    for (partition, offsets) in ranges {
        surveys.push(stretch.take(&partition, offsets).await?);
    }
    Ok(surveys)
}

/// The offsets that are meant, partition by partition, held against what is retained.
fn resolve(
    source: &Source,
    topic: &str,
    range: Range,
) -> Result<Vec<(Partition, std::ops::Range<i64>)>, ReplayError> {
    let partitions = source.partitions(topic)?;
    match range {
        Range::Offsets { partition, from, to } => {
            let at = Partition { topic: topic.to_owned(), number: partition };
            if !partitions.contains(&at) {
                return Err(ReplayError::Partition(at));
            }
            let (low, high) = source.watermarks(&at)?;
            match low <= from && from < to && to <= high {
                true => Ok(vec![(at, from..to)]),
                false => Err(ReplayError::Range { at, from, to, low, high }),
            }
        }
        Range::Times { from_ms, to_ms } => {
            let mut ranges = Vec::new();
            for at in partitions {
                let (low, high) = source.watermarks(&at)?;
                let from = source.offset_at(&at, from_ms)?.unwrap_or(high).max(low);
                let to = source.offset_at(&at, to_ms)?.unwrap_or(high).min(high);
                ranges.extend((from < to).then_some((at, from..to)));
            }
            ranges.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            match ranges.is_empty() {
                true => Err(ReplayError::Empty(topic.to_owned())),
                false => Ok(ranges),
            }
        }
    }
}
