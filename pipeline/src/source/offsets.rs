//! Offsets that the leader of a partition knows: the first one retained, the next one, and the first one since a time.

use super::{ANSWER, Partition, Source, SourceError, one};
use rdkafka::Offset;
use rdkafka::consumer::Consumer;
use rdkafka::error::{KafkaError, KafkaResult};
use rdkafka::types::RDKafkaErrorCode;
use std::time::{Duration, Instant};

/// How long who asks again anyway waits for a broker that is silent.
const LOOK: Duration = Duration::from_secs(2);
/// Until a partition that has no leader, or another, is asked again.
const AGAIN: Duration = Duration::from_millis(200);

impl Source {
    /// The first retained offset, and the one that the next committed record will have. Blocks: ten seconds where nobody answers, and
    /// where the partition has no leader until it has one, ten at most.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub fn watermarks(&self, partition: &Partition) -> Result<(i64, i64), SourceError> {
        self.watermarks_within(partition, ANSWER)
    }

    /// The same, for who asks again anyway and must not be held up by a partition without a leader.
    pub(crate) fn watermarks_now(&self, partition: &Partition) -> Result<(i64, i64), SourceError> {
        self.watermarks_within(partition, Duration::ZERO)
    }

    fn watermarks_within(
        &self,
        partition: &Partition,
        patience: Duration,
    ) -> Result<(i64, i64), SourceError> {
        let wait = patience.max(LOOK);
        let ask = || self.client.consumer().fetch_watermarks(&partition.topic, partition.number, wait);
        let mut said_empty = None;
        loop {
            let (low, high) = self.of_leader(partition, patience, ask)?;
            // librdkafka says so too where the question for the first offset failed and the one for the last did not. Believed once,
            // all that is retained would pass for lost to retention
            if low < high || high == 0 || said_empty.replace(high) == Some(high) {
                return Ok((low, high));
            }
        }
    }

    /// The first offset whose record was appended at or after that time, milliseconds since 1970 UTC; `None` where
    /// there is none yet. Blocks.
    ///
    /// # Errors
    /// Where Kafka does not answer.
    pub(crate) fn offset_at(&self, partition: &Partition, at_ms: i64) -> Result<Option<i64>, SourceError> {
        let found = self.of_leader(partition, ANSWER, || {
            let mut list = one(partition);
            list.set_all_offsets(Offset::Offset(at_ms))?; // the question is asked in the place of the answer
            let found = self.client.consumer().offsets_for_times(list, ANSWER)?;
            found.elements().first().map(|element| element.error().map(|()| element.offset())).transpose()
        })?;
        Ok(match found {
            Some(Offset::Offset(offset)) => Some(offset),
            _ => None,
        })
    }

    /// Asks who leads a partition, and again while that changes, for so long at most.
    fn of_leader<T>(
        &self,
        partition: &Partition,
        patience: Duration,
        ask: impl Fn() -> KafkaResult<T>,
    ) -> Result<T, SourceError> {
        let began = Instant::now();
        loop {
            match ask() {
                Err(error) if began.elapsed() < patience && self.is_passing(partition, &error) => {
                    std::thread::sleep(AGAIN);
                }
                answered => return Ok(answered?),
            }
        }
    }

    /// Whether a partition that exists is only between two leaders, or its leader between two connections.
    fn is_passing(&self, partition: &Partition, error: &KafkaError) -> bool {
        match error.rdkafka_error_code() {
            Some(
                RDKafkaErrorCode::NotLeaderForPartition
                | RDKafkaErrorCode::LeaderNotAvailable
                | RDKafkaErrorCode::ReplicaNotAvailable
                | RDKafkaErrorCode::KafkaStorageError
                | RDKafkaErrorCode::OffsetNotAvailable
                | RDKafkaErrorCode::FencedLeaderEpoch
                | RDKafkaErrorCode::UnknownLeaderEpoch
                | RDKafkaErrorCode::BrokerTransportFailure
                | RDKafkaErrorCode::DestroyBroker, // librdkafka lets go of a broker that the cluster no longer names
            ) => true,
            // no such partition, or one without a leader
            Some(RDKafkaErrorCode::UnknownPartition) => {
                self.partitions(&partition.topic).is_ok_and(|all| all.contains(partition))
            }
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Partition, Source};
    use rdkafka::ClientConfig;
    use rdkafka::bindings::rd_kafka_resp_err_t as Code;
    use rdkafka::mocking::MockCluster;
    use rdkafka::producer::{BaseProducer, BaseRecord, DefaultProducerContext, Producer};
    use rdkafka::types::RDKafkaApiKey;
    use std::time::Duration;

    const TOPIC: &str = "task-events";
    const RECORDS: i64 = 3;

    /// A broker in this process with a partition of three records, whoever asks it, and the partition.
    fn world() -> (MockCluster<'static, DefaultProducerContext>, Source, Partition) {
        let cluster = MockCluster::new(1).expect("a broker in this process");
        cluster.create_topic(TOPIC, 1, 1).expect("a topic");
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", cluster.bootstrap_servers());
        let producer: BaseProducer = config.create().expect("a producer");
        for _ in 0..RECORDS {
            producer.send(BaseRecord::<(), [u8]>::to(TOPIC).partition(0).payload(b"x")).expect("room");
        }
        producer.flush(Duration::from_secs(10)).expect("published");
        let source = Source::open(config, "group").expect("a source");
        (cluster, source, Partition { topic: TOPIC.to_owned(), number: 0 })
    }

    /// Scenario: a broker says of the first question, or of both, that it does not lead the partition or not yet; a partition has
    /// no leader for a moment; a partition that is not there.
    /// Guarantees: the watermarks are those of the log in every case, and never an empty log where records are retained; what is
    /// not there is an error.
    #[tokio::test]
    async fn a_partition_between_two_leaders_is_asked_again() {
        let (cluster, source, at) = world();
        let marks = |at: &Partition| source.watermarks(at);
        for code in [
            Code::RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION,
            Code::RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE,
            Code::RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR,
            Code::RD_KAFKA_RESP_ERR_OFFSET_NOT_AVAILABLE,
        ] {
            for errors in [&[code][..], &[code, code], &[Code::RD_KAFKA_RESP_ERR_NO_ERROR, code]] {
                cluster.request_errors(RDKafkaApiKey::ListOffsets, errors);
                assert_eq!(marks(&at).expect("asked again"), (0, RECORDS), "{errors:?}");
                cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
                cluster.request_errors(RDKafkaApiKey::ListOffsets, errors);
                assert_eq!(
                    source.offset_at(&at, 0).expect("asked again"),
                    None,
                    "this broker knows no times"
                );
                cluster.clear_request_errors(RDKafkaApiKey::ListOffsets);
            }
        }
        cluster.partition_leader(TOPIC, 0, None).expect("no leader");
        std::thread::scope(|scope| {
            let asked = scope.spawn(|| marks(&at));
            std::thread::sleep(Duration::from_secs(1));
            cluster.partition_leader(TOPIC, 0, Some(1)).expect("a leader");
            let said = asked.join().expect("asked").expect("until there is a leader");
            assert_eq!(said, (0, RECORDS));
        });
        let absent = Partition { number: 7, ..at };
        assert!(marks(&absent).is_err());
    }
}
