//! Writing a judged block: five steps in this order, each of which may be the last one before a crash.

use crate::judge::Block;
use crate::lane::LaneState;
use arrow_array::RecordBatch;
use std::sync::atomic::{AtomicU64, Ordering};
use tally_sinks::fault::{self, Point};
use tally_sinks::rows::{DeadLetter, Origin};
use tally_sinks::{DeadTopic, DeadTopicError, Insert, Refused, Retry, Store, StoreError, bisect, rows};
use thiserror::Error;

/// One step. The last one is the receipt: it attests what the others did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// Accepted events into their fact table.
    Facts,
    /// Dead letters into their table: whoever goes on after a crash finds them there, and judges them no more.
    DeadLetters,
    /// Dead letters to `<topic>.dead`, acknowledged.
    DeadTopic,
    /// Offsets that hold no record.
    Gaps,
    /// One row for every offset taken.
    Receipts,
}

/// Why a step is not done.
#[derive(Debug, Error)]
pub(crate) enum StepError {
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    DeadTopic(#[from] DeadTopicError),
}

/// Where the steps put a block.
pub(crate) trait Sink: Insert {
    /// Tells the dead-letter topic, and waits until it has acknowledged every letter; `told` hears of each.
    fn send(
        &self,
        origin: &Origin,
        letters: &[&DeadLetter],
        told: &(dyn Fn(&DeadLetter) + Sync),
    ) -> impl Future<Output = Result<(), StepError>> + Send;
}

/// ClickHouse and the dead-letter topic.
#[derive(Debug)]
pub(crate) struct Sinks {
    pub(crate) store: Store,
    pub(crate) dead_topic: DeadTopic,
}

impl Insert for Sinks {
    async fn insert(&self, table: &str, token: &str, batches: &[RecordBatch]) -> Result<(), StoreError> {
        self.store.insert(table, token, batches).await
    }
}

impl Sink for Sinks {
    async fn send(
        &self,
        origin: &Origin,
        letters: &[&DeadLetter],
        told: &(dyn Fn(&DeadLetter) + Sync),
    ) -> Result<(), StepError> {
        Ok(self.dead_topic.send(origin, letters, told).await?)
    }
}

/// A sink, and how often it has answered within one step: who looks for a refused row asks many times, and long. Letters that the
/// dead-letter topic has are not sent again.
pub(crate) struct Heard<'a, S> {
    sink: &'a S,
    answers: &'a AtomicU64,
    state: &'a LaneState,
}

impl<'a, S> Heard<'a, S> {
    pub(crate) fn new(sink: &'a S, answers: &'a AtomicU64, state: &'a LaneState) -> Heard<'a, S> {
        Heard { sink, answers, state }
    }
}

impl<S: Sink + Sync> Insert for Heard<'_, S> {
    async fn insert(&self, table: &str, token: &str, batches: &[RecordBatch]) -> Result<(), StoreError> {
        let answer = self.sink.insert(table, token, batches).await;
        self.answers.fetch_add(1, Ordering::Relaxed);
        answer
    }
}

impl<S: Sink + Sync> Sink for Heard<'_, S> {
    async fn send(
        &self,
        origin: &Origin,
        letters: &[&DeadLetter],
        told: &(dyn Fn(&DeadLetter) + Sync),
    ) -> Result<(), StepError> {
        let left = self.state.letters().not_sent(origin.topic_id, letters);
        let heard = |letter: &DeadLetter| {
            self.state.letters().sent(origin.topic_id, letter);
            self.answers.fetch_add(1, Ordering::Relaxed);
            told(letter);
        };
        self.sink.send(origin, &left, &heard).await
    }
}

impl StepError {
    /// What to do about it, and what an operator can.
    pub(crate) fn retry(&self) -> (Retry, &'static str) {
        match self {
            StepError::Store(error) => error.retry(),
            StepError::DeadTopic(error) => error.retry(),
        }
    }
}

impl Step {
    /// The steps in order.
    pub(crate) const ALL: [Step; 5] =
        [Step::Facts, Step::DeadLetters, Step::DeadTopic, Step::Gaps, Step::Receipts];

    /// The name in metrics and logs.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Step::Facts => "facts",
            Step::DeadTopic => "dead_topic",
            Step::DeadLetters => "dead_letters",
            Step::Gaps => "gaps",
            Step::Receipts => "audit_log",
        }
    }

    /// Takes the step once. Returns the rows that ClickHouse refuses: they must become dead letters before the next.
    pub(crate) async fn take(
        self,
        sink: &impl Sink,
        block: &Block,
        token: &str,
    ) -> Result<Vec<Refused>, StepError> {
        let origin = &block.origin;
        match self {
            Step::Facts if block.accepted.digests.is_empty() => {}
            Step::DeadTopic | Step::DeadLetters if block.letters.is_empty() => {}
            Step::Gaps if block.gaps.is_empty() => {}
            Step::Facts => return facts(sink, block, token).await,
            Step::DeadTopic => {
                let letters: Vec<&DeadLetter> = block.letters.iter().collect();
                sink.send(origin, &letters, &|_| {}).await?;
                fault::pass(Point::LettersAcknowledged);
            }
            Step::DeadLetters => {
                let letters = rows::dead_letters(origin, &block.letters).map_err(StoreError::from)?;
                sink.insert("dead_letters", token, &[letters]).await?;
            }
            Step::Gaps => {
                let gaps = rows::gaps(origin, &block.gaps).map_err(StoreError::from)?;
                sink.insert("gaps", token, &[gaps]).await?;
            }
            Step::Receipts => {
                fault::pass(Point::BeforeReceipts);
                sink.insert("audit_log", token, &receipts(block)?).await?;
            }
        }
        Ok(Vec::new())
    }
}

async fn facts(sink: &impl Sink, block: &Block, token: &str) -> Result<Vec<Refused>, StepError> {
    let accepted = &block.accepted;
    let table = block.origin.contract.table();
    let facts = rows::facts(&block.origin, &accepted.events, &accepted.at, &accepted.digests);
    let facts = facts.map_err(StoreError::from)?;
    fault::pass(Point::BeforeFacts);
    match sink.insert(table, token, std::slice::from_ref(&facts)).await {
        Ok(()) => Ok(Vec::new()),
        Err(error) if error.retry().0 == Retry::Bisect => {
            tracing::warn!(table, %error, "a row is refused, looking for it");
            Ok(bisect(sink, table, token, &facts).await?)
        }
        Err(error) => Err(error.into()),
    }
}

fn receipts(block: &Block) -> Result<Vec<RecordBatch>, StoreError> {
    let mut batches = Vec::with_capacity(2);
    let accepted = &block.accepted;
    if !accepted.digests.is_empty() {
        batches.push(rows::receipts(&block.origin, &accepted.events, &accepted.at, &accepted.digests)?);
    }
    if !block.letters.is_empty() {
        let faults: Vec<_> = block.letters.iter().map(|letter| &letter.fault).collect();
        batches.push(rows::dead_receipts(&block.origin, &block.dead_at, &faults)?);
    }
    Ok(batches)
}
