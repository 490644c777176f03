//! `tally serve`: the service.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::dead::letters::Hands;
use super::feed::{FeedArgs, FeedPlace};
use super::seal::{Seals, texts};
use super::store;
use anyhow::bail;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use tally_dashboards::api::{Api, ApiConfig, Limits, SealSource};
use tally_dashboards::feed::Feed;
use tally_dashboards::identity::{Authority, KeySource, Settings};
use tally_dashboards::serve::{ServeConfig, ServiceMetrics, serve};
use tally_pipeline::config::{ClickHouse, EventBound, Kafka, SchemaRegistry};
use tally_pipeline::ops::{self, Shown};
use tally_queries::seal::Keys;
use tally_queries::service::ReadLimits;

/// Serve the API, the pages and the feed to those whom the issuer's tokens name.
///
/// Exit code 0: stopped in good order. 3: could not run.
#[derive(clap::Args, Debug)]
pub(crate) struct ServeArgs {
    #[command(flatten)]
    kafka: Kafka,
    #[command(flatten)]
    clickhouse: ClickHouse,
    #[command(flatten)]
    registry: SchemaRegistry,
    #[command(flatten)]
    event: EventBound,
    #[command(flatten)]
    feed: FeedArgs,
    #[command(flatten)]
    tokens: Tokens,
    #[command(flatten)]
    service: Service,
    #[command(flatten)]
    seals: Seals,
    /// File of public keys whose seals are believed; without it there are no proofs.
    #[arg(long, value_name = "FILE")]
    seal_keys: Vec<PathBuf>,
    /// Let admins publish dead letters again, from the page of a letter or through the API: the Kafka credentials then need write
    /// on the topics. Who did it is written down. Without it the service publishes nothing.
    #[arg(long)]
    replays: bool,
}

/// Whose access tokens are taken. There is no default key.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Access tokens")]
pub(super) struct Tokens {
    /// Claim iss that a token must have.
    #[arg(id = "service.issuer", long = "issuer", env = "TALLY_SERVICE_ISSUER", value_name = "NAME|URL")]
    issuer: Option<String>,
    /// Claim aud that a token must have.
    #[arg(
        id = "service.audience",
        long = "audience",
        env = "TALLY_SERVICE_AUDIENCE",
        default_value = "tally",
        value_name = "NAME"
    )]
    audience: String,
    /// Address of the issuer's key set: https, or http on loopback.
    #[arg(
        id = "service.jwks",
        long = "jwks",
        env = "TALLY_SERVICE_JWKS",
        value_name = "URL",
        conflicts_with = "token_key"
    )]
    jwks: Option<String>,
    /// File of public keys, as `tally token keygen` writes it or any JSON Web Key Set; may be given more than once.
    #[arg(long = "token-key", value_name = "FILE")]
    token_key: Vec<PathBuf>,
}

impl Tokens {
    pub(super) fn settings(&self) -> anyhow::Result<Settings> {
        let keys = match (&self.jwks, self.token_key.as_slice()) {
            (Some(url), _) => KeySource::Jwks(url.clone()),
            (None, []) => {
                bail!("whose tokens? give --jwks URL, or --token-key FILE.pub of `tally token keygen`")
            }
            (None, files) => KeySource::Local(texts(files)?),
        };
        let Some(issuer) = self.issuer.clone() else { bail!("whose tokens? give --issuer") };
        Ok(Settings { issuer, audience: self.audience.clone(), keys })
    }
}

