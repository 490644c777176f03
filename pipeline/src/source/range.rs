//! Reading a range of one partition once more, beside whoever reads the topic in a group.

use super::fetch::{Delivery, FetchQueue};
use super::group::{self, Consuming};
use super::{Partition, Source, SourceError, one};
use crate::slab::Record;
use rdkafka::consumer::Consumer;
use rdkafka::error::KafkaError;
use rdkafka::{ClientConfig, Offset};
use std::sync::{Arc, PoisonError, Weak};
use std::time::{Duration, Instant};
use tally_schemas::{Sha256Digest, sha256};
use tally_sinks::rows::Gap;
use thiserror::Error;

/// How long a broker may give nothing at all.
const SILENCE_SECONDS_MAX: u64 = 30;

/// What the consumer that reads gaps again may fetch ahead.
const WITNESS_KBYTES_MAX: &str = "2048";

/// A partition that is read from an offset on. It is assigned, not subscribed: no group notices, nothing is committed.
pub(crate) struct RangeReader {
    // before its client, which would wait for it
    queue: Option<FetchQueue>,
    consumer: Consuming,
    partition: Partition,
}

/// Gone once nobody asks any more; `None` for who asks to the end.
type Asking = Option<Weak<()>>;

/// What stands at or before an offset.
pub(crate) enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// The log ends here: below this offset there is nothing more that a reader of committed data may see.
    End(i64),
}

/// A gap is none, or is not known to be one.
#[derive(Debug, Error)]
pub(crate) enum GapError {
    /// A second reading found what the first did not.
    #[error("the record at offset {0} was passed over")]
    PassedOver(i64),
    /// There was no second reading.
    #[error("offsets without a record could not be read again: {0}")]
    Unread(String),
}

impl Source {
    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub(crate) fn read_from(&self, partition: &Partition, offset: i64) -> Result<RangeReader, SourceError> {
        RangeReader::open(self.client.config.clone(), &self.client.group, partition, offset)
    }

    /// A gap says for good that an offset holds no record, so one reading is not enough for it: another consumer reads the
    /// same stretch and must find nothing there either.
    ///
    /// # Errors
    /// See [`GapError`].
    pub(crate) async fn read_again(&self, partition: &Partition, gaps: &[Gap]) -> Result<(), GapError> {
        let ranges: Vec<(i64, i64)> = gaps.iter().map(|gap| (gap.first, gap.next)).collect();
        let (source, partition) = (self.clone(), partition.clone());
        let asking = Arc::new(());
        let asked = Some(Arc::downgrade(&asking));
        let found =
            tokio::task::spawn_blocking(move || source.record_within(&partition, &ranges, asked)).await;
        drop(asking); // until here, and not longer than the future
        match found.unwrap_or_else(|error| Err(error.to_string())).map_err(GapError::Unread)? {
            None => Ok(()),
            Some(offset) => Err(GapError::PassedOver(offset)),
        }
    }

    /// The first record that stands in one of these ranges [first, next), ascending; `None` where a second reading
    /// finds nothing in them either. Blocks, and holds its consumer for the next question.
    ///
    /// # Errors
    /// Where the stretch cannot be read again.
    fn record_within(
        &self,
        partition: &Partition,
        ranges: &[(i64, i64)],
        asking: Asking,
    ) -> Result<Option<i64>, String> {
        let (Some((first, _)), Some((_, next))) = (ranges.first(), ranges.last()) else { return Ok(None) };
        let mut found = None;
        self.witness(partition, *first, asking, |at| match at {
            Next::Record(record) => {
                let offset = record.offset;
                if ranges.iter().any(|(first, next)| (*first..*next).contains(&offset)) {
                    found = Some(offset);
                }
                found.is_none() && offset + 1 < *next
            }
            Next::End(offset) => offset < *next,
        })?;
        Ok(found)
    }

    /// The digest of the record at an offset; `None` where there is none. Blocks.
    ///
    /// # Errors
    /// Where it cannot be read.
    pub(crate) fn digest_at(
        &self,
        partition: &Partition,
        offset: i64,
    ) -> Result<Option<Sha256Digest>, String> {
        let mut found = None;
        self.witness(partition, offset, None, |at| {
            let Next::Record(record) = at else { return false };
            if record.offset == offset {
                found = Some(sha256(record.value.unwrap_or_default()));
            }
            record.offset < offset
        })?;
        Ok(found)
    }

