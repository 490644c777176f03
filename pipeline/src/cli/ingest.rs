//! `tally ingest`: the route, as a service or until caught up.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::store;
use std::net::SocketAddr;
use std::process::ExitCode;
use tally_pipeline::config::Sections;
use tally_pipeline::ingest::{Config, run as ingest};
use tally_pipeline::{Goal, Metrics, Source};
use tally_queries::{Balance, Bounds};
use tally_schemas::Topic;
use tokio_util::sync::CancellationToken;

/// Take every event from Kafka, hold it against its contract, and store it in ClickHouse exactly once.
///
/// Exit code 0: stopped in good order, and the balance, where one was made, holds. 1: it does not. 3: could not run, another
/// process took this one's name (`--kafka-instance`), or what Kafka has cannot be caught up with.
#[derive(clap::Args, Debug)]
pub(crate) struct IngestArgs {
    #[command(flatten)]
    sections: Sections,
    /// Address of /metrics, /livez and /readyz.
    #[arg(
        id = "ingest.listen",
        long = "listen",
        env = "TALLY_INGEST_LISTEN",
        default_value = "127.0.0.1:9464",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
    /// Stop when the high watermarks seen at the start are stored and committed, and print the balance.
    #[arg(long)]
    until_caught_up: bool,
    /// Print the balance as JSON.
    #[arg(long, requires = "until_caught_up")]
    json: bool,
}

pub(crate) async fn run(args: IngestArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::shutdown()?;
    let opened = store::open_migrated(&args.sections.clickhouse).await?;
    let ended = run_on(&opened.store, args, shutdown).await;
    match (opened.close().await, ended) {
        (Ok(()), ended) => ended,
        (Err(error), Ok(_)) => Err(error),
        // that the store did not close is not why we end
        (Err(error), Err(ended)) => {
            tracing::warn!(%error, "the store was not closed in good order");
            Err(ended)
        }
    }
}

async fn run_on(
    store: &tally_sinks::Store,
    args: IngestArgs,
    shutdown: CancellationToken,
) -> anyhow::Result<ExitCode> {
    let before = cpu_seconds();
    let config =
        Config { sections: args.sections, listen: Some(args.listen), until_caught_up: args.until_caught_up };
    let done = ingest(config, store.clone(), Metrics::default(), shutdown.clone()).await?;
    if !args.until_caught_up || shutdown.is_cancelled() {
        return Ok(ExitCode::SUCCESS);
    }
    let cpu = cpu_seconds() - before;
    let balances = balances(&done.goals, store).await?;
    let holds = balances.iter().all(Balance::holds);
    if args.json {
        let verdict = if holds { "PASS" } else { "FAIL" };
        println!("{}", serde_json::json!({ "verdict": verdict, "topics": balances }));
    } else {
        super::balance::print(&balances);
        #[expect(clippy::cast_precision_loss, reason = "figures for people")]
        let (offsets, seconds) = (done.offsets as f64, done.elapsed.as_secs_f64());
        println!(
            "{} offsets in {seconds:.1} s: {:.0} events/s, {:.2} CPU s per million events, peak memory {} MiB",
            done.offsets,
            offsets / seconds.max(0.001),
            cpu / offsets.max(1.0) * 1e6,
            peak_memory_bytes() >> 20,
        );
    }
    Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// The balance of every topic up to its goals.
async fn balances(goals: &[Goal], store: &tally_sinks::Store) -> anyhow::Result<Vec<Balance>> {
    let mut balances = Vec::new();
    for contract in Topic::ALL {
        let of: Vec<&Goal> = goals.iter().filter(|goal| goal.contract == contract).collect();
        let Some(Goal { partition, topic_id, .. }) = of.first() else { continue };
        let bound =
            |goal: &&Goal| Bounds { partition: goal.partition.number, low: goal.low, high: goal.high };
        let (topic, bounds) =
            ((partition.topic.as_str(), *topic_id), of.iter().map(bound).collect::<Vec<_>>());
        balances.push(tally_queries::balance(store.client(), topic, contract.table(), &bounds).await?);
    }
    Ok(balances)
}

/// The first retained offset and the high watermark of every partition of a topic.
pub(crate) async fn bounds(source: &Source, topic: &str) -> anyhow::Result<Vec<Bounds>> {
    let (source, topic) = (source.clone(), topic.to_owned());
    let ask = move || {
        let partitions = source.partitions(&topic)?;
        let bounds = partitions.into_iter().map(|at| {
            let (low, high) = source.watermarks(&at)?;
            Ok(Bounds { partition: at.number, low, high })
        });
        bounds.collect::<Result<Vec<_>, tally_pipeline::SourceError>>()
    };
    Ok(tokio::task::spawn_blocking(ask).await??)
}

/// CPU seconds of this process so far, user and system.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    let ticks = |at: usize| fields.get(at).and_then(|f| f.parse::<f64>().ok()).unwrap_or(0.0);
    (ticks(11) + ticks(12)) / 100.0
}

/// The most memory this process ever held, bytes.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<u64>().ok()).unwrap_or(0) << 10
}
