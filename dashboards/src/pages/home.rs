//! The first address: it leads to where the role begins.

use super::view::View;
use super::{Pages, guard, session, shell};
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

/// `GET /`.
pub(super) async fn page(State(pages): State<Pages>, uri: Uri, headers: HeaderMap) -> Response {
    let view = match View::read(uri.query().unwrap_or_default(), &headers) {
        Ok(view) => view,
        Err(problem) => return shell::problem(&View::plain(&headers), None, &problem),
    };
    let wanted = uri.path_and_query().map_or("/", |wanted| wanted.as_str());
    match guard::principal(&pages, &headers).await {
        Ok(principal) => {
            let to = HeaderValue::from_str(&session::home(principal.role, wanted));
            let to = to.unwrap_or(HeaderValue::from_static("/"));
            (
                StatusCode::SEE_OTHER,
                [(header::LOCATION, to), (header::CACHE_CONTROL, HeaderValue::from_static("no-store"))],
            )
                .into_response()
        }
        Err(problem) => session::form(&pages, &view, &headers, (wanted, &problem)).await,
    }
}
