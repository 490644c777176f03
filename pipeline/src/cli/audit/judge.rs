//! `tally audit JOB`: one window, one snapshot, one verdict a job.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::super::progress;
use super::moment::moment;
use super::{InputArgs, Reading};
use anyhow::Context;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;
use tally_pipeline::simulate::now_micros;
use tally_queries::audit::history::{Wanted, history, record};
use tally_queries::audit::report::{OffendersFormat, Report, Terminal, write_offenders};
use tally_queries::audit::{JobName, Limits, Settings, Source};
use url::Url;

/// What is judged, against what, and how the answer is shown.
#[derive(clap::Args, Debug)]
pub(crate) struct JudgeArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    targets: Targets,
    /// First moment of the window; without it, the first event.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    from: Option<i64>,
    /// The moment after the window; without it, as far as the data is final.
    #[arg(long, value_parser = moment, value_name = "TIME")]
    to: Option<i64>,
    /// How the answer is shown.
    #[arg(long, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    format: Format,
    /// Write it to a file instead.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Write all offenders to a file: JSON lines where its name ends in .jsonl, else CSV.
    #[arg(long, value_name = "FILE")]
    offenders: Option<PathBuf>,
    /// Memory of sorts, groups and joins together, such as 512MB; beyond it they spill to disk.
    #[arg(long, value_parser = bytes, value_name = "SIZE")]
    memory_limit: Option<usize>,
    /// Partitions of each scan, 1 to 64 (ClickHouse is asked once for each at the same time); without it, one a core.
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=64), value_name = "N")]
    partitions: Option<u8>,
    /// Workers of `tally audit worker` that run the plans, host:port with commas between; without it, this process does.
    #[arg(long, value_delimiter = ',', value_parser = worker, value_name = "HOST:PORT,…")]
    workers: Vec<Url>,
    /// Do not record the results in the store.
    #[arg(long)]
    no_record: bool,
}

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
enum Format {
    Table,
    Json,
    Html,
}

/// What figures are held against, and how long is waited for them.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Targets")]
pub(super) struct Targets {
    /// How long after its end a window is waited for, minutes.
    #[arg(id = "audit.grace_minutes", long = "grace-minutes", env = "TALLY_AUDIT_GRACE_MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(0..=10_080), value_name = "N")]
    grace_minutes: u32,
    /// A task is settled when no money has moved for so many hours after its end.
    #[arg(id = "audit.settled_after_hours", long = "settled-after-hours", env = "TALLY_AUDIT_SETTLED_AFTER_HOURS", default_value_t = 24, value_parser = clap::value_parser!(u32).range(0..=8_760), value_name = "N")]
    settled_after_hours: u32,
    /// Share of settled tasks within tolerance that each queue must reach, per mille.
    #[arg(id = "audit.accuracy_permille", long = "accuracy-permille", env = "TALLY_AUDIT_ACCURACY_PERMILLE", default_value_t = 950, value_parser = clap::value_parser!(i64).range(1..=1000), value_name = "N")]
    accuracy_permille: i64,
    /// Error rate that each interface must stay below, per mille.
    #[arg(id = "audit.errors_below_permille", long = "errors-below-permille", env = "TALLY_AUDIT_ERRORS_BELOW_PERMILLE", default_value_t = 20, value_parser = clap::value_parser!(i64).range(1..=1000), value_name = "N")]
    errors_below_permille: i64,
    /// What the repurchase rate must reach, per mille of its baseline.
    #[arg(id = "audit.uplift_permille", long = "uplift-permille", env = "TALLY_AUDIT_UPLIFT_PERMILLE", default_value_t = 1080, value_parser = clap::value_parser!(i64).range(1..=100_000), value_name = "N")]
    uplift_permille: i64,
    /// When the launch was; without it, the beginning of the last whole week whose refunds can no longer come.
    #[arg(id = "audit.launch", long = "launch", env = "TALLY_AUDIT_LAUNCH", value_parser = moment, value_name = "TIME")]
    launch: Option<i64>,
    /// Share of pushes within 3 s and of recoveries within 5 s, per mille.
    #[arg(id = "audit.realtime_permille", long = "realtime-permille", env = "TALLY_AUDIT_REALTIME_PERMILLE", default_value_t = 990, value_parser = clap::value_parser!(i64).range(1..=1000), value_name = "N")]
    realtime_permille: i64,
    /// Share of moderation cases decided in time, per mille.
    #[arg(id = "audit.sla_permille", long = "sla-permille", env = "TALLY_AUDIT_SLA_PERMILLE", default_value_t = 950, value_parser = clap::value_parser!(i64).range(1..=1000), value_name = "N")]
    sla_permille: i64,
}

