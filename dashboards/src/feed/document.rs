//! The feed's routes in the API's document: what their answers look like. Frames over WebSocket and server-sent events are
//! no answers of HTTP: the operations say in words what follows.

use super::hub::Hub;
use super::{poll, snapshot, sse, ws};
use crate::problem::Code;
use serde::Serialize;
use std::sync::Arc;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

/// Every route with its operation.
pub(super) fn operations() -> OpenApiRouter<Arc<Hub>> {
    OpenApiRouter::new()
        .routes(routes!(ws::connect))
        .routes(routes!(sse::connect))
        .routes(routes!(poll::events))
        .routes(routes!(poll::acknowledge))
        .routes(routes!(snapshot::snapshot))
        .routes(routes!(super::key_set))
}

/// The operations alone.
pub(crate) fn document() -> utoipa::openapi::OpenApi {
    operations().split_for_parts().1
}

/// Which problems may come from that route instead of an answer.
pub(crate) fn problems(path: &str) -> Vec<Code> {
    let everywhere = [Code::NotFound, Code::Internal];
    let behind_a_token = [
        Code::TokenMissing,
        Code::TokenInvalid,
        Code::TokenExpired,
        Code::TokenRevoked,
        Code::Forbidden,
        Code::RateLimited,
        Code::IdentityUnavailable,
        Code::Overloaded,
        Code::LogUnavailable,
    ];
    let own: &[Code] = match path {
        "/feed/ws" => &[Code::InvalidParameter, Code::StreamEnded],
        "/feed/sse" => &[Code::InvalidParameter, Code::InvalidCursor, Code::StreamEnded],
        "/feed/events" => &[Code::InvalidParameter, Code::InvalidCursor, Code::StreamEnded, Code::Resync],
        "/feed/acks" => &[Code::InvalidParameter, Code::InvalidCursor, Code::TooLarge, Code::Timeout],
        "/feed/snapshot" => &[Code::StoreUnavailable, Code::Timeout],
        _ => return [&everywhere[..], &[Code::Timeout]].concat(),
    };
    [&everywhere[..], &behind_a_token, own].concat()
}

/// An event's frame, the same over every transport.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventFrame {
    /// `event`.
    op: String,
    /// The position behind the event.
    cursor: String,
    /// The position that was told before: another one means a gap.
    prev: String,
    /// Which of `/.well-known/jwks.json` signed it.
    kid: String,
    /// Ed25519 over the DSSE encoding of `application/cloudevents+json` and the payload, base64.
    sig: String,
    /// A CloudEvents 1.0 JSON text, to be verified as it stands here.
    payload: String,
}

/// What a long poll brings.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedPage {
    /// Give it as `after` for what follows.
    cursor: String,
    /// True: everything after the cursor that was asked for follows, in order.
    recovered: bool,
    /// The quickest pace of heartbeats.
    heartbeat_ms: u64,
    /// Events, each as far as the token's subject may see it.
    events: Vec<EventFrame>,
}

/// The tasks somebody may see, and where the stream goes on.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedSnapshot {
    /// The position up to which the state is whole; what it lacks follows behind it.
    cursor: String,
    /// Which key signed it.
    kid: String,
    /// Ed25519 over the DSSE encoding of `application/json` and the payload, base64.
    sig: String,
    /// A JSON text: `as_of`, `complete`, `total` and `tasks`.
    payload: String,
}

/// Keys that sign the feed, as a JSON Web Key Set (RFC 7517).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedKeys {
    /// All that may have signed what can still be replayed.
    keys: Vec<FeedKey>,
}

/// A public Ed25519 key (RFC 8037).
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct FeedKey {
    /// `OKP`.
    kty: String,
    /// `Ed25519`.
    crv: String,
    /// The key, base64url.
    x: String,
    /// Its thumbprint (RFC 7638).
    kid: String,
}
