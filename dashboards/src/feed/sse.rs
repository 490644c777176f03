//! Server-sent events: the transport for those whose way lets no WebSocket through.

use super::admission;
use super::bell::Transport;
use super::cursor::Asked;
use super::frame::{self, Close};
use super::hub::Hub;
use super::pulse::{Due, Pulse, max_age_s};
use super::refusal::{NO_CURSOR, Refusal};
use super::settings::{FRAMES_AT_ONCE_MAX, STALL_SECONDS_MAX};
use super::stream::{Sending, Stream};
use super::wire::WireInfo;
use crate::rights::Route;
use axum::Extension;
use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::sleep_until;
use utoipa::IntoParams;

/// What a browser does after a cut, before its own script decides otherwise, milliseconds.
const RETRY: &str = "retry: 500\n\n";

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Behind which position it begins; `now` or `earliest`; now where it is not given.
    #[serde(default)]
    #[param(required = false)]
    cursor: String,
    /// Milliseconds between heartbeats: 2000 to 15000, else the nearest of these.
    heartbeat_ms: Option<u64>,
}

/// The feed as server-sent events
///
/// The frames of `feed.v1` as `data`, their `op` as `event`, their cursor as `id`. It does not end by itself before its age
/// does, some ten minutes.
#[utoipa::path(get, path = "/feed/sse", operation_id = "feed_sse", tag = "feed",
    params(Wanted, ("Last-Event-ID" = Option<String>, Header, description = "A cursor; it goes before the query's")),
    responses((status = 200, description = "Events, until the stream is told to go away", body = String, content_type = "text/event-stream")))]
pub(super) async fn connect(
    State(hub): State<Arc<Hub>>,
    wire: Option<Extension<WireInfo>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let who = admission::listener(&hub, &headers, Route::FeedSse).await?;
    let last = headers.get("last-event-id").and_then(|value| value.to_str().ok()).unwrap_or_default();
    let cursor = if last.is_empty() { wanted.cursor.as_str() } else { last };
    let asked = Asked::parse(cursor).map_err(|_| Refusal::Cursor(NO_CURSOR))?;
    let expires_at_s = who.expires_at_s;
    let (stream, opening) = Stream::open(&hub, who, Transport::Sse, asked).await.inspect_err(|close| {
        hub.metrics.closed(*close);
    })?;
    let max_age_s = max_age_s(hub.settings.max_age_s, stream.session);
    let pulse = Pulse::new(wanted.heartbeat_ms, max_age_s, expires_at_s);
    let mut first = RETRY.to_owned();
    frame::sse(&mut first, "hello", Some(&opening.cursor), &stream.hello(&opening, &pulse, max_age_s));
    let mut ended = false;
    if let Some(why) = opening.resync {
        frame::sse(&mut first, "resync", None, &frame::resync(why));
        goaway(&hub, &mut first, Close::InsufficientState, stream.told());
        ended = true;
    }
    if let Some(Extension(wire)) = wire {
        let metrics = hub.metrics.clone();
        wire.when_stalled(move || metrics.closed(Close::SlowConsumer));
        wire.patience(Duration::from_secs(STALL_SECONDS_MAX));
    }
    let session = Session { stream, pulse, first: Some(first), ended };
    let chunks = futures::stream::unfold(session, Session::step);
    let kind: [(HeaderName, &str); 3] = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
    ];
    Ok((kind, Body::from_stream(chunks)).into_response())
}

/// One stream of events, between two chunks.
struct Session {
    stream: Stream,
    pulse: Pulse,
    first: Option<String>,
    ended: bool,
}

impl Session {
    async fn step(mut self) -> Option<(Result<Bytes, Infallible>, Session)> {
        if let Some(first) = self.first.take() {
            return Some((Ok(first.into()), self));
        }
        let mut text = String::new();
        while text.is_empty() {
            if self.ended {
                return None;
            }
            tokio::select! {
                sending = self.stream.next(FRAMES_AT_ONCE_MAX) => match sending {
                    Ok(sending) => {
                        self.pulse.beaten();
                        self.events(&mut text, &sending);
                    }
                    Err(close) => self.end(&mut text, close),
                },
                () = sleep_until(self.pulse.next()) => match self.pulse.due() {
                    None => {}
                    Some(Due::Heartbeat) => {
                        let cursor = self.stream.heartbeat();
                        frame::sse(&mut text, "heartbeat", Some(&cursor), &frame::heartbeat(&cursor));
                    }
                    Some(Due::Reauth(by)) => frame::sse(&mut text, "reauth", None, &frame::reauth(by)),
                    Some(Due::End(close)) => self.end(&mut text, close),
                },
            }
        }
        Some((Ok(text.into()), self))
    }

    fn events(&self, text: &mut String, sending: &[Sending]) {
        for one in sending {
            let Some(end) = one.event.frame_end(one.sight, &self.stream.line.hub.signer) else { continue };
            let mut json = String::new();
            frame::event(&mut json, &one.cursor, &one.prev, end);
            frame::sse(text, "event", Some(&one.cursor), &json);
        }
    }

    fn end(&mut self, text: &mut String, close: Close) {
        self.ended = true;
        goaway(&self.stream.line.hub, text, close, self.stream.told());
    }
}

fn goaway(hub: &Hub, text: &mut String, close: Close, told: &str) {
    hub.metrics.closed(close);
    frame::sse(text, "goaway", None, &frame::goaway(close, Some(told)));
}
