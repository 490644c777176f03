//! Topics by the admin protocol, each call waiting until its effect can be seen.

use std::thread;
use std::time::Duration;

use rdkafka::ClientConfig;
use rdkafka::TopicPartitionList;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::topic_partition_list::Offset;

use crate::wait::eventually;

/// For one request; a cold broker's first answer may take a second or two.
const REQUEST: Duration = Duration::from_secs(10);
/// For an effect to be seen on a loaded machine.
const EFFECT: Duration = Duration::from_secs(20);

/// As many replicas as the brokers have by default.
pub(super) fn create_topic(bootstrap: &str, name: &str, partitions: i32, config: &[(&str, &str)]) {
    let mut topic = NewTopic::new(name, partitions, TopicReplication::Fixed(-1));
    for (key, value) in config {
        topic = topic.set(key, value);
    }
    // A controller that has just started may not know its broker yet, and calls that a wrong number of replicas.
    eventually(EFFECT, &format!("{name} to be created"), || {
        let outcomes = block_on(async { admin(bootstrap).create_topics([&topic], &options()).await });
        let outcomes = outcomes.unwrap_or_else(|error| panic!("{name} was not created: {error}"));
        match outcomes.into_iter().find_map(Result::err) {
            None => Some(()),
            Some((_, RDKafkaErrorCode::InvalidReplicationFactor)) => None,
            Some((_, code)) => panic!("{name} was not created: {code}"),
        }
    });
}

pub(super) fn delete_topics(bootstrap: &str, names: &[&str]) {
    let outcomes = block_on(async { admin(bootstrap).delete_topics(names, &options()).await });
    for outcome in outcomes.unwrap_or_else(|error| panic!("{names:?} were not deleted: {error}")) {
        outcome.unwrap_or_else(|(name, code)| panic!("{name} was not deleted: {code}"));
    }
    let client = client(bootstrap);
    eventually(EFFECT, &format!("the broker to forget {names:?}"), || {
        // All topics: asking for one by name may create it on a server of yours.
        let metadata = client.fetch_metadata(None, REQUEST).ok()?;
        metadata.topics().iter().all(|topic| !names.contains(&topic.name())).then_some(())
    });
}

pub(super) fn topics(bootstrap: &str, prefix: &str) -> Vec<String> {
    let metadata = client(bootstrap).fetch_metadata(None, REQUEST).expect("the broker answers");
    let names = metadata.topics().iter().map(|topic| topic.name());
    names.filter(|name| name.starts_with(prefix)).map(str::to_owned).collect()
}

pub(super) fn wait_for_leaders(bootstrap: &str, name: &str, partitions: i32) {
    let client = client(bootstrap);
    let expected = usize::try_from(partitions).expect("a topic has a positive number of partitions");
    eventually(EFFECT, &format!("a leader for each of the {partitions} partitions of {name}"), || {
        let metadata = client.fetch_metadata(Some(name), REQUEST).ok()?;
        let topic = metadata.topics().iter().find(|topic| topic.name() == name)?;
        let led = topic.partitions().iter().filter(|partition| partition.leader() >= 0).count();
        (led == expected).then_some(())
    });
}

pub(super) fn delete_records_before(bootstrap: &str, topic: &str, partition: i32, offset: i64) {
    let mut bounds = TopicPartitionList::new();
    bounds
        .add_partition_offset(topic, partition, Offset::Offset(offset))
        .unwrap_or_else(|error| panic!("{offset} is no offset: {error}"));
    let outcome = block_on(async { admin(bootstrap).delete_records(&bounds, &options()).await });
    outcome.and_then(|list| list.elements().iter().try_for_each(|element| element.error())).unwrap_or_else(
        |error: KafkaError| panic!("records of {topic}/{partition} were not deleted: {error}"),
    );
}

pub(super) fn watermarks(bootstrap: &str, topic: &str, partition: i32) -> (i64, i64) {
    // A broker that has just come back leads nothing for a moment.
    eventually(EFFECT, &format!("watermarks of {topic}/{partition}"), || {
        client(bootstrap).fetch_watermarks(topic, partition, REQUEST).ok()
    })
}

/// Whether the broker answers and counts itself among the living.
pub(super) fn answers(bootstrap: &str, timeout: Duration) -> bool {
    client(bootstrap).fetch_metadata(None, timeout).is_ok_and(|metadata| !metadata.brokers().is_empty())
}

/// Whether so many brokers are there, and every replica of every partition is in step.
pub(super) fn is_whole(bootstrap: &str, brokers: usize) -> bool {
    let Ok(metadata) = client(bootstrap).fetch_metadata(None, REQUEST) else { return false };
    let mut partitions = metadata.topics().iter().flat_map(|topic| topic.partitions());
    metadata.brokers().len() == brokers && partitions.all(|one| one.isr().len() == one.replicas().len())
}

/// Who leads a partition; `None` while nobody does, or nobody answers.
pub(super) fn leader(bootstrap: &str, topic: &str, partition: i32) -> Option<i32> {
    let metadata = client(bootstrap).fetch_metadata(Some(topic), REQUEST).ok()?;
    let found = metadata.topics().iter().find(|one| one.name() == topic)?;
    let found = found.partitions().iter().find(|one| one.id() == partition)?;
    (found.leader() >= 0).then_some(found.leader())
}

fn client(bootstrap: &str) -> BaseConsumer {
    config(bootstrap).create().expect("a Kafka client can be created")
}

fn admin(bootstrap: &str) -> AdminClient<DefaultClientContext> {
    config(bootstrap).create().expect("a Kafka admin client can be created")
}

fn config(bootstrap: &str) -> ClientConfig {
    let mut config = ClientConfig::new();
    config
        .set("bootstrap.servers", bootstrap)
        // Only the first connection may be refused: the broker is starting.
        .set("reconnect.backoff.ms", "20")
        .set("reconnect.backoff.max.ms", "200")
        // Silence about refused connections; a failure shows in the test's own words.
        .set("log_level", "0");
    config
}

fn options() -> AdminOptions {
    AdminOptions::new().request_timeout(Some(REQUEST)).operation_timeout(Some(REQUEST))
}

/// On a thread of its own, since a test may itself run inside a runtime, where blocking on
/// another one panics.
fn block_on<T: Send>(work: impl Future<Output = T> + Send) -> T {
    thread::scope(|scope| {
        let worker = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .expect("a runtime can be built");
            runtime.block_on(work)
        });
        worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    })
}
