//! The demo's service: as `tally serve` has it, with a key of the demo's own and a page that gets a token by itself.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use super::subscribers::Subscribers;
use crate::cli::dead::letters::Hands;
use crate::cli::feed::{self, FeedArgs, FeedPlace};
use crate::cli::serve::{Page, Service};
use crate::cli::token::{demo_minter, demo_names};
use anyhow::Context;
use clap::Parser;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tally_dashboards::api::{Api, ApiConfig};
use tally_dashboards::feed::Feed;
use tally_dashboards::identity::{Authority, KeySource, Minter, Role, Settings};
use tally_dashboards::serve::{PageTokens, ServeConfig, ServiceMetrics, Serving};
use tally_pipeline::FeedSubscriber;
use tally_pipeline::config::Sections;
use tally_pipeline::ops;
use tally_sinks::Store;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Seconds that connections may take to end when the demo does: pages ask again and again and are in no need of it.
const DRAIN_S_MAX: u32 = 2;

/// Folder of the keys that sign a demo's feed, in the demo's own.
const FEED_KEYS: &str = "feed-keys";

/// Customers of the platform that subscribe to the feed, beside one moderator.
const BUYERS: usize = 100;

/// The running service.
pub(super) struct DemoService {
    pub(super) address: SocketAddr,
    minter: Minter,
    ended: JoinHandle<()>,
    feed: Option<Feed>,
    stop: CancellationToken,
}

impl DemoService {
    /// Connects subscribers: a moderator, whom every case concerns, and customers among these.
    pub(super) async fn subscribe(
        &self,
        users: impl Iterator<Item = String>,
    ) -> anyhow::Result<(Subscribers, Vec<FeedSubscriber>)> {
        let buyers = users.take(BUYERS).map(|user| (Role::Buyer, user));
        let moderator = (Role::Moderator, "demo-moderator".to_owned());
        let subjects: Vec<(Role, String)> = std::iter::once(moderator).chain(buyers).collect();
        let subscribers = Subscribers::start(self.address, &self.minter, &subjects).await?;
        let named =
            |(role, subject): (Role, String)| FeedSubscriber { role: role.name().to_owned(), subject };
        Ok((subscribers, subjects.into_iter().map(named).collect()))
    }

    /// Who signs the tokens that are taken here, and their issuer and audience.
    pub(super) fn issuer(&self) -> (Minter, (String, String)) {
        (self.minter.clone(), demo_names())
    }

    /// Ends it: streams say goodbye, and the delivery ledger is written to its end.
    pub(super) async fn end(self) -> anyhow::Result<()> {
        self.stop.cancel();
        self.ended.await?;
        if let Some(feed) = self.feed {
            feed.drained(Duration::from_secs(u64::from(DRAIN_S_MAX))).await;
        }
        Ok(())
    }
}

/// The bounds of `tally serve`.
#[derive(Parser)]
struct Defaults {
    #[command(flatten)]
    service: Service,
    #[command(flatten)]
    feed: FeedArgs,
}

/// Serves on loopback; tokens are signed by the key in the folder.
pub(super) async fn serve(
    (port, ops_listen): (u16, Option<SocketAddr>),
    (folder, sections): (&Path, &Sections),
    store: &Store,
) -> anyhow::Result<DemoService> {
    let stop = CancellationToken::new();
    let minter = demo_minter(folder)?;
    let (issuer, audience) = demo_names();
    let settings = Settings { issuer, audience, keys: KeySource::Local(vec![minter.public()]) };
    let authority = Authority::start(settings, store.apart()?.client().clone(), stop.clone())?;
    let Defaults { service, feed } = Defaults::try_parse_from(["tally"])?;
    let limits = service.limits();
    let rates = limits.rates();
    let place = FeedPlace {
        kafka: &sections.kafka,
        registry: &sections.registry,
        event: sections.bounds.event,
        origins: Vec::new(),
        authority: authority.clone(),
        client: store.client().clone(),
        bounds: (limits, rates.clone()),
    };
    let feed = feed::open(&feed.with_keys(folder.join(FEED_KEYS)), place, stop.clone())?;
    let metrics = ServiceMetrics::new();
    if let Some(listen) = ops_listen {
        show(
            listen,
            Page { metrics: metrics.clone(), feed: feed.clone(), authority: authority.clone() },
            stop.clone(),
        )
        .await?;
    }
    let letters = Arc::new(Hands::new((&sections.kafka, &sections.registry), sections.bounds.event, true)?);
    let client = store.client().clone();
    let seals = Some(super::auditor::seals(folder)?);
    let config = ApiConfig { authority, client, seals, letters, limits, rates };
    let serving = ServeConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        page_tokens: Some(PageTokens { minter: minter.clone(), subject: "demo-page".to_owned() }),
        drain_s_max: DRAIN_S_MAX,
        more: feed.as_ref().map(Feed::routes).unwrap_or_default(),
        ..service.serving(Api::new(config), metrics)
    };
    let Serving { address, ended } = tally_dashboards::serve::serve(serving, stop.clone()).await?;
    Ok(DemoService { address, minter, ended, feed, stop })
}

/// Shows an operator's pages of the service.
async fn show(listen: SocketAddr, page: Page, stop: CancellationToken) -> anyhow::Result<()> {
    let address = ops::serve(listen, Arc::new(page), stop).await;
    let address = address.with_context(|| format!("cannot listen on {listen}"))?;
    tracing::info!(%address, "metrics of the service are served");
    Ok(())
}

/// How to be each role, with subjects that the simulated platform has.
pub(super) fn print_how_to_sign_in(address: SocketAddr, folder: &Path) {
    println!(
        "sign in as a role: TOKEN=$(tally token mint --data {} --role ROLE --subject ID)",
        folder.display()
    );
    for role in Role::ALL {
        let subject = match role {
            Role::Creator => "a creator_id",
            Role::Buyer => "a user_id",
            Role::Moderator => "the actor_id of reviews",
            Role::Admin | Role::Service => "any name",
        };
        println!("  --role {role:<10} --subject {subject}");
    }
    println!("then: curl -H \"Authorization: Bearer $TOKEN\" http://{address}/api/v1/tasks");
}
