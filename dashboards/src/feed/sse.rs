//! Server-sent events: the transport for those whose way lets no WebSocket through.
//!
//! HTTP writes the head; then the stream has the wire for itself. So it notices a reader that takes nothing by the same rule as a
//! WebSocket, can still tell it why, and needs no more memory than one.

use super::admission;
use super::bell::Transport;
use super::cursor::Asked;
use super::frame::{self, Close};
use super::hub::Hub;
use super::pulse::{Due, Pulse, max_age_s};
use super::refusal::{NO_CURSOR, Refusal};
use super::settings::{CHUNK_BYTES, FAREWELL_SECONDS_MAX, FRAMES_AT_ONCE_MAX, STALL_SECONDS_MAX};
use super::stall::stalled;
use super::stream::{Sending, Stream};
use super::wire::{Wire, WireInfo};
use crate::rights::Route;
use axum::Extension;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, HeaderName, Version, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::time::{sleep_until, timeout};
use utoipa::IntoParams;

/// What a browser does after a cut, before its own script decides otherwise, milliseconds.
const RETRY: &str = "retry: 500\n\n";
/// The chunk that ends a body.
const LAST_CHUNK: &str = "0\r\n\r\n";

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
    Extension(wire): Extension<WireInfo>,
    version: Version,
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
    if let Some(why) = opening.resync {
        frame::sse(&mut first, "resync", None, &frame::resync(why));
    }
    let ends = opening.resync.map(|_| Close::InsufficientState);
    // the farewell takes longer than the wire's own patience
    wire.patience(Duration::from_secs(STALL_SECONDS_MAX + FAREWELL_SECONDS_MAX + 1));
    let is_chunked = version != Version::HTTP_10; // as hyper has said in the head
    let session = Session { stream, pulse, is_chunked };
    let body = wire.body(Box::new(move |wire| Box::pin(session.run(wire, first, ends))));
    let head: [(HeaderName, &str); 4] = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-cache, no-transform"),
        (HeaderName::from_static("x-accel-buffering"), "no"),
        (header::CONNECTION, "close"), // there is no second request on a wire that the stream has had
    ];
    let mut response = (head, body).into_response();
    if !is_chunked {
        *response.version_mut() = Version::HTTP_10; // else hyper promises to keep alive what it was asked to
    }
    Ok(response)
}

/// Why a stream ended: the service's reason, or none where the client is gone.
type Ended = Option<Close>;

/// One stream of events.
struct Session {
    stream: Stream,
    pulse: Pulse,
    is_chunked: bool,
}

impl Session {
    /// Speaks first, then sends what comes; or ends at once, where there is a reason.
    async fn run(mut self, mut wire: Wire, first: String, ends: Ended) {
        let mut unsent = Vec::new();
        let mut ended = self.write(&mut wire, &first, &mut unsent).await;
        if let (Ok(()), Some(close)) = (ended, ends) {
            ended = Err(Some(close));
        }
        drop(first);
        while ended.is_ok() {
            ended = self.step(&mut wire, &mut unsent).await;
        }
        let Err(Some(close)) = ended else { return };
        self.stream.line.hub.metrics.closed(close);
        let farewell = self.farewell(&mut wire, unsent, close);
        let _ = timeout(Duration::from_secs(FAREWELL_SECONDS_MAX), farewell).await;
    }

    /// Waits for what comes next, and sends it.
    async fn step(&mut self, wire: &mut Wire, unsent: &mut Vec<u8>) -> Result<(), Ended> {
        let mut text = String::new();
        tokio::select! {
            sending = self.stream.next(FRAMES_AT_ONCE_MAX) => {
                let sending = sending.map_err(Some)?;
                self.pulse.beaten();
                return self.events(wire, &sending, unsent).await;
            }
            () = wire.gone() => return Err(None),
            () = sleep_until(self.pulse.next()) => match self.pulse.due() {
                None => return Ok(()),
                Some(Due::Heartbeat) => {
                    let cursor = self.stream.heartbeat();
                    self.stream.hand(&cursor);
                    frame::sse(&mut text, "heartbeat", Some(&cursor), &frame::heartbeat(&cursor));
                }
                Some(Due::Reauth(by)) => frame::sse(&mut text, "reauth", None, &frame::reauth(by)),
                Some(Due::End(close)) => return Err(Some(close)),
            },
        }
        self.write(wire, &text, unsent).await
    }

    async fn events(
        &mut self,
        wire: &mut Wire,
        sending: &[Sending],
        unsent: &mut Vec<u8>,
    ) -> Result<(), Ended> {
        let mut text = String::new();
        for one in sending {
            let Some(end) = one.event.frame_end(one.sight, &self.stream.line.hub.signer) else { continue };
            let mut json = String::new();
            frame::event(&mut json, &one.cursor, &one.prev, end);
            frame::sse(&mut text, "event", Some(&one.cursor), &json);
            self.stream.hand(&one.cursor); // a chunk that was begun is ended, whatever comes
            if text.len() >= CHUNK_BYTES {
                if let Some(close) = self.stream.line.bell.close() {
                    return Err(Some(close)); // what waits behind this chunk is not for the reader any more
                }
                self.write(wire, &text, unsent).await?;
                text.clear();
            }
        }
        self.write(wire, &text, unsent).await
    }

    /// Writes a chunk; where its reader is let go meanwhile, `unsent` has the rest of it.
    async fn write(&self, wire: &mut Wire, text: &str, unsent: &mut Vec<u8>) -> Result<(), Ended> {
        let chunk = self.chunk(text);
        let mut rest = chunk.as_bytes();
        while !rest.is_empty() {
            // biased, and anew for each write: whoever takes a little at a time is no reader that takes nothing
            let written = tokio::select! {
                biased;
                written = wire.write(rest) => written.map_err(|_| None)?,
                close = stalled(&self.stream.line.bell) => {
                    unsent.extend_from_slice(rest);
                    return Err(Some(close));
                }
            };
            rest = rest.get(written..).filter(|_| written > 0).ok_or(None)?;
        }
        Ok(())
    }

    /// As it stands in the body; nothing for no text, since an empty chunk is the last.
    fn chunk(&self, text: &str) -> String {
        match self.is_chunked {
            true if text.is_empty() => String::new(),
            true => format!("{:x}\r\n{text}\r\n", text.len()),
            false => text.to_owned(),
        }
    }

    /// Says why, behind the rest of the chunk that was being written, and ends the body.
    async fn farewell(&self, wire: &mut Wire, unsent: Vec<u8>, close: Close) -> std::io::Result<()> {
        let mut text = String::new();
        frame::sse(&mut text, "goaway", None, &frame::goaway(close, Some(self.stream.handed())));
        let mut last = unsent;
        last.extend_from_slice(self.chunk(&text).as_bytes());
        if self.is_chunked {
            last.extend_from_slice(LAST_CHUNK.as_bytes());
        }
        wire.write_all(&last).await?;
        wire.shutdown().await
    }
}
