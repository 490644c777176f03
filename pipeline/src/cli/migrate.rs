//! `tally migrate`: brings the tables up to date.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::store;
use std::process::ExitCode;
use tally_pipeline::config::ClickHouse;

/// Create the database and its tables, or bring them up to date. Safe to run twice, and by two at once.
#[derive(clap::Args, Debug)]
pub(crate) struct MigrateArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
}

pub(crate) async fn run(args: MigrateArgs) -> anyhow::Result<ExitCode> {
    let opened = store::open(&args.clickhouse).await?;
    let applied = opened.store.migrate().await?;
    for migration in &applied {
        println!("applied {:04} {}", migration.version, migration.name);
    }
    if applied.is_empty() {
        println!("nothing to do: the tables are up to date");
    }
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}
