//! Reading many partitions from given offsets on and going on at their ends, as the feed does: assigned, beside every
//! group, with nothing committed.

use super::fetch::{Delivery, FetchQueue};
use super::group::{self, Consuming};
use super::{Partition, Source, SourceError};
use crate::slab::{Budget, Slab};
use rdkafka::consumer::Consumer;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{Offset, TopicPartitionList};
use std::collections::HashMap;
use std::time::Duration;

/// What makes a tail quick, and small: several may run in one process.
const QUICK: [(&str, &str); 5] = [
    ("fetch.wait.max.ms", "10"), // a broker answers as soon as there is a byte; the in-process one only then
    ("fetch.queue.backoff.ms", "10"),
    ("fetch.error.backoff.ms", "100"),
    ("queued.max.messages.kbytes", "4096"),
    ("queued.min.messages", "5000"),
];
/// Records of one slab: what is decoded at once while others wait.
const SLAB_ROWS_MAX: usize = 1_000;

/// Partitions that are read from offsets on.
///
/// Nothing is ever paused: whoever reads too slowly fills librdkafka's own queue, which then stops fetching by itself.
pub(crate) struct TailReader {
    // before its client, which would wait for it
    queue: Option<FetchQueue>,
    consumer: Consuming,
    next: HashMap<Partition, i64>,
    budget: Budget,
}

/// Why a tail ends.
pub(crate) enum TailEnd {
    /// Kafka no longer has the offset from which a partition was to be read.
    Expired,
    /// Something else that a fresh reader may outlive.
    Failed(String),
}

impl Source {
    /// Reads these partitions, each from its offset on.
    ///
    /// # Errors
    /// Where librdkafka refuses.
    pub(crate) fn tail(&self, from: &[(Partition, i64)]) -> Result<TailReader, SourceError> {
        let mut config = self.client.config.clone();
        for (key, value) in QUICK {
            config.set(key, value);
        }
        let (_, consumer) = group::open(config, &self.client.group)?;
        let queue = FetchQueue::new(consumer.client().native_ptr());
        let mut list = TopicPartitionList::with_capacity(from.len());
        for (at, offset) in from {
            queue.adopt(&at.topic, at.number);
            list.add_partition_offset(&at.topic, at.number, Offset::Offset(*offset))?;
        }
        consumer.assign(&list)?;
        let next = from.iter().cloned().collect();
        Ok(TailReader { queue: Some(queue), consumer, next, budget: Budget::default() })
    }
}

impl TailReader {
    /// Waits up to `wait` and hands over what came, partition by partition. A slab without records says how far the
    /// partition has come. Blocks.
    pub(crate) fn read(
        &mut self,
        wait: Duration,
        mut take: impl FnMut(&Partition, Slab),
    ) -> Result<(), TailEnd> {
        let Some(queue) = &self.queue else { return Ok(()) };
        if let Some(Err(error)) = self.consumer.poll(Duration::ZERO) {
            tracing::debug!(%error, "kafka");
        }
        let (next, budget, mut end) = (&mut self.next, &self.budget, None);
        queue.fetch_first(wait, |topic, number, deliveries| {
            let at = Partition { topic: topic.to_owned(), number };
            let Some(next) = next.get_mut(&at) else { return };
            let mut slab = Slab::new(*next, budget);
            for delivery in deliveries {
                match delivery {
                    Delivery::Record(record) => slab.push(record),
                    Delivery::End(offset) => slab.end(offset),
                    Delivery::Error(RDKafkaRespErr::RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET, _) => {
                        end = Some(TailEnd::Expired);
                    }
                    Delivery::Error(code, said) => {
                        end = Some(TailEnd::Failed(format!("{at}: {said} ({code:?})")));
                    }
                }
                if slab.rows() >= SLAB_ROWS_MAX {
                    let fresh = Slab::new(slab.next(), budget);
                    take(&at, std::mem::replace(&mut slab, fresh));
                }
            }
            *next = slab.next();
            if !slab.is_empty() {
                take(&at, slab);
            }
        });
        end.map_or(Ok(()), Err)
    }
}

impl Drop for TailReader {
    fn drop(&mut self) {
        if let Err(error) = self.consumer.unassign() {
            tracing::debug!(%error, "giving up the partitions");
        }
        self.queue = None;
    }
}
