//! What stands around every route: a request's id, problems in one form, safe headers, bounds of time and size.

use super::ServeError;
use super::metrics::ServiceMetrics;
use crate::api::Limits;
use crate::feed::RATE_LIMITED_CLOSE;
use crate::pages::Rendered;
use crate::problem::{Code, Problem};
use crate::rates::Rates;
use crate::request::RequestInfo;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::http::{HeaderName, HeaderValue, Method, Uri, header};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use std::time::{Duration, Instant};
use tower_http::cors::{AllowOrigin, CorsLayer};
use tower_http::limit::RequestBodyLimitLayer;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
const NEXT_CURSOR: HeaderName = HeaderName::from_static("x-next-cursor");
/// How long a browser may remember what a preflight said, seconds.
const PREFLIGHT_S_MAX: u64 = 600;

/// On every answer. Pages allow themselves more, by their own policy.
const SAFE: [(HeaderName, &str); 6] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (header::REFERRER_POLICY, "no-referrer"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    // believed by browsers over TLS only
    (header::STRICT_TRANSPORT_SECURITY, "max-age=31536000"),
];

/// Reads the list of origins.
pub(super) fn origins(list: &[String]) -> Result<Vec<HeaderValue>, ServeError> {
    let origin = |text: &String| {
        let wrong = || ServeError::Origin(text.clone());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let (scheme, authority) = (uri.scheme_str().unwrap_or_default(), uri.authority());
        let authority = authority.ok_or_else(wrong)?.as_str();
        let plain = ["http", "https"].contains(&scheme) && format!("{scheme}://{authority}") == *text;
        if plain && !authority.contains('@') {
            HeaderValue::from_str(text).map_err(|_| wrong())
        } else {
            Err(wrong())
        }
    };
    list.iter().map(origin).collect()
}

/// What the outermost layer works with.
#[derive(Clone, Debug)]
pub(super) struct Outermost {
    pub(super) metrics: ServiceMetrics,
    pub(super) rates: Rates,
    /// Proxies of the operator's own before the service.
    pub(super) proxies: u32,
}

/// Puts them around the routes, the outermost last.
pub(super) fn around(
    app: Router,
    limits: &Limits,
    origins: Vec<HeaderValue>,
    outermost: Outermost,
) -> Router {
    let cors = CorsLayer::new()
        .allow_origin(AllowOrigin::list(origins))
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            header::IF_NONE_MATCH,
            HeaderName::from_static("last-event-id"),
        ])
        .expose_headers([header::ETAG, header::RETRY_AFTER, REQUEST_ID, NEXT_CURSOR])
        .max_age(Duration::from_secs(PREFLIGHT_S_MAX));
    let time = Duration::from_secs(u64::from(limits.request_s_max));
    app.layer(RequestBodyLimitLayer::new(limits.body_bytes_max as usize))
        .layer(from_fn_with_state(time, in_time))
        .layer(cors)
        .layer(from_fn_with_state(outermost, finish))
}

/// Routes that wait on purpose, within bounds of their own.
const WAITING: [&str; 3] = ["/feed/events", "/feed/sse", "/feed/ws"];

/// From a request's head to the head of its answer. A stream that follows it has bounds of its own.
async fn in_time(State(time): State<Duration>, request: Request, next: Next) -> Response {
    if WAITING.contains(&request.uri().path()) {
        return next.run(request).await;
    }
    match tokio::time::timeout(time, next.run(request)).await {
        Ok(response) => response,
        Err(_) => Problem::new(Code::Timeout).into_response(),
    }
}

/// The outermost: every answer has an id and safe headers, every error is a problem document.
async fn finish(State(outermost): State<Outermost>, mut request: Request, next: Next) -> Response {
    let begun = Instant::now();
    let info = RequestInfo::new(request.headers(), request.extensions(), outermost.proxies);
    request.extensions_mut().insert(info);
    let id = info.id.to_string();
    let is_head = request.method() == Method::HEAD;
    // a pattern of the router: labels are bounded, and a refused request is counted under its route too
    let path = request.extensions().get::<MatchedPath>().cloned();
    let route = path.as_ref().map_or("other", MatchedPath::as_str);
    let mut response = next.run(request).await;
    let problem = response.extensions().get::<Problem>().cloned();
    let status = response.status();
    let is_error = status.is_client_error() || status.is_server_error();
    let problem = problem.or_else(|| is_error.then(|| Problem::of_status(status)));
    let is_page = response.extensions().get::<Rendered>().is_some();
    let told = problem.as_ref().map(Problem::code);
    let problem = problem.map(|problem| limited(problem, route, info, &outermost.rates));
    // a page has said it already, unless it is now something else
    if let Some(problem) = problem.filter(|problem| !is_page || Some(problem.code()) != told) {
        let allow = response.headers().get(header::ALLOW).cloned();
        let cors = cross_origin(&response);
        response = problem.render(&id);
        response.headers_mut().extend(allow.map(|value| (header::ALLOW, value)));
        response.headers_mut().extend(cors);
        if status.is_server_error() {
            tracing::warn!(request_id = id, route, status = status.as_u16(), "request failed");
        }
    }
    outermost.metrics.answered(route, response.status().as_u16(), begun.elapsed());
    for (name, value) in SAFE {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    if let Ok(id) = HeaderValue::from_str(&id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    if is_head {
        *response.body_mut() = axum::body::Body::empty();
    }
    response
}

/// In the place of one more token that is not valid from an address that has brought too many, when to come again. A token
/// that was good once is told so all the same: its bearer must know that another is needed.
fn limited(problem: Problem, route: &str, info: RequestInfo, rates: &Rates) -> Problem {
    if problem.code() != Code::TokenInvalid {
        return problem;
    }
    let Err(wait_s) = rates.bad_token(info.client) else { return problem };
    let said = "too many access tokens that are not valid here came from this address";
    let problem = Problem::because(Code::RateLimited, said).retry_after(wait_s);
    if route.starts_with("/feed/") { problem.with("close", RATE_LIMITED_CLOSE) } else { problem }
}

/// What the layer of origins has said; a problem document must be readable too.
fn cross_origin(response: &Response) -> Vec<(HeaderName, HeaderValue)> {
    let said = response
        .headers()
        .iter()
        .filter(|(name, _)| name.as_str().starts_with("access-control-") || **name == header::VARY);
    said.map(|(name, value)| (name.clone(), value.clone())).collect()
}

#[cfg(test)]
mod tests {
    use super::origins;

    /// Scenario: origins as people write them, and what is none.
    /// Guarantees: scheme and host are one; a path, a wildcard, a user or another scheme is refused.
    #[test]
    fn origins_are_exact() {
        let read = |text: &str| origins(&[text.to_owned()]);
        for good in ["https://app.example", "http://127.0.0.1:3000", "https://app.example:8443"] {
            assert!(read(good).is_ok(), "{good}");
        }
        for wrong in
            ["*", "app.example", "https://app.example/", "https://a@b.example", "ftp://x", "https://", "null"]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
