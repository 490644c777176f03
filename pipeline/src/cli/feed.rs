//! The feed's side of the binary: its settings, its keys, and Kafka as the event log that it reads.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use anyhow::Context;
use async_trait::async_trait;
use clap::Args;
use clickhouse::Client;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use tally_dashboards::Rates;
use tally_dashboards::api::Limits;
use tally_dashboards::feed::{
    Batch, Bounds, EventLog, Feed, FeedParts, FeedSettings, LogError, LogPartition, LogReader, Shape, Signer,
    add_signing_key,
};
use tally_dashboards::identity::Authority;
use tally_pipeline::config::{EventBound, Kafka, SchemaRegistry};
use tally_pipeline::event_tail::{self, EventTail, EventTailError};
use tally_pipeline::{IdentityError, Partition};
use tokio_util::sync::CancellationToken;

/// Where a feed reads and what it asks.
pub(crate) struct FeedPlace<'a> {
    pub(crate) kafka: &'a Kafka,
    pub(crate) registry: &'a SchemaRegistry,
    pub(crate) event: EventBound,
    /// Origins beside the service's own whose pages may open a WebSocket.
    pub(crate) origins: Vec<String>,
    pub(crate) authority: Authority,
    pub(crate) client: Client,
    /// The service's bounds, and the rates that it counts.
    pub(crate) bounds: (Limits, Rates),
}

impl FeedArgs {
    /// With keys in that folder.
    pub(crate) fn with_keys(self, keys: PathBuf) -> FeedArgs {
        FeedArgs { keys: Some(keys), ..self }
    }
}

/// The realtime feed.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Feed")]
pub(crate) struct FeedArgs {
    /// Folder of the keys that sign the feed, shared by all replicas; a first key is made in an empty one. Without it there is no feed.
    #[arg(id = "feed.keys", long = "feed-keys", env = "TALLY_FEED_KEYS", value_name = "DIR")]
    keys: Option<PathBuf>,
    /// Events held in memory for those who resume. 1000 to 5000000.
    #[arg(id = "feed.ring_events_max", long = "feed-ring-events-max", env = "TALLY_FEED_RING_EVENTS_MAX", default_value_t = 100_000, value_parser = clap::value_parser!(u32).range(1_000..=5_000_000), value_name = "EVENTS")]
    ring_events_max: u32,
    /// Bytes of them, about. 1 MiB to 4 GiB.
    #[arg(id = "feed.ring_bytes_max", long = "feed-ring-bytes-max", env = "TALLY_FEED_RING_BYTES_MAX", default_value_t = 128 << 20, value_parser = clap::value_parser!(u32).range(1_048_576..), value_name = "BYTES")]
    ring_bytes_max: u32,
    /// Offsets that one resume may replay from Kafka; a client further behind is told to fetch a snapshot. 1000 to 1000000000.
    #[arg(id = "feed.replay_offsets_max", long = "feed-replay-offsets-max", env = "TALLY_FEED_REPLAY_OFFSETS_MAX", default_value_t = 5_000_000, value_parser = clap::value_parser!(u32).range(1_000..=1_000_000_000), value_name = "OFFSETS")]
    replay_offsets_max: u32,
    /// Replays from Kafka at once, each with a consumer of its own. 1 to 64.
    #[arg(id = "feed.replays_max", long = "feed-replays-max", env = "TALLY_FEED_REPLAYS_MAX", default_value_t = 8, value_parser = clap::value_parser!(u32).range(1..=64), value_name = "N")]
    replays_max: u32,
    /// Connections of one subject. 1 to 10000.
    #[arg(id = "feed.connections_per_subject_max", long = "feed-connections-per-subject-max", env = "TALLY_FEED_CONNECTIONS_PER_SUBJECT_MAX", default_value_t = 32, value_parser = clap::value_parser!(u32).range(1..=10_000), value_name = "N")]
    connections_per_subject_max: u32,
    /// Seconds after which a connection is asked to begin anew, a fifth more or less. 10 to 86400.
    #[arg(id = "feed.max_age_seconds", long = "feed-max-age-seconds", env = "TALLY_FEED_MAX_AGE_SECONDS", default_value_t = 600, value_parser = clap::value_parser!(u32).range(10..=86_400), value_name = "SECONDS")]
    max_age_seconds: u32,
}

