//! Who may come in: the token, the rights of the role over the route, and how often.

use super::answer;
use super::store::Api;
use crate::identity::{Denied, Principal, Role};
use crate::problem::{Code, Problem};
use crate::rights::{Access, Ids, Relation, Route, access};
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, header};
use axum::middleware::Next;
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

/// The cookie that carries a token where a page cannot send a header. `__Host-`: only over TLS (or to this machine), only
/// for this host, not to be set by a neighbour.
pub const SESSION_COOKIE: &str = "__Host-tally";

/// The `Set-Cookie` line of a token: not readable by scripts, never sent with a request that another site began.
pub fn session_cookie(token: &str, lifetime_s: i64) -> String {
    format!("{SESSION_COOKIE}={token}; Path=/; Max-Age={lifetime_s}; Secure; HttpOnly; SameSite=Strict")
}

/// Who asks, and which rows of the route's answer are theirs.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who.
    pub principal: Principal,
    /// Which rows.
    pub access: Access,
}

impl Caller {
    /// The value of `scope` in the named SQL.
    pub(super) fn scope(&self) -> &'static str {
        scope(self.access)
    }

    /// How the caller stands to an event.
    pub(super) fn relation(&self, ids: Ids<'_>, case_in_work: bool) -> Relation {
        Relation::of(&self.principal.subject, ids, case_in_work)
    }
}

/// The value of `scope` in the named SQL.
pub(crate) const fn scope(access: Access) -> &'static str {
    match access {
        Access::All => "all",
        Access::Own => "own",
        Access::OwnTemplates => "templates",
        Access::OwnGrantees => "grantees",
        Access::InWork => "work",
        // of no list of the API
        Access::None | Access::ByEvent | Access::ByPanel | Access::Open => "none",
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Caller {
    type Rejection = Problem;

    /// A route that the guard does not stand before has no caller, and answers nobody.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Caller, Problem> {
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| Problem::new(Code::TokenMissing))
    }
}

/// Lets a request in, or not.
pub(super) async fn guard(
    State(api): State<Api>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Result<Response, Problem> {
    let token = token(request.method(), request.headers())?;
    let principal = api.authority().verify(&token).await?;
    api.admit(&principal.subject)?;
    let route = path.as_ref().and_then(|path| route_of(request.method(), path.as_str()));
    let route = route.ok_or_else(|| Problem::new(Code::Forbidden))?; // not in the table: nobody's
    let access = access(principal.role, route);
    if access == Access::None {
        return Err(Problem::new(Code::Forbidden));
    }
    request.extensions_mut().insert(Caller { principal, access });
    Ok(next.run(request).await)
}

fn route_of(method: &Method, path: &str) -> Option<Route> {
    let method = if method == Method::HEAD { "GET" } else { method.as_str() };
    Route::ALL.iter().copied().find(|route| route.method() == method && route.path() == path)
}

/// The token of the header, or of the cookie. With a cookie only reading is allowed: a form of another site cannot write.
pub(crate) fn token(method: &Method, headers: &HeaderMap) -> Result<String, Problem> {
    let mut lines = headers.get_all(header::AUTHORIZATION).iter();
    if let Some(line) = lines.next() {
        let text = line.to_str().ok().filter(|_| lines.next().is_none());
        let bearer = text.and_then(|text| text.split_once(' '));
        return match bearer {
            Some((scheme, token)) if scheme.eq_ignore_ascii_case("bearer") => Ok(token.trim().to_owned()),
            _ => Err(Denied::Invalid.into()),
        };
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(Denied::Missing.into());
    }
    let jar = axum_extra::extract::CookieJar::from_headers(headers);
    Ok(jar.get(SESSION_COOKIE).map(|cookie| cookie.value().to_owned()).unwrap_or_default())
}

/// Who the token speaks for.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Me {
    /// Claim `sub`.
    subject: String,
    /// Claim `role`.
    #[schema(value_type = String)]
    role: Role,
    /// Claim `jti`: what an admin revokes.
    token_id: String,
    /// When the token ends.
    expires_at: super::moment::Moment,
}

/// Who the token speaks for
#[utoipa::path(get, path = "/api/v1/me", responses((status = 200, body = Me)))]
pub(super) async fn me(caller: Caller, headers: HeaderMap) -> Result<Response, Problem> {
    let Principal { subject, role, token_id, expires_at_s, .. } = caller.principal;
    let expires_at = super::moment::Moment(expires_at_s.saturating_mul(1_000_000));
    answer::one(&headers, &Me { subject, role, token_id, expires_at })
}
