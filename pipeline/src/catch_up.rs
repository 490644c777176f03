//! How far a one-off run has to come, whether Kafka still has what was taken on the way there, and when it is done.

use crate::lane::Reached;
use crate::look::Way;
use crate::source::{IdentityError, Partition, Source, SourceError};
use std::time::Duration;
use tally_sinks::{Store, StoreError, Taken};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Between two looks at what is committed.
const LOOK: Duration = Duration::from_millis(100);

/// Why a one-off run cannot catch up.
#[derive(Debug, Error)]
pub enum CatchUpError {
    /// Kafka does not say which topic it is.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// Kafka did not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The store did not say what was taken.
    #[error("what was taken is not known: {0}")]
    Store(#[from] StoreError),
    /// A log ends before what was taken of it.
    #[error(
        "{partition}: its log ends at {high} and was taken up to {taken}: Kafka lost records, or has not yet found them again; \
         what it has now cannot be caught up with"
    )]
    Short {
        /// Whose log.
        partition: Partition,
        /// Where it ends.
        high: i64,
        /// The offset after the last that was taken.
        taken: i64,
    },
    /// The record that was taken last could not be read again.
    #[error("{partition}: the record at {offset} was taken last and could not be read again: {said}")]
    Unread {
        /// Whose log.
        partition: Partition,
        /// Its offset.
        offset: i64,
        /// What Kafka said.
        said: String,
    },
    /// A partition waits for an operator.
    #[error("{partition} waits for an operator: {why}")]
    Waits {
        /// Which one.
        partition: Partition,
        /// What for.
        why: String,
    },
    /// What asked the servers died.
    #[error("asking the servers: {0}")]
    Thread(String),
}

/// A partition, the identity of its topic, and the high watermark that it had.
#[derive(Clone)]
pub(crate) struct Goal {
    partition: Partition,
    topic_id: Uuid,
    high: i64,
}

/// The high watermarks of all partitions now; none of a log that is not the one that was taken, which nobody could catch up with.
pub(crate) async fn goals(
    source: &Source,
    store: &Store,
    topics: &[String],
) -> Result<Vec<Goal>, CatchUpError> {
    let mut goals = Vec::new();
    for topic in topics {
        loop {
            let topic_id = source.identity(topic).await?;
            let found = of_topic(source, store, topic, topic_id).await;
            // offsets of a topic that was created anew meanwhile are those of another log
            if source.identity(topic).await? == topic_id {
                goals.extend(found?);
                break;
            }
        }
    }
    Ok(goals)
}

async fn of_topic(
    source: &Source,
    store: &Store,
    topic: &str,
    topic_id: Uuid,
) -> Result<Vec<Goal>, CatchUpError> {
    let (asked, name) = (source.clone(), topic.to_owned());
    let mut goals = Vec::new();
    for partition in beside(move || asked.partitions(&name)).await?? {
        let last = store.last_receipt((topic_id, partition.number), i64::MAX).await?;
        let source = source.clone();
        goals.push(beside(move || goal(&source, partition, topic_id, last)).await??);
    }
    Ok(goals)
}

fn goal(
    source: &Source,
    partition: Partition,
    topic_id: Uuid,
    last: Option<Taken>,
) -> Result<Goal, CatchUpError> {
    // before the watermarks: others may go on taking meanwhile. One that is not known is not missed
    let committed = source.committed(&partition).ok().flatten();
    let committed = committed.filter(|(_, id)| *id == Some(topic_id)).map_or(0, |(next, _)| next);
    let taken = last.map_or(0, |last| last.offset + 1).max(committed);
    let (low, high) = source.watermarks(&partition)?;
    if taken > high {
        return Err(CatchUpError::Short { partition, high, taken });
    }
    if let Some(Taken { offset, raw_sha256 }) = last.filter(|last| last.offset >= low) {
        match source.digest_at(&partition, offset) {
            Ok(stands) if stands.is_none_or(|stands| stands == raw_sha256) => {}
            Ok(_) => return Err(CatchUpError::Waits { partition, why: crate::lane::rewritten(offset) }),
            Err(said) => return Err(CatchUpError::Unread { partition, offset, said }),
        }
    }
    Ok(Goal { partition, topic_id, high })
}

/// Stops once the group, all instances together, has committed up to the goals, and says how far that is: a run may end before
/// a lane of its own has started, where others had taken everything. Stops, too, where a lane of this instance waits for an operator.
pub(crate) async fn catch_up(
    source: Source,
    goals: Vec<Goal>,
    waits: impl Fn() -> Option<(Partition, String)>,
    stop: CancellationToken,
) -> Result<Vec<Way>, CatchUpError> {
    let (mut open, mut ways) = (goals, Vec::new());
    while !open.is_empty() {
        tokio::time::sleep(LOOK).await;
        if let Some((partition, why)) = waits() {
            stop.cancel();
            return Err(CatchUpError::Waits { partition, why });
        }
        let (source, pending) = (source.clone(), open.clone());
        let ask = move || {
            let each = pending.into_iter().map(|one| match one.reached(&source) {
                Some(reached) => Ok((one.partition, Some(reached))),
                None => Err(one),
            });
            each.partition::<Vec<_>, _>(Result::is_ok)
        };
        match beside(ask).await {
            Ok((reached, still)) => {
                ways.extend(reached.into_iter().flatten());
                open = still.into_iter().filter_map(Result::err).collect();
            }
            Err(error) => tracing::warn!(%error, "asking for commits"),
        }
    }
    stop.cancel();
    Ok(ways)
}

/// Calls of librdkafka block.
async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, CatchUpError> {
    tokio::task::spawn_blocking(work).await.map_err(|error| CatchUpError::Thread(error.to_string()))
}

impl Goal {
    /// How far the group has committed it, if that is far enough. A commit under another identity, or none, is not ours, and no
    /// lane believes it.
    fn reached(&self, source: &Source) -> Option<Reached> {
        let topic_id = self.topic_id;
        let next = match source.committed(&self.partition) {
            Ok(Some((next, Some(id)))) if id == topic_id => next,
            _ => 0,
        };
        (next >= self.high).then_some(Reached { topic_id, next })
    }
}