/// Addresses and bounds.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Service")]
pub(super) struct Service {
    /// Address of the API and the pages. Put TLS in front of anything but loopback, by a proxy that hands on Host as the browser sent
    /// it: the forms of pages, signing in among them, are taken only where Origin and Host are the same.
    #[arg(
        id = "service.listen",
        long = "listen",
        env = "TALLY_SERVICE_LISTEN",
        default_value = "127.0.0.1:8480",
        value_name = "HOST:PORT"
    )]
    listen: SocketAddr,
    /// Address of /metrics, /livez and /readyz.
    #[arg(
        id = "service.ops_listen",
        long = "ops-listen",
        env = "TALLY_SERVICE_OPS_LISTEN",
        default_value = "127.0.0.1:9465",
        value_name = "HOST:PORT"
    )]
    ops_listen: SocketAddr,
    /// Origin whose pages may read answers and open WebSockets, such as https://app.example; with commas between, none by default.
    #[arg(
        id = "service.cors_origins",
        long = "cors-origin",
        env = "TALLY_SERVICE_CORS_ORIGINS",
        value_delimiter = ',',
        value_name = "ORIGIN"
    )]
    cors_origins: Vec<String>,
    /// Requests of one subject a second, in the long run. 1 to 100000.
    #[arg(id = "service.requests_per_s_max", long = "requests-per-s-max", env = "TALLY_SERVICE_REQUESTS_PER_S_MAX", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    requests_per_s_max: u32,
    /// Requests of one subject at once, after a pause. 1 to 100000.
    #[arg(id = "service.requests_burst_max", long = "requests-burst-max", env = "TALLY_SERVICE_REQUESTS_BURST_MAX", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000), value_name = "N")]
    requests_burst_max: u32,
    /// Access tokens that are not valid here, a minute from one address; more are answered with 429. Whoever brings a valid
    /// one is let in whatever came from the same address, so nobody behind a proxy locks out others. 1 to 1000000.
    #[arg(id = "service.bad_tokens_per_min_max", long = "bad-tokens-per-min-max", env = "TALLY_SERVICE_BAD_TOKENS_PER_MIN_MAX", default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    bad_tokens_per_min_max: u32,
    /// Proxies of yours before the service, each of which adds the address that it sees to X-Forwarded-For: the one that the
    /// outermost added is the client's. With 0 the header is not believed and the connection's address counts. 0 to 8.
    #[arg(id = "service.proxies", long = "proxies", env = "TALLY_SERVICE_PROXIES", default_value_t = 0, value_parser = clap::value_parser!(u32).range(0..=8), value_name = "N")]
    proxies: u32,
    /// Questions to ClickHouse at once. 1 to 1000.
    #[arg(id = "service.questions_at_once_max", long = "questions-at-once-max", env = "TALLY_SERVICE_QUESTIONS_AT_ONCE_MAX", default_value_t = 16, value_parser = clap::value_parser!(u32).range(1..=1_000), value_name = "N")]
    questions_at_once_max: u32,
    /// Seconds that one question may run. 1 to 300.
    #[arg(id = "service.question_s_max", long = "question-s-max", env = "TALLY_SERVICE_QUESTION_S_MAX", default_value_t = 10, value_parser = clap::value_parser!(u32).range(1..=300), value_name = "SECONDS")]
    question_s_max: u32,
    /// Rows that one question may answer. 1001 to 1000000: a page has 1000 and one that says whether there are more.
    #[arg(id = "service.question_rows_max", long = "question-rows-max", env = "TALLY_SERVICE_QUESTION_ROWS_MAX", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1_001..=1_000_000), value_name = "ROWS")]
    question_rows_max: u32,
    /// Bytes of memory that one question may take in ClickHouse. 16 MiB to 64 GiB.
    #[arg(id = "service.question_bytes_max", long = "question-bytes-max", env = "TALLY_SERVICE_QUESTION_BYTES_MAX", default_value_t = 1 << 30, value_parser = clap::value_parser!(u64).range(16_777_216..=68_719_476_736), value_name = "BYTES")]
    question_bytes_max: u64,
    /// Bytes of a request's body. 1 KiB to 16 MiB.
    #[arg(id = "service.body_bytes_max", long = "body-bytes-max", env = "TALLY_SERVICE_BODY_BYTES_MAX", default_value_t = 65_536, value_parser = clap::value_parser!(u32).range(1_024..=16_777_216), value_name = "BYTES")]
    body_bytes_max: u32,
    /// Seconds from a request's head to the head of its answer. 1 to 600.
    #[arg(id = "service.request_s_max", long = "request-s-max", env = "TALLY_SERVICE_REQUEST_S_MAX", default_value_t = 30, value_parser = clap::value_parser!(u32).range(1..=600), value_name = "SECONDS")]
    request_s_max: u32,
    /// Connections at once. 1 to 1000000.
    #[arg(id = "service.connections_max", long = "connections-max", env = "TALLY_SERVICE_CONNECTIONS_MAX", default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..=1_000_000), value_name = "N")]
    connections_max: u32,
    /// Seconds that connections may take to end after SIGTERM. 0 to 300.
    #[arg(id = "service.drain_s_max", long = "drain-s-max", env = "TALLY_SERVICE_DRAIN_S_MAX", default_value_t = 20, value_parser = clap::value_parser!(u32).range(0..=300), value_name = "SECONDS")]
    drain_s_max: u32,
}

