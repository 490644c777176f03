//! The wire under a connection: a write that nobody takes fails in time, and an answer may go on without HTTP.
//!
//! A body of hyper's is not asked for more once its socket takes no more, so no clock inside it would run then. Here one does: a
//! write that has been blocked for the wire's patience fails, which ends the connection.
//!
//! Whoever streams for long leaves HTTP behind once the answer's head is written ([`WireInfo::body`]): hyper keeps two buffers of
//! 8 KiB for each connection, and tells a body neither that its reader takes nothing nor that it has gone.

use axum::body::{Body, Bytes};
use futures::future::BoxFuture;
use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io::{Error, ErrorKind, IoSlice, Result};
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// How long a write may be blocked where nobody said otherwise, milliseconds.
const PATIENCE_MS: u64 = 5_000;
/// Bytes that are read, and forgotten, at once from somebody who is to say nothing more.
const FORGOTTEN_BYTES: usize = 256;
/// Such bytes of one connection: an honest client has nothing to say behind its request.
const FORGOTTEN_BYTES_MAX: usize = 64 << 10;

/// What goes on over a wire after the head of an answer, until its end.
pub type Sequel = Box<dyn FnOnce(Wire) -> BoxFuture<'static, ()> + Send>;

/// What a handler may set of the wire that it answers over: an extension of each request.
#[derive(Clone)]
pub struct WireInfo {
    set: Arc<Set>,
}

struct Set {
    patience_ms: AtomicU64,
    next: Mutex<Next>,
}

/// What comes after HTTP.
#[derive(Default)]
struct Next {
    sequel: Option<Sequel>,
    /// HTTP has written all that it had.
    is_due: bool,
}

impl Set {
    fn next(&self) -> MutexGuard<'_, Next> {
        self.next.lock().unwrap_or_else(PoisonError::into_inner)
    }
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

    /// The body of an answer of which HTTP writes the head alone: then the wire is the sequel's. Where nobody asks for the body
    /// (`HEAD`, a client that has gone) there is none.
    pub(super) fn body(&self, sequel: Sequel) -> Body {
        let (set, mut sequel) = (self.set.clone(), Some(sequel));
        let never = futures::stream::poll_fn(move |_| {
            if let Some(sequel) = sequel.take() {
                set.next().sequel = Some(sequel);
            }
            Poll::<Option<std::result::Result<Bytes, Infallible>>>::Pending
        });
        Body::from_stream(never)
    }

    /// What goes on, once HTTP has written all that comes before it.
    pub fn sequel(&self) -> Option<Sequel> {
        let mut next = self.set.next();
        if next.is_due { next.sequel.take() } else { None }
    }
}

/// One connection, which ends when its reader takes nothing for long.
pub struct Wire {
    stream: TcpStream,
    info: WireInfo,
    /// Runs while a write is blocked.
    blocked: Option<Pin<Box<Sleep>>>,
    /// Bytes that the peer sent and nobody asked for.
    forgotten: usize,
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
        let set = Set { patience_ms: AtomicU64::new(PATIENCE_MS), next: Mutex::default() };
        Wire {
            stream,
            info: WireInfo { set: Arc::new(set) },
            blocked: None,
            forgotten: 0,
            _place: Box::new(place),
        }
    }

    /// What handlers may set.
    pub fn info(&self) -> &WireInfo {
        &self.info
    }

    /// Ends when the peer has closed the connection or reset it. What it says until then is forgotten: after a request whose
    /// answer ends the connection there is nothing to say, and who goes on talking is gone too. A future that is dropped loses nothing.
    pub(super) async fn gone(&mut self) {
        poll_fn(|cx| {
            loop {
                let mut bytes = [0; FORGOTTEN_BYTES]; // not held between polls: it would be in every connection's memory
                let mut buf = ReadBuf::new(&mut bytes);
                match ready!(Pin::new(&mut self.stream).poll_read(cx, &mut buf)) {
                    Ok(()) if !buf.filled().is_empty() && self.forgotten < FORGOTTEN_BYTES_MAX => {
                        self.forgotten += buf.filled().len();
                    }
                    Ok(()) | Err(_) => return Poll::Ready(()),
                }
            }
        })
        .await;
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
        ready!(Pin::new(&mut self.stream).poll_flush(cx))?;
        // hyper comes here only when it holds nothing that is still to be written
        let mut next = self.info.set.next();
        next.is_due = next.sequel.is_some();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
