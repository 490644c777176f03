//! The bytes that Kafka still has, as digests: what an auditor holds the ledger against.

use super::range::Next;
use super::{ANSWER, IdentityError, Partition, Source, SourceError};
use rdkafka::admin::{AdminClient, AdminOptions, ResourceSpecifier};
use rdkafka::client::DefaultClientContext;
use rdkafka::config::RDKafkaLogLevel;
use std::ops::Range;
use tally_schemas::{Sha256Digest, sha256};
use thiserror::Error;
use tokio::sync::mpsc;
use uuid::Uuid;

/// Records of one answer.
const BATCH_ROWS_MAX: usize = 65_536;
/// Answers that may wait for whoever compares them.
const BATCHES_MAX: usize = 2;

/// Why bytes could not be read again. Nothing can be said of them then.
#[derive(Debug, Error)]
pub enum DigestsError {
    /// Kafka refused or did not answer.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The topic's identity is not known.
    #[error(transparent)]
    Identity(#[from] IdentityError),
    /// The partition could not be read.
    #[error("{0}")]
    Read(String),
    /// The topic was deleted and created again meanwhile: what was read may be of another topic.
    #[error("{0} was deleted and created again meanwhile")]
    Recreated(String),
    /// A thread of ours ended.
    #[error("reading ended")]
    Thread(#[from] tokio::task::JoinError),
}

/// All records that Kafka has of consecutive offsets of one partition.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Digests {
    /// The offset after the last that was looked at.
    pub next: i64,
    /// Offset and SHA-256 of the value of each record, in the order of offsets; a record without a value has that of no bytes.
    pub records: Vec<(i64, Sha256Digest)>,
}

impl Source {
    /// The offsets [first, next) of which a partition of that topic identity has what there is; `None` where the topic is gone, or
    /// another one has its name.
    ///
    /// # Errors
    /// Where Kafka does not answer, or does not let the topic be seen.
    pub async fn retained(
        &self,
        partition: &Partition,
        topic_id: Uuid,
    ) -> Result<Option<Range<i64>>, DigestsError> {
        match self.identity(&partition.topic).await {
            Ok(id) if id == topic_id => {}
            Ok(_) | Err(IdentityError::Topic { unknown: true, .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        }
        let (source, at) = (self.clone(), partition.clone());
        let (low, high) = tokio::task::spawn_blocking(move || source.watermarks(&at)).await??;
        // asked again: the watermarks are those of this identity
        match self.identity(&partition.topic).await? == topic_id {
            true => Ok(Some(low..high)),
            false => Ok(None),
        }
    }

    /// Reads offsets that are retained and digests their records, batch by batch up to the end of the range or of the log. The
    /// receiver's end ends the reading.
    pub fn digests(
        &self,
        partition: Partition,
        topic_id: Uuid,
        offsets: Range<i64>,
    ) -> mpsc::Receiver<Result<Digests, DigestsError>> {
        let (give, taken) = mpsc::channel(BATCHES_MAX);
        let source = self.clone();
        tokio::spawn(async move {
            let (raw, mut batches) = mpsc::channel(BATCHES_MAX);
            let (reading, at) = (source.clone(), partition.clone());
            let reading = tokio::task::spawn_blocking(move || read(&reading, &at, offsets, &raw));
            while let Some(batch) = batches.recv().await {
                // the question comes after the records, so none of a topic created anew passes for the old one's
                let batch = match source.identity(&partition.topic).await {
                    Ok(id) if id == topic_id => Ok(batch),
                    Ok(_) => Err(DigestsError::Recreated(partition.topic.clone())),
                    Err(error) => Err(error.into()),
                };
                let failed = batch.is_err();
                if give.send(batch).await.is_err() || failed {
                    return;
                }
            }
            let done = reading.await.map_err(DigestsError::from).and_then(|done| done);
            if let Err(error) = done {
                let _ = give.send(Err(error)).await; // nobody waits any more where this fails
            }
        });
        taken
    }

    /// Whether compaction may take records of this topic out of the middle.
    ///
    /// # Errors
    /// Where Kafka does not say.
    pub async fn compacts(&self, topic: &str) -> Result<bool, DigestsError> {
        let mut config = self.client.config.clone();
        config.set_log_level(RDKafkaLogLevel::Error); // it warns of what only a consumer knows
        let admin: AdminClient<DefaultClientContext> = config.create().map_err(SourceError::from)?;
        let options = AdminOptions::new().request_timeout(Some(ANSWER));
        let asked = admin.describe_configs([&ResourceSpecifier::Topic(topic)], &options).await;
        let unsaid = |said: String| {
            DigestsError::Read(format!("Kafka does not say whether {topic} is compacted: {said}"))
        };
        let told = asked.map_err(SourceError::from)?.pop().ok_or_else(|| unsaid("no answer".to_owned()))?;
        let told = told.map_err(|code| unsaid(code.to_string()))?;
        let policy = told.get("cleanup.policy").and_then(|entry| entry.value.as_deref());
        policy.map(|policy| policy.contains("compact")).ok_or_else(|| unsaid("no cleanup.policy".to_owned()))
    }
}

/// Reads the range; blocks. Ends early where nobody wants more.
fn read(
    source: &Source,
    at: &Partition,
    offsets: Range<i64>,
    batches: &mpsc::Sender<Digests>,
) -> Result<(), DigestsError> {
    let reader = source.read_from(at, offsets.start)?;
    let mut batch = Digests { next: offsets.start, records: Vec::new() };
    let done = reader.read(|next| {
        let ended = match next {
            Next::Record(record) if record.offset >= offsets.end => {
                batch.next = offsets.end;
                true
            }
            Next::Record(record) => {
                batch.records.push((record.offset, sha256(record.value.unwrap_or_default())));
                batch.next = record.offset + 1;
                batch.next >= offsets.end
            }
            Next::End(offset) => {
                batch.next = offset.clamp(batch.next, offsets.end);
                true
            }
        };
        if !ended && batch.records.len() < BATCH_ROWS_MAX {
            return true;
        }
        let fresh = Digests { next: batch.next, records: Vec::new() };
        batches.blocking_send(std::mem::replace(&mut batch, fresh)).is_ok() && !ended
    });
    done.map_err(DigestsError::Read)
}
