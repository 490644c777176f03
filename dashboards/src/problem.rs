//! Answers that are not what was asked for: RFC 9457 problem documents with stable codes.

mod chinese;

use crate::identity::Denied;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::Value;
use std::fmt::Display;
use utoipa::ToSchema;

/// What went wrong, for programs; codes are never renamed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Code {
    /// A parameter is missing, unknown or out of its bounds.
    InvalidParameter,
    /// The cursor is none of this route's.
    InvalidCursor,
    /// The body is not what the route takes.
    InvalidBody,
    /// No access token came with the request.
    TokenMissing,
    /// The access token is not valid here.
    TokenInvalid,
    /// The access token has expired: get another.
    TokenExpired,
    /// The access token or its subject was revoked.
    TokenRevoked,
    /// The role has no right to this route.
    Forbidden,
    /// There is no such thing, or it is somebody else's.
    NotFound,
    /// The path is known, the method is not.
    MethodNotAllowed,
    /// As things are, it is not done: the detail says why.
    Conflict,
    /// No form of the answer is one that the request accepts.
    NotAcceptable,
    /// The body is too long.
    TooLarge,
    /// The body is of a kind that is not understood.
    UnsupportedMediaType,
    /// The answer would cost more than one question may: narrow it.
    TooExpensive,
    /// Too many requests of this subject, or bad tokens from this address: wait.
    RateLimited,
    /// The request did not come to its end in time.
    Timeout,
    /// The store does not answer.
    StoreUnavailable,
    /// Tokens cannot be checked now.
    IdentityUnavailable,
    /// Too many questions at once: try again.
    Overloaded,
    /// It is our fault.
    Internal,
    /// The event log does not answer.
    LogUnavailable,
    /// The stream ended, or cannot begin just now: ask again.
    StreamEnded,
    /// The stream cannot be resumed from the cursor: take the snapshot.
    Resync,
}

impl Code {
    /// Every code.
    pub const ALL: [Code; 24] = [
        Code::InvalidParameter,
        Code::InvalidCursor,
        Code::InvalidBody,
        Code::TokenMissing,
        Code::TokenInvalid,
        Code::TokenExpired,
        Code::TokenRevoked,
        Code::Forbidden,
        Code::NotFound,
        Code::MethodNotAllowed,
        Code::Conflict,
        Code::NotAcceptable,
        Code::TooLarge,
        Code::UnsupportedMediaType,
        Code::TooExpensive,
        Code::RateLimited,
        Code::Timeout,
        Code::StoreUnavailable,
        Code::IdentityUnavailable,
        Code::Overloaded,
        Code::Internal,
        Code::LogUnavailable,
        Code::StreamEnded,
        Code::Resync,
    ];

    /// Whether only routes of the feed answer with it.
    pub(crate) const fn is_of_feed(self) -> bool {
        matches!(self, Code::LogUnavailable | Code::StreamEnded | Code::Resync)
    }

