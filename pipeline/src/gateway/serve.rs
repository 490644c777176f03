//! The gateway as a process: the store opened, what the last process left followed up, calls taken, events published.

use super::ask::{Gateway, Inner};
use super::breaker::Breaker;
use super::contract::Endpoint;
use super::credential::Credential;
use super::flow::{self, Flows};
use super::follow;
use super::metrics::Metrics;
use super::publish::{Acknowledged, Publisher};
use super::server::{self, Callers};
use super::settings::Settings;
use super::store::{OpenError, Store, StoreConfig};
use super::upstream::Upstream;
use crate::config::Kafka;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tally_schemas::Topic;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

/// What a gateway needs.
pub struct GatewayConfig {
    /// Address of the calls.
    pub listen: SocketAddr,
    /// Address of the platform.
    pub platform: Url,
    /// What the platform is shown.
    pub credential: Credential,
    /// Who may call.
    pub callers: Arc<dyn Callers>,
    /// Where events go.
    pub kafka: Kafka,
    /// What must not be forgotten.
    pub store: StoreConfig,
    /// Bounds.
    pub settings: Settings,
    /// Counters.
    pub metrics: Metrics,
    /// Who is told of each event that Kafka has for good, if anybody.
    pub told: Option<UnboundedSender<Acknowledged>>,
    /// For calls that are under way, and for events that wait, once it is told to stop.
    pub drain: Duration,
}

/// Why a gateway cannot begin.
#[derive(Debug, Error)]
pub enum GatewayError {
    /// Its store.
    #[error(transparent)]
    Store(#[from] OpenError),
    /// Its address.
    #[error("{0}: {1}")]
    Listen(SocketAddr, std::io::Error),
    /// The client of the platform.
    #[error("the client of the platform: {0}")]
    Client(#[from] reqwest::Error),
    /// The producer's configuration.
    #[error("Kafka: {0}")]
    Kafka(String),
}

/// A gateway that takes calls.
pub struct Serving {
    /// Where.
    pub address: SocketAddr,
    /// The adapter itself.
    pub gateway: Gateway,
    /// Ends after `stop`, when calls and events have come to their end or their time is over.
    pub ended: JoinHandle<()>,
}

/// Opens the store, follows up what was left, takes calls and publishes until `stop`.
///
/// # Errors
/// See [`GatewayError`]. Neither the platform nor Kafka need be there.
pub async fn serve(config: GatewayConfig, stop: CancellationToken) -> Result<Serving, GatewayError> {
    let (store, thread) = Store::open(&config.store)?;
    let upstream = Upstream::new(config.platform, config.credential)?;
    let publishers = Topic::ALL.into_iter().map(|contract| {
        let (kafka, metrics) = (config.kafka.clone(), config.metrics.clone());
        Publisher::new(store.clone(), kafka, metrics, contract, config.told.clone())
    });
    let publishers = publishers.collect::<Result<Vec<_>, _>>().map_err(GatewayError::Kafka)?;
    let listener = TcpListener::bind(config.listen).await;
    let listener = listener.map_err(|error| GatewayError::Listen(config.listen, error))?;
    let address = listener.local_addr().map_err(|error| GatewayError::Listen(config.listen, error))?;
    let settings = config.settings;
    let inner = Inner {
        store,
        upstream,
        settings,
        metrics: config.metrics,
        breakers: Endpoint::ALL.map(|_| Breaker::new(settings.breaker)),
        places: Arc::new(Semaphore::new(settings.calls_at_once_max)),
    };
    let gateway = Gateway { inner: Arc::new(inner) };
    let flows = Flows::new(gateway.clone());
    let app = server::router(flows.clone(), gateway.clone(), config.callers);
    let runtime = tokio::runtime::Handle::current();
    let (drain, beside) = (config.drain, gateway.clone());
    let ended = tokio::spawn(async move {
        let calls_ended = CancellationToken::new();
        let (published, drained) = (calls_ended.clone(), runtime.clone());
        let publishing: Vec<_> = publishers
            .into_iter()
            .map(|publisher| {
                let (runtime, stop) = (drained.clone(), published.clone());
                tokio::task::spawn_blocking(move || publisher.run(&runtime, &stop, drain))
            })
            .collect();
        let following = tokio::spawn(follow::follow_up(beside.clone(), stop.clone()));
        let flowing = tokio::spawn(flow::run(flows, stop.clone()));
        let house = tokio::spawn(follow::keep_house(beside, calls_ended.clone()));
        server::accept(listener, app, drain, stop).await;
        let _ = flowing.await; // so do the acts of flows that are under way
        let _ = following.await; // it ends by `stop`, after the attempts that are under way
        calls_ended.cancel();
        let _ = tokio::join!(futures::future::join_all(publishing), house); // what they could not do they have said themselves
    });
    drop(thread); // it ends with the last clone of the store
    Ok(Serving { address, gateway, ended })
}
