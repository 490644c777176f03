//! How far a one-off run has to come, whether Kafka still has what was taken on the way there, and when it is done.

use crate::lane::{Reached, first_unsettled, in_time, ledger_end, rewritten};
use crate::look::Way;
use crate::source::{IdentityError, Partition, Source, SourceError};
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use tally_sinks::{Store, StoreError, Taken};
use thiserror::Error;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Between two looks at what is committed.
const LOOK: Duration = Duration::from_millis(100);
/// Between two looks at whether that can be reached at all, or whether the ledger has what it lacked.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// So many of them in a row a log may end before its goal, or a topic be another or none: a broker that has just come back may not know yet.
const ODD_MAX: u32 = 6;

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
    /// A log ends before what was there when the run began.
    #[error(
        "{partition}: its log ended at {goal} when this run began, and ends at {high} now: Kafka lost records"
    )]
    Cut {
        /// Whose log.
        partition: Partition,
        /// Where it ends.
        high: i64,
        /// Where it ended.
        goal: i64,
    },
    /// A topic was deleted and created again.
    #[error("topic {topic} was created anew while this run read it: run it again for what the new one holds")]
    Anew {
        /// Its name.
        topic: String,
    },
    /// A topic was deleted.
    #[error("topic {topic} was deleted while this run read it: what it had cannot be caught up with")]
    Gone {
        /// Its name.
        topic: String,
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

/// How far a one-off run has to come in one partition: what comes later is not owed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// The contract of its topic.
    pub contract: Topic,
    /// Topic and number.
    pub partition: Partition,
    /// The topic's identity.
    pub topic_id: Uuid,
    /// The first retained offset when the run began.
    pub low: i64,
    /// The high watermark then.
    pub high: i64,
}

/// A goal that is not reached.
#[derive(Clone)]
struct Open {
    goal: Goal,
    /// When the ledger did not bear out what was committed: a commit alone does not say that it is reached.
    lacked: Option<Instant>,
    /// So many looks in a row it could not be reached.
    odd: u32,
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
        goals.push(beside(move || goal(&source, (contract, partition), topic_id, last)).await??);
    }
    Ok(goals)
}

fn goal(
    source: &Source,
    (contract, partition): (Topic, Partition),
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
            Ok(_) => return Err(CatchUpError::Waits { partition, why: rewritten(offset) }),
            // retention may have taken it meanwhile
            Err(said) if source.watermarks(&partition)?.0 <= offset => {
                return Err(CatchUpError::Unread { partition, offset, said });
            }
            Err(_) => {}
        }
    }
    Ok(Goal { contract, partition, topic_id, low, high })
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
    let open = goals.into_iter().map(|goal| Open { goal, lacked: None, odd: 0 });
    let (mut open, mut ways) = (open.collect::<Vec<_>>(), Vec::new());
    let mut looked = Instant::now();
    while !open.is_empty() {
        tokio::time::sleep(LOOK).await;
        if let Some((partition, why)) = waits() {
            stop.cancel();
            return Err(CatchUpError::Waits { partition, why });
        }
        let (asked, pending) = (source.clone(), open.clone());
        let ask = move || {
            let each = pending.into_iter().map(|one| (one.goal.reached(&asked), one));
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
        for (reached, mut one) in asked {
            match reached {
                Some(Reached { next, .. }) if one.is_there(&store, next).await => {
                    ways.push((one.goal.partition, reached));
                }
                _ => open.push(one),
            }
        }
        if looked.elapsed() >= LOOK_AGAIN && !open.is_empty() {
            looked = Instant::now();
            if let Err(error) = can_be_reached(&source, &mut open).await {
                stop.cancel();
                return Err(error);
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

/// Whether the logs still are those that the goals are offsets of, and come so far. Who cannot be asked is asked again.
async fn can_be_reached(source: &Source, open: &mut [Open]) -> Result<(), CatchUpError> {
    let names = open.iter().map(|Open { goal, .. }| format!("{} to {}", goal.partition, goal.high));
    tracing::debug!(open = names.collect::<Vec<_>>().join(", "), "not caught up yet");
    for Open { goal, odd, .. } in open {
        let topic = goal.partition.topic.clone();
        let (asked, partition) = (source.clone(), goal.partition.clone());
        let found = match source.identity(&topic).await {
            Ok(id) if id != goal.topic_id => Err(CatchUpError::Anew { topic }),
            Err(IdentityError::Topic { unknown: true, .. }) => Err(CatchUpError::Gone { topic }),
            Err(_) => continue,
            Ok(_) => match beside(move || asked.watermarks_now(&partition)).await? {
                Err(_) => continue,
                Ok((_, high)) if high >= goal.high => Ok(()),
                Ok((_, high)) => {
                    Err(CatchUpError::Cut { partition: goal.partition.clone(), high, goal: goal.high })
                }
            },
        };
        *odd = if found.is_err() { *odd + 1 } else { 0 };
        if *odd >= ODD_MAX {
            return found;
        }
    }
    Ok(())
}

impl Open {
    /// Whether what is committed up to `next` is in the ledger, too. One that is not known is asked for again.
    async fn is_there(&mut self, store: &Store, next: i64) -> bool {
        if store.has_replicas() {
            return true; // one that lags cannot be told from one that lacks
        }
        if self.lacked.is_some_and(|at| at.elapsed() < LOOK_AGAIN) {
            return false;
        }
        let is_there = in_time(self.goal.bears_out(store, next)).await.is_ok_and(|whole| whole);
        self.lacked = (!is_there).then(Instant::now);
        is_there
    }
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