impl Targets {
    pub(super) fn settings(&self, task_topic: String) -> Settings {
        Settings {
            grace_us: i64::from(self.grace_minutes) * 60_000_000,
            settled_after_us: i64::from(self.settled_after_hours) * 3_600_000_000,
            accuracy_permille: self.accuracy_permille,
            errors_below_permille: self.errors_below_permille,
            uplift_permille: self.uplift_permille,
            launch_us: self.launch,
            realtime_permille: self.realtime_permille,
            sla_permille: self.sla_permille,
            task_topic,
            ..Settings::default()
        }
    }
}

pub(super) async fn run(jobs: &[JobName], args: JudgeArgs) -> anyhow::Result<ExitCode> {
    anyhow::ensure!(
        args.from.zip(args.to).is_none_or(|(from, to)| from < to),
        "--from lies at or after --to"
    );
    let offenders =
        args.offenders.as_ref().map(|path| Ok::<_, anyhow::Error>((path, OffendersFormat::of(path)?)));
    let offenders = offenders.transpose()?;
    let limits = Limits {
        memory_bytes_max: args.memory_limit,
        partitions: args.partitions.map(usize::from),
        workers: args.workers.clone(),
    };
    let input = args.input.open(Reading::Often(&limits)).await?;
    let auditor = input.auditor(args.targets.settings(args.input.task_topic()), &limits)?;
    let shown = progress::show(auditor.progress());
    let window = auditor.window(args.from, args.to);
    let store = match &input.source {
        Source::ClickHouse(client) => Some(client.clone()),
        Source::Parquet(_) => None,
    };
    let mut report = Report {
        results: Vec::new(),
        history: Vec::new(),
        generated_at_us: now_micros(),
        command: format!("tally audit {}", jobs.iter().map(|job| job.name()).collect::<Vec<_>>().join(" ")),
    };
    for job in jobs {
        let result = auditor.run(*job, window).await;
        if let Some(client) = &store {
            let wanted = Wanted { job: job.name().to_owned(), as_known_at_us: None, limit: TREND };
            report.history.extend(history(client, &wanted).await?);
        }
        let result = match &store {
            Some(client) if !args.no_record => record(client, result).await?,
            _ => result,
        };
        report.results.push(result);
    }
    if let Some((path, format)) = offenders {
        let mut all = Vec::new();
        for result in report.results.iter().zip(jobs).filter(|(result, _)| result.offenders_total > 0) {
            let (result, job) = result;
            let named = auditor.offenders(*job, window).await?;
            all.extend(named.into_iter().map(|offender| (result.job.clone(), offender)));
        }
        let mut file = std::fs::File::create(path).with_context(|| path.display().to_string())?;
        write_offenders(&mut file, format, all).with_context(|| path.display().to_string())?;
    }
    drop(shown);
    show(&report, &args)?;
    input.close().await?;
    Ok(ExitCode::from(report.exit_code()))
}

fn show(report: &Report, args: &JudgeArgs) -> anyhow::Result<()> {
    let to_terminal = args.out.is_none() && std::io::stdout().is_terminal();
    let columns = if to_terminal { console_columns() } else { COLUMNS };
    let text = match args.format {
        Format::Table => report.terminal(Terminal { columns, colour: to_terminal }),
        Format::Json => report.json()? + "\n",
        Format::Html => report.html(),
    };
    match &args.out {
        Some(path) => std::fs::write(path, text).with_context(|| path.display().to_string()),
        None => {
            print!("{text}");
            Ok(())
        }
    }
}

/// Columns of a table that goes to a file or a pipe.
const COLUMNS: u16 = 110;
/// Earlier results of a job that a report shows as its trend.
const TREND: u64 = 60;

fn console_columns() -> u16 {
    use rustix::termios::tcgetwinsize;
    tcgetwinsize(std::io::stdout()).map_or(COLUMNS, |size| size.ws_col.max(60))
}

fn worker(address: &str) -> Result<Url, String> {
    let url = Url::parse(&format!("http://{address}")).ok().filter(|url| url.port().is_some());
    url.ok_or_else(|| "expected host:port".to_owned())
}

/// `512MB`, `2GiB`, `1000000`.
pub(super) fn bytes(text: &str) -> Result<usize, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let scale: usize = match unit.trim() {
        "" | "B" => 1,
        "KB" | "kB" => 1_000,
        "MB" | "M" => 1_000_000,
        "GB" | "G" => 1_000_000_000,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => return Err("expected a size such as 512MB or 2GiB".to_owned()),
    };
    let number: usize = number.parse().map_err(|_| "expected a size such as 512MB or 2GiB".to_owned())?;
    number
        .checked_mul(scale)
        .filter(|bytes| *bytes >= 16_000_000)
        .ok_or("less than 16 MB is too little to work with".to_owned())
}
