//! Parameters and bodies: checked as they come in, refused with a problem.

use crate::problem::{Code, Problem};
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Query, Request};
use axum::http::request::Parts;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use utoipa::IntoParams;

/// Rows of a page where nothing is said.
pub(super) const PAGE_ROWS_DEFAULT: u32 = 100;
/// Rows of a page.
pub(super) const PAGE_ROWS_MAX: u32 = 1_000;
/// Bytes of an id or a name.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// The query string, or what is wrong with it.
pub(super) struct Asked<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequestParts<S> for Asked<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Asked<T>, Problem> {
        let query = Query::<T>::from_request_parts(parts, state).await;
        let Query(asked) = query.map_err(|_| {
            Problem::because(Code::InvalidParameter, "the query string is not what this route takes")
        })?;
        Ok(Asked(asked))
    }
}

/// The path's parameters, or what is wrong with them.
pub(super) struct Named<T>(pub(super) T);

impl<T: DeserializeOwned + Send, S: Send + Sync> FromRequestParts<S> for Named<T> {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Named<T>, Problem> {
        let path = Path::<T>::from_request_parts(parts, state).await;
        let wrong = |_| Problem::because(Code::InvalidParameter, "the path is not what this route takes");
        Ok(Named(path.map_err(wrong)?.0))
    }
}

/// A JSON body, or what is wrong with it.
pub(super) struct Given<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Given<T> {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Given<T>, Problem> {
        let Json(body) =
            Json::<T>::from_request(request, state).await.map_err(|rejection| match rejection {
                JsonRejection::MissingJsonContentType(_) => Problem::new(Code::UnsupportedMediaType),
                JsonRejection::BytesRejection(_) => Problem::new(Code::TooLarge),
                _ => Problem::because(Code::InvalidBody, "the body is not what this route takes"),
            })?;
        Ok(Given(body))
    }
}

/// Which part of a list.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Part {
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    pub(super) cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    pub(super) limit: Option<u32>,
}

/// How many rows a page has.
pub(super) fn page_rows(limit: Option<u32>) -> Result<u32, Problem> {
    let limit = limit.unwrap_or(PAGE_ROWS_DEFAULT);
    if (1..=PAGE_ROWS_MAX).contains(&limit) {
        return Ok(limit);
    }
    Err(Problem::because(Code::InvalidParameter, format_args!("limit is 1 to {PAGE_ROWS_MAX}")))
}

/// A filter by name: empty where it is not given.
pub(super) fn filter(name: &str, value: Option<String>) -> Result<String, Problem> {
    let Some(value) = value else { return Ok(String::new()) };
    if (1..=NAME_BYTES_MAX).contains(&value.len()) {
        return Ok(value);
    }
    Err(Problem::because(Code::InvalidParameter, format_args!("{name} has 1 to {NAME_BYTES_MAX} bytes")))
}

/// The id of one thing, from the path. One that is too long names nothing.
pub(super) fn id(value: String) -> Result<String, Problem> {
    if (1..=NAME_BYTES_MAX).contains(&value.len()) { Ok(value) } else { Err(Problem::new(Code::NotFound)) }
}
