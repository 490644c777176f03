//! `tally audit`: the questions of compliance, product and operations, each with a verdict.

use super::store::{self, Opened};
use anyhow::Context;
use std::process::ExitCode;
use tally_pipeline::Source as Broker;
use tally_pipeline::config::{ClickHouse, Kafka};
use tally_queries::audit::{Auditor, JobName, Limits, Settings, Source};
use tally_queries::catalog::{Head, Place, Snapshot, open_parquet};
use tally_schemas::Topic;
use tally_sinks::{Difference, Store};

mod export;
mod history;
mod judge;
mod moment;
mod self_test;
mod verdicts;
mod watch;
mod worker;

/// Is the audit complete, were estimates right, are interfaces stable, do customers come back? Each job ends with a verdict.
///
/// Exit code 0: every job says PASS. 1: one says FAIL. 2: something is undecided. 3: something could not be checked.
#[derive(clap::Subcommand, Debug)]
pub(crate) enum AuditCommand {
    /// Does every offset have exactly one disposition, and every disposition its row?
    Offsets(judge::JudgeArgs),
    /// Is every task in the audit log, with a policy tag and a chain of states without gaps?
    Completeness(judge::JudgeArgs),
    /// Were estimates within ±10 % (normal queue) and ±5 % (accelerated)?
    Accuracy(judge::JudgeArgs),
    /// Do interfaces fail in less than 2 % of their attempts?
    Stability(judge::JudgeArgs),
    /// Did the repurchase rate rise by 8 % in the week after the launch?
    Repurchase(judge::JudgeArgs),
    /// Were events pushed within 3 s, and connections recovered within 5 s?
    Realtime(judge::JudgeArgs),
    /// Does every wallet's money add up?
    Balances(judge::JudgeArgs),
    /// Were moderation cases decided before they were due?
    Sla(judge::JudgeArgs),
    /// All of them.
    All(judge::JudgeArgs),
    Export(export::ExportArgs),
    History(history::HistoryArgs),
    SelfTest(self_test::SelfTestArgs),
    Watch(watch::WatchArgs),
    Worker(worker::WorkerArgs),
}

/// Runs `tally audit`.
pub(crate) async fn run(command: AuditCommand) -> anyhow::Result<ExitCode> {
    use AuditCommand as C;
    match command {
        C::Offsets(args) => judge::run(&[JobName::Offsets], args).await,
        C::Completeness(args) => judge::run(&[JobName::Completeness], args).await,
        C::Accuracy(args) => judge::run(&[JobName::Accuracy], args).await,
        C::Stability(args) => judge::run(&[JobName::Stability], args).await,
        C::Repurchase(args) => judge::run(&[JobName::Repurchase], args).await,
        C::Realtime(args) => judge::run(&[JobName::Realtime], args).await,
        C::Balances(args) => judge::run(&[JobName::Balances], args).await,
        C::Sla(args) => judge::run(&[JobName::Sla], args).await,
        C::All(args) => judge::run(&tally_queries::audit::all_jobs(), args).await,
        C::Export(args) => export::run(args).await,
        C::History(args) => history::run(args).await,
        C::SelfTest(args) => Box::pin(self_test::run(args)).await,
        C::Watch(args) => Box::pin(watch::run(args)).await,
        C::Worker(args) => worker::run(args).await,
    }
}

/// Where rows come from.
#[derive(clap::Args, Debug)]
pub(super) struct InputArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    /// Read an export of `tally audit export` instead: a folder, or an address such as s3://bucket/folder.
    #[arg(long, value_name = "PLACE", conflicts_with_all = ["clickhouse.url", "clickhouse.data"])]
    parquet: Option<String>,
    #[command(flatten)]
    kafka: Kafka,
    /// Ask Kafka for the high watermarks now, instead of taking those that `tally ingest` saw last.
    #[arg(long, conflicts_with = "parquet")]
    ask_kafka: bool,
}

