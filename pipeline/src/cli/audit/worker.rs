//! `tally audit worker`: runs parts of an audit's plans for a coordinator.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::judge::bytes;
use anyhow::Context;
use std::net::SocketAddr;
use std::process::ExitCode;
use tally_pipeline::config::ClickHouse;
use tally_queries::audit::{runtime, work};
use tally_sinks::Store;

/// Run parts of an audit's plans for `tally audit … --workers`.
///
/// It has no authentication: let it listen where only the coordinator can reach it.
#[derive(clap::Args, Debug)]
pub(crate) struct WorkerArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    /// Address to listen on; port 0 takes a free one.
    #[arg(
        id = "audit.worker_listen",
        long = "listen",
        env = "TALLY_AUDIT_WORKER_LISTEN",
        default_value = "127.0.0.1:9470",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
    /// Memory of sorts, groups and joins together, such as 512MB; beyond it they spill to disk.
    #[arg(long, value_parser = bytes, value_name = "SIZE")]
    memory_limit: Option<usize>,
}

pub(super) async fn run(args: WorkerArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::super::shutdown()?;
    anyhow::ensure!(
        args.clickhouse.data.is_none(),
        "a worker reads from a server: give --clickhouse URL, or nothing for exports"
    );
    let store = args.clickhouse.url.as_ref().map(|url| Store::new(&args.clickhouse.at(url)));
    let client = store.transpose()?.map(|store| store.client().clone());
    let working = work(args.listen, client, runtime(args.memory_limit)?, shutdown).await;
    let working = working.with_context(|| format!("cannot listen on {}", args.listen))?;
    println!("worker: {}", working.address);
    working.ended().await?;
    Ok(ExitCode::SUCCESS)
}
