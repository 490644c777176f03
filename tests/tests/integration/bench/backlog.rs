//! What all contenders drain: four topics of three partitions, filled once by the seeded platform, in the Confluent
//! wire format that all of them read.

use rdkafka::ClientConfig;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::producer::{BaseRecord, DefaultProducerContext, Producer, ThreadedProducer};
use rdkafka::{Offset, TopicPartitionList};
use serde_json::json;
use std::collections::HashMap;
use std::time::Duration;
use tally_pipeline::simulator::{Config, Expect, Simulator};
use tally_schemas::{Contract, Topic, contracts, frame_confluent};
use tally_tests::{Group, Kafka, Registry, unique};

/// The same seed, the same events.
const SEED: u64 = 7;
/// For one question to the broker.
const ANSWER: Duration = Duration::from_secs(10);
/// For the last records to be acknowledged.
const FLUSH: Duration = Duration::from_secs(120);
/// Bytes before an event's body in single-object encoding.
const SINGLE_OBJECT_HEADER_BYTES: usize = 10;

/// How a backlog is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// The producer's compression: `lz4` or `none`.
    pub(super) codec: &'static str,
    /// Records, all topics together.
    pub(super) events: u64,
    /// Partitions of each topic.
    pub(super) partitions: i32,
    /// The one topic that has records, where it is not all of them.
    pub(super) only: Option<Topic>,
    /// Invalid records of a thousand; as many are duplicates, up to 10.
    pub(super) invalid_permille: u16,
    /// Bytes of a field of the writer's own, behind those of the contract; none: it has no such field.
    pub(super) own_bytes: usize,
}

/// Filled topics.
pub(super) struct Backlog<'a> {
    pub(super) kafka: &'a Kafka,
    pub(super) layout: Layout,
    /// Bytes of the values.
    pub(super) bytes: u64,
    /// The least, the middle, the 99th of a hundred and the most of a value's bytes.
    sizes: [usize; 4],
    /// Records that are no valid event, and valid ones of each topic.
    pub(super) invalid: u64,
    prefix: String,
}

impl<'a> Backlog<'a> {
    /// Creates the topics and fills them. `ids`: each contract's id in the registry, by fingerprint.
    pub(super) fn fill(kafka: &'a Kafka, ids: &HashMap<u64, u32>, layout: Layout) -> Backlog<'a> {
        let mut backlog = Backlog {
            kafka,
            layout,
            bytes: 0,
            sizes: [0; 4],
            invalid: 0,
            prefix: format!("{}.", unique("backlog")),
        };
        for contract in Topic::ALL {
            kafka.create_topic(&backlog.topic(contract), layout.partitions, &[("retention.ms", "-1")]);
        }
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", kafka.bootstrap()).set("compression.type", layout.codec);
        config.set("linger.ms", "20").set("queue.buffering.max.messages", "200000");
        let producer: ThreadedProducer<DefaultProducerContext> = config.create().expect("a producer");
        let mut platform = Simulator::new(Config {
            invalid_permille: layout.invalid_permille,
            duplicate_permille: layout.invalid_permille.min(10),
            ..Config::seeded(SEED)
        });
        let (mut published, mut sizes) = (0, Vec::new());
        while published < layout.events {
            let emission = platform.next();
            if layout.only.is_some_and(|only| only != emission.topic) {
                continue;
            }
            published += 1;
            let mut value = in_confluent(emission.value, ids);
            if !matches!(emission.expect, Expect::Dead(_)) {
                add_own(&mut value, layout.own_bytes);
            }
            backlog.bytes += value.len() as u64;
            sizes.push(value.len());
            backlog.invalid += u64::from(matches!(emission.expect, Expect::Dead(_)));
            let topic = backlog.topic(emission.topic);
            let at_ms = emission.occurred_at / 1000;
            let mut record = BaseRecord::to(&topic).key(&emission.key).payload(&value).timestamp(at_ms);
            while let Err((error, again)) = producer.send(record) {
                let full = KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull);
                assert_eq!(error, full, "the producer refused");
                record = again;
                std::thread::sleep(Duration::from_millis(1));
            }
        }
        producer.flush(FLUSH).expect("every record is acknowledged");
        sizes.sort_unstable();
        backlog.sizes =
            [0, 50, 99, 100].map(|percent| sizes[(sizes.len() * percent / 100).min(sizes.len() - 1)]);
        backlog
    }

