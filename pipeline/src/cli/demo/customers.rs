//! A share of the demo's customers, whose calls go through a gateway before a mock platform: what `tally gateway` and the SDK do,
//! within the demo. At the end the platform's books are held against what ClickHouse has of them, wallet by wallet.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

mod life;

use crate::cli::gateway::{Guard, read_secret};
use anyhow::Context;
use life::Customer;
use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tally_dashboards::identity::{Authority, KeySource, Minter, Role, Settings as Issuer, TokenRequest};
use tally_pipeline::client::{
    BoxError, GatewayClient, Patience, Publisher, PublisherConfig, SecretString, Want,
};
use tally_pipeline::config::{Kafka, SchemaRegistry, Sections};
use tally_pipeline::dead::{Outcome, Rejudge};
use tally_pipeline::gateway::mock::{self, Config as MockConfig, Faults, Script, Statement, Sums};
use tally_pipeline::gateway::{
    Acknowledged, Credential, Durability, GatewayConfig, Metrics, Settings, StoreConfig, serve,
};
use tally_pipeline::simulate::{Sent, now_micros};
use tally_pipeline::simulator::Expect;
use tally_queries::private::write_private;
use tally_schemas::Topic;
use tally_sinks::Store;
use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

/// Customers; each has a wallet and a licence.
const CUSTOMERS: u64 = 40;
/// Events that a task brings in the long run, its calls among them.
const EVENTS_PER_TASK: f64 = 18.0;
/// Tasks a second at most, whatever the rate: the rest is the simulated platform's.
const TASKS_PER_S_MAX: f64 = 40.0;
/// What goes wrong at the platform, in permille of its calls.
const FAULTS: Faults = Faults {
    latency_min_ms: 1,
    latency_max_ms: 20,
    error: 2,
    error_after: 1,
    hang_before: 0,
    hang_after: 0,
    reset_before: 1,
    reset_after: 1,
    wrong_body: 1,
    rate_limited: 1,
    denied: 0,
    under_way: 1,
    retry_after_s: 1,
    duplicate: 10,
};
/// For events that wait once the customers have gone.
const DRAIN: Duration = Duration::from_secs(20);
/// How long an estimate stands, micros.
const ESTIMATE_US: i64 = 900_000_000;
/// A token of the demo's lives so long, seconds; it is renewed when half of that is over.
const TOKEN_S: i64 = 600;

/// The customers under way.
pub(super) struct Customers {
    stop: CancellationToken,
    going: JoinHandle<()>,
    gateway: JoinHandle<()>,
    gateway_stop: CancellationToken,
    platform: SocketAddr,
    /// Until the gateway has ended: what it published, as the balance wants it.
    listening: JoinHandle<anyhow::Result<()>>,
    published: Published,
}

/// What the customers themselves have published.
#[derive(Clone, Default)]
pub(super) struct Published(Arc<Mutex<Vec<Sent>>>);

impl Published {
    fn add(&self, sent: Sent) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(sent);
    }
}

impl Customers {
    /// Starts platform and gateway, and lets customers come who bring about `events_per_s`.
    pub(super) async fn begin(
        folder: &Path,
        (sections, store): (&Sections, &Store),
        (minter, issuer): (Minter, (String, String)),
        (events_per_s, seed): (f64, u64),
    ) -> anyhow::Result<Customers> {
        let (stop, gateway_stop) = (CancellationToken::new(), CancellationToken::new());
        let platform = mock::serve(
            MockConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                tokens: None,
                script: Script { seed, all: FAULTS, ..Script::default() },
                wallets: Vec::new(),
                estimate_us: ESTIMATE_US,
                now_us: now_micros,
            },
            gateway_stop.clone(),
        );
        let platform = platform.await?.address;
        let token_file = write_token(folder)?;
        let keys = KeySource::Local(vec![minter.public()]);
        let issuer = Issuer { issuer: issuer.0, audience: issuer.1, keys };
        let authority = Authority::start(issuer, store.apart()?.client().clone(), gateway_stop.clone())?;
        let (told, acknowledged) = unbounded_channel();
        let gateway = serve(
            GatewayConfig {
                listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
                platform: format!("http://{platform}/").parse()?,
                credential: Credential::open(&token_file, read_secret)?,
                callers: Arc::new(Guard(authority)),
                kafka: sections.kafka.clone(),
                store: StoreConfig {
                    folder: folder.join("gateway"),
                    durability: Durability::Process,
                    outbox_events_max: 1_000_000,
                    keys_kept_us: 86_400_000_000,
                },
                settings: Settings::default(),
                metrics: Metrics::default(),
                told: Some(told),
                drain: DRAIN,
            },
            gateway_stop.clone(),
        );
        let gateway = gateway.await?;
        let base = format!("http://{}/", gateway.address).parse()?;
        let client = GatewayClient::new(base, tokens(minter), Patience::default())?;
        let publisher = PublisherConfig { kafka: sections.kafka.clone(), deliver: Duration::from_secs(30) };
        let publisher = Arc::new(Publisher::new(publisher)?);
        let published = Published::default();
        let listening = tokio::spawn(listen(acknowledged, sections.kafka.clone(), published.clone()));
        let tasks_per_s = (events_per_s / EVENTS_PER_TASK).min(TASKS_PER_S_MAX);
        let (until, sent) = (stop.clone(), published.clone());
        let going = tokio::spawn(async move {
            let lives = TaskTracker::new();
            let pause = Duration::from_secs_f64(1.0 / tasks_per_s.max(0.01));
            for number in 0.. {
                if until.run_until_cancelled(tokio::time::sleep(pause)).await.is_none() {
                    break;
                }
                let name = Customer { run: seed, customer: number % CUSTOMERS, number, platform };
                let (client, publisher, sent) = (client.clone(), Arc::clone(&publisher), sent.clone());
                lives.spawn(async move {
                    if let Err(error) = name.live(&client, &publisher, &sent).await {
                        tracing::warn!(error = %format!("{error:#}"), "a customer of the gateway gave up");
                    }
                });
            }
            lives.close();
            lives.wait().await; // who has begun a task sees it through
        });
        println!("gateway: http://{}/   (before a mock platform)", gateway.address);
        Ok(Customers { stop, going, gateway: gateway.ended, gateway_stop, platform, listening, published })
    }

    /// Lets nobody come any more, waits for those who are there and for the last event. Gives all that was published, and the
    /// platform's books.
    pub(super) async fn finish(self) -> anyhow::Result<(Vec<Sent>, Sums)> {
        self.stop.cancel();
        self.going.await?;
        let statement = statement(self.platform).await?;
        self.gateway_stop.cancel();
        self.gateway.await?;
        self.listening.await??; // whoever tells it has ended
        let sent = std::mem::take(&mut *self.published.0.lock().unwrap_or_else(PoisonError::into_inner));
        Ok((sent, statement.sums()))
    }
}