    /// Its status.
    pub const fn status(self) -> StatusCode {
        match self {
            Code::InvalidParameter | Code::InvalidCursor | Code::InvalidBody => StatusCode::BAD_REQUEST,
            Code::TokenMissing | Code::TokenInvalid | Code::TokenExpired | Code::TokenRevoked => {
                StatusCode::UNAUTHORIZED
            }
            Code::Forbidden => StatusCode::FORBIDDEN,
            Code::NotFound => StatusCode::NOT_FOUND,
            Code::MethodNotAllowed => StatusCode::METHOD_NOT_ALLOWED,
            Code::Conflict => StatusCode::CONFLICT,
            Code::NotAcceptable => StatusCode::NOT_ACCEPTABLE,
            Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Code::UnsupportedMediaType => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Code::TooExpensive => StatusCode::UNPROCESSABLE_ENTITY,
            Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
            Code::Timeout => StatusCode::GATEWAY_TIMEOUT,
            Code::StoreUnavailable
            | Code::IdentityUnavailable
            | Code::Overloaded
            | Code::LogUnavailable
            | Code::StreamEnded => StatusCode::SERVICE_UNAVAILABLE,
            Code::Resync => StatusCode::GONE,
            Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// In a word or two, the same for every occurrence.
    pub const fn title(self) -> &'static str {
        match self {
            Code::InvalidParameter => "a parameter is not valid",
            Code::InvalidCursor => "the cursor is not one of this route",
            Code::InvalidBody => "the body is not valid",
            Code::TokenMissing => "no access token",
            Code::TokenInvalid => "the access token is not valid here",
            Code::TokenExpired => "the access token has expired",
            Code::TokenRevoked => "the access token was revoked",
            Code::Forbidden => "this role has no right to that",
            Code::NotFound => "there is no such thing",
            Code::MethodNotAllowed => "the method is not allowed here",
            Code::Conflict => "that is not done as things are",
            Code::NotAcceptable => "no accepted form of the answer",
            Code::TooLarge => "the body is too long",
            Code::UnsupportedMediaType => "the body's media type is not supported",
            Code::TooExpensive => "the question costs too much",
            Code::RateLimited => "too many requests",
            Code::Timeout => "the request took too long",
            Code::StoreUnavailable => "the store does not answer",
            Code::IdentityUnavailable => "access tokens cannot be checked now",
            Code::Overloaded => "too many questions at once",
            Code::Internal => "something went wrong here",
            Code::LogUnavailable => "the event log does not answer",
            Code::StreamEnded => "the stream ended",
            Code::Resync => "the stream cannot be resumed from that cursor",
        }
    }

    /// The code for an answer that only has a status.
    pub(crate) fn of_status(status: StatusCode) -> Code {
        match status {
            StatusCode::UNPROCESSABLE_ENTITY => Code::InvalidBody,
            StatusCode::REQUEST_TIMEOUT => Code::Timeout,
            _ => {
                let first = Code::ALL.into_iter().find(|code| code.status() == status);
                first.unwrap_or(if status.is_client_error() {
                    Code::InvalidParameter
                } else {
                    Code::Internal
                })
            }
        }
    }
}

/// The document, as it is sent.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub struct ProblemDocument {
    /// `urn:tally:problem:` and the code.
    #[serde(rename = "type")]
    kind: String,
    /// The same for every occurrence of the code.
    title: String,
    /// The HTTP status.
    status: u16,
    /// For programs.
    code: Code,
    /// What is wrong with this request, where there is more to say.
    detail: Option<String>,
    /// As in the header `x-request-id`, and in the log.
    request_id: String,
}

/// One occurrence. As a response it is rendered by the outermost layer, which knows the request's id.
#[derive(Clone, Debug)]
pub struct Problem {
    code: Code,
    /// Where it is not the code's.
    status: Option<StatusCode>,
    detail: Option<String>,
    retry_after_s: Option<u64>,
    /// What the document says beside its own members.
    more: Vec<(&'static str, Value)>,
}

impl Problem {
    /// Without more to say.
    pub fn new(code: Code) -> Problem {
        Problem { code, status: None, detail: None, retry_after_s: None, more: Vec::new() }
    }

    /// For an answer that only has a status, which it keeps.
    pub(crate) fn of_status(status: StatusCode) -> Problem {
        Problem { status: Some(status), ..Problem::new(Code::of_status(status)) }
    }

    /// With a further member, such as a close code of the feed.
    pub(crate) fn with(mut self, name: &'static str, value: impl Into<Value>) -> Problem {
        self.more.push((name, value.into()));
        self
    }

    fn status(&self) -> StatusCode {
        self.status.unwrap_or(self.code.status())
    }

    /// With what is wrong with this request. Never a value, a token or an error of the store.
    pub fn because(code: Code, detail: impl Display) -> Problem {
        Problem { detail: Some(detail.to_string()), ..Problem::new(code) }
    }

    /// With the seconds after which another attempt makes sense.
    pub fn retry_after(self, seconds: u64) -> Problem {
        Problem { retry_after_s: Some(seconds), ..self }
    }

