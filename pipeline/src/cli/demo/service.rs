//! The demo's service: as `tally serve` has it, with a key of the demo's own and a page that gets a token by itself.
#![expect(clippy::print_stdout, reason = "what this command prints is its result")]

use crate::cli::feed::{self, FeedArgs, FeedPlace};
use crate::cli::serve::Service;
use crate::cli::token::{demo_minter, demo_names};
use clap::Parser;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use tally_dashboards::api::{Api, ApiConfig};
use tally_dashboards::feed::Feed;
use tally_dashboards::identity::{Authority, KeySource, Role, Settings};
use tally_dashboards::serve::{PageTokens, ServeConfig, ServiceMetrics, Serving};
use tally_pipeline::config::Sections;
use tally_sinks::Store;
use tokio_util::sync::CancellationToken;

/// Seconds that connections may take to end when the demo does: pages ask again and again and are in no need of it.
const DRAIN_S_MAX: u32 = 2;

/// Folder of the keys that sign a demo's feed, in the demo's own.
const FEED_KEYS: &str = "feed-keys";

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
    port: u16,
    (folder, sections): (&Path, &Sections),
    store: &Store,
    stop: CancellationToken,
) -> anyhow::Result<Serving> {
    let minter = demo_minter(folder)?;
    let (issuer, audience) = demo_names();
    let settings = Settings { issuer, audience, keys: KeySource::Local(vec![minter.public()]) };
    let authority = Authority::start(settings, store.apart().client().clone(), stop.clone())?;
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
    let config = ApiConfig { authority, client: store.client().clone(), seals: None, limits, rates };
    let serving = ServeConfig {
        listen: SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
        page_tokens: Some(PageTokens { minter, subject: "demo-page".to_owned() }),
        drain_s_max: DRAIN_S_MAX,
        more: feed.as_ref().map(Feed::routes).unwrap_or_default(),
        ..service.serving(Api::new(config), ServiceMetrics::new())
    };
    Ok(tally_dashboards::serve::serve(serving, stop).await?)
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
