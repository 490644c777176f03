//! `tally audit history`: what was said before, and what was put right.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::super::store;
use super::moment::moment;
use std::process::ExitCode;
use tally_pipeline::config::ClickHouse;
use tally_queries::audit::history::{Wanted, history};
use tally_queries::audit::result::moment as text;
use tally_queries::visible::{visible, visible_json};

/// Results of earlier audits, the latest first, with what each put right.
#[derive(clap::Args, Debug)]
pub(crate) struct HistoryArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    /// Of this job only.
    #[arg(long, default_value = "", value_name = "NAME")]
    job: String,
    /// As known at that moment.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    as_known_at: Option<i64>,
    /// At most so many.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "N")]
    limit: u64,
    /// Whole results as JSON.
    #[arg(long)]
    json: bool,
}

pub(super) async fn run(args: HistoryArgs) -> anyhow::Result<ExitCode> {
    let opened = store::open_migrated(&args.clickhouse).await?;
    let wanted = Wanted { job: args.job, as_known_at_us: args.as_known_at, limit: args.limit };
    let results = history(opened.store.client(), &wanted).await?;
    if args.json {
        println!("{}", visible_json(&serde_json::to_string_pretty(&results)?));
    } else {
        for result in &results {
            let (job, verdict, at) = (visible(&result.job), result.verdict, text(result.known_at_us));
            let (from, to) = (text(result.window.from_us), text(result.window.to_us));
            println!("{at}  {job:<13} {verdict:<13} {from} to {to}\n    {}", visible(&result.sentence));
            if let Some(earlier) = &result.restates {
                println!(
                    "    restates the result of {}, which said {}:",
                    text(earlier.known_at_us),
                    earlier.verdict
                );
                for one in &earlier.differences {
                    println!("      {}: {} → {}", visible(&one.figure), one.before, one.after);
                }
            }
        }
        if results.is_empty() {
            println!("no audit has been recorded yet: run `tally audit all`");
        }
    }
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}
