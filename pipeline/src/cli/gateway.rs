//! `tally gateway`: the adapter before the platform's credit and licence services.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::serve::Tokens;
use super::store;
use anyhow::Context;
use async_trait::async_trait;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tally_dashboards::identity::{Authority, Denied, Role};
use tally_pipeline::client::BoxError;
use tally_pipeline::config::{ClickHouse, Kafka};
use tally_pipeline::gateway::code::Code;
use tally_pipeline::gateway::{
    BreakerConfig, Caller, Callers, Credential, Durability, GatewayConfig, Metrics, Settings, StoreConfig,
    serve,
};
use tally_pipeline::ops::{self, Shown};
use tally_queries::private::read_private;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Call the platform's credit and licence services safely: keys, retries, deadlines; every attempt becomes an event.
///
/// Exit code 0: stopped in good order. 3: could not run.
#[derive(clap::Args, Debug)]
pub(crate) struct GatewayArgs {
    #[command(flatten)]
    kafka: Kafka,
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    tokens: Tokens,
    #[command(flatten)]
    gateway: Section,
}

/// Addresses, the platform, and bounds.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Gateway")]
struct Section {
    /// Address of the calls. Put TLS in front of anything but loopback.
    #[arg(
        id = "gateway.listen",
        long = "listen",
        env = "TALLY_GATEWAY_LISTEN",
        default_value = "127.0.0.1:8485",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
    /// Address of /metrics, /livez and /readyz.
    #[arg(
        id = "gateway.ops_listen",
        long = "ops-listen",
        env = "TALLY_GATEWAY_OPS_LISTEN",
        default_value = "127.0.0.1:9466",
        value_name = "HOST:PORT"
    )]
    ops_listen: SocketAddr,
    /// Address of the platform, under which the paths of platform.openapi.json are.
    #[arg(id = "gateway.platform", long = "platform", env = "TALLY_GATEWAY_PLATFORM", value_name = "URL")]
    platform: Option<Url>,
    /// File of the bearer token that the platform is shown, one line; refused where everybody may read it. Whoever renews it moves a
    /// new file over it: it is read again within a second, and at once when the platform refuses it.
    #[arg(
        id = "gateway.platform_token_file",
        long = "platform-token-file",
        env = "TALLY_GATEWAY_PLATFORM_TOKEN_FILE",
        value_name = "FILE"
    )]
    platform_token_file: Option<PathBuf>,
    /// Folder of what must not be forgotten: keys, requests under way, events on their way, flows. One for each gateway.
    #[arg(
        id = "gateway.folder",
        long = "folder",
        env = "TALLY_GATEWAY_FOLDER",
        default_value = "tally-gateway",
        value_name = "DIR"
    )]
    folder: PathBuf,
    /// What may fail once an answer was given: the process, or the machine's power too. With disk each commit waits for the disk.
    #[arg(id = "gateway.durability", long = "durability", env = "TALLY_GATEWAY_DURABILITY", value_enum, default_value_t = Durability::Disk)]
    durability: Durability,
    /// Milliseconds of one attempt at the platform. 10 to 60000.
    #[arg(id = "gateway.attempt_ms_max", long = "attempt-ms-max", env = "TALLY_GATEWAY_ATTEMPT_MS_MAX", default_value_t = 3_000, value_parser = clap::value_parser!(u64).range(10..=60_000), value_name = "MS")]
    attempt_ms_max: u64,
    /// Milliseconds of a call with all its attempts. 10 to 300000.
    #[arg(id = "gateway.call_ms_max", long = "call-ms-max", env = "TALLY_GATEWAY_CALL_MS_MAX", default_value_t = 10_000, value_parser = clap::value_parser!(u64).range(10..=300_000), value_name = "MS")]
    call_ms_max: u64,
    /// Attempts of a call. 1 to 10.
    #[arg(id = "gateway.attempts_max", long = "attempts-max", env = "TALLY_GATEWAY_ATTEMPTS_MAX", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..=10), value_name = "N")]
    attempts_max: u32,
    /// Milliseconds of the longest pause after the first attempt; twice as long after each further one. 1 to 10000.
    #[arg(id = "gateway.backoff_ms", long = "backoff-ms", env = "TALLY_GATEWAY_BACKOFF_MS", default_value_t = 50, value_parser = clap::value_parser!(u64).range(1..=10_000), value_name = "MS")]
    backoff_ms: u64,
    /// Milliseconds after which a charge or refund is followed up of which nobody knows what became. 10 to 60000.
    #[arg(id = "gateway.follow_up_ms", long = "follow-up-ms", env = "TALLY_GATEWAY_FOLLOW_UP_MS", default_value_t = 500, value_parser = clap::value_parser!(u64).range(10..=60_000), value_name = "MS")]
    follow_up_ms: u64,
    /// Calls at once; more are refused at once. 1 to 100000.
    #[arg(id = "gateway.calls_at_once_max", long = "calls-at-once-max", env = "TALLY_GATEWAY_CALLS_AT_ONCE_MAX", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    calls_at_once_max: u32,
    /// Of the latest 50 attempts of a call so many in a thousand are errors: the platform is left alone for a while. 1 to 1000.
    #[arg(id = "gateway.circuit_errors_permille", long = "circuit-errors-permille", env = "TALLY_GATEWAY_CIRCUIT_ERRORS_PERMILLE", default_value_t = 500, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    circuit_errors_permille: u32,
    /// Events that may wait for Kafka; more, and calls are refused: no call without its event. An event has about 400 bytes. 1000 to 1000000000.
    #[arg(id = "gateway.outbox_events_max", long = "outbox-events-max", env = "TALLY_GATEWAY_OUTBOX_EVENTS_MAX", default_value_t = 20_000_000, value_parser = clap::value_parser!(u64).range(1_000..=1_000_000_000), value_name = "N")]
    outbox_events_max: u64,
    /// Hours for which the key of a request that is done is remembered, and a flow that has ended. 1 to 8760.
    #[arg(id = "gateway.keys_hours", long = "keys-hours", env = "TALLY_GATEWAY_KEYS_HOURS", default_value_t = 168, value_parser = clap::value_parser!(u32).range(1..=8_760), value_name = "HOURS")]
    keys_hours: u32,
    /// Seconds for which callers are let in although ClickHouse does not say what was revoked: charges go on without it for so long, and a
    /// revocation may be that much later in force here. 2 to 900: no token lives longer.
    #[arg(
        id = "gateway.revocations_s_max",
        long = "revocations-s-max",
        env = "TALLY_GATEWAY_REVOCATIONS_S_MAX",
        default_value_t = 60,
        value_parser = clap::value_parser!(u64).range(2..=900),
        value_name = "SECONDS"
    )]
    revocations_s_max: u64,
    /// Bytes of a request's body. 1 KiB to 1 MiB.
    #[arg(id = "gateway.body_bytes_max", long = "body-bytes-max", env = "TALLY_GATEWAY_BODY_BYTES_MAX", default_value_t = 16_384, value_parser = clap::value_parser!(u32).range(1_024..=1_048_576), value_name = "BYTES")]
    body_bytes_max: u32,
    /// Seconds that calls, and events on their way, may take to end after SIGTERM. 0 to 300.
    #[arg(id = "gateway.drain_s_max", long = "drain-s-max", env = "TALLY_GATEWAY_DRAIN_S_MAX", default_value_t = 20, value_parser = clap::value_parser!(u64).range(0..=300), value_name = "SECONDS")]
    drain_s_max: u64,
}