    /// Reads a partition from an offset on, by a consumer that is kept for the next question.
    fn witness(
        &self,
        partition: &Partition,
        offset: i64,
        asking: Asking,
        take: impl FnMut(Next<'_>) -> bool,
    ) -> Result<(), String> {
        let mut kept = self.client.witness.lock().unwrap_or_else(PoisonError::into_inner);
        let reader = match kept.take() {
            Some(mut reader) => reader.assign(partition, offset).map(|()| reader),
            None => {
                let mut config = self.client.config.clone();
                config.set("queued.max.messages.kbytes", WITNESS_KBYTES_MAX);
                RangeReader::open(config, &self.client.group, partition, offset)
            }
        };
        let reader = reader.map_err(|error| error.to_string())?;
        reader.read_asked(&asking, take)?;
        reader.rest();
        *kept = Some(reader);
        Ok(())
    }
}

impl RangeReader {
    fn open(
        config: ClientConfig,
        group: &str,
        partition: &Partition,
        offset: i64,
    ) -> Result<RangeReader, SourceError> {
        let (_, consumer) = group::open(config, group)?;
        let queue = Some(FetchQueue::new(consumer.client().native_ptr()));
        let mut reader = RangeReader { queue, consumer, partition: partition.clone() };
        reader.assign(partition, offset)?;
        Ok(reader)
    }

    /// Turns to another partition, or to another place of the same one.
    fn assign(&mut self, partition: &Partition, offset: i64) -> Result<(), SourceError> {
        let mut list = one(partition);
        list.set_all_offsets(Offset::Offset(offset))?;
        self.partition = partition.clone();
        if let Some(queue) = &self.queue {
            queue.adopt(&partition.topic, partition.number);
        }
        Ok(self.consumer.assign(&list)?)
    }

    /// Gives the partition up and throws away what was fetched of it.
    fn rest(&self) {
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "giving up the partition");
        }
    }

    /// Hands over what comes next, record by record in the order of offsets, until `take` says no; what was fetched
    /// with it and not taken is lost to this reader. Blocks.
    ///
    /// # Errors
    /// Where the partition cannot be fetched, or nothing comes for 30 s.
    pub(crate) fn read(&self, take: impl FnMut(Next<'_>) -> bool) -> Result<(), String> {
        self.read_asked(&None, take)
    }

    fn read_asked(&self, asking: &Asking, mut take: impl FnMut(Next<'_>) -> bool) -> Result<(), String> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let (mut heard, mut on, mut failure) = (Instant::now(), true, None);
        while on && failure.is_none() {
            if asking.as_ref().is_some_and(|asking| asking.strong_count() == 0) {
                return Err(format!("{}: nobody asks any more", self.partition)); // others wait for this consumer
            }
            match self.consumer.poll(Duration::ZERO) {
                None => {}
                Some(Ok(_) | Err(KafkaError::PartitionEOF(_))) => {
                    return Err(format!("{}: something came beside its queue", self.partition));
                }
                Some(Err(error)) => tracing::debug!(%error, "kafka"),
            }
            // again and again: the end of an earlier assignment of this partition undoes it, at a moment nobody tells
            queue.adopt(&self.partition.topic, self.partition.number);
            let fetched = queue.fetch_first(Duration::from_millis(100), |topic, number, deliveries| {
                if topic != self.partition.topic || number != self.partition.number {
                    return; // what is left of an earlier assignment
                }
                for delivery in deliveries {
                    match delivery {
                        _ if !on => return,
                        Delivery::Record(record) => on = take(Next::Record(record)),
                        Delivery::End(offset) => on = take(Next::End(offset)),
                        Delivery::Error(code, said) => failure = Some(format!("{said} ({code:?})")),
                    }
                }
            });
            if fetched > 0 {
                heard = Instant::now();
            } else if heard.elapsed().as_secs() >= SILENCE_SECONDS_MAX {
                return Err(format!("{}: Kafka gave nothing for {SILENCE_SECONDS_MAX} s", self.partition));
            }
        }
        failure.map_or(Ok(()), |said| Err(format!("{}: {said}", self.partition)))
    }
}

impl Drop for RangeReader {
    fn drop(&mut self) {
        self.rest();
        self.queue = None;
    }
}
