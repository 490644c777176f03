//! What a client gets over HTTP instead of a stream: problem+json, with the close code of the same meaning.

use super::frame::{Close, Resync, SNAPSHOT_PATH};
use crate::identity::Denied;
use crate::problem::Rendered;
use axum::http::{HeaderName, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// Why there is no stream.
#[derive(Clone, Copy, Debug)]
pub(super) enum Refusal {
    /// Who asks is not known or not let in.
    Denied(Denied),
    /// The same reason would have ended a stream.
    Closed(Close),
    /// It cannot be resumed.
    Resync(Resync),
    /// A parameter or a body that is none.
    Bad(&'static str),
    /// The page of another origin.
    Origin,
    /// The store does not answer.
    Store,
}

impl From<Close> for Refusal {
    fn from(close: Close) -> Refusal {
        Refusal::Closed(close)
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Refusal {
        Refusal::Denied(denied)
    }
}

/// The close code of whoever is not let in.
pub(super) const fn close_of(denied: Denied) -> Close {
    match denied {
        Denied::Missing | Denied::Invalid => Close::TokenInvalid,
        Denied::Expired => Close::TokenExpired,
        Denied::Revoked => Close::Revoked,
        Denied::Unavailable => Close::Overloaded,
    }
}

impl Refusal {
    /// Status, stable word, sentence, and the close code of the same meaning.
    fn parts(self) -> (StatusCode, &'static str, &'static str, Option<Close>) {
        match self {
            Refusal::Denied(denied) => {
                let close = close_of(denied);
                let title = match denied {
                    Denied::Missing => "no access token",
                    Denied::Invalid => "the access token is not valid here",
                    Denied::Expired => "the access token has expired",
                    Denied::Revoked => "the access token was revoked",
                    Denied::Unavailable => "tokens cannot be checked now",
                };
                (status_of(close), close.word(), title, Some(close))
            }
            Refusal::Closed(close) => (status_of(close), close.word(), sentence_of(close), Some(close)),
            Refusal::Resync(_) => {
                (StatusCode::GONE, "resync", "the stream cannot be resumed from that cursor", None)
            }
            Refusal::Bad(what) => (StatusCode::BAD_REQUEST, "bad_request", what, Some(Close::Protocol)),
            Refusal::Origin => {
                (StatusCode::FORBIDDEN, "origin", "pages of that origin are not let in", Some(Close::Denied))
            }
            Refusal::Store => (
                StatusCode::SERVICE_UNAVAILABLE,
                "store_unavailable",
                "the store does not answer",
                Some(Close::Overloaded),
            ),
        }
    }

    /// The problem as JSON.
    pub(super) fn problem(self) -> Value {
        let (status, code, title, close) = self.parts();
        let mut problem =
            json!({ "type": "about:blank", "title": title, "status": status.as_u16(), "code": code });
        if let Some(close) = close {
            problem["close"] = close.code().into();
        }
        if let Refusal::Resync(why) = self {
            problem["reason"] = why.word().into();
            problem["snapshot"] = SNAPSHOT_PATH.into();
        }
        problem
    }
}

fn status_of(close: Close) -> StatusCode {
    match close {
        Close::Protocol => StatusCode::BAD_REQUEST,
        Close::TokenInvalid | Close::NoTokenInTime | Close::TokenExpired | Close::Revoked => {
            StatusCode::UNAUTHORIZED
        }
        Close::Denied => StatusCode::FORBIDDEN,
        Close::TooManyConnections | Close::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        _ => StatusCode::SERVICE_UNAVAILABLE,
    }
}

fn sentence_of(close: Close) -> &'static str {
    match close {
        Close::Denied => "this role has no feed",
        Close::Revoked => "the access token was revoked",
        Close::TooManyConnections => "this subject has too many connections",
        Close::RateLimited => "this subject asks too often",
        Close::Overloaded => "too much is asked at once",
        Close::LogUnavailable => "the event log does not answer",
        Close::GoingAway => "the service is stopping",
        Close::InsufficientState => "the stream must begin anew",
        _ => "the stream ended",
    }
}

impl IntoResponse for Refusal {
    fn into_response(self) -> Response {
        let (status, ..) = self.parts();
        let kind: [(HeaderName, &str); 2] =
            [(header::CONTENT_TYPE, "application/problem+json"), (header::CACHE_CONTROL, "no-store")];
        let mut response = (status, kind, self.problem().to_string()).into_response();
        response.extensions_mut().insert(Rendered);
        let headers = response.headers_mut();
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(header::WWW_AUTHENTICATE, header::HeaderValue::from_static("Bearer"));
        }
        if matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
            headers.insert(header::RETRY_AFTER, header::HeaderValue::from_static("1"));
        }
        response
    }
}
