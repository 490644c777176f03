//! A database of its own, topics of their own, and the real route between them.

use super::super::super::store::{self, Opened};
use super::plan::{Plan, Record};
use super::tamper::{Harm, Place};
use anyhow::Context;
use rdkafka::ClientContext;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use rdkafka::message::{DeliveryResult, Message};
use rdkafka::mocking::MockCluster;
use rdkafka::producer::{BaseProducer, BaseRecord, Producer, ProducerContext};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tally_pipeline::config::Sections;
use tally_pipeline::ingest::{Config, run as ingest};
use tally_pipeline::{Metrics, Source};
use tally_queries::seal::{Keys, Log, Report, Request, Scope, Signers, generate_key, seal, verify};
use tally_schemas::Topic;
use tally_sinks::DeadTopic;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Partitions of each topic.
const PARTITIONS: i32 = 3;
/// Longest wait for all acknowledgements of a publication, and for the route to take it.
const PATIENCE: Duration = Duration::from_secs(120);

/// One world: database, topics, log of seals.
pub(super) struct Scratch {
    pub(super) sections: Sections,
    pub(super) opened: Opened,
    log: Log,
    signers: Signers,
    keys: Keys,
    _seals: tempfile::TempDir,
}

impl Scratch {
    /// Makes the database and the topics. `sections` name the database, the broker, the prefix of topics and the group.
    pub(super) async fn open(
        sections: Sections,
        cluster: &MockCluster<'_, impl ClientContext>,
    ) -> anyhow::Result<Scratch> {
        for contract in Topic::ALL {
            let topic = sections.kafka.topic(contract);
            cluster.create_topic(&topic, PARTITIONS, 1)?;
            cluster.create_topic(&DeadTopic::name(&topic), 1, 1)?;
        }
        let opened = store::open_migrated(&sections.clickhouse).await?;
        let seals = tempfile::Builder::new().prefix("tally-self-test-seals-").tempdir()?;
        let log = Log::open(&seals.path().display().to_string(), true)?;
        let (private, public) = generate_key("tally-self-test")?;
        let (signers, keys) = (Signers::parse(&[private])?, Keys::parse(&[public])?);
        Ok(Scratch { sections, opened, log, signers, keys, _seals: seals })
    }

    /// Publishes these records of a plan in this order and lets the route take them; gives where they lie.
    pub(super) async fn take(&self, plan: &Plan, order: &[usize]) -> anyhow::Result<HashMap<usize, Place>> {
        let kafka = self.sections.kafka.clone();
        let records: Vec<(usize, Record)> = order.iter().map(|at| (*at, plan.records[*at].clone())).collect();
        let places = tokio::task::spawn_blocking(move || {
            let config = kafka.client().map_err(anyhow::Error::msg)?;
            publish(config, &records, |contract| kafka.topic(contract))
        });
        let places = places.await??;
        let route = Config { sections: self.sections.clone(), listen: None, until_caught_up: true };
        let stop = CancellationToken::new();
        let taken = ingest(route, self.opened.store.clone(), Metrics::default(), stop.clone());
        let taken = tokio::time::timeout(PATIENCE, Box::pin(taken)).await;
        taken.context("the route did not take all records in time")??;
        Ok(places)
    }

    /// The identity of each topic.
    pub(super) async fn identities(&self) -> anyhow::Result<HashMap<Topic, Uuid>> {
        let config = self.sections.kafka.client().map_err(anyhow::Error::msg)?;
        let source = Source::open(config, "self-test-identities")?;
        let mut all = HashMap::new();
        for contract in Topic::ALL {
            all.insert(contract, source.identity(&self.sections.kafka.topic(contract)).await?);
        }
        Ok(all)
    }

    /// Seals everything that is stored.
    pub(super) async fn seal(&self) -> anyhow::Result<()> {
        let now = super::super::super::seal::now_micros()?;
        let sealed = seal(self.opened.store.client(), &self.log, &self.signers, &self.keys, now).await?;
        if let Some(lane) = sealed.lanes.iter().find(|lane| lane.stop.is_some()) {
            anyhow::bail!("{} could not be sealed to its end", lane.lane);
        }
        Ok(())
    }

