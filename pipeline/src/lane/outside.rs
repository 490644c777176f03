//! What a lane reaches outside of itself. All else in a lane decides, so a simulation need only stand in here.

use crate::clock;
use crate::source::{GapError, IdentityError, Partition, Source};
use crate::write::{Sink, Sinks, StepError};
use arrow_array::RecordBatch;
use std::time::Duration;
use tally_sinks::rows::{DeadLetter, Gap, Origin};
use tally_sinks::{Insert, Receipts, StoreError, Taken};
use uuid::Uuid;

/// What Kafka says of a partition before its lane starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Marks {
    /// The first retained offset.
    pub(crate) low: i64,
    /// The offset that the next committed record will have.
    pub(crate) high: i64,
    /// What the group has committed, and the identity it is an offset of.
    pub(crate) committed: Option<(i64, Option<Uuid>)>,
}

/// Kafka, ClickHouse and the dead-letter topic, as a lane asks them, and where it computes. Errors in words are for the log.
pub(crate) trait Outside: Sink + Send + Sync + 'static {
    /// The identity that the topic of that name has now; asked after this call.
    fn identity(&self, topic: &str) -> impl Future<Output = Result<Uuid, IdentityError>> + Send;
    /// True while the consumer has to be opened anew: no lane may start on it.
    fn is_stale(&self) -> bool;
    /// Watermarks and commit of a partition.
    fn marks(&self, partition: &Partition) -> impl Future<Output = Result<Marks, String>> + Send;
    /// Has a partition fetched from the offset that `open` names; called while nothing is delivered.
    fn fetch_from(
        &self,
        partition: &Partition,
        open: impl FnOnce() -> Option<i64> + Send + 'static,
    ) -> impl Future<Output = Result<(), String>> + Send;
    /// Has what is fetched of a partition wait, or delivered again; nothing is lost or fetched twice by that.
    fn hold(&self, partition: &Partition, holds: bool);
    /// Has a partition fetched no more.
    fn pause(&self, partition: &Partition) -> impl Future<Output = Result<(), String>> + Send;
    /// Reads offsets once more that seem to hold no record.
    fn read_again(
        &self,
        partition: &Partition,
        gaps: &[Gap],
    ) -> impl Future<Output = Result<(), GapError>> + Send;
    /// Commits `next` for this identity; waits for the answer only where `wait`.
    fn commit(
        &self,
        partition: &Partition,
        next: i64,
        topic_id: Uuid,
        wait: bool,
    ) -> impl Future<Output = Result<(), String>> + Send;
    /// What is settled of a partition from an offset on.
    fn receipts(
        &self,
        facts: &str,
        place: (Uuid, i32),
        from: i64,
    ) -> impl Future<Output = Result<Receipts, StoreError>> + Send;
    /// Whether an answer of the store may lack what was written before.
    fn may_lag(&self) -> bool;
    /// What was taken last of a partition below an offset.
    fn last_receipt(
        &self,
        place: (Uuid, i32),
        below: i64,
    ) -> impl Future<Output = Result<Option<Taken>, StoreError>> + Send;
    /// Computes beside those who wait.
    fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> impl Future<Output = Result<T, String>> + Send;
}

/// How long ClickHouse may take to say what it holds: of a long ledger that is a scan.
const ANSWER_MAX: Duration = Duration::from_secs(600);

/// The servers.
#[derive(Debug)]
pub(crate) struct Servers {
    pub(crate) source: Source,
    pub(crate) sinks: Sinks,
}

/// Calls of librdkafka block.
async fn beside<T: Send + 'static, E: ToString + Send + 'static>(
    work: impl FnOnce() -> Result<T, E> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| error.to_string())?;
    done.map_err(|error| error.to_string())
}

/// A connection that is dead without a word would say nothing for a quarter of an hour.
pub(crate) async fn in_time<T>(answer: impl Future<Output = Result<T, StoreError>>) -> Result<T, StoreError> {
    let unanswered = || Err(StoreError::Unanswered(format!("none in {ANSWER_MAX:?}")));
    clock::within(ANSWER_MAX, answer).await.unwrap_or_else(unanswered)
}

impl Outside for Servers {
    async fn identity(&self, topic: &str) -> Result<Uuid, IdentityError> {
        self.source.identity(topic).await
    }

    fn is_stale(&self) -> bool {
        self.source.is_stale()
    }

    async fn marks(&self, partition: &Partition) -> Result<Marks, String> {
        let (source, partition) = (self.source.clone(), partition.clone());
        beside(move || {
            let (low, high) = source.watermarks(&partition)?;
            source.committed(&partition).map(|committed| Marks { low, high, committed })
        })
        .await
    }

    async fn fetch_from(
        &self,
        partition: &Partition,
        open: impl FnOnce() -> Option<i64> + Send + 'static,
    ) -> Result<(), String> {
        let (source, partition) = (self.source.clone(), partition.clone());
        beside(move || source.start(&partition, open)).await
    }

    fn hold(&self, partition: &Partition, holds: bool) {
        self.source.hold(partition, holds);
    }

    async fn pause(&self, partition: &Partition) -> Result<(), String> {
        let (source, partition) = (self.source.clone(), partition.clone());
        beside(move || source.pause(&partition)).await
    }

    async fn read_again(&self, partition: &Partition, gaps: &[Gap]) -> Result<(), GapError> {
        self.source.read_again(partition, gaps).await
    }

    async fn commit(
        &self,
        partition: &Partition,
        next: i64,
        topic_id: Uuid,
        wait: bool,
    ) -> Result<(), String> {
        if !wait {
            return self.source.commit(partition, next, topic_id, false).map_err(|error| error.to_string());
        }
        let (source, partition) = (self.source.clone(), partition.clone());
        beside(move || source.commit(&partition, next, topic_id, true)).await
    }

    async fn receipts(&self, facts: &str, place: (Uuid, i32), from: i64) -> Result<Receipts, StoreError> {
        in_time(self.sinks.store.receipts(facts, place, from)).await
    }

    fn may_lag(&self) -> bool {
        self.sinks.store.has_replicas()
    }

    async fn last_receipt(&self, place: (Uuid, i32), below: i64) -> Result<Option<Taken>, StoreError> {
        in_time(self.sinks.store.last_receipt(place, below)).await
    }

    async fn compute<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, String> {
        let done = tokio::task::spawn_blocking(work).await;
        done.map_err(|error| match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic), // the lane's own, wherever it came
            Err(error) => error.to_string(),
        })
    }
}

impl Insert for Servers {
    async fn insert(&self, table: &str, token: &str, batches: &[RecordBatch]) -> Result<(), StoreError> {
        self.sinks.insert(table, token, batches).await
    }
}

impl Sink for Servers {
    async fn send(
        &self,
        origin: &Origin,
        letters: &[&DeadLetter],
        told: &(dyn Fn(&DeadLetter) + Sync),
    ) -> Result<(), StepError> {
        self.sinks.send(origin, letters, told).await
    }
}
