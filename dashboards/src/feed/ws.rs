//! The WebSocket transport.

use super::admission;
use super::bell::{Bell, Transport};
use super::cursor::Asked;
use super::frame::{self, Close, Said};
use super::hub::Hub;
use super::pulse::{Due, Pulse};
use super::refusal::{NO_POSITION, Refusal, close_of};
use super::settings::{
    CLIENT_FRAME_BYTES_MAX, CLIENT_FRAMES_PER_SECOND_MAX, CONNECT_SECONDS_MAX, FAREWELL_SECONDS_MAX,
    FRAMES_AT_ONCE_MAX, READ_BYTES, STALL_SECONDS_MAX, WRITE_BYTES, WRITE_BYTES_MAX,
};
use super::stall::stalled;
use super::stream::{Sending, Stream};
use super::wire::WireInfo;
use crate::identity::{Denied, Principal};
use crate::problem::{Code, Problem, ProblemDocument};
use crate::request::RequestInfo;
use axum::Extension;
use axum::extract::State;
use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use futures::SinkExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until, timeout};

/// How long a client may take to answer a close frame.
const GOODBYE_MS: u64 = 1_000;

/// Why a stream ended: the service's reason, or none where the client is gone.
type Ended = Option<Close>;

/// The feed over WebSocket
///
/// Text frames of `feed.v1`. The client begins: `{"op":"connect","token":…,"cursor":…}` within 5 s; the token may come in the
/// header instead, or be that of the session's cookie. Then `hello`, `event`, `heartbeat`, `resync`, `reauth`, `goaway` and `error` (a problem document) come, and
/// `ack`, `refresh` and `pace` may be said. Pages must be of this origin or of one that was let in.
#[utoipa::path(get, path = "/feed/ws", operation_id = "feed_ws", tag = "feed", security((), ("access_token" = [])),
    responses((status = 101, description = "The connection becomes a WebSocket"),
        (status = 426, description = "The connection cannot be upgraded", body = ProblemDocument, content_type = "application/problem+json")))]
pub(super) async fn connect(
    State(hub): State<Arc<Hub>>,
    wire: Option<Extension<WireInfo>>,
    Extension(request): Extension<RequestInfo>,
    headers: HeaderMap,
    upgrade: WebSocketUpgrade,
) -> Response {
    let admitted = async {
        admission::origin(&headers, &hub.settings.origins)?;
        if hub.is_stopping() {
            return Err(Refusal::Closed(Close::GoingAway));
        }
        admission::opener(&hub, &headers).await
    };
    let known = match admitted.await {
        Ok(known) => known,
        Err(refusal) => return refusal.into_response(),
    };
    if let Some(Extension(wire)) = wire {
        // the farewell takes longer than the wire's own patience
        wire.patience(Duration::from_secs(STALL_SECONDS_MAX + FAREWELL_SECONDS_MAX + 1));
    }
    let upgrade = upgrade.read_buffer_size(READ_BYTES).write_buffer_size(WRITE_BYTES);
    let upgrade = upgrade.max_write_buffer_size(WRITE_BYTES_MAX);
    let upgrade = upgrade.max_message_size(CLIENT_FRAME_BYTES_MAX).max_frame_size(CLIENT_FRAME_BYTES_MAX);
    let open = hub.sessions.token();
    upgrade.on_upgrade(async move |socket| {
        serve(socket, hub, (known, request)).await;
        drop(open);
    })
}

async fn serve(mut socket: WebSocket, hub: Arc<Hub>, (known, request): (Option<Principal>, RequestInfo)) {
    let begun = Box::pin(begin(&mut socket, &hub, known, request)).await;
    let (ended, handed) = match begun {
        Ok((mut stream, pulse)) => {
            let ended = run(&mut socket, &mut stream, pulse, request).await;
            (ended, Some(stream.handed().clone()))
        }
        Err(ended) => (ended, None),
    };
    if let Some(close) = ended {
        hub.metrics.closed(close);
        let farewell = farewell(&mut socket, close, handed.as_deref());
        let _ = timeout(Duration::from_secs(FAREWELL_SECONDS_MAX), farewell).await;
    }
}

