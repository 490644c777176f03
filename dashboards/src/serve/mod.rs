//! The service as a whole: routes, what stands around all of them, the sockets, and an end in good order.

mod client;
mod layers;
mod metrics;
mod sockets;

pub use crate::pages::PageTokens;
pub use metrics::ServiceMetrics;

use crate::api::{Api, router};
use crate::problem::{Code, Problem};
use axum::Router;
use std::net::SocketAddr;
use std::time::Duration;
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// The service could not begin.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The address is taken, or not ours.
    #[error("cannot listen on {address}")]
    Listen {
        /// Which.
        address: SocketAddr,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// An origin that is none.
    #[error("'{0}' is no origin: scheme and host, such as https://app.example")]
    Origin(String),
}

/// What is served, and how.
#[derive(Debug)]
pub struct ServeConfig {
    /// Where to listen.
    pub listen: SocketAddr,
    /// The API.
    pub api: Api,
    /// Origins whose pages may read answers; none but our own where it is empty.
    pub cors_origins: Vec<String>,
    /// Seconds that connections may take to end after a stop.
    pub drain_s_max: u32,
    /// Connections at once.
    pub connections_max: u32,
    /// Tokens for our own page, in a demo on loopback only.
    pub page_tokens: Option<PageTokens>,
    /// Counters.
    pub metrics: ServiceMetrics,
    /// The feed's routes, with guards of their own; none where there is no feed.
    pub more: Router,
}

/// A running service.
#[derive(Debug)]
pub struct Serving {
    /// Where it listens.
    pub address: SocketAddr,
    /// Ends once the last connection has, or the time for that is over.
    pub ended: JoinHandle<()>,
}

/// Serves until `stop`; then takes no more connections and lets those it has come to their end.
///
/// # Errors
/// See [`ServeError`].
pub async fn serve(config: ServeConfig, stop: CancellationToken) -> Result<Serving, ServeError> {
    let failed = |source| ServeError::Listen { address: config.listen, source };
    let origins = layers::origins(&config.cors_origins)?;
    let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let limits = *config.api.limits();
    let rates = config.api.rates().clone();
    // without it pages ask by the clock
    let has_feed = config.more.has_routes();
    let pages = crate::pages::router(config.api.clone(), config.page_tokens, has_feed);
    let app = router(config.api)
        .merge(pages)
        .merge(client::router())
        .merge(config.more)
        .fallback(async || Problem::new(Code::NotFound))
        .method_not_allowed_fallback(async || Problem::new(Code::MethodNotAllowed));
    let outermost = layers::Outermost { metrics: config.metrics.clone(), rates, proxies: limits.proxies };
    let app = layers::around(app, &limits, origins, outermost);
    let bounds = sockets::Bounds {
        connections_max: config.connections_max as usize,
        drain: Duration::from_secs(u64::from(config.drain_s_max)),
    };
    let ended = tokio::spawn(sockets::accept(listener, app, bounds, config.metrics, stop));
    Ok(Serving { address, ended })
}
