//! Sockets: taken one by one up to a bound, each with its own bounds of time, and ended in good order.

use super::metrics::ServiceMetrics;
use crate::feed::Wire;
use crate::request::Peer;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower::ServiceExt;

/// A head that is not complete by then ends the connection.
const HEAD_S_MAX: u64 = 10;
/// Bytes of a head.
const HEAD_BYTES_MAX: usize = 32 * 1024;
/// Data that is not acknowledged for so long ends the connection, whoever is to blame. A reader that takes nothing is
/// noticed earlier, by its wire.
const UNACKNOWLEDGED_MS_MAX: u64 = 15_000;
/// Bytes that the system may hold for a connection beside those on their way. Without a bound it takes megabytes, and lets the
/// writer go on only once a third of them is gone: a reader that is slow but steady would look like one that takes nothing.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;
/// After the system refused a connection (too many files open, say).
const PAUSE_MS: u64 = 100;

/// Bounds of all connections together.
pub(super) struct Bounds {
    pub(super) connections_max: usize,
    pub(super) drain: Duration,
}

/// A connection's place, until its socket is closed: as HTTP, or as the WebSocket that it became.
struct Place {
    _permit: OwnedSemaphorePermit,
    metrics: ServiceMetrics,
}

impl Place {
    fn taken(permit: OwnedSemaphorePermit, metrics: ServiceMetrics) -> Place {
        metrics.connected(1);
        Place { _permit: permit, metrics }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.metrics.connected(-1);
    }
}

/// Takes connections until `stop`, then waits for those that are.
pub(super) async fn accept(
    listener: TcpListener,
    app: Router,
    bounds: Bounds,
    metrics: ServiceMetrics,
    stop: CancellationToken,
) {
    let (tracker, hard_stop) = (TaskTracker::new(), CancellationToken::new());
    let places = Arc::new(Semaphore::new(bounds.connections_max));
    loop {
        let accepted = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (listener.accept().await, place)
        };
        let (accepted, place) =
            tokio::select! { () = stop.cancelled() => break, accepted = accepted => accepted };
        let Ok(place) = place else { break };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection was refused");
                tokio::time::sleep(Duration::from_millis(PAUSE_MS)).await;
                continue;
            }
        };
        let (app, stop, hard_stop) = (app.clone(), stop.clone(), hard_stop.clone());
        let place = Place::taken(place, metrics.clone());
        tracker.spawn(async move {
            tokio::select! { () = hard_stop.cancelled() => {}, () = connection((stream, Peer(peer.ip())), place, app, stop) => {} }
        });
    }
    drop(listener);
    tracker.close();
    if tokio::time::timeout(bounds.drain, tracker.wait()).await.is_err() {
        tracing::warn!(connections = tracker.len(), "connections did not end in time");
        hard_stop.cancel();
        tracker.wait().await;
    }
}

/// One connection until it ends; after `stop` it ends with the answer it is at.
async fn connection((stream, peer): (TcpStream, Peer), place: Place, app: Router, stop: CancellationToken) {
    let socket = SockRef::from(&stream);
    let _ = socket.set_tcp_nodelay(true); // a socket that is gone already shows so below
    let _ = socket.set_tcp_user_timeout(Some(Duration::from_millis(UNACKNOWLEDGED_MS_MAX)));
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_S_MAX))
        .max_buf_size(HEAD_BYTES_MAX);
    let wire = Wire::new(stream, place);
    let info = wire.info().clone();
    let app = app.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(info.clone());
        request.extensions_mut().insert(peer);
        request
    });
    let connection =
        server.serve_connection(TokioIo::new(wire), TowerToHyperService::new(app)).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection ended early");
    }
}
