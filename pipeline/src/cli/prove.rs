//! `tally prove`: a file that shows anyone that an event was taken.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::seal::{Seals, texts};
use super::store;
use anyhow::{Context, bail};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use tally_pipeline::config::ClickHouse;
use tally_queries::seal::{Keys, SealError, check_proof, prove};
use tally_queries::visible::{visible, visible_json};
use uuid::Uuid;

/// Write the proof that an event was taken, or check one, for which the file and the public key are enough.
///
/// Exit code 0: written, or the proof holds. 1: it does not hold. 2: no sealed receipt names the event. 3: could not.
#[derive(clap::Args, Debug)]
#[group(id = "proof", required = true, multiple = false, args = ["event_id", "check"])]
pub(crate) struct ProveArgs {
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    seals: Seals,
    /// The event.
    #[arg(value_name = "EVENT_ID")]
    event_id: Option<Uuid>,
    /// Check this proof instead; neither ClickHouse nor the log is asked.
    #[arg(long, value_name = "FILE")]
    check: Option<PathBuf>,
    /// Where the proof goes; without it, to standard output.
    #[arg(long, value_name = "FILE", conflicts_with = "check")]
    out: Option<PathBuf>,
    /// File of public keys, one a line; may be repeated. One of them must have signed.
    #[arg(long = "key", visible_alias = "keys", value_name = "FILE", required = true)]
    key: Vec<PathBuf>,
}

/// Runs it.
pub(crate) async fn run(args: ProveArgs) -> anyhow::Result<ExitCode> {
    let keys = Keys::parse(&texts(&args.key)?)?;
    match (&args.check, args.event_id) {
        (Some(file), _) => check(file, &keys),
        (None, Some(event_id)) => make(&args, &keys, event_id).await,
        (None, None) => bail!("which event? give its id"),
    }
}

async fn make(args: &ProveArgs, keys: &Keys, event_id: Uuid) -> anyhow::Result<ExitCode> {
    let log = args.seals.open(&args.clickhouse, false)?;
    let opened = store::open(&args.clickhouse).await?;
    let proof = Box::pin(prove(opened.store.client(), &log, keys, event_id)).await;
    opened.close().await?;
    let proof = match proof {
        Ok(Some(proof)) => proof,
        Ok(None) => {
            println!("no sealed receipt names event {event_id}");
            return Ok(ExitCode::from(2));
        }
        Err(SealError::Altered(what)) => {
            println!("cannot be proven: {}", visible(&what));
            return Ok(ExitCode::from(1));
        }
        Err(error) => return Err(error.into()),
    };
    let text = visible_json(&serde_json::to_string_pretty(&proof)?); // the same JSON; it may be shown in a terminal
    match &args.out {
        Some(file) => {
            std::fs::write(file, text + "\n").with_context(|| format!("writing {}", file.display()))?;
            println!("event {event_id}: taken {} times; the proof is in {}", proof.records(), file.display());
        }
        None => println!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

fn check(file: &Path, keys: &Keys) -> anyhow::Result<ExitCode> {
    let text = std::fs::read_to_string(file).with_context(|| format!("reading {}", file.display()))?;
    match check_proof(&text, keys) {
        Ok(proven) => {
            println!("event {} was taken; signed by {}", proven.event_id, proven.signers.join(", "));
            for (receipt, event) in &proven.records {
                let value = |name: &str| receipt.get(name).map(ToString::to_string).unwrap_or_default();
                println!(
                    "at {}/{}/{}, value sha256 {}:",
                    visible(value("topic").trim_matches('"')),
                    value("partition"),
                    value("offset"),
                    value("raw_sha256").trim_matches('"')
                );
                println!("{}", visible_json(&serde_json::to_string_pretty(event)?));
            }
            Ok(ExitCode::SUCCESS)
        }
        Err(error @ (SealError::Altered(_) | SealError::Malformed(_))) => {
            println!("the proof does not hold: {}", visible(&error.to_string()));
            Ok(ExitCode::from(1))
        }
        Err(error) => Err(error.into()),
    }
}
