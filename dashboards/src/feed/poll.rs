//! The long poll, for those whose way lets nothing else through; and acknowledgements for all who cannot send a frame.

use super::admission;
use super::bell::Transport;
use super::cursor::Asked;
use super::document::FeedPage;
use super::frame::{self, Close};
use super::hub::Hub;
use super::refusal::{NO_CURSOR, NO_POSITION, Refusal};
use super::settings::{HEARTBEAT_MS, POLL_EVENTS_MAX, POLL_REPLAY_SECONDS_MAX, POLL_SECONDS_MAX};
use super::stream::{Sending, Stream};
use crate::rights::Route;
use axum::Json;
use axum::extract::rejection::JsonRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
use utoipa::{IntoParams, ToSchema};

/// Events of one answer, where nothing else is asked for.
const EVENTS: usize = 100;
/// How long more is waited for once there is something, milliseconds.
const COMPANY_MS: u64 = 5;

#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub(super) struct Wanted {
    /// Behind which position: the `cursor` of the answer before; `now` or `earliest`; now where it is not given.
    #[serde(default)]
    #[param(required = false)]
    after: String,
    /// Events of one answer: 1 to 1000, else the nearest of these.
    #[param(default = 100)]
    limit: Option<usize>,
    /// Seconds to wait where there is nothing: at most 25.
    #[serde(default)]
    #[param(required = false)]
    wait: u64,
}

/// The feed by long poll
#[utoipa::path(get, path = "/feed/events", operation_id = "feed_events", tag = "feed", params(Wanted),
    responses((status = 200, body = FeedPage)))]
pub(super) async fn events(
    State(hub): State<Arc<Hub>>,
    Query(wanted): Query<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Refusal> {
    let who = admission::listener(&hub, &headers, Route::FeedEvents).await?;
    let asked = Asked::parse(&wanted.after).map_err(|_| Refusal::Cursor(NO_CURSOR))?;
    let (mut stream, opening) =
        Stream::open(&hub, who, Transport::Poll, asked).await.inspect_err(|close| {
            hub.metrics.closed(*close);
        })?;
    if let Some(why) = opening.resync {
        return Err(Refusal::Resync(why));
    }
    let limit = wanted.limit.unwrap_or(EVENTS).clamp(1, POLL_EVENTS_MAX);
    let wait = Duration::from_secs(wanted.wait.min(POLL_SECONDS_MAX));
    let (frames, cursor) =
        gather(&mut stream, limit, wait).await.inspect_err(|close| hub.metrics.closed(*close))?;
    let mut text = format!(
        r#"{{"cursor":"{cursor}","recovered":true,"heartbeat_ms":{},"events":["#,
        HEARTBEAT_MS.start()
    );
    let mut first = true;
    for one in &frames {
        let Some(end) = one.event.frame_end(one.sight, &hub.signer) else { continue };
        if !std::mem::take(&mut first) {
            text.push(',');
        }
        frame::event(&mut text, &one.cursor, &one.prev, end);
    }
    text.push_str("]}");
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((kind, text).into_response())
}

/// What comes within `wait`, at most `limit` events; and where the next poll goes on. What lies in the log and not in the ring
/// is waited for whatever `wait` says, else a poll that does not wait would never get it. An end that comes after something was
/// taken is told by the next poll.
pub(super) async fn gather(
    stream: &mut Stream,
    limit: usize,
    wait: Duration,
) -> Result<(Vec<Sending>, Arc<str>), Close> {
    let asked = stream.told().clone();
    let patience = wait.max(Duration::from_secs(POLL_REPLAY_SECONDS_MAX));
    let Ok(replayed) = timeout(patience, stream.next_replayed(limit)).await else {
        // it has come further, through events of others; or it has not, and another poll had better come later
        let cursor = stream.heartbeat();
        return if cursor == asked { Err(Close::Overloaded) } else { Ok((Vec::new(), cursor)) };
    };
    let mut frames = replayed?;
    let company = Duration::from_millis(COMPANY_MS);
    let mut left = if frames.is_empty() { wait.max(company) } else { company };
    while frames.len() < limit {
        match timeout(left, stream.next(limit - frames.len())).await {
            Ok(Ok(more)) => frames.extend(more),
            Ok(Err(close)) if frames.is_empty() => return Err(close),
            Ok(Err(_)) => break,
            Err(_) => {
                let cursor = stream.heartbeat();
                return Ok((frames, cursor));
            }
        }
        left = company;
    }
    Ok((frames, stream.told().clone()))
}

/// What was shown.
#[derive(Debug, Deserialize, ToSchema)]
pub(super) struct Shown {
    /// Everything up to here.
    cursor: String,
}

/// Acknowledge what was shown, where that cannot be said in a frame
#[utoipa::path(post, path = "/feed/acks", operation_id = "feed_acks", tag = "feed", request_body = Shown,
    responses((status = 204, description = "It is in the delivery ledger, or will be in a moment")))]
pub(super) async fn acknowledge(
    State(hub): State<Arc<Hub>>,
    headers: HeaderMap,
    shown: Result<Json<Shown>, JsonRejection>,
) -> Result<StatusCode, Refusal> {
    let who = admission::listener(&hub, &headers, Route::FeedAcks).await?;
    let Ok(Json(shown)) = shown else { return Err(Refusal::Bad("expected {\"cursor\": text}")) };
    match hub.acknowledged(&who.subject.as_str().into(), &shown.cursor).await? {
        true => Ok(StatusCode::NO_CONTENT),
        false => Err(Refusal::Cursor(NO_POSITION)),
    }
}
