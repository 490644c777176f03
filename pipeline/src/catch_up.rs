//! How far a one-off run has to come, whether Kafka still has what was taken on the way there, and when it is done.

use crate::lane::{Reached, first_unsettled, ledger_end, rewritten};
use crate::look::Way;
use crate::source::{IdentityError, Partition, Source, SourceError};
use std::time::Duration;
use tally_schemas::Topic;
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

/// A partition, the identity of its topic, and the watermarks that it had.
#[derive(Clone)]
pub(crate) struct Goal {
    contract: Topic,
    partition: Partition,
    topic_id: Uuid,
    low: i64,
    high: i64,
    /// The ledger lacks what was committed: a commit alone does not say that it is reached.
    is_lacking: bool,
}

/// The high watermarks of all partitions now; none of a log that is not the one that was taken, which nobody could catch up with.
pub(crate) async fn goals(
    source: &Source,
    store: &Store,
    topics: &[(Topic, String)],
) -> Result<Vec<Goal>, CatchUpError> {
    let mut goals = Vec::new();
    for (contract, topic) in topics {
        loop {
            let topic_id = source.identity(topic).await?;
            let found = of_topic(source, store, (*contract, topic), topic_id).await;
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
    (contract, topic): (Topic, &str),
    topic_id: Uuid,
) -> Result<Vec<Goal>, CatchUpError> {
    let (asked, name) = (source.clone(), topic.to_owned());
    let mut goals = Vec::new();
    for partition in beside(move || asked.partitions(&name)).await?? {
        let last = store.last_receipt((topic_id, partition.number), i64::MAX).await?;
        let source = source.clone();
        let found = beside(move || goal(&source, (contract, partition), topic_id, last)).await??;
        let (mut goal, committed) = found;
        goal.is_lacking = !store.has_replicas() && !goal.bears_out(store, committed).await?;
        goals.push(goal);
    }
    Ok(goals)
}

/// With the offset that the group has committed.
fn goal(
    source: &Source,
    (contract, partition): (Topic, Partition),
    topic_id: Uuid,
    last: Option<Taken>,
) -> Result<(Goal, i64), CatchUpError> {
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
            Ok(_) => return Err(CatchUpError::Waits { partition, why: rewritten(offset) }),
            // retention may have taken it meanwhile
            Err(said) if source.watermarks(&partition)?.0 <= offset => {
                return Err(CatchUpError::Unread { partition, offset, said });
            }
            Err(_) => {}
        }
    }
    Ok((Goal { contract, partition, topic_id, low, high, is_lacking: false }, committed))
}

/// Stops once the group, all instances together, has committed up to the goals, and says how far that is: a run may end before
/// a lane of its own has started, where others had taken everything. Stops, too, where a lane of this instance waits for an operator.
pub(crate) async fn catch_up(
    source: Source,
    store: Store,
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
            let each = pending.into_iter().map(|one| (one.reached(&source), one));
            each.collect::<Vec<_>>()
        };
        let asked = match beside(ask).await {
            Ok(asked) => asked,
            Err(error) => {
                tracing::warn!(%error, "asking for commits");
                continue;
            }
        };
        open = Vec::new();
        for (reached, one) in asked {
            let is_there = match &reached {
                // one that cannot be asked is asked again
                Some(Reached { next, .. }) if one.is_lacking => {
                    one.bears_out(&store, *next).await.is_ok_and(|whole| whole)
                }
                reached => reached.is_some(),
            };
            match is_there {
                true => ways.push((one.partition, reached)),
                false => open.push(one),
            }
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
    /// Whether the ledger bears out what was committed: a lane would not start before that.
    async fn bears_out(&self, store: &Store, committed: i64) -> Result<bool, StoreError> {
        let place = (self.topic_id, self.partition.number);
        let from = ledger_end(store.last_receipt(place, committed).await?, self.low, committed);
        if from >= committed {
            return Ok(true);
        }
        let done = store.receipts(self.contract.table(), place, from).await?.done;
        Ok(first_unsettled(from, self.low, true, &done).0 >= committed)
    }

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
