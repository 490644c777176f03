//! The live page: one document, its style and its script; what it shows it asks of the API.

use crate::api::session_cookie;
use crate::identity::{LIFETIME_S_MAX, Minter, Role, TokenRequest};
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

/// Who signs the page's own tokens. Whoever can open the page gets one, so this is for a demo on loopback only.
#[derive(Clone, Debug)]
pub struct PageTokens {
    /// Signs.
    pub minter: Minter,
    /// For whom.
    pub subject: String,
}

/// The least role that may ask what the page asks, [`Route::Live`](crate::rights::Route::Live): whoever loads it is nobody known.
const ROLE: Role = Role::Moderator;

/// A page may load its own parts and ask its own origin, and nothing else.
const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

pub(super) fn router(tokens: Option<PageTokens>) -> Router {
    Router::new()
        .route("/", get(document))
        .route("/live.css", get(asset("text/css; charset=utf-8", include_str!("../../assets/live.css"))))
        .route("/live.js", get(asset("text/javascript; charset=utf-8", include_str!("../../assets/live.js"))))
        .with_state(tokens.map(Arc::new))
}

pub(super) type Asset = ([(HeaderName, &'static str); 3], &'static str);

pub(super) fn asset(kind: &'static str, body: &'static str) -> Asset {
    let headers = [
        (header::CONTENT_TYPE, kind),
        (header::CONTENT_SECURITY_POLICY, POLICY),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (headers, body)
}

/// The document; in a demo with a cookie that lets its script ask, anew whenever it is loaded.
async fn document(State(tokens): State<Option<Arc<PageTokens>>>, headers: HeaderMap) -> Response {
    let mut response =
        asset("text/html; charset=utf-8", include_str!("../../assets/live.html")).into_response();
    let cookie = tokens.filter(|_| is_for_this_machine(&headers)).and_then(|tokens| cookie(&tokens));
    response.headers_mut().extend(cookie.map(|cookie| (header::SET_COOKIE, cookie)));
    response
}

/// A name that somebody else made point here (DNS rebinding) gets no token.
fn is_for_this_machine(headers: &HeaderMap) -> bool {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let name = host.rsplit_once(':').map_or(host, |(name, _)| name);
    ["127.0.0.1", "localhost", "[::1]"].contains(&name)
}

fn cookie(tokens: &PageTokens) -> Option<HeaderValue> {
    let now_s = SystemTime::now().duration_since(UNIX_EPOCH).ok()?.as_secs();
    let request = TokenRequest { subject: tokens.subject.clone(), role: ROLE, lifetime_s: LIFETIME_S_MAX };
    let (token, _) = tokens.minter.mint(&request, i64::try_from(now_s).ok()?).ok()?;
    HeaderValue::from_str(&session_cookie(&token, LIFETIME_S_MAX)).ok()
}

#[cfg(test)]
mod tests {
    use super::ROLE;
    use crate::identity::Role;
    use crate::rights::{Access, Route, access};

    /// Scenario: every role beside that of the page, over every route that the page's script asks.
    /// Guarantees: the page's role has them; another one that has them has all that the page's role has, and more.
    #[test]
    fn the_page_has_the_least_role() {
        let script = include_str!("../../assets/live.js");
        let asks = |route: &Route| script.contains(&format!("\"{}\"", &route.path()[1..]));
        let asked: Vec<Route> = Route::ALL.iter().copied().filter(asks).collect();
        assert_eq!(asked, [Route::Live]);
        let routes = |role: Role| -> Vec<Route> {
            Route::ALL.iter().copied().filter(|route| access(role, *route) != Access::None).collect()
        };
        let own = routes(ROLE);
        assert!(asked.iter().all(|route| own.contains(route)));
        for other in Role::ALL.into_iter().filter(|role| *role != ROLE) {
            let theirs = routes(other);
            let would_do = asked.iter().all(|route| theirs.contains(route));
            let has_more = own.iter().all(|route| theirs.contains(route)) && theirs.len() > own.len();
            assert!(!would_do || has_more, "{other} would be less");
        }
        assert_eq!(script.matches("api/v1/").count(), asked.len(), "a path with parameters is asked");
    }
}
