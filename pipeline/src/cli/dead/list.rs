//! `tally dead list`.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::filter::Filter;
use crate::cli::store;
use std::process::ExitCode;
use tally_pipeline::config::ClickHouse;
use tally_queries::{dead_letters, dead_reasons};
use tally_schemas::Reason;

/// List dead letters, newest first, and how many there are by reason with the remedy. Shows no payload.
#[derive(clap::Args, Debug)]
pub(crate) struct ListArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    filter: Filter,
    /// At most so many are listed.
    #[arg(long, default_value_t = 20, value_name = "N")]
    limit: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs it.
pub(super) async fn run(args: ListArgs) -> anyhow::Result<ExitCode> {
    let opened = store::open(&args.clickhouse).await?;
    let wanted = args.filter.wanted(args.limit);
    let letters = dead_letters(opened.store.client(), &wanted).await?;
    let reasons = dead_reasons(opened.store.client(), &wanted).await?;
    opened.close().await?;
    let total: u64 = reasons.iter().map(|reason| reason.letters).sum();
    let more = total.saturating_sub(letters.len() as u64);
    let remedy = |name: &str| Reason::from_name(name).map_or("", Reason::remedy);
    if args.json {
        let reasons: Vec<_> = reasons
            .iter()
            .map(|r| serde_json::json!({"reason": r.reason, "letters": r.letters, "remedy": remedy(&r.reason)}))
            .collect();
        println!("{}", serde_json::json!({"letters": letters, "more": more, "reasons": reasons}));
        return Ok(ExitCode::SUCCESS);
    }
    for letter in &letters {
        let short = letter.topic_id.get(..8).unwrap_or_default();
        let path = if letter.path.is_empty() { String::new() } else { format!(" {}", letter.path) };
        println!("{} ({short})  {}{path}: {}", letter.at(), letter.reason, letter.sentence);
        let schema = if letter.schema.is_empty() { "no schema" } else { &letter.schema };
        println!("    {}, {} bytes, {schema}, {}", letter.appended_at, letter.bytes, letter.replay_state());
    }
    match more {
        0 => println!("{total} dead letters"),
        more => println!("and {more} more, {total} in all; --limit shows more"),
    }
    for reason in &reasons {
        println!("{:>8}  {:<20} {}", reason.letters, reason.reason, remedy(&reason.reason));
    }
    Ok(ExitCode::SUCCESS)
}