    /// What is wrong with this request, where there is more to say.
    pub(crate) fn detail(&self) -> Option<&str> {
        self.detail.as_deref()
    }

    /// Its code.
    pub fn code(&self) -> Code {
        self.code
    }

    /// The document, for the request of that id: the same in answers and in frames of the feed.
    pub(crate) fn document(&self, request_id: &str) -> Value {
        let name = serde_json::to_value(self.code).unwrap_or_default();
        let document = ProblemDocument {
            kind: format!("urn:tally:problem:{}", name.as_str().unwrap_or_default()),
            title: self.code.title().to_owned(),
            status: self.status().as_u16(),
            code: self.code,
            detail: self.detail.clone(),
            request_id: request_id.to_owned(),
        };
        let mut document = serde_json::to_value(&document).unwrap_or_default();
        if let Value::Object(members) = &mut document {
            members.extend(self.more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
        }
        document
    }

    /// The whole response.
    pub fn render(&self, request_id: &str) -> Response {
        let body = self.document(request_id).to_string();
        let kind = [(header::CONTENT_TYPE, "application/problem+json")];
        let mut response = (self.status(), kind, body).into_response();
        let headers = response.headers_mut();
        for (name, value) in self.headers() {
            headers.insert(name, value);
        }
        response
    }

    pub(crate) fn headers(&self) -> Vec<(HeaderName, HeaderValue)> {
        let mut headers = vec![(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
        let challenge = match self.code {
            Code::TokenMissing => Some("Bearer"),
            Code::TokenInvalid | Code::TokenExpired | Code::TokenRevoked => {
                Some("Bearer error=\"invalid_token\"")
            }
            Code::Forbidden => Some("Bearer error=\"insufficient_scope\""),
            _ => None,
        };
        headers.extend(challenge.map(|text| (header::WWW_AUTHENTICATE, HeaderValue::from_static(text))));
        headers.extend(self.retry_after_s.map(|seconds| (header::RETRY_AFTER, HeaderValue::from(seconds))));
        headers
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = self.status().into_response();
        response.extensions_mut().insert(self);
        response
    }
}

impl From<Denied> for Problem {
    fn from(denied: Denied) -> Problem {
        match denied {
            Denied::Missing => Problem::new(Code::TokenMissing),
            Denied::Invalid => Problem::new(Code::TokenInvalid),
            Denied::Expired => Problem::new(Code::TokenExpired),
            Denied::Revoked => Problem::new(Code::TokenRevoked),
            Denied::Unavailable => Problem::new(Code::IdentityUnavailable).retry_after(1),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Code, Problem};
    use axum::http::{StatusCode, header};

    /// Scenario: every code, and every status of an error that some layer may give on its own.
    /// Guarantees: each is an error with its own name, and each status finds a code of a fitting one.
    #[test]
    fn codes_are_stable_and_statuses_find_one() {
        let mut names = std::collections::HashSet::new();
        for code in Code::ALL {
            let name = serde_json::to_value(code).expect("a name").to_string();
            assert!(code.status().as_u16() >= 400 && names.insert(name), "{code:?}");
        }
        for status in (400..600).filter_map(|status| StatusCode::from_u16(status).ok()) {
            let found = Code::of_status(status).status();
            assert_eq!(found.is_client_error(), status.is_client_error() && status != 408, "{status}");
        }
        assert_eq!(Code::of_status(StatusCode::METHOD_NOT_ALLOWED), Code::MethodNotAllowed);
        let upgrade = Problem::of_status(StatusCode::UPGRADE_REQUIRED);
        assert_eq!(upgrade.render("r-1").status(), StatusCode::UPGRADE_REQUIRED);
        let limited = Problem::new(Code::RateLimited).retry_after(3).render("r-1");
        assert_eq!(limited.headers()[header::RETRY_AFTER], "3");
        assert_eq!(limited.headers()[header::CONTENT_TYPE], "application/problem+json");
    }
}
