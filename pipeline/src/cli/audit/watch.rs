//! `tally audit watch`: jobs run when windows close, for as long as it runs.
//!
//! It keeps no state of its own: what was judged stands in `job_results`, a result that says nothing new is not stored
//! again, and windows inside the look-back are judged anew at the start and whenever another one closes. So it may be killed
//! at any moment, and two may run side by side.

use super::super::store;
use super::InputArgs;
use super::judge::Targets;
use super::verdicts::Verdicts;
use anyhow::Context;
use clickhouse::Client;
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tally_pipeline::ops;
use tally_queries::audit::history::{record, windows_judged};
use tally_queries::audit::result::{Verdict, WindowState, moment};
use tally_queries::audit::{Limits, all_jobs};
use tally_queries::catalog::Snapshot;
use tally_queries::last_verification;
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
    /// Closed windows of so many hours are judged again whenever another one closes, so that late events restate them.
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
        default_value = "127.0.0.1:9466",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
    /// Judge what is closed by now, and end.
    #[arg(long)]
    once: bool,
}

/// Windows that were never judged before and are judged in one round: the rest follows in the next one.
const NEW_WINDOWS_MAX: usize = 1_000;
/// Windows of the look-back, each of which costs every job a run.
const LOOK_BACK_WINDOWS_MAX: u32 = 1_000;
const HOUR_US: i64 = 3_600_000_000;