/// How an input is read.
#[derive(Clone, Copy)]
pub(super) enum Reading<'a> {
    /// Each table once.
    Once,
    /// By every query anew, within these limits.
    Often(&'a Limits),
}

/// An input, and the store behind it if there is one.
pub(super) struct OpenedInput {
    source: Source,
    snapshot: Snapshot,
    store: Option<Opened>,
    /// Why no figure of it can be believed.
    distrust: Option<String>,
}

impl InputArgs {
    /// Opens the input and fixes where it ends.
    async fn open(&self, reading: Reading<'_>) -> anyhow::Result<OpenedInput> {
        if let Some(place) = &self.parquet {
            let mut place = Place::open(place)?;
            if let Reading::Often(Limits { memory_bytes_max: None, workers, .. }) = reading
                && workers.is_empty()
            {
                place = place.brought_near().await?; // what is near is beyond a limit's count, and workers read for themselves
            }
            let snapshot = open_parquet(&place).await?;
            return Ok(OpenedInput { source: Source::Parquet(place), snapshot, store: None, distrust: None });
        }
        let opened = store::open_migrated(&self.clickhouse).await?;
        let input = self.over(&opened.store).await?;
        Ok(OpenedInput { store: Some(opened), ..input })
    }

    /// Fixes where the input of an open store ends.
    async fn over(&self, store: &Store) -> anyhow::Result<OpenedInput> {
        let fresh = if self.ask_kafka { heads(&self.kafka).await? } else { Vec::new() };
        let client = store.client().clone();
        let distrust = distrust(&store.differences().await?);
        let snapshot = match (Snapshot::take(&client, fresh).await, &distrust) {
            (Err(error), Some(why)) => return Err(anyhow::Error::from(error).context(why.clone())),
            (snapshot, _) => snapshot?,
        };
        Ok(OpenedInput { source: Source::ClickHouse(client), snapshot, store: None, distrust })
    }

    /// The topic of task events, as this configuration names it.
    fn task_topic(&self) -> String {
        self.kafka.topic(Topic::Task)
    }
}

impl OpenedInput {
    fn auditor(&self, settings: Settings, limits: &Limits) -> anyhow::Result<Auditor> {
        let auditor = Auditor::new(self.source.clone(), self.snapshot.clone(), settings, limits)?;
        Ok(match &self.distrust {
            Some(why) => auditor.distrusting(why.clone()),
            None => auditor,
        })
    }

    async fn close(self) -> anyhow::Result<()> {
        match self.store {
            Some(opened) => opened.close().await,
            None => Ok(()),
        }
    }
}

/// Why tables and views that are not what this version makes give no figures; they are named.
fn distrust(differing: &[Difference]) -> Option<String> {
    let named = |differs: &Difference| format!("{} ({})", differs.name, differs.what);
    let named: Vec<String> = differing.iter().map(named).collect();
    (!named.is_empty()).then(|| {
        let named = named.join(", ");
        format!("not what this version makes: {named}; `tally migrate` puts views right and names the rest")
    })
}

/// The high watermarks as Kafka has them now.
async fn heads(kafka: &Kafka) -> anyhow::Result<Vec<Head>> {
    let source = Broker::open(kafka.client().map_err(anyhow::Error::msg)?, &kafka.group)?;
    source.admitted().await?;
    let mut heads = Vec::new();
    for contract in Topic::ALL {
        let topic = kafka.topic(contract);
        let seen_us = tally_pipeline::simulate::now_micros(); // before the question: what was appended by now is below the answer
        let topic_id = source.identity(&topic).await.with_context(|| format!("asking Kafka for {topic}"))?;
        for bound in super::ingest::bounds(&source, &topic).await? {
            let (partition, low, high) = (bound.partition, bound.low, bound.high);
            heads.push(Head {
                topic: topic.clone(),
                topic_id,
                partition,
                low,
                high,
                taken: 0,
                seen_us,
                ended: false,
            });
        }
    }
    Ok(heads)
}