impl Service {
    /// The bounds of the API.
    pub(super) fn limits(&self) -> Limits {
        let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
        Limits {
            requests_per_s_max: at_least_one(self.requests_per_s_max),
            requests_burst_max: at_least_one(self.requests_burst_max),
            bad_tokens_per_min_max: at_least_one(self.bad_tokens_per_min_max),
            proxies: self.proxies,
            questions_at_once_max: self.questions_at_once_max,
            body_bytes_max: self.body_bytes_max,
            request_s_max: self.request_s_max,
            read: ReadLimits {
                execution_s_max: self.question_s_max,
                result_rows_max: u64::from(self.question_rows_max),
                memory_bytes_max: self.question_bytes_max,
            },
        }
    }

    /// How long connections may take to end.
    fn drain(&self) -> Duration {
        Duration::from_secs(u64::from(self.drain_s_max))
    }

    /// What is served: the API, without tokens for its own page.
    pub(super) fn serving(&self, api: Api, metrics: ServiceMetrics) -> ServeConfig {
        ServeConfig {
            listen: self.listen,
            api,
            cors_origins: self.cors_origins.clone(),
            drain_s_max: self.drain_s_max,
            connections_max: self.connections_max,
            page_tokens: None,
            metrics,
            more: axum::Router::new(),
        }
    }
}

/// What an operator sees of a service.
pub(super) struct Page {
    pub(super) metrics: ServiceMetrics,
    pub(super) feed: Option<Feed>,
    pub(super) authority: Authority,
}

impl Shown for Page {
    fn metrics(&self) -> String {
        let feed = self.feed.as_ref().map(Feed::metrics).unwrap_or_default();
        self.metrics.text() + &feed
    }

    fn waiting_for(&self) -> Option<String> {
        let authority = self.authority.waiting_for().map(str::to_owned);
        authority.or_else(|| self.feed.as_ref().and_then(Feed::waiting_for))
    }
}

pub(crate) async fn run(args: ServeArgs) -> anyhow::Result<ExitCode> {
    let settings = args.tokens.settings()?; // what is wrong with the flags is said before anything is opened
    let seals = match args.seal_keys.as_slice() {
        [] => None,
        files => Some(SealSource {
            log: args.seals.open(&args.clickhouse, false)?,
            keys: Keys::parse(&texts(files)?)?,
        }),
    };
    let stop = super::shutdown()?;
    let opened = store::open_migrated(&args.clickhouse).await?;
    let client = opened.store.client().clone();
    // apart: however much is asked, revocations are read
    let authority = Authority::start(settings, opened.store.apart()?.client().clone(), stop.clone())?;
    let limits = args.service.limits();
    let rates = limits.rates();
    let place = FeedPlace {
        kafka: &args.kafka,
        registry: &args.registry,
        event: args.event,
        origins: args.service.cors_origins.clone(),
        authority: authority.clone(),
        client: client.clone(),
        bounds: (limits, rates.clone()),
    };
    let feed = super::feed::open(&args.feed, place, stop.clone())?;
    let hands = Hands::new((&args.kafka, &args.registry), args.event, args.replays)?;
    let letters = Arc::new(hands);
    let api = Api::new(ApiConfig { authority: authority.clone(), client, seals, letters, limits, rates });
    let metrics = ServiceMetrics::new();
    ops::measure_process(metrics.registry())?;
    let page = Arc::new(Page { metrics: metrics.clone(), feed: feed.clone(), authority });
    let more = feed.as_ref().map(Feed::routes).unwrap_or_default();
    let serving = ServeConfig { more, ..args.service.serving(api, metrics) };
    let serving = serve(serving, stop.clone()).await?;
    let ops_stop = tokio_util::sync::CancellationToken::new(); // /metrics stay until the last connection has ended
    let ops = ops::serve(args.service.ops_listen, page, ops_stop.clone()).await?;
    tracing::info!(address = %ops, "metrics are served");
    println!("service: http://{}/   (SIGTERM drains and ends it)", serving.address);
    serving.ended.await?;
    if let Some(feed) = feed {
        feed.drained(args.service.drain()).await;
    }
    ops_stop.cancel();
    opened.close().await?;
    Ok(ExitCode::SUCCESS)
}
