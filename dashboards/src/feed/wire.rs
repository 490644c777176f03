//! The wire under a connection: its reader's silence is noticed where it happens, at the socket.
//!
//! A stream over SSE is not asked for more once its socket takes no more, so no clock inside the stream would run then. Here one
//! does: a write that has been blocked for the wire's patience fails, which ends the connection. `TCP_USER_TIMEOUT` would do the
//! same without telling a reader that may still hear why, and without counting it.

use std::fmt;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a write may be blocked where nobody said otherwise, milliseconds.
const PATIENCE_MS: u64 = 5_000;

/// What a handler may set of the wire that it answers over: an extension of each request.
#[derive(Clone)]
pub struct WireInfo {
    set: Arc<Set>,
}

struct Set {
    patience_ms: AtomicU64,
    stalled: OnceLock<Box<dyn Fn() + Send + Sync>>,
}

impl fmt::Debug for WireInfo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WireInfo").field("patience_ms", &self.set.patience_ms).finish_non_exhaustive()
    }
}

impl WireInfo {
    /// How long a write may be blocked from now on.
    pub(super) fn patience(&self, patience: Duration) {
        let ms = u64::try_from(patience.as_millis()).unwrap_or(u64::MAX);
        self.set.patience_ms.store(ms, Ordering::Relaxed);
    }

    /// What to do when that was too long; the first word stands.
    pub(super) fn when_stalled(&self, act: impl Fn() + Send + Sync + 'static) {
        let _ = self.set.stalled.set(Box::new(act)); // a second stream on the connection says the same
    }
}

/// One connection, which ends when its reader takes nothing for long.
pub struct Wire {
    stream: TcpStream,
    info: WireInfo,
    /// Runs while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
    /// Given back when the wire ends, in whosever hands it is by then.
    _place: Box<dyn Send + Sync>,
}

impl fmt::Debug for Wire {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Wire").field("info", &self.info).finish_non_exhaustive()
    }
}

impl Wire {
    /// Over this stream; `place` is dropped with it. An upgrade takes the wire out of its HTTP connection and lasts longer than
    /// that.
    pub fn new(stream: TcpStream, place: impl Send + Sync + 'static) -> Wire {
        let set = Set { patience_ms: AtomicU64::new(PATIENCE_MS), stalled: OnceLock::new() };
        Wire { stream, info: WireInfo { set: Arc::new(set) }, blocked: None, _place: Box::new(place) }
    }

    /// What handlers may set.
    pub fn info(&self) -> &WireInfo {
        &self.info
    }

    /// Starts or stops the clock by what a write gave.
    fn watched<T>(&mut self, cx: &mut Context<'_>, written: Poll<Result<T>>) -> Poll<Result<T>> {
        if written.is_ready() {
            self.blocked = None;
            return written;
        }
        let patience = Duration::from_millis(self.info.set.patience_ms.load(Ordering::Relaxed));
        let clock = self.blocked.get_or_insert_with(|| Box::pin(sleep(patience)));
        match clock.as_mut().poll(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(()) => {
                self.blocked = None;
                if let Some(act) = self.info.set.stalled.get() {
                    act();
                }
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