/// Opens the feed, if there are keys to sign it.
pub(crate) fn open(
    args: &FeedArgs,
    place: FeedPlace<'_>,
    stop: CancellationToken,
) -> anyhow::Result<Option<Feed>> {
    let Some(keys) = &args.keys else {
        tracing::info!("no --feed-keys: there is no feed");
        return Ok(None);
    };
    let registry = place.registry.client()?.map(Arc::new);
    let value_bytes_max = usize::try_from(place.event.value_bytes_max)?;
    let log = event_tail::EventLog::open(place.kafka, registry, value_bytes_max)?;
    let parts = FeedParts {
        log: Arc::new(KafkaLog { log }),
        authority: place.authority,
        signer: Signer::open(keys).context("the keys that sign the feed")?,
        client: place.client,
        read: place.bounds.0.read,
        rates: place.bounds.1,
    };
    let settings = FeedSettings {
        ring_events_max: usize::try_from(args.ring_events_max)?,
        ring_bytes_max: usize::try_from(args.ring_bytes_max)?,
        replay_offsets_max: i64::from(args.replay_offsets_max),
        replays_max: usize::try_from(args.replays_max)?,
        connections_per_subject_max: usize::try_from(args.connections_per_subject_max)?,
        max_age_s: u64::from(args.max_age_seconds),
        origins: place.origins,
    };
    Ok(Some(Feed::start(parts, settings, stop)))
}

/// Lay a new key into the folder from which the feed is signed. Services publish it at once and sign with it from then on.
///
/// Old keys stay: take a file away only when nothing that it signed can be replayed any more.
#[derive(Args, Debug)]
pub(crate) struct FeedKeyArgs {
    /// The folder of keys.
    #[arg(long = "feed-keys", env = "TALLY_FEED_KEYS", value_name = "DIR")]
    keys: PathBuf,
    /// Seconds from now until its first use: more than clients may keep a list of keys, which is 30. 0 to 31536000.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(0..=31_536_000), value_name = "SECONDS")]
    after_seconds: u64,
}

pub(crate) fn add_key(args: &FeedKeyArgs) -> anyhow::Result<ExitCode> {
    let name = add_signing_key(&args.keys, args.after_seconds)?;
    println!("{name}");
    Ok(ExitCode::SUCCESS)
}

/// The four topics of a Kafka as the feed's log.
struct KafkaLog {
    log: event_tail::EventLog,
}

/// What is asked of Kafka by place.
fn kafka_partitions(shape: &Shape) -> Vec<event_tail::LogPartition> {
    let partition = |one: &LogPartition| event_tail::LogPartition {
        contract: one.contract,
        topic_id: one.topic_id,
        at: Partition { topic: one.topic.clone(), number: one.number },
    };
    shape.partitions().iter().map(partition).collect()
}

fn failed(error: EventTailError) -> LogError {
    match error {
        EventTailError::Expired => LogError::Evicted,
        other => LogError::Unavailable(Box::new(other)),
    }
}

#[async_trait]
impl EventLog for KafkaLog {
    async fn shape(&self) -> Result<Shape, LogError> {
        let found = self.log.partitions().await.map_err(failed)?;
        let partition = |one: event_tail::LogPartition| LogPartition {
            contract: one.contract,
            topic: one.at.topic,
            topic_id: one.topic_id,
            number: one.at.number,
        };
        Ok(Shape::new(found.into_iter().map(partition).collect()))
    }

    async fn bounds(&self, shape: &Shape) -> Result<Vec<Bounds>, LogError> {
        let found = self.log.bounds(&kafka_partitions(shape)).await.map_err(failed)?;
        Ok(found.into_iter().map(|(low, high)| Bounds { low, high }).collect())
    }

    async fn read(&self, shape: &Shape, from: &[i64]) -> Result<Box<dyn LogReader>, LogError> {
        let partitions = kafka_partitions(shape);
        // asked again: a topic created anew under the same name is another log, and would answer to old offsets
        for one in partitions.iter().filter(|one| one.at.number == 0) {
            let now = self.log.identity(&one.at.topic).await.map_err(failed)?;
            if now != one.topic_id {
                let said = format!("{} was deleted and created again", one.at.topic);
                return Err(failed(EventTailError::Identity(IdentityError::Unanswered(said))));
            }
        }
        let from: Vec<(usize, i64)> = from.iter().copied().enumerate().collect();
        let tail = self.log.read(&partitions, &from).await.map_err(failed)?;
        Ok(Box::new(KafkaReader { tail }))
    }
}

struct KafkaReader {
    tail: EventTail,
}

#[async_trait]
impl LogReader for KafkaReader {
    async fn next(&mut self) -> Result<Batch, LogError> {
        let batch = self.tail.next().await.map_err(failed)?;
        Ok(Batch {
            place: batch.place,
            events: batch.events,
            offsets: batch.offsets,
            appended_at_ms: batch.appended_at_ms,
            next: batch.next,
        })
    }
}