impl Section {
    fn settings(&self) -> Settings {
        let defaults = Settings::default();
        Settings {
            attempt: Duration::from_millis(self.attempt_ms_max),
            call: Duration::from_millis(self.call_ms_max),
            attempts_max: self.attempts_max,
            backoff: Duration::from_millis(self.backoff_ms),
            calls_at_once_max: self.calls_at_once_max as usize,
            follow_up: Duration::from_millis(self.follow_up_ms),
            body_bytes_max: self.body_bytes_max as usize,
            breaker: BreakerConfig { errors_permille: self.circuit_errors_permille, ..defaults.breaker },
        }
    }

    fn store(&self) -> StoreConfig {
        StoreConfig {
            folder: self.folder.clone(),
            durability: self.durability,
            outbox_events_max: self.outbox_events_max,
            keys_kept_us: i64::from(self.keys_hours) * 3_600_000_000,
        }
    }
}

/// Reads the platform's token as every secret is read.
pub(super) fn read_secret(path: &Path) -> Result<String, BoxError> {
    Ok(read_private(path)?)
}

/// Tokens as the service checks them; of those who call, only services and admins.
pub(super) struct Guard(pub(super) Authority);

#[async_trait]
impl Callers for Guard {
    async fn admit(&self, token: &str) -> Result<Caller, Code> {
        let principal = self.0.verify(token).await.map_err(|denied| match denied {
            Denied::Missing => Code::TokenMissing,
            Denied::Invalid | Denied::Expired | Denied::Revoked => Code::TokenInvalid,
            Denied::Unavailable => Code::IdentityUnavailable,
        })?;
        let role = match principal.role {
            Role::Service => "SERVICE",
            Role::Admin => "ADMIN",
            Role::Creator | Role::Buyer | Role::Moderator => return Err(Code::ScopeMissing),
        };
        Ok(Caller { subject: principal.subject, role, scopes: principal.scopes })
    }
}

/// What an operator sees.
struct Page {
    metrics: Metrics,
    authority: Authority,
}

impl Shown for Page {
    fn metrics(&self) -> String {
        self.metrics.text()
    }

    fn waiting_for(&self) -> Option<String> {
        self.authority.waiting_for().map(str::to_owned)
    }
}

pub(crate) async fn run(args: GatewayArgs) -> anyhow::Result<ExitCode> {
    let settings = args.tokens.settings()?; // what is wrong with the flags is said before anything is opened
    let platform = args.gateway.platform.clone().context("where is the platform? give --platform URL")?;
    let file = args.gateway.platform_token_file.clone();
    let file = file.context("with which token? give --platform-token-file FILE")?;
    let credential = Credential::open(&file, read_secret)?;
    let stop = super::shutdown()?;
    let opened = store::open_migrated(&args.clickhouse).await?;
    let blind = Duration::from_secs(args.gateway.revocations_s_max);
    let client = opened.store.client().clone();
    let authority = Authority::start_blind_for(blind, settings, client, stop.clone())?;
    let metrics = Metrics::default();
    let config = GatewayConfig {
        listen: args.gateway.listen,
        platform,
        credential,
        callers: Arc::new(Guard(authority.clone())),
        kafka: args.kafka,
        store: args.gateway.store(),
        settings: args.gateway.settings(),
        metrics: metrics.clone(),
        told: None,
        drain: Duration::from_secs(args.gateway.drain_s_max),
    };
    let serving = serve(config, stop).await?;
    let ops_stop = CancellationToken::new(); // /metrics stay until the last event is published
    let page = Arc::new(Page { metrics, authority });
    let ops = ops::serve(args.gateway.ops_listen, page, ops_stop.clone()).await?;
    tracing::info!(address = %ops, "metrics are served");
    println!("gateway: http://{}/   (SIGTERM drains and ends it)", serving.address);
    serving.ended.await?;
    ops_stop.cancel();
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}