/// The first frame, the token, the place in the log, the hello.
async fn begin(
    socket: &mut WebSocket,
    hub: &Arc<Hub>,
    known: Option<Principal>,
    request: RequestInfo,
) -> Result<(Stream, Pulse), Ended> {
    let first = timeout(Duration::from_secs(CONNECT_SECONDS_MAX), said(socket));
    let first = first.await.map_err(|_| Some(Close::NoTokenInTime))??;
    let Said::Connect { token, cursor, heartbeat_ms } = first else { return Err(Some(Close::Protocol)) };
    let who = match known {
        Some(known) if token.is_empty() => known,
        _ => {
            let who = hub.authority.verify(&token).await;
            let who = who.map_err(|denied| Some(turned_away(hub, denied, request)))?;
            hub.rates.admit(&who.subject).map_err(|_| Some(Close::RateLimited))?;
            who
        }
    };
    let asked = Asked::parse(&cursor).map_err(|_| Some(Close::Protocol))?;
    let expires_at_s = who.expires_at_s;
    let opened = Stream::open(hub, who, Transport::WebSocket, asked).await;
    let (stream, opening) = opened.map_err(Some)?;
    let max_age_s = super::pulse::max_age_s(hub.settings.max_age_s, stream.session);
    let pulse = Pulse::new(heartbeat_ms, max_age_s, expires_at_s);
    let hello = stream.hello(&opening, &pulse, max_age_s);
    write(socket, &stream.line.bell, hello).await?;
    if let Some(why) = opening.resync {
        write(socket, &stream.line.bell, frame::resync(why)).await?;
    }
    flush(socket, &stream.line.bell).await?;
    if opening.resync.is_some() { Err(Some(Close::InsufficientState)) } else { Ok((stream, pulse)) }
}

async fn run(socket: &mut WebSocket, stream: &mut Stream, mut pulse: Pulse, request: RequestInfo) -> Ended {
    let mut pace = Pace::default();
    loop {
        let step = tokio::select! {
            said = said(socket) => match said {
                Ok(said) if pace.is_kept() => answer(socket, stream, &mut pulse, (said, request)).await,
                Ok(_) => Err(Some(Close::RateLimited)),
                Err(ended) => Err(ended),
            },
            sending = stream.next(FRAMES_AT_ONCE_MAX) => match sending {
                Ok(sending) => {
                    pulse.beaten();
                    send(socket, stream, sending).await
                }
                Err(close) => Err(Some(close)),
            },
            () = sleep_until(pulse.next()) => beat(socket, stream, &mut pulse).await,
        };
        if let Err(ended) = step {
            return ended;
        }
    }
}

async fn send(socket: &mut WebSocket, stream: &mut Stream, sending: Vec<Sending>) -> Result<(), Ended> {
    for one in sending {
        let mut text = String::new();
        if let Some(end) = one.event.frame_end(one.sight, &stream.line.hub.signer) {
            frame::event(&mut text, &one.cursor, &one.prev, end);
            write(socket, &stream.line.bell, text).await?;
            stream.hand(&one.cursor);
        }
    }
    flush(socket, &stream.line.bell).await
}

async fn beat(socket: &mut WebSocket, stream: &mut Stream, pulse: &mut Pulse) -> Result<(), Ended> {
    let text = match pulse.due() {
        None => return Ok(()),
        Some(Due::Heartbeat) => {
            let cursor = stream.heartbeat();
            stream.hand(&cursor); // it passes over what was filtered, and nothing else waits
            frame::heartbeat(&cursor)
        }
        Some(Due::Reauth(by)) => frame::reauth(by),
        Some(Due::End(close)) => return Err(Some(close)),
    };
    write(socket, &stream.line.bell, text).await?;
    flush(socket, &stream.line.bell).await
}

