//! What a client gets over HTTP instead of a stream: problem+json, with the close code of the same meaning.

use super::frame::{Close, Resync, SNAPSHOT_PATH};
use crate::identity::Denied;
use crate::problem::{Code, Problem};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};

/// Seconds after which whoever comes too often, or too early, had better come again.
const RETRY_AFTER_S: u64 = 1;

/// A text that is no cursor.
pub(super) const NO_CURSOR: &str = "the cursor is none";
/// One of another log, or beyond the end of this one.
pub(super) const NO_POSITION: &str = "the cursor is no position of this log";

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
    /// A cursor that is none, or no position of this log.
    Cursor(&'static str),
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
    /// The document, with the close code of the same meaning where there is one.
    fn problem(self) -> Problem {
        let (problem, close) = match self {
            Refusal::Denied(denied) => (Problem::from(denied), Some(close_of(denied))),
            Refusal::Closed(close) => (Problem::because(code_of(close), sentence_of(close)), Some(close)),
            Refusal::Resync(_) => (Problem::new(Code::Resync), None),
            Refusal::Bad(what) => (Problem::because(Code::InvalidParameter, what), Some(Close::Protocol)),
            Refusal::Cursor(what) => (Problem::because(Code::InvalidCursor, what), Some(Close::Protocol)),
            Refusal::Origin => (
                Problem::because(Code::Forbidden, "pages of that origin are not let in"),
                Some(Close::Denied),
            ),
            Refusal::Store => (Problem::new(Code::StoreUnavailable), Some(Close::Overloaded)),
        };
        let problem = match close {
            Some(close) => problem.with("close", close.code()),
            None => problem,
        };
        let problem = match self {
            Refusal::Resync(why) => problem.with("reason", why.word()).with("snapshot", SNAPSHOT_PATH),
            _ => problem,
        };
        let is_passing = matches!(
            problem.code().status(),
            StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE
        );
        if is_passing { problem.retry_after(RETRY_AFTER_S) } else { problem }
    }
}

const fn code_of(close: Close) -> Code {
    match close {
        Close::Protocol => Code::InvalidParameter,
        Close::TokenInvalid => Code::TokenInvalid,
        Close::NoTokenInTime => Code::TokenMissing,
        Close::TokenExpired => Code::TokenExpired,
        Close::Revoked => Code::TokenRevoked,
        Close::Denied => Code::Forbidden,
        Close::TooManyConnections | Close::RateLimited => Code::RateLimited,
        Close::Overloaded => Code::Overloaded,
        Close::LogUnavailable => Code::LogUnavailable,
        Close::SlowConsumer | Close::GoingAway | Close::InsufficientState | Close::MaxAge => {
            Code::StreamEnded
        }
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
        self.problem().into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::{Close, Denied, Refusal, Resync};
    use crate::problem::Problem;
    use axum::http::header;
    use axum::response::IntoResponse;
    use serde_json::{Value, json};

    /// Scenario: a stream is refused because of its token, its subject, its cursor, the log.
    /// Guarantees: each is the API's document, with the request's id, and the members that clients of the feed act by.
    #[test]
    fn a_refusal_is_a_document_of_the_api() {
        let refusals = [
            (Refusal::Denied(Denied::Expired), 401, "token_expired", json!({ "close": 4201 })),
            (Refusal::Closed(Close::TooManyConnections), 429, "rate_limited", json!({ "close": 4005 })),
            (Refusal::Closed(Close::LogUnavailable), 503, "log_unavailable", json!({ "close": 4103 })),
            (
                Refusal::Resync(Resync::Evicted),
                410,
                "resync",
                json!({ "reason": "evicted", "snapshot": "/feed/snapshot" }),
            ),
            (
                Refusal::Cursor("elsewhere"),
                400,
                "invalid_cursor",
                json!({ "close": 4000, "detail": "elsewhere" }),
            ),
            (
                Refusal::Bad("no cursor"),
                400,
                "invalid_parameter",
                json!({ "close": 4000, "detail": "no cursor" }),
            ),
        ];
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        for (refusal, status, code, more) in refusals {
            let kept = refusal.into_response().extensions().get::<Problem>().cloned().expect("a problem");
            let response = kept.render("r-7");
            assert_eq!(response.status(), status);
            assert_eq!(response.headers().contains_key(header::RETRY_AFTER), [429, 503].contains(&status));
            let body = runtime.block_on(axum::body::to_bytes(response.into_body(), 4_096)).expect("a body");
            let document: Value = serde_json::from_slice(&body).expect("JSON");
            assert_eq!(document["type"], format!("urn:tally:problem:{code}"));
            assert_eq!((&document["code"], &document["request_id"]), (&json!(code), &json!("r-7")));
            for (name, value) in more.as_object().expect("members") {
                assert_eq!(&document[name], value);
            }
        }
    }
}
