//! The body of a request on its way from the connection to the thread that runs the statement.

use std::io::{self, Read};
use std::time::Duration;

use bytes::{Buf, Bytes};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::sync::mpsc;

use super::compression::Coding;
use super::error::{Exception, Kind};

/// Pieces on their way at once; a piece has at most hyper's 400 KiB.
const PIECES_MAX: usize = 8;
/// What is read and thrown away after an early answer, so that the client gets to read it.
const DRAIN_BYTES_MAX: u64 = 64 << 20;
/// Size of the pieces handed to the engine when the body is compressed.
const DECODED_BYTES: usize = 1 << 20;

/// A piece of a body, or why there is no more.
pub(super) type Piece = Result<Bytes, Exception>;

/// Bounds of a body.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// Compressed size.
    pub(super) bytes_max: u64,
    /// Longest wait for the next piece.
    pub(super) idle: Duration,
}

/// Moves a body into a channel, piece by piece. Ends with the body, or soon after the reader has
/// gone.
pub(super) async fn pump(mut body: Incoming, pieces: mpsc::Sender<Piece>, bounds: Bounds) {
    let mut total = 0_u64;
    loop {
        let piece = match tokio::time::timeout(bounds.idle, body.frame()).await {
            Err(_) => Err(Exception::new(Kind::SocketTimeout, "Timeout exceeded while reading the body.")),
            Ok(None) => return,
            Ok(Some(Err(error))) => Err(Exception::new(
                Kind::CannotReadAllData,
                format_args!("the body of the request ended early: {error}."),
            )),
            Ok(Some(Ok(frame))) => match frame.into_data() {
                Ok(data) => Ok(data),
                Err(_trailers) => continue,
            },
        };
        let piece = piece.and_then(|data| {
            total = total.saturating_add(data.len() as u64);
            if total <= bounds.bytes_max {
                return Ok(data);
            }
            let message =
                format_args!("the body is larger than {} bytes; send less at once.", bounds.bytes_max);
            Err(Exception::new(Kind::QueryTooLarge, message))
        });
        let failed = piece.is_err();
        if pieces.send(piece).await.is_err() || failed {
            break;
        }
    }
    drain(body, bounds).await;
}

/// Reads and throws away what is left of a body, within bounds, so that the client gets to read an
/// early answer and can use the connection again.
pub(super) async fn drain(mut body: Incoming, bounds: Bounds) {
    let drain = async {
        let mut dropped = 0_u64;
        while let Some(Ok(frame)) = body.frame().await {
            dropped += frame.data_ref().map_or(0, |data| data.len() as u64);
            if dropped > DRAIN_BYTES_MAX {
                break;
            }
        }
    };
    let _ = tokio::time::timeout(bounds.idle, drain).await;
}

/// Reads a small body whole.
///
/// # Errors
/// When it is larger than `bytes_max` or breaks off.
pub(super) async fn whole(body: Incoming, bytes_max: usize, bounds: Bounds) -> Result<Bytes, Exception> {
    let collected = http_body_util::Limited::new(body, bytes_max).collect();
    match tokio::time::timeout(bounds.idle, collected).await {
        Ok(Ok(collected)) => Ok(collected.to_bytes()),
        Ok(Err(error)) => {
            Err(Exception::new(Kind::BadArguments, format_args!("cannot read the form: {error}.")))
        }
        Err(_) => Err(Exception::new(Kind::SocketTimeout, "Timeout exceeded while reading the body.")),
    }
}

/// The channel for [`pump`].
pub(super) fn channel() -> (mpsc::Sender<Piece>, mpsc::Receiver<Piece>) {
    mpsc::channel(PIECES_MAX)
}

/// The plain data of a body, for a thread.
pub(super) enum Body {
    /// Passed on as it came.
    Plain(mpsc::Receiver<Piece>),
    /// Decompressed.
    Decoded(Box<dyn Read>),
}

impl Body {
    pub(super) fn new(
        pieces: mpsc::Receiver<Piece>,
        coding: Coding,
        in_blocks: bool,
    ) -> Result<Self, Exception> {
        if coding == Coding::Identity && !in_blocks {
            return Ok(Self::Plain(pieces));
        }
        let plain = Pieces { pieces, current: Bytes::new() };
        let mut decoded = coding.decode(plain).map_err(fault)?;
        if in_blocks {
            decoded = Coding::Blocks.decode(decoded).map_err(fault)?;
        }
        Ok(Self::Decoded(decoded))
    }

    /// The next piece, never empty; `None` at the end. Waits for it.
    pub(super) fn next(&mut self) -> Result<Option<Bytes>, Exception> {
        match self {
            Self::Plain(pieces) => loop {
                match pieces.blocking_recv().transpose()? {
                    Some(piece) if piece.is_empty() => {}
                    piece => return Ok(piece),
                }
            },
            Self::Decoded(reader) => {
                let mut out = Vec::with_capacity(DECODED_BYTES);
                reader.take(DECODED_BYTES as u64).read_to_end(&mut out).map_err(fault)?;
                Ok((!out.is_empty()).then(|| out.into()))
            }
        }
    }
}

/// The compressed pieces as a reader.
struct Pieces {
    pieces: mpsc::Receiver<Piece>,
    current: Bytes,
}

impl Read for Pieces {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        while self.current.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(Ok(piece)) => self.current = piece,
                Some(Err(exception)) => return Err(io::Error::other(Fault(exception))),
            }
        }
        let bytes = out.len().min(self.current.len());
        self.current.copy_to_slice(out.get_mut(..bytes).unwrap_or_default());
        Ok(bytes)
    }
}

/// Carries an exception through a decompressor.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.text)]
struct Fault(Exception);

fn fault(error: io::Error) -> Exception {
    match error.get_ref().and_then(|inner| inner.downcast_ref::<Fault>()) {
        Some(Fault(exception)) => exception.clone(),
        None => Exception::new(Kind::CannotDecompress, format_args!("cannot decompress the body: {error}.")),
    }
}
