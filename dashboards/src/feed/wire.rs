//! The wire under a connection: its reader's silence is noticed where it happens, at the socket.
//!
//! A stream over SSE is not asked for more once its socket takes no more, so no clock inside the stream would run then. Here one
//! does: a write that has been blocked for the wire's patience fails, which ends the connection. `TCP_USER_TIMEOUT` does the same
//! for a peer that is gone altogether.

use axum::extract::connect_info::Connected;
use axum::serve::{IncomingStream, Listener};
use socket2::SockRef;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Sleep, sleep};

/// How long unacknowledged data may be outstanding before the kernel gives the connection up.
const USER_TIMEOUT: Duration = Duration::from_secs(15);
/// How long a write may be blocked where nobody said otherwise, milliseconds.
const PATIENCE_MS: u64 = 30_000;

/// What a handler may know and set of the wire it answers over.
#[derive(Clone, Debug)]
pub struct WireInfo {
    peer: SocketAddr,
    patience_ms: Arc<AtomicU64>,
}

impl WireInfo {
    /// Who is at the other end.
    pub fn peer(&self) -> SocketAddr {
        self.peer
    }

    /// How long a write may be blocked from now on.
    pub(super) fn patience(&self, patience: Duration) {
        let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.patience_ms.store(ms, Ordering::Relaxed);
    }
}

/// A listener whose connections end when their reader takes nothing for long. Serve the router with
/// `into_make_service_with_connect_info::<WireInfo>()`.
pub struct Wires {
    listener: TcpListener,
    stalled: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Wires {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wires").field("listener", &self.listener).finish_non_exhaustive()
    }
}

impl Wires {
    pub(super) fn new(listener: TcpListener, stalled: Arc<dyn Fn() + Send + Sync>) -> Wires {
        Wires { listener, stalled }
    }
}

impl Listener for Wires {
    type Io = Wire;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Wire, SocketAddr) {
        let (stream, peer) = Listener::accept(&mut self.listener).await;
        let socket = SockRef::from(&stream);
        // a socket that takes none of these works all the same
        let _ = socket.set_tcp_nodelay(true);
        let _ = socket.set_tcp_user_timeout(Some(USER_TIMEOUT));
        let info = WireInfo { peer, patience_ms: Arc::new(AtomicU64::new(PATIENCE_MS)) };
        (Wire { stream, info, blocked: None, stalled: self.stalled.clone() }, peer)
    }

    fn local_addr(&self) -> Result<SocketAddr> {
        self.listener.local_addr()
    }
}

impl Connected<IncomingStream<'_, Wires>> for WireInfo {
    fn connect_info(stream: IncomingStream<'_, Wires>) -> WireInfo {
        stream.io().info.clone()
    }
}

/// One connection.
pub struct Wire {
    stream: TcpStream,
    info: WireInfo,
    /// Runs while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
    stalled: Arc<dyn Fn() + Send + Sync>,
}

impl std::fmt::Debug for Wire {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Wire").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Wire {
    /// Starts or stops the clock by what a write gave.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = Duration::from_millis(self.info.patience_ms.load(Ordering::Relaxed));
        let clock = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
        match clock.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.blocked = None;
                (self.stalled)();
                Poll::Ready(Err(Error::new(ErrorKind::TimedOut, "the reader takes nothing")))
            }
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.watched(cx, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.watched(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
