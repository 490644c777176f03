//! `tally demo`: the whole on one machine, with nothing to install, and its balance at the end.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::ingest::bounds;
use super::store;
use anyhow::Context;
use clap::Parser;
use customers::Customers;
use rdkafka::mocking::MockCluster;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use tally_pipeline::config::{Kafka, SchemaRegistry, Sections};
use tally_pipeline::ingest::{Config, run as ingest};
use tally_pipeline::simulate::{Ending, Pace, Sent, SimulateError, now_micros, simulate};
use tally_pipeline::simulator::{Config as Platform, Expect, Simulator, foreign_schemas};
use tally_pipeline::{Metrics, Source, TruthFile, truth_file};
use tally_queries::{Balance, Published, balance, generations, reconcile};
use tally_schemas::Topic;
use tally_sinks::{DeadTopic, Store};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

mod auditor;
mod customers;
pub(super) mod registry;
mod service;
mod subscribers;

/// Run everything here: an in-process broker, the embedded ClickHouse, a simulated platform, the pipeline, a page.
///
/// Exit code 0: the balance holds, that is, nothing is missing, nothing is extra, nothing is both. 1: it does not.
#[derive(clap::Args, Debug)]
pub(crate) struct DemoArgs {
    /// How long the platform publishes, in the last part of which nobody comes any more; without it, until Ctrl-C.
    #[arg(long, value_name = "N")]
    seconds: Option<u64>,
    /// Folder of the embedded ClickHouse, kept; a second run in it goes on. Without it, a temporary one. What the platform
    /// did, for an audit to be held against, is written to `DIR/truth`, one file a run.
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
    /// Port of the page on loopback; 0 takes a free one.
    #[arg(long, default_value_t = 0, value_name = "PORT")]
    port: u16,
    /// Address of /metrics, /livez and /readyz of the route, as `tally ingest` has them; without it, nowhere.
    #[arg(long, value_name = "HOST:PORT")]
    listen: Option<SocketAddr>,
    /// The same of the service, as `tally serve` has them.
    #[arg(long, value_name = "HOST:PORT")]
    ops_listen: Option<SocketAddr>,
    /// About how many events per second the platform publishes.
    #[arg(long, default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=50_000), value_name = "N")]
    rate: u32,
    /// Of the events so many in a thousand are those of customers whose calls go through a gateway before a mock platform; 0 for none. They
    /// are in the balance, and not in what is written to `DIR/truth`.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(0..=1_000), value_name = "N")]
    gateway_permille: u32,
    /// Same seed, same platform.
    #[arg(long, default_value_t = 1, value_name = "N")]
    seed: u64,
    /// Write the balance to a file too.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

/// What the platform did before the demo began; published at once, so that the page starts with whole lives.
const HISTORY_MICROS: i64 = 60_000_000;
/// Partitions of each topic.
const PARTITIONS: i32 = 3;
/// Longest wait for the last events to be attested.
const SETTLE: Duration = Duration::from_secs(60);
/// Records that may wait for their lanes: the in-process broker keeps 5 MiB a partition and drops what is older.
const AHEAD_RECORDS_MAX: u64 = 20_000;
/// In the last part of a demo nobody comes any more, so that most tasks under way are finished and paid for: an audit of a demo
/// would else be undecided over bills that nobody sends.
const CLOSING_PERMILLE: u32 = 600;
/// It is no longer than that.
const CLOSING_SECONDS_MAX: u64 = 12;
/// How much later than told a machine that cannot keep up may be done with publishing.
const LATE: Duration = Duration::from_secs(60);
/// Of so many requests in a thousand the first attempt fails: an interface that is called a thousand times can then be proven to
/// fail in less than 2 % of its attempts.
const CALL_ERROR_PERMILLE: u32 = 3;
/// Of so many tasks in a thousand the price misses its tolerance: with a hundred tasks in a class the share is decided.
const ESTIMATE_MISS_PERMILLE: u32 = 8;
/// Tasks live so many times faster than in the simulator's defaults, so that a minute shows whole lives.
const LIFE_PERMILLE: u32 = 20;
/// Cases are worked through faster still.
const CASE_PERMILLE: u32 = 1;
/// Of so many tasks in a thousand an event comes without a valid policy tag: what the completeness audit must find.
const UNTAGGED_PERMILLE: u32 = 4;
/// Customers of the ten weeks before, so that the repurchase audit has weeks to compare.
const PAST_WALLETS: u32 = 1_200;
/// Events that one visit brings in the long run; measured over 200,000 events of the default configuration.
const EVENTS_PER_VISIT: i64 = 13;

/// The defaults of the sections, part of which the demo sets itself.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    sections: Sections,
}