    /// Verifies everything that was sealed.
    pub(super) async fn verify(&self) -> anyhow::Result<Report> {
        let now_ms = super::super::super::seal::now_micros()? / 1_000;
        let request = Request { scope: Scope::All, now_ms, max_age_ms: 0, fresh: false, expect: None };
        Ok(Box::pin(verify(self.opened.store.client(), &self.log, &self.keys, &request, None)).await)
    }

    /// Harms rows of the store. `id` is the event of a fact, the coordinates are those of a receipt or a letter.
    pub(super) async fn harm(&self, harm: Harm, id: Uuid, at: (Uuid, Place)) -> anyhow::Result<()> {
        let Harm { table, update, .. } = harm;
        let own = ["audit_log", "dead_letters"].contains(&table);
        let of = match own {
            true => {
                "topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset = {offset:Int64}"
            }
            false => "event_id = {id:UUID}",
        };
        let what = update.map_or("DELETE".to_owned(), |update| format!("UPDATE {update}"));
        let statement = format!("ALTER TABLE {table} {what} WHERE {of} SETTINGS mutations_sync = 2");
        let (topic_id, (partition, offset)) = at;
        let client = self.opened.store.client();
        let count = format!("SELECT count() FROM {table} FINAL WHERE {of}");
        let count = client.query(&count).param("topic_id", topic_id.to_string());
        let count = count.param("id", id.to_string()).param("partition", partition).param("offset", offset);
        let rows: u64 = count.fetch_one().await?;
        anyhow::ensure!(rows == 1, "{table} has {rows} rows where one was to be harmed");
        let harmed = client.query(&statement).param("topic_id", topic_id.to_string());
        let harmed = harmed.param("id", id.to_string()).param("partition", partition).param("offset", offset);
        harmed.execute().await.with_context(|| format!("harming a row of {table}"))
    }
}

/// What Kafka said of each record.
#[derive(Clone, Default)]
struct Acks(Arc<Mutex<Acknowledged>>);

/// Where each record went, and what was said of the last that was refused.
type Acknowledged = (HashMap<usize, Place>, Option<String>);

impl ClientContext for Acks {}

impl ProducerContext for Acks {
    type DeliveryOpaque = Box<usize>;

    fn delivery(&self, result: &DeliveryResult<'_>, record: Box<usize>) {
        let mut acks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match result {
            Ok(message) => drop(acks.0.insert(*record, (message.partition(), message.offset()))),
            Err((error, _)) => acks.1 = Some(error.to_string()),
        }
    }
}

/// Publishes in order; blocks until all is acknowledged.
fn publish(
    mut config: rdkafka::ClientConfig,
    records: &[(usize, Record)],
    topic: impl Fn(Topic) -> String,
) -> anyhow::Result<HashMap<usize, Place>> {
    config.set("enable.idempotence", "true").set("acks", "all").set("linger.ms", "5");
    config.set("queue.buffering.max.messages", "200000");
    config.set("partitioner", "murmur2"); // the same key, the same partition, in every run
    let acks = Acks::default();
    let producer: BaseProducer<Acks> = config.create_with_context(acks.clone())?;
    let deadline = Instant::now() + PATIENCE;
    for (place, record) in records {
        let topic = topic(record.topic);
        let mut next = BaseRecord::with_opaque_to(&topic, Box::new(*place))
            .key(record.key.as_str())
            .payload(record.value.as_slice())
            .timestamp(record.at_ms);
        loop {
            match producer.send(next) {
                Ok(()) => break,
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), again)) => {
                    anyhow::ensure!(Instant::now() < deadline, "the broker takes no more records");
                    next = again;
                    producer.poll(Duration::from_millis(5));
                }
                Err((error, _)) => return Err(error.into()),
            }
        }
        producer.poll(Duration::ZERO);
    }
    producer.flush(PATIENCE)?;
    let (places, failed) = std::mem::take(&mut *acks.0.lock().unwrap_or_else(PoisonError::into_inner));
    let missing = records.len().saturating_sub(places.len());
    anyhow::ensure!(missing == 0, "{missing} records were not acknowledged: {}", failed.unwrap_or_default());
    Ok(places)
}