    /// Deletes the topics: what follows has the broker and the disk to itself.
    pub(super) fn forget(&self) {
        Topic::ALL.into_iter().for_each(|contract| self.kafka.delete_topic(&self.topic(contract)));
    }

    /// The Kafka topic of a contract.
    pub(super) fn topic(&self, contract: Topic) -> String {
        format!("{}{}", self.prefix, contract.name())
    }

    /// What stands before the names of its topics.
    pub(super) fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Mean size of a value, bytes.
    pub(super) fn event_bytes(&self) -> u64 {
        self.bytes / self.layout.events.max(1)
    }

    /// How large its values are, for people.
    pub(super) fn sizes(&self) -> String {
        let [least, middle, nearly_all, most] = self.sizes;
        format!(
            "{} bytes ({least} to {most}, half up to {middle}, 99 of 100 up to {nearly_all})",
            self.event_bytes()
        )
    }

    /// Every partition from its beginning.
    pub(super) fn partitions(&self) -> TopicPartitionList {
        let mut list = TopicPartitionList::new();
        for contract in Topic::ALL {
            for partition in 0..self.layout.partitions {
                let added = list.add_partition_offset(&self.topic(contract), partition, Offset::Beginning);
                added.expect("an offset");
            }
        }
        list
    }

    /// Where it is drained: `group` names the group that reads a contract's topic.
    pub(super) fn finish(&self, group: &dyn Fn(Topic) -> String) -> Finish {
        let lane = |contract| {
            let topic = [self.topic(contract)];
            Group::new(self.kafka.bootstrap(), &group(contract), topic, self.layout.partitions)
        };
        Finish(Topic::ALL.map(lane).into())
    }
}

/// The finish line, the same for everybody: what the groups have committed.
pub(super) struct Finish(Vec<Group>);

impl Finish {
    /// Records that are committed; what is not known counts as none.
    pub(super) fn committed(&self) -> u64 {
        self.0.iter().filter_map(|group| group.taken(ANSWER)).sum()
    }
}

/// Registers every version of every contract; their ids by fingerprint.
pub(super) fn register(registry: &Registry) -> HashMap<u64, u32> {
    let subject = |topic: Topic| format!("{}-value", topic.name());
    contracts().iter().map(|c| (c.fingerprint, registry.register(&subject(c.topic), &c.json))).collect()
}

/// Registers every version of every contract with a text of the writer's own behind its fields; their ids by fingerprint.
pub(super) fn register_with_own(registry: &Registry) -> HashMap<u64, u32> {
    let own = json!({"name": "own", "type": "string", "default": ""});
    let of = |contract: &Contract| {
        let mut schema: serde_json::Value = serde_json::from_str(&contract.json).expect("JSON");
        schema["fields"].as_array_mut().expect("fields").push(own.clone());
        registry.register(&format!("own-{}-value", contract.topic.name()), &schema.to_string())
    };
    contracts().iter().map(|contract| (contract.fingerprint, of(contract))).collect()
}

/// Adds such a text: letters by chance, six bits each, which pack to three quarters.
fn add_own(value: &mut Vec<u8>, bytes: usize) {
    if bytes == 0 {
        return;
    }
    let mut chance =
        value.iter().fold(SEED, |mixed, byte| (mixed ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3));
    let letter = || {
        chance = chance.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        b' ' + (chance >> 58) as u8
    };
    let text: Vec<u8> = std::iter::repeat_with(letter).take(bytes).collect();
    let mut length = bytes << 1; // zigzag, in groups of seven bits
    while length > 0x7F {
        value.push((length & 0x7F) as u8 | 0x80);
        length >>= 7;
    }
    value.push((length & 0x7F) as u8);
    value.extend(text);
}

/// An event of a contract under the contract's id in the registry; anything else as it is.
pub(super) fn in_confluent(value: Vec<u8>, ids: &HashMap<u64, u32>) -> Vec<u8> {
    let Some((header, body)) = value.split_first_chunk::<SINGLE_OBJECT_HEADER_BYTES>() else { return value };
    let Some(fingerprint) = header.strip_prefix(&[0xC3, 0x01]) else { return value };
    let fingerprint = u64::from_le_bytes(fingerprint.try_into().expect("eight bytes"));
    ids.get(&fingerprint).map_or_else(|| value.clone(), |id| frame_confluent(*id, body))
}
