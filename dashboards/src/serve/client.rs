//! The feed's client for browsers: modules that pages use, ours and others'. Texts alone, so they need no token.

use axum::Router;
use axum::http::{HeaderName, header};
use axum::routing::get;

/// A page may load its own parts and ask its own origin, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

type Asset = ([(HeaderName, &'static str); 3], &'static str);

fn asset(kind: &'static str, body: &'static str) -> Asset {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body)
}

/// `/feed.js` and what it imports.
pub(super) fn router() -> Router {
    let script = |body| get(asset("text/javascript; charset=utf-8", body));
    Router::new()
        .route("/feed.js", script(include_str!("../../assets/feed.js")))
        .route("/feed-transports.js", script(include_str!("../../assets/feed-transports.js")))
        .route("/feed-signature.js", script(include_str!("../../assets/feed-signature.js")))
}
