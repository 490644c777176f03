//! The service under test: a `tally serve` of our own as a child process, which can be killed and measured, or one of yours.

use anyhow::{Context, bail};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};
use tally_dashboards::feed::add_signing_key;
use tally_dashboards::identity::Minter;
use tally_pipeline::config::Kafka;
use tokio::process::{Child, Command};

/// Longest wait for the service to answer.
const READY: Duration = Duration::from_secs(60);
/// Pause between two looks.
const LOOK: Duration = Duration::from_millis(50);
/// In which `/proc` states CPU time, whatever the kernel's own clock: part of Linux's interface to programs.
const TICKS_PER_SECOND: f64 = 100.0;
/// Seconds from laying a signing key down until it signs: it is published meanwhile.
const KEY_LEAD_S: u64 = 4;

/// Where the service is, and its process if it is ours.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    own: Option<Own>,
}

struct Own {
    arguments: Vec<String>,
    folder: PathBuf,
    child: Option<Child>,
}

/// What a process has used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Usage {
    pub(super) resident_bytes: u64,
    pub(super) cpu_seconds: f64,
}

impl Service {
    /// One that runs already, at `http://host:port`.
    pub(super) fn of_yours(url: &str) -> anyhow::Result<Service> {
        let address = url.trim_start_matches("http://").trim_end_matches('/');
        let address: SocketAddr =
            address.parse().with_context(|| format!("{url} is not http:// and an address with its port"))?;
        if !address.ip().is_loopback() {
            bail!("{url} is not on this machine: the bench sends its traffic over loopback only");
        }
        Ok(Service { address, own: None })
    }

    /// Starts one on a free port of loopback, on these topics and the embedded store in `folder/data`.
    pub(super) async fn start_own(
        folder: &Path,
        kafka: &Kafka,
        minter: &Minter,
        store: &[String],
    ) -> anyhow::Result<Service> {
        let public = folder.join("token.pub");
        std::fs::write(&public, minter.public())?;
        // held by nobody until the child takes it; it must be the same after a kill
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?;
        let text = |path: &Path| path.to_string_lossy().into_owned();
        let mut arguments: Vec<String> = [
            "serve",
            "--listen",
            &address.to_string(),
            "--ops-listen",
            "127.0.0.1:0",
            "--brokers",
            &kafka.brokers,
        ]
        .into_iter()
        .chain(["--topic-prefix", &kafka.topic_prefix, "--token-key", &text(&public)])
        .chain(["--issuer", super::ISSUER, "--audience", super::AUDIENCE])
        .chain(["--feed-keys", &text(&folder.join("feed-keys"))])
        .map(str::to_owned)
        .collect();
        arguments.extend_from_slice(store);
        arguments.extend(kafka.properties.iter().flat_map(|p| ["--kafka-property".to_owned(), p.clone()]));
        let own = Own { arguments, folder: folder.to_owned(), child: None };
        let mut service = Service { address, own: Some(own) };
        service.start().await?;
        Ok(service)
    }

    /// Starts the process, and waits until it answers.
    pub(super) async fn start(&mut self) -> anyhow::Result<()> {
        let Some(own) = &mut self.own else { bail!("the service is not ours to start") };
        let log = std::fs::File::options().create(true).append(true).open(own.folder.join("service.log"))?;
        let child = Command::new(std::env::current_exe()?)
            .args(&own.arguments)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .kill_on_drop(true)
            .process_group(0) // a Ctrl-C meant for us would look like a fault
            .spawn()
            .context("starting tally serve")?;
        own.child = Some(child);
        let ready = format!("http://{}/.well-known/jwks.json", self.address);
        let client = reqwest::Client::builder().no_proxy().timeout(READY).build()?;
        let began = Instant::now();
        while began.elapsed() < READY {
            if client.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
                return Ok(());
            }
            if let Some(ended) = own.child.as_mut().and_then(|child| child.try_wait().transpose()) {
                let log = std::fs::read_to_string(own.folder.join("service.log")).unwrap_or_default();
                let last: Vec<&str> = log.lines().rev().take(5).collect();
                bail!(
                    "tally serve ended with {}: {}",
                    ended?,
                    last.into_iter().rev().collect::<Vec<_>>().join("; ")
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        bail!("tally serve did not answer within {} s", READY.as_secs())
    }

    /// SIGKILL.
    pub(super) async fn kill(&mut self) -> anyhow::Result<()> {
        let child = self.own.as_mut().and_then(|own| own.child.as_mut());
        child.context("the service is not ours to kill")?.kill().await.context("killing the service")
    }

    /// Whether the process is ours: else it can be neither killed nor measured, and its keys cannot be rolled.
    pub(super) fn is_own(&self) -> bool {
        self.own.is_some()
    }

    /// Lays down a signing key that comes into use a little later.
    pub(super) fn roll_key(&self) -> anyhow::Result<()> {
        let own = self.own.as_ref().context("the service's keys are not ours to roll")?;
        add_signing_key(&own.folder.join("feed-keys"), KEY_LEAD_S)?;
        Ok(())
    }

    /// How many readers its present process has let go because they took nothing; `None` where it cannot be asked.
    pub(super) async fn slow_closes(&self) -> Option<u64> {
        let log = std::fs::read_to_string(self.own.as_ref()?.folder.join("service.log")).ok()?;
        let said = log.lines().rfind(|line| line.contains("metrics are served"))?;
        let (_, address) = said.split_once("address=")?;
        let client = reqwest::Client::builder().no_proxy().timeout(READY).build().ok()?;
        let metrics =
            client.get(format!("http://{}/metrics", address.trim())).send().await.ok()?.text().await.ok()?;
        let name = r#"tally_feed_closes_total{reason="slow_consumer"} "#;
        let value = metrics.lines().find_map(|line| line.strip_prefix(name));
        Some(value.and_then(|value| value.trim().parse().ok()).unwrap_or(0))
    }

    /// What its process has used; `None` where that cannot be read.
    pub(super) fn usage(&self) -> Option<Usage> {
        let pid = self.own.as_ref()?.child.as_ref()?.id()?;
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
        let kilobytes: u64 = resident.trim().trim_end_matches("kB").trim().parse().ok()?;
        let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        let (_, fields) = stat.rsplit_once(')')?; // the name before it may hold anything
        let mut times = fields.split_whitespace().skip(11); // utime and stime, fields 14 and 15
        let ticks = times.next()?.parse::<u64>().ok()? + times.next()?.parse::<u64>().ok()?;
        Some(Usage { resident_bytes: kilobytes * 1024, cpu_seconds: ticks as f64 / TICKS_PER_SECOND })
    }
}
