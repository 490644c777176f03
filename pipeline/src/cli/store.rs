//! The store a command works on: a server by address, or the embedded engine on a folder.

use anyhow::{Context, bail};
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;
use tally_pipeline::config::ClickHouse;
use tally_sinks::{Store, StoreError, embedded};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};

/// An open store, and the engine's process if this command started it.
pub(crate) struct Opened {
    pub(crate) store: Store,
    engine: Option<Engine>,
}

/// How long the engine may take to start: it may have a crash to recover from.
const START_SECONDS_MAX: u64 = 60;
/// How long it may take to stop.
const STOP_SECONDS_MAX: u64 = 30;

/// A running `tally clickhouse` of our own.
pub(crate) struct Engine {
    child: Child,
}

/// Opens the store that the flags name.
pub(crate) async fn open(config: &ClickHouse) -> anyhow::Result<Opened> {
    let (url, engine) = match (&config.url, &config.data) {
        (Some(url), _) => (url.trim_end_matches('/').to_owned(), None),
        (None, Some(_)) if config.ca.is_some() => {
            bail!("clickhouse.ca is set, and the embedded ClickHouse has no TLS: leave clickhouse.ca out")
        }
        (None, Some(data)) => {
            let (url, engine) = join_or_start(data).await?;
            (url, engine)
        }
        (None, None) => {
            bail!("where is ClickHouse? give --clickhouse URL, or --data DIR for the embedded one")
        }
    };
    let unusable = |error: StoreError| anyhow::anyhow!("ClickHouse at {url}: {error}; {}", error.retry().1);
    let store = Store::new(&config.at(&url)).map_err(unusable)?;
    store.ping().await.map_err(unusable)?;
    Ok(Opened { store, engine })
}

/// Opens the store and brings its tables up to date.
pub(crate) async fn open_migrated(config: &ClickHouse) -> anyhow::Result<Opened> {
    let opened = open(config).await?;
    for migration in opened.store.migrate().await? {
        tracing::info!(version = migration.version, name = migration.name, "migration applied");
    }
    Ok(opened)
}

impl Opened {
    /// Stops the engine if this command started it.
    pub(crate) async fn close(self) -> anyhow::Result<()> {
        match self.engine {
            Some(engine) => engine.stop().await,
            None => Ok(()),
        }
    }
}

async fn join_or_start(data: &Path) -> anyhow::Result<(String, Option<Engine>)> {
    if let Some(serving) = embedded::locate(data) {
        tracing::info!(url = serving.url, pid = serving.pid, "joined the ClickHouse that serves this folder");
        return Ok((serving.url, None));
    }
    let (engine, url) = Engine::start(data).await?;
    Ok((url, Some(engine)))
}

impl Engine {
    /// Starts `tally clickhouse` on a folder, on a free port. It ends with this process.
    async fn start(data: &Path) -> anyhow::Result<(Engine, String)> {
        let program = std::env::current_exe().context("finding tally's own file")?;
        let mut command = Command::new(program);
        command.arg("clickhouse").arg("--data").arg(data).args(["--port", "0", "--with-parent"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).kill_on_drop(true);
        command.process_group(0); // a Ctrl-C meant for us must not take the engine away under our last block
        let mut child = command.spawn().context("starting the embedded ClickHouse")?;
        let Some(stdout) = child.stdout.take() else { bail!("the embedded ClickHouse has no output") };
        let mut lines = BufReader::new(stdout).lines();
        let ready = async {
            while let Some(line) = lines.next_line().await? {
                if let Some(at) = line.find("http://") {
                    return Ok(line[at..].trim().to_owned());
                }
            }
            bail!("the embedded ClickHouse ended before it was ready; its reason stands above")
        };
        let url = tokio::time::timeout(Duration::from_secs(START_SECONDS_MAX), ready).await;
        Ok((Engine { child }, url.context("the embedded ClickHouse did not start in time")??))
    }

    async fn stop(mut self) -> anyhow::Result<()> {
        drop(self.child.stdin.take()); // it stops in good order when its parent is gone
        let ended = tokio::time::timeout(Duration::from_secs(STOP_SECONDS_MAX), self.child.wait()).await;
        match ended {
            Ok(status) if status.as_ref().is_ok_and(std::process::ExitStatus::success) => Ok(()),
            Ok(status) => bail!("the embedded ClickHouse ended with {}", status?),
            Err(_) => {
                bail!("the embedded ClickHouse did not stop within {STOP_SECONDS_MAX} s and was killed")
            }
        }
    }
}