pub(crate) async fn run(args: DemoArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::shutdown()?;
    let temporary = match args.data {
        None => Some(tempfile::Builder::new().prefix("tally-demo-").tempdir()?),
        Some(_) => None,
    };
    let data = args.data.clone().or_else(|| temporary.as_ref().map(|dir| dir.path().to_owned()));
    let Defaults { sections: mut config } = Defaults::try_parse_from(["tally"])?;
    config.clickhouse.data = data;
    config.clickhouse.url = None;
    let opened = store::open_migrated(&config.clickhouse).await?;
    let earlier = generations(opened.store.client()).await?;
    let cluster = MockCluster::new(1).context("the in-process broker")?;
    for contract in Topic::ALL {
        let topic = config.kafka.topic(contract);
        cluster.create_topic(&topic, PARTITIONS, 1)?;
        cluster.create_topic(&DeadTopic::name(&topic), 1, 1)?;
    }
    config.kafka.brokers = cluster.bootstrap_servers();
    let source = Source::open(config.kafka.client().map_err(anyhow::Error::msg)?, "demo-balance")?;
    for contract in Topic::ALL {
        let id = source.identity(&config.kafka.topic(contract)).await?;
        anyhow::ensure!(
            !earlier.contains(&id),
            "the broker gave a topic an identity of an earlier run; run again"
        );
    }
    let url = Some(registry::serve(foreign_schemas()).await?);
    config.registry = SchemaRegistry { url, user: None, password: None, ca: None };
    let folder = config.clickhouse.data.clone().context("a demo has a folder")?;
    let service = service::serve((args.port, args.ops_listen), (&folder, &config), &opened.store).await?;
    println!("page: http://{}/   (Ctrl-C ends the demo and prints the balance)", service.address);
    service::print_how_to_sign_in(service.address, &folder);
    let rounds = auditor::Rounds::begin(&folder, &opened.store, config.kafka.topic(Topic::Task))?;
    let metrics = Metrics::default();
    let stop_lanes = CancellationToken::new();
    let route = Config { sections: config.clone(), listen: args.listen, until_caught_up: false };
    let lanes = tokio::spawn(ingest(route, opened.store.clone(), metrics.clone(), stop_lanes.clone()));
    let seed = args.seed.wrapping_add(earlier.len() as u64); // a second run in a folder has tasks of its own
    let simulator = Simulator::new(platform(seed, args.rate));
    let (subscribers, subscribed) = service.subscribe(simulator.visitors().map(str::to_owned)).await?;
    let share = f64::from(args.rate) * f64::from(args.gateway_permille) / 1_000.0;
    let customers = match args.gateway_permille {
        0 => None,
        _ => {
            Some(Customers::begin(&folder, (&config, &opened.store), service.issuer(), (share, seed)).await?)
        }
    };
    let (mut sent, mut truth) =
        publish(args.seconds, (seed, simulator), &config.kafka, (metrics, &shutdown)).await?;
    let books = match customers {
        None => None,
        Some(customers) => {
            let (theirs, books) = customers.finish().await?;
            sent.extend(theirs);
            Some(books)
        }
    };
    let heard = tokio::spawn(subscribers.finish()); // all is published: they hear it to its end while the receipts come
    if let Some(data) = &args.data {
        truth.subscribers = subscribed;
        let path = truth.write_into(&data.join(truth_file::FOLDER)).context("the truth of this run")?;
        println!("what the platform did: {}", path.display());
    }
    println!("{} events published and acknowledged; waiting for the last receipts", sent.len());
    let balances = settle(&source, &config.kafka, &opened.store, &sent, &lanes).await?;
    stop_lanes.cancel();
    lanes.await??;
    end_heads(&source, &config.kafka, &opened.store).await?;
    super::balance::print(&balances);
    let mut holds = balances.iter().all(Balance::holds);
    if let Some(books) = books {
        holds &= customers::agree(&books, &opened.store).await?;
    }
    if let Some(path) = &args.json {
        let report =
            serde_json::json!({ "verdict": if holds { "PASS" } else { "FAIL" }, "topics": balances });
        std::fs::write(path, format!("{report:#}\n")).with_context(|| path.display().to_string())?;
    }
    heard.await??.print();
    rounds.end().await?;
    service.end().await?;
    opened.close().await?;
    drop(cluster);
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The broker ends with this process and its topics with it: nothing follows what their lanes recorded last.
async fn end_heads(source: &Source, kafka: &Kafka, store: &Store) -> anyhow::Result<()> {
    for contract in Topic::ALL {
        let topic = kafka.topic(contract);
        let topic_id = source.identity(&topic).await?;
        store.end_heads_of(&topic, topic_id).await?;
    }
    Ok(())
}

/// A platform of about so many events a second that opened a while ago.
fn platform(seed: u64, rate: u32) -> Platform {
    Platform {
        start: now_micros() - HISTORY_MICROS,
        visit_gap_micros: (EVENTS_PER_VISIT * 1_000_000 / i64::from(rate)).max(1),
        life_permille: LIFE_PERMILLE,
        case_permille: CASE_PERMILLE,
        call_error_permille: CALL_ERROR_PERMILLE,
        estimate_miss_permille: ESTIMATE_MISS_PERMILLE,
        untagged_permille: UNTAGGED_PERMILLE,
        past_wallets: PAST_WALLETS,
        ..Platform::seeded(seed)
    }
}

async fn publish(
    seconds: Option<u64>,
    (seed, mut simulator): (u64, Simulator),
    kafka: &Kafka,
    (metrics, shutdown): (Metrics, &CancellationToken),
) -> anyhow::Result<(Vec<Sent>, TruthFile)> {
    let stop = shutdown.child_token();
    let ending = seconds.map(|seconds| {
        let whole = Duration::from_secs(seconds);
        let rest = (whole / 1_000 * CLOSING_PERMILLE).min(Duration::from_secs(CLOSING_SECONDS_MAX));
        Ending { visits_until: Instant::now() + whole - rest, rest }
    });
    if let Some(seconds) = seconds {
        let stop = stop.clone();
        tokio::spawn(async move {
            tokio::time::sleep(Duration::from_secs(seconds) + LATE).await;
            stop.cancel();
        });
    }
    let kafka = kafka.clone();
    let work = move || {
        let pace = Pace::RealTime { taken: &|| metrics.taken(), ahead_max: AHEAD_RECORDS_MAX, ending };
        let sent = simulate(&kafka, &mut simulator, pace, &stop)?;
        let truth = TruthFile::of(seed, simulator.opens_at(), simulator.truth(), &sent);
        Ok::<_, SimulateError>((sent, truth))
    };
    Ok(tokio::task::spawn_blocking(work).await??)
}

/// Waits until every published record has a receipt, and balances.
async fn settle(
    source: &Source,
    kafka: &Kafka,
    store: &Store,
    sent: &[Sent],
    lanes: &tokio::task::JoinHandle<
        Result<tally_pipeline::ingest::Summary, tally_pipeline::ingest::IngestError>,
    >,
) -> anyhow::Result<Vec<Balance>> {
    let mut published: HashMap<Topic, Vec<Published>> = HashMap::new();
    for one in sent {
        let valid = !matches!(one.expect, Expect::Dead(_));
        let record =
            Published { partition: one.partition, offset: one.offset, event_id: one.event_id, valid };
        published.entry(one.topic).or_default().push(record);
    }
    let deadline = Instant::now() + SETTLE;
    loop {
        let mut balances = Vec::new();
        for contract in Topic::ALL {
            let topic = kafka.topic(contract);
            let topic_id: Uuid = source.identity(&topic).await?;
            let bounds = bounds(source, &topic).await?;
            let counted = balance(store.client(), (&topic, topic_id), contract.table(), &bounds).await?;
            let sent = published.get(&contract).map_or(&[][..], Vec::as_slice);
            balances.push(reconcile(store.client(), topic_id, contract.table(), sent, counted).await?);
        }
        if balances.iter().all(Balance::holds) || Instant::now() > deadline || lanes.is_finished() {
            return Ok(balances);
        }
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
}
