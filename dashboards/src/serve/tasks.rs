//! The page of my tasks, and the feed's client that it uses: texts alone, so they need no token. What they show, they ask
//! for with one, and they show nothing of the feed that does not verify.

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

/// `/tasks`, and the modules that other pages may use too: `/feed.js` and what it imports.
pub(super) fn router() -> Router {
    let script = |body| get(asset("text/javascript; charset=utf-8", body));
    Router::new()
        .route("/tasks", get(asset("text/html; charset=utf-8", include_str!("../../assets/tasks.html"))))
        .route("/tasks.css", get(asset("text/css; charset=utf-8", include_str!("../../assets/tasks.css"))))
        .route("/tasks.js", script(include_str!("../../assets/tasks.js")))
        .route("/feed.js", script(include_str!("../../assets/feed.js")))
        .route("/feed-transports.js", script(include_str!("../../assets/feed-transports.js")))
        .route("/feed-signature.js", script(include_str!("../../assets/feed-signature.js")))
}
