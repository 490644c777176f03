//! The demo audits itself: it seals what was stored, verifies it and runs every job, again and again, so that its pages have seals,
//! a verification and verdicts to show. The log lies in `DIR/seals`, as `tally seal --data DIR` would have it.

use crate::cli::seal::write_pair;
use anyhow::Context;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tally_dashboards::api::SealSource;
use tally_pipeline::simulate::now_micros;
use tally_queries::audit::history::record;
use tally_queries::audit::result::Verdict;
use tally_queries::audit::{Auditor, Limits, Settings, Source, all_jobs};
use tally_queries::catalog::Snapshot;
use tally_queries::private::read_private;
use tally_queries::seal::{Keys, Log, Request, Scope, Signers, generate_key, seal, verify};
use tally_queries::{Verification, record_verification};
use tally_sinks::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// File of the private key that seals a demo, in its folder; the public one lies beside it.
const KEY: &str = "seal.key";
/// Folder of the log, in the demo's own.
const LOG: &str = "seals";
/// Until the first round: what the platform did before it opened is stored by then.
const FIRST: Duration = Duration::from_secs(6);
/// Between two rounds at least.
const PAUSE: Duration = Duration::from_secs(20);
/// A round that took long is followed by a pause of so many times that, so that the rest of the demo goes on.
const REST_TIMES: u32 = 5;
/// Offenders that a result names.
const OFFENDERS: usize = 50;

/// Rounds, until they are ended.
pub(super) struct Rounds {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Rounds {
    /// Begins. `task_topic` is the topic of task events.
    pub(super) fn begin(folder: &Path, store: &Store, task_topic: String) -> anyhow::Result<Rounds> {
        let stop = CancellationToken::new();
        let round = Round { signers: signers(folder)?, log: log(folder)?, store: store.clone(), task_topic };
        let until = stop.clone();
        let task = tokio::spawn(async move {
            let mut pause = FIRST;
            while until.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                let begun = Instant::now();
                match until.run_until_cancelled(Box::pin(round.run())).await {
                    None => return,
                    Some(Ok(())) => {}
                    Some(Err(error)) => {
                        tracing::warn!(error = %format!("{error:#}"), "the demo could not audit itself");
                    }
                }
                pause = PAUSE.max(begun.elapsed() * REST_TIMES);
            }
        });
        Ok(Rounds { stop, task })
    }

    /// Ends them, in the middle of one if need be.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        Ok(self.task.await?)
    }
}

/// The log of a demo and whose signature is believed, for its service.
pub(super) fn seals(folder: &Path) -> anyhow::Result<SealSource> {
    Ok(SealSource { log: log(folder)?, keys: Keys::parse(signers(folder)?.public())? })
}

fn log(folder: &Path) -> anyhow::Result<Log> {
    Ok(Log::open(&folder.join(LOG).display().to_string(), true)?)
}

/// The key in the folder, made if there is none.
fn signers(folder: &Path) -> anyhow::Result<Signers> {
    let path = folder.join(KEY);
    if !path.exists() {
        let (private, public) = generate_key("tally-demo")?;
        write_pair((&path, &private), (&beside(&path), &public))?;
    }
    Ok(Signers::parse(&[read_private(&path).context("the key that seals the demo")?])?)
}

fn beside(path: &Path) -> PathBuf {
    path.with_extension("key.pub")
}

struct Round {
    signers: Signers,
    log: Log,
    store: Store,
    task_topic: String,
}

impl Round {
    async fn run(&self) -> anyhow::Result<()> {
        let (client, keys) = (self.store.client(), Keys::parse(self.signers.public())?);
        let now_us = now_micros();
        let sealed = seal(client, &self.log, &self.signers, &keys, now_us).await?;
        if sealed.checkpoint.is_some() {
            let max_age_ms = i64::try_from(Duration::from_secs(3_600).as_millis())?;
            let scope = Scope::All;
            let request = Request { scope, now_ms: now_us / 1_000, max_age_ms, fresh: false, expect: None };
            let report = Box::pin(verify(client, &self.log, &keys, &request, None)).await;
            let run =
                Verification { verified_us: now_us, scope: "all", against_kafka: false, report: &report };
            record_verification(client, &run).await?;
        }
        self.audit().await
    }

    /// Every job over everything that is final: nothing is waited for, since the demo's clocks are one.
    async fn audit(&self) -> anyhow::Result<()> {
        let client = self.store.client();
        let snapshot = Snapshot::take(client, Vec::new()).await?;
        if snapshot.first_event_us >= snapshot.last_event_us.min(snapshot.watermark_us) {
            return Ok(()); // nothing is final yet
        }
        let settings = Settings {
            grace_us: 0,
            settled_after_us: 0,
            offenders_shown: OFFENDERS,
            task_topic: self.task_topic.clone(),
            ..Settings::default()
        };
        let auditor =
            Auditor::new(Source::ClickHouse(client.clone()), snapshot, settings, &Limits::default())?;
        let window = auditor.window(None, None);
        for job in all_jobs() {
            let result = auditor.run(job, window).await;
            if result.verdict == Verdict::Error {
                tracing::warn!(job = result.job, reason = result.sentence, "could not be checked");
            }
            record(client, result).await?;
        }
        Ok(())
    }
}
