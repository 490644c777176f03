//! The consumer itself: its fixed properties, and what happens when the group gives or takes partitions.

use super::fetch::FetchQueue;
use super::refusals::Refusals;
use super::{Lanes, Partition, SourceError};
use crate::config::set_defaults;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::consumer::{BaseConsumer, Consumer, ConsumerContext};
use rdkafka::error::KafkaError;
use rdkafka::types::RDKafkaRespErr;
use rdkafka::{ClientConfig, ClientContext, Offset, TopicPartitionList};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// What the consumer's callbacks need.
#[derive(Default)]
pub(super) struct Group {
    pub(super) lanes: OnceLock<Arc<dyn Lanes>>,
    pub(super) refusals: Refusals,
    queue: Mutex<Option<Arc<FetchQueue>>>,
}

impl Group {
    /// The queue into which partitions are forwarded; `None` gives it up, which must happen before the client ends.
    pub(super) fn fetch_by(&self, queue: Option<Arc<FetchQueue>>) {
        *self.queue.lock().unwrap_or_else(PoisonError::into_inner) = queue;
    }

    fn adopt(&self, partitions: &[Partition]) {
        partitions.iter().for_each(|partition| self.hold(partition, false));
    }

    /// Whether what is fetched of a partition waits in its own queue, or is handed over.
    pub(super) fn hold(&self, Partition { topic, number }: &Partition, holds: bool) {
        let queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        match queue.as_ref() {
            Some(queue) if holds => queue.hold(topic, *number),
            Some(queue) => queue.adopt(topic, *number),
            None => {}
        }
    }
}

impl ClientContext for Group {
    fn log(&self, _level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.refusals.reads(message);
        tracing::debug!(target: "librdkafka", facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        if !self.refusals.hears(&error, reason) {
            tracing::debug!(%error, reason, "kafka");
        }
    }
}

impl ConsumerContext for Group {
    fn rebalance(&self, consumer: &BaseConsumer<Self>, error: RDKafkaRespErr, list: &mut TopicPartitionList) {
        let partitions = named(list);
        let Some(lanes) = self.lanes.get() else { return };
        let done = match error {
            RDKafkaRespErr::RD_KAFKA_RESP_ERR__ASSIGN_PARTITIONS => {
                self.adopt(&partitions);
                // a place of its own, so that the partition can be sought before anything was ever committed; one that
                // exists, since a fetch from where nothing is retained may end the partition after it was sought
                let assigned = list.set_all_offsets(Offset::Beginning);
                let assigned = assigned.and_then(|()| consumer.incremental_assign(list));
                let assigned = assigned.and_then(|()| consumer.pause(list));
                tracing::info!(partitions = partitions.len(), "partitions assigned");
                lanes.assigned(partitions);
                assigned
            }
            _ => {
                let lost = consumer.assignment_lost();
                tracing::info!(partitions = partitions.len(), lost, "partitions revoked");
                lanes.revoked(partitions, lost);
                consumer.incremental_unassign(list)
            }
        };
        if let Err(error) = done {
            tracing::error!(%error, "rebalance");
        }
    }
}

/// A consumer with these connection properties and ours.
pub(super) fn open(mut config: ClientConfig, group: &str) -> Result<(ClientConfig, Consuming), SourceError> {
    set_defaults(&mut config, &DEFAULTS);
    let session = config.get("session.timeout.ms").and_then(|text| text.parse().ok()).unwrap_or(0);
    let poll_interval = POLL_INTERVAL_MS.max(session).to_string();
    set_defaults(&mut config, &[("max.poll.interval.ms", poll_interval.as_str())]);
    for (key, value) in FIXED {
        config.set(key, value);
    }
    config.set_log_level(RDKafkaLogLevel::Info); // that a listener wants TLS is only logged, at this level
    let consumer = config.set("group.id", group).create_with_context(Group::default())?;
    Ok((config, Arc::new(consumer)))
}

/// A consumer that several hold.
pub(super) type Consuming = Arc<BaseConsumer<Group>>;

fn named(list: &TopicPartitionList) -> Vec<Partition> {
    list.elements().iter().map(|e| Partition { topic: e.topic().to_owned(), number: e.partition() }).collect()
}

/// For so long a rebalance waits for a member that does not come back to it; more than lanes are given to finish (`stop_seconds_max`).
/// librdkafka wants it to be no less than the session.
const POLL_INTERVAL_MS: u32 = 30_000;

/// What an operator may override.
const DEFAULTS: [(&str, &str); 8] = [
    ("client.id", "tally"),
    // each partition that waits for its turn holds one such response unpacked, each record with some 200 bytes of librdkafka's beside it
    ("fetch.message.max.bytes", "524288"),
    ("fetch.wait.max.ms", "100"),
    // of a partition that waits for its turn, and of all others together: their queues are forwarded into one
    ("queued.max.messages.kbytes", "1024"),
    ("queued.min.messages", "50000"),
    ("fetch.queue.backoff.ms", "10"), // a full queue is empty again soon; by default it is looked at after a second
    // for so long nobody reads what a killed instance held; shorter, a broker's restart would cost everybody their lanes
    ("session.timeout.ms", "20000"),
    ("socket.keepalive.enable", "true"),
];

/// What exactly-once rests on.
const FIXED: [(&str, &str); 7] = [
    ("enable.auto.commit", "false"),
    ("enable.auto.offset.store", "false"),
    ("auto.offset.reset", "error"), // a lane decides where it starts, and records what it could not read
    ("isolation.level", "read_committed"),
    ("enable.partition.eof", "true"),
    ("partition.assignment.strategy", "cooperative-sticky"),
    ("check.crcs", "true"),
];

#[cfg(test)]
mod tests {
    use super::open;
    use rdkafka::ClientConfig;

    /// Scenario: a session as long as Kafka's own default, one of 20 s, and a poll interval that somebody set.
    /// Guarantees: each is a consumer; the interval is never below the session, and what was set stands.
    #[test]
    fn the_poll_interval_is_no_less_than_the_session() {
        let interval = |set: &[(&str, &str)]| {
            let mut config = ClientConfig::new();
            set.iter().for_each(|(key, value)| _ = config.set(*key, *value));
            let (config, _consumer) = open(config, "group").expect("a consumer");
            config.get("max.poll.interval.ms").map(str::to_owned)
        };
        assert_eq!(interval(&[("session.timeout.ms", "45000")]).as_deref(), Some("45000"));
        assert_eq!(interval(&[]).as_deref(), Some("30000"));
        assert_eq!(interval(&[("max.poll.interval.ms", "60000")]).as_deref(), Some("60000"));
    }
}
