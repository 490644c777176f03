//! What the bench runs on: an in-process broker, the embedded ClickHouse and a service of its own, or yours.

use super::memory::Memory;
use super::service::Service;
use super::{AUDIENCE, FeedBenchArgs, ISSUER};
use crate::cli::store::{self, Opened};
use anyhow::Context;
use rdkafka::mocking::MockCluster;
use rdkafka::producer::DefaultProducerContext;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_dashboards::identity::{Minter, generate_key};
use tally_pipeline::config::Kafka;
use tally_schemas::Topic;
use tally_sinks::DeadTopic;
use tempfile::TempDir;
use tokio::sync::Mutex;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Partitions of each topic of the in-process broker.
const PARTITIONS: i32 = 3;
/// How often the service's memory is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// What `--brokers` says when nobody has said anything.
const UNSAID_BROKERS: &str = "127.0.0.1:9092";

/// Everything that was started, in the order in which it must end.
pub(super) struct World {
    pub(super) service: Arc<Mutex<Service>>,
    pub(super) kafka: Kafka,
    pub(super) minter: Minter,
    pub(super) memory: Arc<Memory>,
    _looking: DropGuard,
    store: Option<Opened>,
    _cluster: Option<MockCluster<'static, DefaultProducerContext>>,
    _folder: TempDir,
}

impl World {
    /// Starts what the arguments do not name.
    pub(super) async fn open(args: &FeedBenchArgs) -> anyhow::Result<World> {
        let folder = tempfile::Builder::new().prefix("tally-feed-bench-").tempdir()?;
        let mut kafka = args.kafka.clone();
        let mut cluster = None;
        if args.service.is_none() && kafka.brokers == UNSAID_BROKERS {
            let own = MockCluster::new(1).context("the in-process broker")?;
            for contract in Topic::ALL {
                let topic = kafka.topic(contract);
                own.create_topic(&topic, PARTITIONS, 1)?;
                own.create_topic(&DeadTopic::name(&topic), 1, 1)?;
            }
            kafka.brokers = own.bootstrap_servers();
            cluster = Some(own);
        }
        let (service, minter, store) = match (&args.service, &args.token_key) {
            (Some(url), Some(key)) => {
                let private = std::fs::read_to_string(key).with_context(|| key.display().to_string())?;
                let named = args.clickhouse.url.is_some() || args.clickhouse.data.is_some();
                let store = if named { Some(store::open(&args.clickhouse).await?) } else { None };
                (Service::of_yours(url)?, Minter::new(&private, &args.issuer, &args.token_audience)?, store)
            }
            _ => {
                let minter = Minter::new(&generate_key().0, ISSUER, AUDIENCE)?;
                let mut config = args.clickhouse.clone();
                let mut flags = vec!["--database".to_owned(), config.database.clone()];
                match &config.url {
                    Some(url) => flags.extend(["--clickhouse".to_owned(), url.clone()]),
                    None => {
                        let data = config.data.get_or_insert_with(|| folder.path().join("data"));
                        flags.extend(["--data".to_owned(), data.to_string_lossy().into_owned()]);
                    }
                }
                let opened = store::open_migrated(&config).await?;
                (Service::start_own(folder.path(), &kafka, &minter, &flags).await?, minter, Some(opened))
            }
        };
        let service = Arc::new(Mutex::new(service));
        let (memory, stop) = (Arc::new(Memory::default()), CancellationToken::new());
        tokio::spawn(look(Arc::clone(&service), Arc::clone(&memory), stop.clone()));
        Ok(World {
            service,
            kafka,
            minter,
            memory,
            _looking: stop.drop_guard(),
            store,
            _cluster: cluster,
            _folder: folder,
        })
    }

    /// The store, where it is known.
    pub(super) fn store(&self) -> Option<clickhouse::Client> {
        self.store.as_ref().map(|opened| opened.store.client().clone())
    }

    /// Stops what was started.
    pub(super) async fn close(self) -> anyhow::Result<()> {
        let World { service, store, .. } = self;
        let mut service = service.lock().await;
        if service.is_own() {
            service.kill().await?;
        }
        drop(service);
        match store {
            Some(store) => store.close().await,
            None => Ok(()),
        }
    }
}

/// Nothing is seen of a service that is not ours.
async fn look(service: Arc<Mutex<Service>>, memory: Arc<Memory>, stop: CancellationToken) {
    while !stop.is_cancelled() {
        if let Some(usage) = service.lock().await.usage() {
            memory.note(Instant::now(), usage.resident_bytes);
        }
        tokio::select! { () = tokio::time::sleep(LOOK) => {}, () = stop.cancelled() => {} }
    }
}
