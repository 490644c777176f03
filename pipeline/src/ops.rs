//! What an operator's tools ask of a command that runs: `/metrics`, `/livez`, `/readyz`.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

/// Connections at once: those who scrape are few. More wait.
const CONNECTIONS_MAX: usize = 64;
/// A head that is not complete by then ends the connection.
const HEAD_S_MAX: u64 = 10;
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 16 * 1024;
/// A connection ends after so long, whatever it is at: who takes an answer byte by byte gives its place to others.
const CONNECTION_S_MAX: u64 = 300;
/// After the system refused a connection (too many files open, say).
const PAUSE_MS: u64 = 100;

/// What is shown: the metrics' text, and what readiness waits for (`None` when ready).
pub trait Shown: Send + Sync + 'static {
    /// The metrics in Prometheus text.
    fn metrics(&self) -> String;
    /// What readiness waits for; `None` when ready.
    fn waiting_for(&self) -> Option<String>;
}

/// Adds what Prometheus calls the process's own metrics: CPU seconds, resident memory, open files, start.
///
/// # Errors
/// Where they are in the registry already.
pub fn measure_process(registry: &prometheus::Registry) -> prometheus::Result<()> {
    registry.register(Box::new(prometheus::process_collector::ProcessCollector::for_self()))
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
    tokio::spawn(accept(listener, app, stop));
    Ok(address)
}

async fn accept(listener: TcpListener, app: Router, stop: CancellationToken) {
    let places = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! { () = stop.cancelled() => return, next = next => next };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            continue;
        };
        let one = stop.clone().run_until_cancelled_owned(connection(stream, app.clone()));
        tokio::spawn(async move {
            let _place = place; // until the connection has ended
            let _ = tokio::time::timeout(Duration::from_secs(CONNECTION_S_MAX), one).await; // late ones end all the same
        });
    }
}

async fn connection(stream: TcpStream, app: Router) {
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_S_MAX))
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    if let Err(error) = served.await {
        tracing::debug!(%error, "a connection ended early");
    }
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