/// The file of the token that the platform is shown. One that an earlier run left may be open to everybody: it is made anew.
fn write_token(folder: &Path) -> anyhow::Result<PathBuf> {
    let path = folder.join("platform-token");
    if path.exists() {
        std::fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    write_private(&path, "demo\n").with_context(|| path.display().to_string())?;
    Ok(path)
}

/// Adds what the gateway publishes, for as long as it does.
async fn listen(
    mut acknowledged: UnboundedReceiver<Acknowledged>,
    kafka: Kafka,
    published: Published,
) -> anyhow::Result<()> {
    let none = SchemaRegistry { url: None, user: None, password: None, ca: None };
    let mut judge = Rejudge::new(&kafka, &none, 1 << 20)?;
    while let Some(one) = acknowledged.recv().await {
        let judged = judge.judge(&kafka.topic(one.contract), Some(&one.value)).await?;
        let Outcome::Event { event_id, .. } = judged else {
            anyhow::bail!("the gateway published what is no event of {}", one.contract)
        };
        published.add(taken(one.contract, (one.partition, one.offset), event_id));
    }
    Ok(())
}

/// As the balance wants it.
fn taken(topic: Topic, (partition, offset): (i32, i64), event_id: Uuid) -> Sent {
    let now_us = now_micros();
    Sent {
        topic,
        partition,
        offset,
        event_id,
        expect: Expect::Accept,
        event_at: now_us,
        record_at_ms: now_us / 1_000,
    }
}

/// A service's tokens, which it mints itself here.
fn tokens(
    minter: Minter,
) -> impl Fn(Want) -> std::future::Ready<Result<SecretString, BoxError>> + Send + Sync {
    let held: Mutex<Option<(String, i64)>> = Mutex::default();
    move |want| {
        let now_s = now_micros() / 1_000_000;
        let mut held = held.lock().unwrap_or_else(PoisonError::into_inner);
        let good = held.as_ref().filter(|(_, until_s)| want == Want::Current && now_s < *until_s);
        let token = match good {
            Some((token, _)) => token.clone(),
            None => {
                let request = TokenRequest {
                    subject: "demo-scheduler".to_owned(),
                    role: Role::Service,
                    scope: "credits:estimate credits:charge credits:refund licenses:check".to_owned(),
                    lifetime_s: TOKEN_S,
                };
                match minter.mint(&request, now_s) {
                    Ok((token, _)) => token,
                    Err(error) => return std::future::ready(Err(error.into())),
                }
            }
        };
        *held = Some((token.clone(), held.as_ref().map_or(now_s + TOKEN_S / 2, |(_, until_s)| *until_s)));
        std::future::ready(Ok(token.into()))
    }
}

async fn statement(platform: SocketAddr) -> anyhow::Result<Statement> {
    let answer = reqwest::get(format!("http://{platform}/_mock/ledger")).await?.bytes().await?;
    Ok(serde_json::from_slice(&answer)?)
}

#[derive(clickhouse::Row, serde::Deserialize)]
struct Stored {
    wallet_id: String,
    kind: String,
    movements: u64,
    micros: i64,
}

/// Holds the platform's books against what ClickHouse has, says so, and gives whether both agree.
pub(super) async fn agree(books: &Sums, store: &Store) -> anyhow::Result<bool> {
    let sql = "SELECT wallet_id, toString(kind) AS kind, count() AS movements, sum(amount_micros) AS micros \
               FROM credit_events_final WHERE startsWith(wallet_id, ?) AND source = 'gateway' \
               AND kind NOT IN ('ATTEMPTED', 'ESTIMATED', 'HOLD_FAILED') GROUP BY wallet_id, kind";
    let wallets: BTreeSet<&str> = books.keys().map(|(wallet, _)| wallet.as_str()).collect();
    let Some((run, _)) = wallets.first().and_then(|wallet| wallet.rsplit_once('-')) else {
        println!("through the gateway: nobody came");
        return Ok(true);
    };
    let rows: Vec<Stored> = store.client().query(sql).bind(format!("{run}-")).fetch_all().await?;
    let stored: Sums =
        rows.into_iter().map(|row| ((row.wallet_id, row.kind), (row.movements, row.micros))).collect();
    let agree = stored == *books;
    let movements: u64 = books.values().map(|(movements, _)| movements).sum();
    let word = if agree { "agree" } else { "DO NOT AGREE" };
    println!(
        "through the gateway: {movements} movements of {} wallets; the platform's books and ClickHouse {word}",
        wallets.len()
    );
    Ok(agree)
}
