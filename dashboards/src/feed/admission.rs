//! Who is let in over HTTP: the token of a request, and the origin of a page.

use super::frame::Close;
use super::hub::Hub;
use super::refusal::Refusal;
use crate::api::SESSION_COOKIE;
use crate::identity::{Denied, Principal, Role};
use crate::rights::{Access, Route, access};
use axum::http::{HeaderMap, header};
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
/// cookie. A page is named by `Origin`, which was held against our own before; a cookie that is not good says nothing, since a token may
/// follow in the first frame.
pub(super) async fn opener(hub: &Hub, headers: &HeaderMap) -> Result<Option<Principal>, Refusal> {
    let by_header = headers.contains_key(header::AUTHORIZATION);
    if !by_header && !headers.contains_key(header::ORIGIN) {
        return Ok(None);
    }
    match hub.authority.verify(&token(headers)).await {
        Ok(principal) => admit(hub, principal).map(Some),
        Err(Denied::Missing) => Ok(None),
        Err(denied) if by_header => Err(denied.into()),
        Err(_) => Ok(None),
    }
}

/// A browser says from which page a WebSocket is opened: it must be one of this service's own, or of the list. Who says
/// nothing is no browser.
pub(super) fn origin(headers: &HeaderMap, allowed: &[String]) -> Result<(), Refusal> {
    let Some(origin) = headers.get(header::ORIGIN) else { return Ok(()) };
    let origin = origin.to_str().map_err(|_| Refusal::Origin)?;
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
    let own =
        origin.split_once("://").is_some_and(|(_, from)| !host.is_empty() && from.eq_ignore_ascii_case(host));
    if own || allowed.iter().any(|one| one == origin) { Ok(()) } else { Err(Refusal::Origin) }
}
