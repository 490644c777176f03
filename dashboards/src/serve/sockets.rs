//! Sockets: taken one by one up to a bound, each with its own bounds of time, and ended in good order.

use super::metrics::ServiceMetrics;
use crate::feed::{Sequel, Wire};
use crate::request::Peer;
use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use socket2::SockRef;
use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
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
/// writer go on only once a third of them is gone: a reader that is slow but steady would look like one that takes nothing. With
/// it the writer goes on once half of them are gone.
const UNSENT_BYTES_MAX: u32 = 32 * 1024;
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
    // boxed: what HTTP needs is given back once a stream has left it
    if let Some((wire, sequel)) = Box::pin(http((Wire::new(stream, place), peer), app, stop)).await {
        sequel(wire).await;
    }
}

/// Speaks HTTP over a wire until its end, or until an answer goes on by itself: then what does so, and the wire for it.
async fn http((wire, peer): (Wire, Peer), app: Router, stop: CancellationToken) -> Option<(Wire, Sequel)> {
    let mut server = http1::Builder::new();
    server
        .timer(TokioTimer::new())
        .header_read_timeout(Duration::from_secs(HEAD_S_MAX))
        .max_buf_size(HEAD_BYTES_MAX);
    let info = wire.info().clone();
    let told = info.clone();
    let app = app.map_request(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(told.clone());
        request.extensions_mut().insert(peer);
        request
    });
    let mut connection =
        server.serve_connection(TokioIo::new(wire), TowerToHyperService::new(app)).with_upgrades();
    let mut stopped = pin!(stop.cancelled());
    let mut is_stopping = false;
    let sequel = poll_fn(|cx| {
        if !is_stopping && stopped.as_mut().poll(cx).is_ready() {
            is_stopping = true;
            Pin::new(&mut connection).graceful_shutdown();
        }
        match Pin::new(&mut connection).poll(cx) {
            Poll::Ready(ended) => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "a connection ended early");
                }
                Poll::Ready(None)
            }
            Poll::Pending => info.sequel().map_or(Poll::Pending, |sequel| Poll::Ready(Some(sequel))),
        }
    });
    let sequel = sequel.await?;
    let parts = connection.into_parts()?;
    Some((parts.io.into_inner(), sequel))
}
