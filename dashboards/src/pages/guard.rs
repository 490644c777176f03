//! Who opens which page: the token, as the API's guard reads it, and the table of pages.

use super::Pages;
use super::session;
use super::shell::{self, Notice, Tone};
use super::view::View;
use crate::api::token;
use crate::identity::Principal;
use crate::problem::{Code, Problem};
use crate::rights::Page;
use axum::extract::{FromRequestParts, MatchedPath, Request, State};
use axum::http::HeaderMap;
use axum::http::header::SET_COOKIE;
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

/// Who looks, at which page, and how.
#[derive(Clone, Debug)]
pub(crate) struct Visitor {
    /// Who.
    pub(crate) principal: Principal,
    /// Which page.
    pub(crate) page: Page,
    /// How.
    pub(crate) view: View,
    /// Whether whoever is on this machine may choose who to look as.
    pub(crate) may_choose: bool,
    /// Whether there is a feed that a page could hear.
    pub(crate) has_feed: bool,
}

impl Visitor {
    /// The page that says why this visitor cannot be shown what was asked for.
    pub(super) fn refused(&self, problem: &Problem) -> Response {
        shell::problem(&self.view, Some((&self.principal, self.may_choose)), problem)
    }
}

impl<S: Send + Sync> FromRequestParts<S> for Visitor {
    type Rejection = Problem;

    /// A page that the guard does not stand before has no visitor, and answers nobody.
    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Visitor, Problem> {
        parts.extensions.get::<Visitor>().cloned().ok_or_else(|| Problem::new(Code::TokenMissing))
    }
}

/// Who asks, where somebody does.
pub(super) async fn principal(pages: &Pages, request_headers: &HeaderMap) -> Result<Principal, Problem> {
    let token = token(&axum::http::Method::GET, request_headers)?;
    let principal = pages.api.authority().verify(&token).await?;
    pages.api.admit(&principal.subject)?;
    Ok(principal)
}

/// Lets somebody in, or shows why not: the form to sign in with, which leads back here.
pub(super) async fn guard(
    State(pages): State<Pages>,
    path: Option<MatchedPath>,
    mut request: Request,
    next: Next,
) -> Response {
    let headers = request.headers().clone();
    let uri = request.uri().clone();
    // where a form is sent to is no page: it stands on the page above
    let above =
        || uri.path().rsplit_once('/').map(|(page, _)| page).filter(|page| !page.is_empty()).unwrap_or("/");
    let here = if request.method().is_safe() { uri.path() } else { above() };
    let view = match View::read(uri.query().unwrap_or_default(), &headers) {
        Ok(view) => view.at(here),
        Err(problem) => return shell::problem(&View::plain(&headers).at(here), None, &problem),
    };
    let principal = match principal(&pages, &headers).await {
        Ok(principal) => principal,
        Err(problem) => {
            let wanted = uri.query().map_or_else(|| here.to_owned(), |query| format!("{here}?{query}"));
            return session::form(&pages, &view, &headers, (&wanted, &problem)).await;
        }
    };
    let page = path.and_then(|path| Page::ALL.iter().copied().find(|page| page.path() == path.as_str()));
    let may_choose = pages.tokens.is_some();
    let Some(page) = page.filter(|page| page.is_of(principal.role)) else {
        return shell::problem(&view, Some((&principal, may_choose)), &Problem::new(Code::Forbidden));
    };
    let renewed = session::renewed(&pages, &principal, &headers);
    let visitor = Visitor { principal, page, view, may_choose, has_feed: pages.has_feed };
    request.extensions_mut().insert(visitor);
    let mut response = next.run(request).await;
    response.headers_mut().extend(renewed.map(|cookie| (SET_COOKIE, cookie)));
    response
}

/// Said above a page where its data cannot be had.
pub(crate) fn unanswered(view: &View, problem: &Problem) -> Notice {
    let text = view.lang.say(
        "The data cannot be had just now. What is shown may be old.",
        "目前无法取得数据，所示内容可能已过时。",
    );
    Notice { tone: Tone::Bad, text: format!("{text} ({})", super::piece::trouble_title(problem, view.lang)) }
}
