//! The gateway over HTTP.

use super::ask::{Caller, Gateway, Told};
use super::code::{Code, Problem};
use super::contract::{Ask, Endpoint, is_key};
use super::flow::{self, Flows};
use super::platform::KEY_HEADER;
use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes, to_bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::pin::pin;
use std::sync::{Arc, LazyLock};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// A head that is not complete by then ends the connection.
const HEAD_S_MAX: u64 = 10;
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// A body that is not complete by then is refused.
const BODY_S_MAX: u64 = 10;
/// Connections at once; more wait.
const CONNECTIONS_MAX: usize = 4_096;
/// After the system refused a connection (too many files open, say).
const PAUSE_MS: u64 = 100;
/// Set on an answer that was given before.
const REPLAYED: HeaderName = HeaderName::from_static("idempotency-replayed");

/// Turns tokens into callers.
#[async_trait]
pub trait Callers: Send + Sync + 'static {
    /// Who a token speaks for.
    ///
    /// # Errors
    /// `token_missing`, `token_invalid`, `scope_missing` (a role that never calls) or `identity_unavailable`.
    async fn admit(&self, token: &str) -> Result<Caller, Code>;
}

/// What handlers share.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) gateway: Gateway,
    pub(super) flows: Flows,
    callers: Arc<dyn Callers>,
}

impl Server {
    /// Who calls, whatever the token's scopes.
    pub(super) async fn caller(&self, headers: &HeaderMap) -> Result<Caller, Code> {
        let value = headers.get(header::AUTHORIZATION).ok_or(Code::TokenMissing)?;
        let token = value.to_str().ok().and_then(|text| text.strip_prefix("Bearer "));
        let caller = self.callers.admit(token.ok_or(Code::TokenInvalid)?).await?;
        // it would share keys, and its name in events, with the gateway's own flows
        if caller.subject == super::flow::CALLER { Err(Code::TokenInvalid) } else { Ok(caller) }
    }

    /// The caller, if the token has the scope.
    pub(super) async fn admit(&self, headers: &HeaderMap, scope: &str) -> Result<Caller, Code> {
        let caller = self.caller(headers).await?;
        match caller.scopes.iter().any(|had| had == scope) {
            true => Ok(caller),
            false => Err(Code::ScopeMissing),
        }
    }
}

/// Every route.
pub(super) fn router(flows: Flows, gateway: Gateway, callers: Arc<dyn Callers>) -> Router {
    Router::new()
        .route(Endpoint::CreditsEstimate.path(), post(estimate))
        .route(Endpoint::CreditsCharge.path(), post(charge))
        .route(Endpoint::CreditsRefund.path(), post(refund))
        .route(Endpoint::LicensesCheck.path(), post(check))
        .route("/openapi.json", get(document))
        .merge(flow::routes())
        .method_not_allowed_fallback(async || problem(Code::MethodNotAllowed))
        .fallback(async || problem(Code::NotFound))
        .with_state(Server { gateway, flows, callers })
}

async fn estimate(State(server): State<Server>, request: Request) -> Response {
    call(server, Endpoint::CreditsEstimate, request).await
}

async fn charge(State(server): State<Server>, request: Request) -> Response {
    call(server, Endpoint::CreditsCharge, request).await
}

async fn refund(State(server): State<Server>, request: Request) -> Response {
    call(server, Endpoint::CreditsRefund, request).await
}

async fn check(State(server): State<Server>, request: Request) -> Response {
    call(server, Endpoint::LicensesCheck, request).await
}

async fn document() -> Response {
    static TEXT: LazyLock<String> = LazyLock::new(|| {
        super::openapi::gateway_document().to_json().unwrap_or_default() // a test holds that it is JSON
    });
    ([(header::CONTENT_TYPE, "application/json")], TEXT.as_str()).into_response()
}

async fn call(server: Server, endpoint: Endpoint, request: Request) -> Response {
    let (parts, body) = request.into_parts();
    let headers = parts.headers;
    match understood(&server, endpoint, &headers, body).await {
        Ok((caller, key, ask)) => {
            answer(server.gateway.ask(&caller, key.as_deref(), ask, trace_id(&headers)).await)
        }
        Err(refused) => {
            let told = Told::problem(&refused);
            server.gateway.inner.metrics.told(endpoint, &told, Duration::ZERO);
            answer(told)
        }
    }
}

