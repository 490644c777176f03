//! What pages load: ours, and what npm has installed. All of it is in the binary, and under an address that names its content.

use axum::Router;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use sha2::{Digest, Sha256};
use std::sync::LazyLock;

include!(concat!(env!("OUT_DIR"), "/packages.rs"));

/// Name, media type, content.
const FILES: [(&str, &str, &str); 8] = [
    ("pages.css", "text/css; charset=utf-8", include_str!("../../assets/pages.css")),
    ("pages.js", "text/javascript; charset=utf-8", include_str!("../../assets/pages.js")),
    ("live.js", "text/javascript; charset=utf-8", include_str!("../../assets/live.js")),
    ("morph.js", "text/javascript; charset=utf-8", include_str!("../../assets/morph.js")),
    ("my.js", "text/javascript; charset=utf-8", include_str!("../../assets/my.js")),
    ("charts.js", "text/javascript; charset=utf-8", include_str!("../../assets/charts.js")),
    ("uplot.css", "text/css; charset=utf-8", UPLOT_STYLE),
    ("uplot.js", "text/javascript; charset=utf-8", UPLOT_SCRIPT),
];

/// Hexadecimal digits of a content's hash in an address.
const HASH_CHARS: usize = 16;

static HASHES: LazyLock<[String; FILES.len()]> = LazyLock::new(|| {
    FILES.map(|(_, _, content)| {
        let hash = Sha256::digest(content);
        hash.iter().map(|byte| format!("{byte:02x}")).collect::<String>()[..HASH_CHARS].to_owned()
    })
});

/// Where a file lies; another content has another address.
pub(super) fn address(name: &str) -> String {
    let at = FILES.iter().position(|(known, ..)| *known == name);
    let hash = at.map_or("", |at| HASHES[at].as_str());
    format!("/assets/{name}?v={hash}")
}

/// The files. They say nothing of anybody, and are open to all.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    FILES.iter().enumerate().fold(Router::new(), |router, (at, (name, kind, content))| {
        let serve = move |uri: Uri| async move { serve(&uri, at, kind, content) };
        router.route(&format!("/assets/{name}"), get(serve))
    })
}

fn serve(uri: &Uri, at: usize, kind: &'static str, content: &'static str) -> Response {
    // under its own address it never changes; under another it may be newer than who asks
    let is_own = uri.query().and_then(|query| query.strip_prefix("v=")) == Some(HASHES[at].as_str());
    let cache = if is_own { "public, max-age=31536000, immutable" } else { "no-cache" };
    (StatusCode::OK, [(header::CONTENT_TYPE, kind), (header::CACHE_CONTROL, cache)], content).into_response()
}