pub(super) async fn run(args: WatchArgs) -> anyhow::Result<ExitCode> {
    let shutdown = super::super::shutdown()?;
    anyhow::ensure!(args.input.parquet.is_none(), "an export does not grow: watch needs the store");
    anyhow::ensure!(
        u64::from(args.look_back_hours) * 60
            <= u64::from(LOOK_BACK_WINDOWS_MAX) * u64::from(args.window_minutes),
        "--look-back-hours {} has more than {LOOK_BACK_WINDOWS_MAX} windows of {} minutes: choose longer windows or a shorter look-back",
        args.look_back_hours,
        args.window_minutes
    );
    let opened = store::open_migrated(&args.input.clickhouse).await?;
    let verdicts = Arc::new(Verdicts::new()?);
    let serving = CancellationToken::new();
    let address = ops::serve(args.listen, verdicts.clone(), serving.clone()).await;
    let address = address.with_context(|| format!("cannot listen on {}", args.listen))?;
    tracing::info!(%address, "verdicts are served");
    let mut looked_back_to = None;
    loop {
        match shutdown.run_until_cancelled(round(&args, &opened.store, &verdicts, looked_back_to)).await {
            None => break,
            Some(Ok(_)) if args.once => break,
            Some(Err(error)) if args.once => return Err(error),
            Some(Ok(end)) => looked_back_to = end,
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

/// Judges closed windows that were never judged, and, where another one has closed since `looked_back_to`, those of the look-back once
/// more. Gives the end of the last closed window if everything was judged.
async fn round(
    args: &WatchArgs,
    store: &tally_sinks::Store,
    verdicts: &Verdicts,
    looked_back_to: Option<i64>,
) -> anyhow::Result<Option<i64>> {
    let client = store.client();
    // one snapshot a round: what comes meanwhile belongs to the next one
    let input = args.input.over(store).await?;
    let settings = args.targets.settings(args.input.task_topic());
    let auditor = input.auditor(settings.clone(), &Limits::default())?;
    let closed = Closed::by(args, &input.snapshot, settings.grace_us);
    let back = i64::from(args.look_back_hours) * HOUR_US;
    let look_back = (looked_back_to != Some(closed.end)).then_some(back);
    let shown_from = closed.end.saturating_sub(back);
    let mut whole = true;
    show_verification(client, verdicts).await;
    for job in all_jobs() {
        let judged = windows_judged(client, job.name(), closed.length).await?;
        let windows = closed.to_judge(&judged, look_back, job.windowed());
        for (from, to) in windows {
            let window = auditor.window(Some(from), Some(to));
            if window.state == WindowState::Open {
                break;
            }
            let result = record(client, auditor.run(job, window).await).await?;
            // anew after each window: a round over a long past takes minutes, and what was altered is not kept back for so long
            show_verification(client, verdicts).await;
            if result.verdict == Verdict::Error {
                // nothing is known of the window: the next round begins with it again
                tracing::warn!(
                    job = result.job,
                    from = moment(from),
                    reason = result.sentence,
                    "could not be checked"
                );
                verdicts.show(job, &result, shown_from);
                whole = false;
                break;
            }
            tracing::info!(job = result.job, verdict = %result.verdict, from = moment(from), to = moment(to), "judged");
            verdicts.show(job, &result, shown_from);
        }
    }
    Ok(if whole { Some(closed.end) } else { looked_back_to })
}

/// Windows are judged all the same where it cannot be read.
async fn show_verification(client: &Client, verdicts: &Verdicts) {
    match last_verification(client).await {
        Ok(last) => last.into_iter().for_each(|last| verdicts.show_verification(last)),
        Err(error) => tracing::warn!(%error, "what was verified last cannot be read"),
    }
}

/// Windows that are closed by now: aligned, from the one of the first event up to the one of the last.
#[derive(Clone, Copy, Debug)]
struct Closed {
    length: i64,
    first: i64,
    end: i64,
}

impl Closed {
    fn by(args: &WatchArgs, snapshot: &Snapshot, grace_us: i64) -> Closed {
        let length = i64::from(args.window_minutes) * 60_000_000;
        let aligned = |at: i64| at.div_euclid(length).saturating_mul(length);
        if snapshot.bounds.is_empty() || snapshot.first_event_us > snapshot.last_event_us {
            return Closed { length, first: 0, end: 0 };
        }
        // no window after the last event: there is nothing in it
        let last = aligned(snapshot.last_event_us).saturating_add(length);
        let end = last.min(aligned(snapshot.watermark_us.saturating_sub(grace_us)));
        Closed { length, first: aligned(snapshot.first_event_us), end }
    }

    /// Oldest first: windows that were never judged, at most so many a round, and those of the look-back. What does not depend on its
    /// window is judged again for the last one alone.
    fn to_judge(self, judged: &BTreeSet<i64>, look_back: Option<i64>, windowed: bool) -> Vec<(i64, i64)> {
        let count = usize::try_from((self.end - self.first) / self.length).unwrap_or(0);
        let starts = (0_i64..).map(|n| self.first + n * self.length).take(count);
        let from = look_back.map_or(i64::MAX, |back| match windowed {
            true => self.end.saturating_sub(back),
            false => self.end - self.length,
        });
        let mut fresh = 0;
        let wanted = starts.filter(|start| {
            let is_new = !judged.contains(start);
            fresh += usize::from(is_new);
            (is_new && fresh <= NEW_WINDOWS_MAX) || *start >= from
        });
        wanted.map(|start| (start, start + self.length)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{Closed, NEW_WINDOWS_MAX};
    use std::collections::BTreeSet;

    /// Scenario: ten windows of which some were judged, with and without a look-back of three, for a job that depends on its window
    /// and one that does not; then more new windows than a round takes.
    /// Guarantees: every window that was never judged comes, wherever it lies; the look-back comes when it is asked for; the newest are
    /// never starved by the oldest for good, since those that are judged do not come again.
    #[test]
    fn which_windows_are_judged() {
        let closed = Closed { length: 10, first: 0, end: 100 };
        let judged: BTreeSet<i64> = [0, 10, 30, 40, 50, 60, 70, 80, 90].into();
        let starts = |back, windowed| -> Vec<i64> {
            closed.to_judge(&judged, back, windowed).into_iter().map(|(from, _)| from).collect()
        };
        assert_eq!(starts(None, true), [20]);
        assert_eq!(starts(Some(30), true), [20, 70, 80, 90]);
        assert_eq!(starts(Some(30), false), [20, 90]);
        let many = i64::try_from(NEW_WINDOWS_MAX).expect("small") + 5;
        let closed = Closed { length: 10, first: 0, end: many * 10 };
        let first: BTreeSet<i64> =
            closed.to_judge(&BTreeSet::new(), None, true).into_iter().map(|w| w.0).collect();
        assert_eq!(first.len(), NEW_WINDOWS_MAX);
        let rest = closed.to_judge(&first, None, true);
        assert_eq!((rest.len(), rest.last()), (5, Some(&((many - 1) * 10, many * 10))));
    }
}
