//! `tally migrate`: brings the tables up to date.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::store;
use std::process::ExitCode;
use tally_pipeline::config::ClickHouse;
use tally_queries::visible::visible;
use tally_sinks::Difference;

/// Create the database and its tables, or bring them up to date. Safe to run twice, and by two at once.
///
/// A view that is not what this version makes is made anew, and named. Exit code 1: a table is not; it is named and left alone.
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
    let restored = opened.store.restore_views().await?;
    for view in &restored {
        println!("put right: the view {view} was not what this version makes");
    }
    let differing = opened.store.differences().await?;
    for Difference { name, what, .. } in &differing {
        println!("differs: {name} is not what this version makes: {}", visible(what));
    }
    if applied.is_empty() && restored.is_empty() && differing.is_empty() {
        println!("nothing to do: the tables are up to date");
    }
    opened.close().await?;
    Ok(ExitCode::from(u8::from(!differing.is_empty())))
}
