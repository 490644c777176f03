//! What an operator's tools ask of a running `tally ingest`: `/metrics`, `/livez`, `/readyz`.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use std::net::SocketAddr;
use std::sync::Arc;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// What is shown: the metrics' text, and what readiness waits for (`None` when ready).
pub trait Shown: Send + Sync + 'static {
    /// The metrics in Prometheus text.
    fn metrics(&self) -> String;
    /// What readiness waits for; `None` when ready.
    fn waiting_for(&self) -> Option<String>;
}

/// Serves until `stop`. Returns the address once it listens.
///
/// # Errors
/// Where the address cannot be had.
pub async fn serve(
    listen: SocketAddr,
    shown: Arc<dyn Shown>,
    stop: CancellationToken,
) -> std::io::Result<SocketAddr> {
    let listener = TcpListener::bind(listen).await?;
    let address = listener.local_addr()?;
    let app = Router::new()
        .route("/metrics", get(metrics))
        .route("/livez", get(async || "ok\n"))
        .route("/readyz", get(ready))
        .with_state(shown);
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the metrics page ended");
        }
    });
    Ok(address)
}

async fn metrics(State(shown): State<Arc<dyn Shown>>) -> ([(header::HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shown.metrics())
}

async fn ready(State(shown): State<Arc<dyn Shown>>) -> (StatusCode, String) {
    match shown.waiting_for() {
        None => (StatusCode::OK, "ready\n".to_owned()),
        Some(what) => (StatusCode::SERVICE_UNAVAILABLE, format!("waiting for {what}\n")),
    }
}