async fn answer(
    socket: &mut WebSocket,
    stream: &Stream,
    pulse: &mut Pulse,
    (said, request): (Said, RequestInfo),
) -> Result<(), Ended> {
    let Stream { line, .. } = stream;
    let problem = match said {
        Said::Connect { .. } => return Err(Some(Close::Protocol)),
        Said::Pace { heartbeat_ms } => {
            pulse.pace(heartbeat_ms);
            return Ok(());
        }
        Said::Ack { cursor } => match line.hub.acknowledged(line.bell.subject(), &cursor).await {
            Ok(true) => return Ok(()),
            Ok(false) => Problem::because(Code::InvalidCursor, NO_POSITION),
            Err(close) => return Err(Some(close)),
        },
        Said::Refresh { token } => match line.hub.authority.verify(&token).await {
            Ok(who) => {
                let expires_at_s = who.expires_at_s;
                if !line.bell.renew(who) {
                    return Err(Some(Close::Denied)); // another subject is another stream
                }
                pulse.renew(expires_at_s);
                return Ok(());
            }
            Err(Denied::Unavailable) => Denied::Unavailable.into(),
            Err(denied) => return Err(Some(turned_away(&line.hub, denied, request))),
        },
    };
    write(socket, &line.bell, frame::error(&problem, &request.id.to_string())).await?;
    flush(socket, &line.bell).await
}

/// The close of whoever brought such a token: another one after too many that are not valid from its address.
fn turned_away(hub: &Hub, denied: Denied, request: RequestInfo) -> Close {
    match denied {
        Denied::Invalid if hub.rates.bad_token(request.client).is_err() => Close::RateLimited,
        _ => close_of(denied),
    }
}

/// What the client says next. A future that is dropped loses nothing.
async fn said(socket: &mut WebSocket) -> Result<Said, Ended> {
    loop {
        match socket.recv().await {
            Some(Ok(Message::Text(text))) => {
                return serde_json::from_str(&text).map_err(|_| Some(Close::Protocol));
            }
            Some(Ok(Message::Ping(_) | Message::Pong(_))) => {}
            Some(Ok(Message::Binary(_))) => return Err(Some(Close::Protocol)),
            Some(Ok(Message::Close(_)) | Err(_)) | None => return Err(None),
        }
    }
}

async fn write(socket: &mut WebSocket, bell: &Bell, text: String) -> Result<(), Ended> {
    tokio::select! {
        biased;
        written = socket.feed(Message::Text(text.into())) => written.map_err(|_| None),
        close = stalled(bell) => Err(Some(close)),
    }
}

async fn flush(socket: &mut WebSocket, bell: &Bell) -> Result<(), Ended> {
    tokio::select! {
        biased;
        flushed = socket.flush() => flushed.map_err(|_| None),
        close = stalled(bell) => Err(Some(close)),
    }
}

/// Says why, and waits a moment for the client to have heard it: a socket that is closed over unread input forgets its output.
async fn farewell(socket: &mut WebSocket, close: Close, handed: Option<&str>) {
    let frame = CloseFrame { code: close.code(), reason: close.word().into() };
    let said = async {
        socket.feed(Message::Text(frame::goaway(close, handed).into())).await?;
        socket.send(Message::Close(Some(frame))).await
    };
    if said.await.is_ok() {
        let _ = timeout(Duration::from_millis(GOODBYE_MS), async {
            while let Some(Ok(_)) = socket.recv().await {}
        })
        .await;
    }
}

/// How many frames the client sent in this second.
struct Pace {
    since: Instant,
    frames: u32,
}

impl Default for Pace {
    fn default() -> Pace {
        Pace { since: Instant::now(), frames: 0 }
    }
}

impl Pace {
    fn is_kept(&mut self) -> bool {
        if self.since.elapsed() >= Duration::from_secs(1) {
            *self = Pace::default();
        }
        self.frames += 1;
        self.frames <= CLIENT_FRAMES_PER_SECOND_MAX
    }
}
