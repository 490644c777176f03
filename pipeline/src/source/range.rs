//! Reading a range of one partition once more, beside whoever reads the topic in a group.

use super::fetch::{Delivery, FetchQueue};
use super::group::{self, Consuming};
use super::{ANSWER, Partition, Source, SourceError, one};
use crate::slab::Record;
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use std::time::{Duration, Instant};

/// How long a broker may give nothing at all.
const SILENCE_SECONDS_MAX: u64 = 30;

/// A partition that is read from an offset on. It is assigned, not subscribed: no group notices, nothing is committed.
pub(crate) struct RangeReader {
    // before its client, which would wait for it
    queue: Option<FetchQueue>,
    consumer: Consuming,
    partition: Partition,
}

/// What stands at or before an offset.
pub(crate) enum Next<'a> {
    /// A record.
    Record(Record<'a>),
    /// The log ends here: below this offset there is nothing more that a reader of committed data may see.
    End(i64),
}

impl Source {
    /// Reads a partition from `offset` on.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub(crate) fn read_from(&self, partition: &Partition, offset: i64) -> Result<RangeReader, SourceError> {
        let (_, consumer) = group::open(self.client.config.clone(), &self.client.group)?;
        let queue = FetchQueue::new(consumer.client().native_ptr());
        queue.adopt(&partition.topic, partition.number);
        let mut list = one(partition);
        list.set_all_offsets(Offset::Offset(offset))?;
        consumer.assign(&list)?;
        Ok(RangeReader { queue: Some(queue), consumer, partition: partition.clone() })
    }

    /// The first offset whose record was appended at or after that time, milliseconds since 1970 UTC; `None` where
    /// there is none yet. Blocks.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub(crate) fn offset_at(&self, partition: &Partition, at_ms: i64) -> Result<Option<i64>, SourceError> {
        let mut list = one(partition);
        list.set_all_offsets(Offset::Offset(at_ms))?; // the question is asked in the place of the answer
        let found = self.client.consumer().offsets_for_times(list, ANSWER)?;
        Ok(found.elements().first().and_then(|element| match element.offset() {
            Offset::Offset(offset) => Some(offset),
            _ => None,
        }))
    }
}

impl RangeReader {
    /// Hands over what comes next, record by record in the order of offsets, until `take` says no; what was fetched
    /// with it and not taken is lost to this reader. Blocks.
    ///
    /// # Errors
    /// Where the partition cannot be fetched, or nothing comes for 30 s.
    pub(crate) fn read(&self, mut take: impl FnMut(Next<'_>) -> bool) -> Result<(), String> {
        let Some(queue) = &self.queue else { return Ok(()) };
        let (mut heard, mut on, mut failure) = (Instant::now(), true, None);
        while on && failure.is_none() {
            if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
                tracing::debug!(%error, "kafka");
            }
            let fetched = queue.fetch(Duration::from_millis(100), |_, _, deliveries| {
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
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "giving up the partition");
        }
        self.queue = None;
    }
}
