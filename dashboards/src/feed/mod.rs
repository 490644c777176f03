//! The realtime feed `feed.v1`: one stream a principal, one cursor, the same frames over WebSocket, SSE and long poll.
//!
//! ```text
//! EventLog ─▶ hub ─▶ ring (latest events, indexed by owner) ─▶ stream (a place, rights) ─▶ ws | sse | poll
//!               └──▶ cases in work, bells                 └── replay from the log, where the ring no longer reaches back
//! ```
//! | module | holds |
//! | --- | --- |
//! | `log`, `memory` | what the feed reads; the log in memory |
//! | `cursor` | positions |
//! | `event`, `cloud_event`, `sign`, `frame` | one event as it is sent: payload, signature, frame |
//! | `ring`, `bell`, `hub`, `preload` | what all connections share, and how it begins |
//! | `stream`, `replay` | one subscriber's place, live and from the log |
//! | `cases` | which cases moderators have in work |
//! | `ws`, `sse`, `poll`, `snapshot` | the routes; `admission`, `refusal` before them, `pulse` within; `document` describes them |
//! | `wire`, `stall` | the socket under a stream; readers that take nothing |
//! | `ledger` | who was sent what, and acknowledged it |
//!
//! Start at `stream.rs`. Nothing here decides about rights: `rights` does, for each event at the moment it is sent.

mod admission;
mod bell;
mod cases;
mod cloud_event;
mod cursor;
mod document;
mod event;
mod frame;
mod hub;
mod ledger;
mod log;
mod memory;
mod metrics;
mod poll;
mod preload;
mod pulse;
mod refusal;
mod replay;
mod ring;
mod settings;
mod sign;
mod snapshot;
mod sse;
mod stall;
mod stream;
#[cfg(test)]
mod tests;
mod wire;
mod ws;

pub(crate) use document::{document, problems};
pub use hub::FeedParts;
pub use log::{Batch, Bounds, EventLog, LogError, LogPartition, LogReader, Shape};
pub use memory::VecLog;
pub use settings::FeedSettings;
pub use sign::{Signer, SigningKeyError, add_signing_key};
pub use wire::{Sequel, Wire, WireInfo};

use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::{Json, Router};
use hub::Hub;
use settings::LEDGER_SECONDS_MAX;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// The close code of whoever comes too often, for refusals over HTTP that the feed does not make itself.
pub(crate) const RATE_LIMITED_CLOSE: u16 = frame::Close::RateLimited.code();

/// A running feed; cheap to clone.
#[derive(Clone)]
pub struct Feed {
    hub: Arc<Hub>,
}

impl std::fmt::Debug for Feed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Feed")
    }
}

impl Feed {
    /// Begins to follow the log, until `stop`; then every stream is told to go away and to come back elsewhere.
    pub fn start(parts: FeedParts, settings: FeedSettings, stop: CancellationToken) -> Feed {
        Feed { hub: Hub::start(parts, settings, stop) }
    }

    /// Its routes, by their whole paths. Put no time limit on them and no compression: streams last, and compression holds
    /// events back. Each request needs the [`WireInfo`] of its connection as an extension, and whoever serves the connection gives
    /// the wire to the [`Sequel`] that an event stream leaves there.
    pub fn routes(&self) -> Router {
        let (router, _) = document::operations().split_for_parts();
        router.with_state(self.hub.clone())
    }

    /// Waits, after the stop, until every WebSocket has said goodbye, at most so long; then until the delivery ledger has
    /// what was sent and acknowledged to the last.
    pub async fn drained(&self, wait: Duration) {
        self.hub.sessions.close();
        if tokio::time::timeout(wait, self.hub.sessions.wait()).await.is_err() {
            tracing::warn!(streams = self.hub.sessions.len(), "streams did not end in time");
        }
        let ledger = Duration::from_secs(LEDGER_SECONDS_MAX);
        if tokio::time::timeout(ledger, self.hub.ledger.written()).await.is_err() {
            tracing::error!(
                "the store did not take the last rows of the delivery ledger in time; they are lost"
            );
        }
    }

    /// Its metrics in Prometheus text.
    pub fn metrics(&self) -> String {
        self.hub.metrics.text()
    }

    /// What it waits for before it can serve; `None` when ready.
    pub fn waiting_for(&self) -> Option<String> {
        let is_away = self.hub.ring().is_none() || self.hub.is_silent();
        is_away.then(|| "the event log".to_owned())
    }
}

/// The keys that sign the feed
///
/// Open to all. Caches may keep them for half a minute: roll a key in with more than that before its first use.
#[utoipa::path(get, path = "/.well-known/jwks.json", operation_id = "feed_keys", tag = "feed", security(()),
    responses((status = 200, body = document::FeedKeys)))]
async fn key_set(State(hub): State<Arc<Hub>>) -> impl IntoResponse {
    ([(header::CACHE_CONTROL, "public, max-age=30")], Json(hub.signer.key_set()))
}
