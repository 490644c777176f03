//! Frames of `feed.v1`, as texts: the same over WebSocket, SSE and long poll.

use crate::problem::Problem;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::fmt::Write;
use std::sync::Arc;

/// Why a stream ends; the number is the WebSocket close code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u16)]
pub(super) enum Close {
    Protocol = 4000,
    TokenInvalid = 4001,
    Denied = 4003,
    Revoked = 4004,
    TooManyConnections = 4005,
    NoTokenInTime = 4006,
    RateLimited = 4100,
    Overloaded = 4101,
    SlowConsumer = 4102,
    LogUnavailable = 4103,
    GoingAway = 4200,
    TokenExpired = 4201,
    InsufficientState = 4203,
    MaxAge = 4204,
}

impl Close {
    /// Every reason, for the metrics.
    pub(super) const ALL: [Close; 14] = [
        Close::Protocol,
        Close::TokenInvalid,
        Close::Denied,
        Close::Revoked,
        Close::TooManyConnections,
        Close::NoTokenInTime,
        Close::RateLimited,
        Close::Overloaded,
        Close::SlowConsumer,
        Close::LogUnavailable,
        Close::GoingAway,
        Close::TokenExpired,
        Close::InsufficientState,
        Close::MaxAge,
    ];

    /// The close code.
    pub(super) const fn code(self) -> u16 {
        self as u16
    }

    /// A stable word.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Close::Protocol => "protocol",
            Close::TokenInvalid => "token_invalid",
            Close::Denied => "denied",
            Close::Revoked => "revoked",
            Close::TooManyConnections => "too_many_connections",
            Close::NoTokenInTime => "no_token_in_time",
            Close::RateLimited => "rate_limited",
            Close::Overloaded => "overloaded",
            Close::SlowConsumer => "slow_consumer",
            Close::LogUnavailable => "log_unavailable",
            Close::GoingAway => "going_away",
            Close::TokenExpired => "token_expired",
            Close::InsufficientState => "insufficient_state",
            Close::MaxAge => "max_age",
        }
    }

    /// Whether the same client may come again as it is.
    const fn reconnect(self) -> bool {
        self.code() >= 4100
    }

    /// How long it had better wait, ms.
    const fn after_ms(self) -> u64 {
        match self.code() {
            4100..4200 => 1_000,
            _ => 0,
        }
    }
}

/// Why a stream cannot be resumed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Resync {
    Evicted,
    Foreign,
    Ahead,
    TooMany,
}

impl Resync {
    /// Every reason, for the metrics.
    pub(super) const ALL: [Resync; 4] = [Resync::Evicted, Resync::Foreign, Resync::Ahead, Resync::TooMany];

    /// As it stands in a frame.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Resync::Evicted => "evicted",
            Resync::Foreign => "foreign",
            Resync::Ahead => "ahead",
            Resync::TooMany => "too_many",
        }
    }
}

/// Where the state is that a resync asks for.
pub(super) const SNAPSHOT_PATH: &str = "/feed/snapshot";

/// What a client says over WebSocket.
#[derive(Debug, Deserialize)]
#[serde(tag = "op", rename_all = "lowercase")]
pub(super) enum Said {
    /// The first frame.
    Connect {
        #[serde(default)]
        token: String,
        #[serde(default)]
        cursor: String,
        heartbeat_ms: Option<u64>,
    },
    /// A new token for the same subject.
    Refresh { token: String },
    /// Everything up to the cursor was shown.
    Ack { cursor: String },
    /// Another heartbeat, for a page that was hidden or shown.
    Pace { heartbeat_ms: u64 },
}

/// The first frame of a stream.
pub(super) struct Hello<'a> {
    pub(super) session: uuid::Uuid,
    pub(super) cursor: &'a str,
    pub(super) recovered: bool,
    pub(super) heartbeat_ms: u64,
    pub(super) max_age_s: u64,
    pub(super) now_micros: i64,
}

impl Hello<'_> {
    pub(super) fn text(&self) -> String {
        let Hello { session, cursor, recovered, heartbeat_ms, max_age_s, now_micros } = self;
        let server_time = super::cloud_event::rfc3339(*now_micros);
        json!({
            "op": "hello", "session": session, "cursor": cursor, "recovered": recovered,
            "heartbeat_ms": heartbeat_ms, "max_age_s": max_age_s, "server_time": server_time,
        })
        .to_string()
    }
}

/// An event's frame: cursors are base64url and need no escape, the end is shared by all ([`event_end`]).
pub(super) fn event(into: &mut String, cursor: &str, prev: &str, end: &str) {
    into.reserve(48 + cursor.len() + prev.len() + end.len());
    for part in [r#"{"op":"event","cursor":""#, cursor, r#"","prev":""#, prev, r#"","#, end] {
        into.push_str(part);
    }
}

/// Key, signature and payload of an event's frame, and its end. The payload is escaped, so that the signed bytes are the received
/// bytes.
pub(super) fn event_end(kid: &str, sig: &str, payload: &str) -> Arc<str> {
    let end = serde_json::to_string(&EventEnd { kid, sig, payload }).unwrap_or_default(); // nothing of it can fail
    end.strip_prefix('{').unwrap_or_default().into()
}

#[derive(Serialize)]
struct EventEnd<'a> {
    kid: &'a str,
    sig: &'a str,
    payload: &'a str,
}

pub(super) fn heartbeat(cursor: &str) -> String {
    format!(r#"{{"op":"heartbeat","cursor":"{cursor}"}}"#)
}

pub(super) fn resync(reason: Resync) -> String {
    json!({ "op": "resync", "reason": reason.word(), "snapshot": SNAPSHOT_PATH }).to_string()
}

/// `by_micros`: when the token ends.
pub(super) fn reauth(by_micros: i64) -> String {
    json!({ "op": "reauth", "by": super::cloud_event::rfc3339(by_micros) }).to_string()
}

/// `cursor`: the last one handed over on this connection. Whoever reads this frame has read all before it.
pub(super) fn goaway(close: Close, cursor: Option<&str>) -> String {
    let (code, reconnect, after_ms) = (close.code(), close.reconnect(), close.after_ms());
    let mut frame = json!({ "op": "goaway", "code": code, "reconnect": reconnect, "after_ms": after_ms });
    if let Some(cursor) = cursor {
        frame["cursor"] = cursor.into();
    }
    frame.to_string()
}

/// `request_id`: of the request that became this connection.
pub(super) fn error(problem: &Problem, request_id: &str) -> String {
    json!({ "op": "error", "problem": problem.document(request_id) }).to_string()
}

/// The same frame as an event of SSE: the cursor, where it bears one, becomes the id that a browser sends back.
pub(super) fn sse(into: &mut String, op: &str, cursor: Option<&str>, frame: &str) {
    if let Some(cursor) = cursor {
        let _ = writeln!(into, "id: {cursor}"); // writing to a string does not fail
    }
    let _ = write!(into, "event: {op}\ndata: {frame}\n\n");
}
