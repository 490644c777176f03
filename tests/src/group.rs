//! What a group has committed, asked by a client that does not join it.

use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};

/// A group, and the partitions of which it is asked.
pub struct Group {
    asker: BaseConsumer,
    list: TopicPartitionList,
}

/// What it has committed of a partition.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Committed {
    /// Topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// The offset to go on from.
    pub next: i64,
    /// The text beside it: Tally's is the topic's identity.
    pub metadata: String,
}

impl Group {
    /// The group of that name, and the first so many partitions of each topic.
    ///
    /// # Panics
    /// Where no client can be made.
    pub fn new(
        bootstrap: &str,
        name: &str,
        topics: impl IntoIterator<Item = String>,
        partitions: i32,
    ) -> Group {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", bootstrap).set("group.id", name);
        let mut list = TopicPartitionList::new();
        for topic in topics {
            list.add_partition_range(&topic, 0, partitions - 1);
        }
        Group { asker: config.create().expect("a client"), list }
    }

    /// What it has committed, partition by partition; `None` where nobody answers in time.
    pub fn committed(&self, in_time: Duration) -> Option<Vec<Committed>> {
        let answer = self.asker.committed_offsets(self.list.clone(), in_time).ok()?;
        let committed = answer.elements().into_iter().filter_map(|one| match one.offset() {
            Offset::Offset(next) => Some(Committed {
                topic: one.topic().to_owned(),
                partition: one.partition(),
                next,
                metadata: one.metadata().to_owned(),
            }),
            _ => None,
        });
        Some(committed.collect())
    }

    /// Records below what it has committed; `None` where nobody answers in time.
    pub fn taken(&self, in_time: Duration) -> Option<u64> {
        Some(self.committed(in_time)?.iter().map(|one| one.next.unsigned_abs()).sum())
    }
}