async fn understood(
    server: &Server,
    endpoint: Endpoint,
    headers: &HeaderMap,
    body: Body,
) -> Result<(Caller, Option<String>, Ask), Problem> {
    let scope = endpoint.scope().ok_or_else(|| Problem::new(Code::NotFound))?; // no route leads to what has none
    let caller = server.admit(headers, scope).await.map_err(Problem::new)?;
    let body = json(headers, body, server.gateway.inner.settings.body_bytes_max).await?;
    let key = key(headers)?;
    if endpoint.moves_money() && key.is_none() {
        return Err(Problem::new(Code::IdempotencyKeyMissing));
    }
    let ask = Ask::read(endpoint, &body).map_err(|error| Problem::because(error.code, error.detail))?;
    Ok((caller, key.filter(|_| endpoint.moves_money()), ask))
}

/// The body of a request that says that it is JSON, up to its bound and within its time.
pub(super) async fn json(headers: &HeaderMap, body: Body, bytes_max: usize) -> Result<Bytes, Problem> {
    let kind = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if !kind.split(';').next().unwrap_or_default().trim().eq_ignore_ascii_case("application/json") {
        return Err(Problem::new(Code::UnsupportedMediaType));
    }
    let length = headers.get(header::CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse().ok());
    if length.is_some_and(|length: u64| length > bytes_max as u64) {
        return Err(Problem::new(Code::TooLarge));
    }
    let read = tokio::time::timeout(Duration::from_secs(BODY_S_MAX), to_bytes(body, bytes_max)).await;
    match read {
        Ok(Ok(body)) => Ok(body),
        Ok(Err(error)) if is_too_long(&error) => Err(Problem::new(Code::TooLarge)),
        Ok(Err(_)) | Err(_) => {
            Err(Problem::because(Code::InvalidRequest, "the body did not come to its end in time"))
        }
    }
}

fn is_too_long(error: &axum::Error) -> bool {
    use std::error::Error;
    error.source().is_some_and(|source| source.is::<http_body_util::LengthLimitError>())
}

/// The key; that one is there and none is an error, too.
pub(super) fn key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(KEY_HEADER) else { return Ok(None) };
    match value.to_str().ok().map(str::trim).filter(|text| is_key(text)) {
        Some(key) => Ok(Some(key.to_owned())),
        None => Err(Problem::new(Code::IdempotencyKeyMissing)),
    }
}

/// The trace of a W3C `traceparent`.
pub(super) fn trace_id(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    let id = text.split('-').nth(1)?;
    let good = id.len() == 32 && id.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    (good && id.bytes().any(|byte| byte != b'0')).then(|| id.to_owned())
}

fn problem(code: Code) -> Response {
    answer(Told::problem(&Problem::new(code)))
}

/// As a response.
pub(super) fn answer(told: Told) -> Response {
    let status = StatusCode::from_u16(told.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let kind = if status.is_success() { "application/json" } else { "application/problem+json" };
    let mut response =
        (status, [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, "no-store")], told.body)
            .into_response();
    let headers = response.headers_mut();
    if told.replayed {
        headers.insert(REPLAYED, HeaderValue::from_static("true"));
    }
    if let Some(seconds) = told.retry_after_s {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    if status == StatusCode::UNAUTHORIZED {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}

/// Takes connections until `stop`; then those that are have `drain` to come to the end of their answers.
pub(super) async fn accept(listener: TcpListener, app: Router, drain: Duration, stop: CancellationToken) {
    let (places, tracker, hard_stop) =
        (Arc::new(Semaphore::new(CONNECTIONS_MAX)), TaskTracker::new(), CancellationToken::new());
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) = tokio::select! { () = stop.cancelled() => break, next = next => next };
        let Ok((stream, _)) = accepted else {
            tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
            continue;
        };
        let (app, stop, hard_stop) = (app.clone(), stop.clone(), hard_stop.clone());
        tracker.spawn(async move {
            let _place = place; // until the connection has ended
            hard_stop.run_until_cancelled(connection(stream, app, stop)).await;
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(drain, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "connections did not end in time");
        hard_stop.cancel();
        tracker.wait().await;
    }
}

async fn connection(stream: TcpStream, app: Router, stop: CancellationToken) {
    let _ = stream.set_nodelay(true); // a socket that is gone already shows so below
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_S_MAX))
        .max_buf_size(HEAD_BYTES_MAX)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    let mut served = pin!(served);
    let ended = tokio::select! {
        ended = served.as_mut() => ended,
        () = stop.cancelled() => {
            served.as_mut().graceful_shutdown();
            served.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
