//! `tally audit watch`: jobs run when windows close, for as long as it runs.
//!
//! It keeps no state of its own: what was judged stands in `job_results`, a result that says nothing new is not stored
//! again, and windows inside the look-back are judged anew on every round. So it may be killed at any moment, and two may
//! run side by side.

use super::super::store;
use super::InputArgs;
use super::judge::Targets;
use anyhow::Context;
use clickhouse::Client;
use prometheus::{IntGaugeVec, Opts, Registry, TextEncoder};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tally_pipeline::ops::{self, Shown};
use tally_queries::audit::history::{last_end, record};
use tally_queries::audit::result::{JobResult, Verdict, WindowState, moment};
use tally_queries::audit::{JobName, Limits, Settings, all_jobs};
use tally_queries::catalog::Snapshot;
use tokio_util::sync::CancellationToken;

/// Run the jobs whenever a window closes, record the results, and show the verdicts as metrics.
///
/// Windows are aligned to whole multiples of their length since 1970 UTC.
#[derive(clap::Args, Debug)]
pub(crate) struct WatchArgs {
    #[command(flatten)]
    input: InputArgs,
    #[command(flatten)]
    targets: Targets,
    /// Length of a window, minutes.
    #[arg(id = "audit.window_minutes", long = "window-minutes", env = "TALLY_AUDIT_WINDOW_MINUTES", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=10_080), value_name = "N")]
    window_minutes: u32,
    /// Closed windows of so many hours are judged again on each round, so that late events restate them.
    #[arg(id = "audit.look_back_hours", long = "look-back-hours", env = "TALLY_AUDIT_LOOK_BACK_HOURS", default_value_t = 48, value_parser = clap::value_parser!(u32).range(1..=8_760), value_name = "N")]
    look_back_hours: u32,
    /// Pause between two rounds, seconds.
    #[arg(id = "audit.round_seconds", long = "round-seconds", env = "TALLY_AUDIT_ROUND_SECONDS", default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=86_400), value_name = "N")]
    round_seconds: u64,
    /// Address of /metrics, /livez and /readyz.
    #[arg(
        id = "audit.listen",
        long = "listen",
        env = "TALLY_AUDIT_LISTEN",
        default_value = "127.0.0.1:9465",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
    /// Judge what is closed by now, and end.
    #[arg(long)]
    once: bool,
}

/// A window is not judged further back than this many windows in one round: the rest follows in the next one.
const WINDOWS_PER_ROUND_MAX: usize = 1_000;

/// Verdicts as metrics.
struct Verdicts {
    registry: Registry,
    verdict: IntGaugeVec,
    window_end: IntGaugeVec,
    known_at: IntGaugeVec,
}

impl Verdicts {
    fn new() -> anyhow::Result<Verdicts> {
        let registry = Registry::new();
        let gauge = |name: &str, help: &str| -> anyhow::Result<IntGaugeVec> {
            let gauge = IntGaugeVec::new(Opts::new(name, help), &["job"])?;
            registry.register(Box::new(gauge.clone()))?;
            Ok(gauge)
        };
        let verdict = gauge(
            "tally_audit_verdict",
            "Verdict of the latest closed window: 0 PASS, 1 FAIL, 2 undecided, 3 could not be checked.",
        )?;
        let window_end = gauge(
            "tally_audit_window_end_seconds",
            "End of the latest window judged, seconds since 1970 UTC.",
        )?;
        let known_at = gauge("tally_audit_known_at_seconds", "When it was judged, seconds since 1970 UTC.")?;
        Ok(Verdicts { registry, verdict, window_end, known_at })
    }

    fn show(&self, result: &JobResult) {
        let job = [result.job.as_str()];
        self.verdict.with_label_values(&job).set(Verdict::exit_code([result.verdict]).into());
        self.window_end.with_label_values(&job).set(result.window.to_us / 1_000_000);
        self.known_at.with_label_values(&job).set(result.known_at_us / 1_000_000);
    }
}

impl Shown for Verdicts {
    fn metrics(&self) -> String {
        TextEncoder::new().encode_to_string(&self.registry.gather()).unwrap_or_default()
    }

    fn waiting_for(&self) -> Option<String> {
        None
    }
}

pub(super) async fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::super::shutdown()?;
    anyhow::ensure!(args.input.parquet.is_none(), "an export does not grow: watch needs the store");
    let opened = store::open_migrated(&args.input.clickhouse).await?;
    let verdicts = Arc::new(Verdicts::new()?);
    let serving = CancellationToken::new();
    let address = ops::serve(args.listen, verdicts.clone(), serving.clone()).await;
    let address = address.with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(%address, "verdicts are served");
    loop {
        match shutdown.run_until_cancelled(round(&args, &opened.store, &verdicts)).await {
            None => break,
            Some(Ok(())) if args.once => break,
            Some(Err(error)) if args.once => return Err(error),
            Some(Ok(())) => {}
            // the next round asks again; what was recorded stays
            Some(Err(error)) => {
                tracing::warn!(error = %format!("{error:#}"), "the round could not be finished")
            }
        }
        let pause = tokio::time::sleep(Duration::from_secs(args.round_seconds));
        if shutdown.run_until_cancelled(pause).await.is_none() {
            break;
        }
    }
    serving.cancel();
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}

/// Judges every closed window inside the look-back, and older ones that were never judged.
async fn round(args: &WatchArgs, store: &tally_sinks::Store, verdicts: &Verdicts) -> anyhow::Result<()> {
    let client = store.client();
    // one snapshot a round: what comes meanwhile belongs to the next one
    let input = args.input.over(store).await?;
    let settings = args.targets.settings(args.input.task_topic());
    let auditor = input.auditor(settings.clone(), &Limits::default())?;
    for job in all_jobs() {
        for (from, to) in windows(args, client, &input.snapshot, job, &settings).await? {
            let window = auditor.window(Some(from), Some(to));
            if window.state == WindowState::Open {
                break;
            }
            let result = auditor.run(job, window).await;
            if result.verdict == Verdict::Error {
                // it says nothing of the window: it is shown, and the next round begins with it again
                tracing::warn!(
                    job = result.job,
                    from = moment(from),
                    reason = result.sentence,
                    "could not be checked"
                );
                verdicts.show(&result);
                break;
            }
            let result = record(client, result).await?;
            tracing::info!(job = result.job, verdict = %result.verdict, from = moment(from), to = moment(to), "judged");
            verdicts.show(&result);
        }
    }
    Ok(())
}

/// The closed windows that a job has to judge, oldest first.
async fn windows(
    args: &WatchArgs,
    client: &Client,
    snapshot: &Snapshot,
    job: JobName,
    settings: &Settings,
) -> anyhow::Result<Vec<(i64, i64)>> {
    let length = i64::from(args.window_minutes) * 60_000_000;
    let look_back = i64::from(args.look_back_hours) * 3_600_000_000;
    let (first_event, end) = snapshot.all(settings.grace_us);
    if snapshot.bounds.is_empty() {
        return Ok(Vec::new());
    }
    let judged_to = last_end(client, job.name(), length).await?;
    let from = judged_to.map_or(first_event, |to| to.min(end.saturating_sub(look_back)).max(first_event));
    let aligned = from.div_euclid(length) * length;
    let starts = (0..).map(|n| aligned + n * length).take_while(|start| start + length <= end);
    Ok(starts.map(|start| (start, start + length)).take(WINDOWS_PER_ROUND_MAX).collect())
}
