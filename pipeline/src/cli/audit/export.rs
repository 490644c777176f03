//! `tally audit export`: every table as Parquet, for audits elsewhere and later.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::{InputArgs, Reading};
use std::process::ExitCode;
use tally_queries::audit::{Limits, Settings};
use tally_queries::catalog::{Place, export};

/// Write every table as partitioned Parquet, with a manifest of where the input ended. `--parquet` of the jobs reads it.
#[derive(clap::Args, Debug)]
pub(crate) struct ExportArgs {
    #[command(flatten)]
    input: InputArgs,
    /// A new or empty folder, or an address such as s3://bucket/folder (credentials in the environment: AWS_…).
    #[arg(long, value_name = "PLACE")]
    out: String,
}

pub(super) async fn run(args: ExportArgs) -> anyhow::Result<ExitCode> {
    let input = args.input.open(Reading::Once).await?;
    if let Some(why) = &input.distrust {
        anyhow::bail!("nothing was exported: {why}")
    }
    let auditor = input.auditor(Settings::default(), &Limits::default())?;
    let exported = export(auditor.context(), &Place::open(&args.out)?, auditor.snapshot()).await?;
    for (table, rows) in exported.rows {
        println!("{table:<20} {rows:>12} rows");
    }
    input.close().await?;
    Ok(ExitCode::SUCCESS)
}
