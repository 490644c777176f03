//! The live page: one document, and the counts it asks for every second.

use axum::extract::State;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use clickhouse::Client;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_queries::{Live, live};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// The page could not be served.
#[derive(Debug, Error)]
#[error("cannot serve the page on {address}; choose another with --port")]
pub struct ServeError {
    address: SocketAddr,
    #[source]
    source: std::io::Error,
}

/// However many look, the store is asked this often.
const FRESH_FOR: Duration = Duration::from_millis(900);

struct Page {
    client: Client,
    last: Mutex<Option<(Instant, Live)>>,
}

/// Serves the page until `stop`; returns the address once it listens.
///
/// # Errors
/// Where the address is taken.
pub async fn serve(
    listen: SocketAddr,
    client: Client,
    stop: CancellationToken,
) -> Result<SocketAddr, ServeError> {
    let failed = |source| ServeError { address: listen, source };
    let listener = TcpListener::bind(listen).await.map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let page = Arc::new(Page { client, last: Mutex::new(None) });
    let app = Router::new()
        .route("/", get(asset("text/html; charset=utf-8", include_str!("../assets/live.html"))))
        .route("/live.css", get(asset("text/css; charset=utf-8", include_str!("../assets/live.css"))))
        .route("/live.js", get(asset("text/javascript; charset=utf-8", include_str!("../assets/live.js"))))
        .route("/api/live", get(counts))
        .with_state(page);
    tokio::spawn(async move {
        let served = axum::serve(listener, app).with_graceful_shutdown(stop.cancelled_owned()).await;
        if let Err(error) = served {
            tracing::error!(%error, "the page ended");
        }
    });
    Ok(address)
}

const SAFE: [(HeaderName, &str); 4] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::CACHE_CONTROL, "no-store"),
];

type Asset = ([(HeaderName, &'static str); 4], [(HeaderName, &'static str); 1], &'static str);

fn asset(kind: &'static str, body: &'static str) -> Asset {
    (SAFE, [(header::CONTENT_TYPE, kind)], body)
}

async fn counts(State(page): State<Arc<Page>>) -> Response {
    let mut last = page.last.lock().await;
    if let Some((at, live)) = last.as_ref()
        && at.elapsed() < FRESH_FOR
    {
        return (SAFE, Json(live)).into_response();
    }
    match live(&page.client).await {
        Ok(counts) => {
            let answer = (SAFE, Json(&counts)).into_response();
            *last = Some((Instant::now(), counts));
            answer
        }
        Err(error) => {
            tracing::warn!(%error, "live counts");
            let problem = serde_json::json!({ "title": "the store does not answer", "status": 503 });
            let kind = [(header::CONTENT_TYPE, "application/problem+json")];
            (StatusCode::SERVICE_UNAVAILABLE, SAFE, kind, problem.to_string()).into_response()
        }
    }
}
