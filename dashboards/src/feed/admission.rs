//! Who is let in over HTTP: the token of a request, and the origin of a page.

use super::frame::Close;
use super::hub::Hub;
use super::refusal::Refusal;
use crate::api::SESSION_COOKIE;
use crate::identity::{Denied, Principal, Role};
use crate::rights::{Access, Route, access};
use axum::http::{HeaderMap, HeaderValue, header};
use axum_extra::extract::CookieJar;

/// The token of a request: `Authorization`, else the cookie; empty where there is neither.
fn token(headers: &HeaderMap) -> String {
    let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    match bearer.and_then(|value| value.split_once(' ')) {
        Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => token.trim().to_owned(),
        Some(_) => "?".to_owned(), // another scheme is a wrong token, not a missing one
        None => {
            let jar = CookieJar::from_headers(headers);
            jar.get(SESSION_COOKIE).map_or_else(String::new, |cookie| cookie.value().to_owned())
        }
    }
}

/// Who sends a request, one of those that its subject may send, to a route that its role may use.
pub(super) async fn listener(hub: &Hub, headers: &HeaderMap, route: Route) -> Result<Principal, Refusal> {
    let principal = hub.authority.verify(&token(headers)).await?;
    let principal = admit(hub, principal)?;
    may_use(principal.role, route)?;
    Ok(principal)
}

/// Whether a role may use a route of the feed at all, by the table; what it gets of each event is asked of another.
pub(super) fn may_use(role: Role, route: Route) -> Result<(), Close> {
    if access(role, route) == Access::None { Err(Close::Denied) } else { Ok(()) }
}

fn admit(hub: &Hub, principal: Principal) -> Result<Principal, Refusal> {
    match hub.rates.admit(&principal.subject) {
        Ok(()) => Ok(principal),
        Err(_) => Err(Refusal::Closed(Close::RateLimited)),
    }
}

/// Who opens a WebSocket, where its request says so: by a token in its `Authorization` header, or, from a page of ours, by the
/// cookie. A cookie that is not good says nothing, since a token may follow in the first frame.
pub(super) async fn opener(hub: &Hub, headers: &HeaderMap) -> Result<Option<Principal>, Refusal> {
    let Some(token) = opening(headers) else { return Ok(None) };
    match hub.authority.verify(&token).await {
        Ok(principal) => admit(hub, principal).map(Some),
        Err(Denied::Missing) => Ok(None),
        Err(denied) if headers.contains_key(header::AUTHORIZATION) => Err(denied.into()),
        Err(_) => Ok(None),
    }
}

/// The token that opens a WebSocket. A page of the list was let in to bring one of its own, not to speak as whoever sits before it.
fn opening(headers: &HeaderMap) -> Option<String> {
    (headers.contains_key(header::AUTHORIZATION) || is_own(headers)).then(|| token(headers))
}

/// Whether a page of this service itself asks: its `Origin` is the host that was asked.
fn is_own(headers: &HeaderMap) -> bool {
    let text =
        |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok()).unwrap_or_default();
    let (origin, host) = (text(header::ORIGIN), text(header::HOST));
    origin.split_once("://").is_some_and(|(_, from)| !host.is_empty() && from.eq_ignore_ascii_case(host))
}

/// A browser says from which page a WebSocket is opened: it must be one of this service's own, or of the list. Who says
/// nothing is no browser.
pub(super) fn origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().map_err(|_| Refusal::Origin)?;
    if is_own(headers) || allowed.iter().any(|one| one == origin) { Ok(()) } else { Err(Refusal::Origin) }
}

#[cfg(test)]
mod tests {
    use super::{opening, origin};
    use axum::http::HeaderMap;

    /// Scenario: pages of this service, of a neighbour that was let in, of one that was not, and programs that say nothing.
    /// Guarantees: the neighbour may open a WebSocket, and yet the cookie speaks for nobody there, as it does for our own; a header speaks for
    /// itself.
    #[test]
    fn who_is_let_in_is_not_ours() {
        let allowed = ["https://app.example.com".to_owned()];
        for (from, is_let_in, is_ours) in [
            (Some("https://tally.example.com"), true, true),
            (Some("https://TALLY.example.com"), true, true),
            (Some("https://app.example.com"), true, false),
            (Some("https://evil.example"), false, false),
            (Some("null"), false, false),
            (None, true, false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("host", "tally.example.com".parse().expect("a header"));
            headers.insert("cookie", "__Host-tally=ey".parse().expect("a header"));
            if let Some(from) = from {
                headers.insert("origin", from.parse().expect("a header"));
            }
            assert_eq!(origin(&headers, &allowed).is_ok(), is_let_in, "{from:?}");
            assert_eq!(opening(&headers).as_deref(), is_ours.then_some("ey"), "{from:?}");
            headers.insert("authorization", "Bearer own".parse().expect("a header"));
            assert_eq!(opening(&headers).as_deref(), Some("own"), "{from:?}");
        }
    }
}
