//! Where the lines come from: a file, or a standard input that a signal can interrupt.

use anyhow::Context;
use std::fs::File;
use std::io::{self, BufRead, BufReader, Cursor, Read};
use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// Bytes read at once.
const CHUNK_BYTES_MAX: usize = 1 << 16;
/// How often a reader that waits looks whether it was told to stop.
const LOOK: Duration = Duration::from_millis(100);

/// Opens a file; `-` is standard input, which ends when `stop` is cancelled.
pub(super) fn open(file: &Path, stop: &CancellationToken) -> anyhow::Result<Box<dyn BufRead>> {
    if file == Path::new("-") {
        return Ok(Box::new(BufReader::with_capacity(CHUNK_BYTES_MAX, Stdin::new(stop.clone()))));
    }
    let opened = File::open(file).with_context(|| format!("opening {}", file.display()))?;
    Ok(Box::new(BufReader::with_capacity(CHUNK_BYTES_MAX, opened)))
}

/// Standard input, read by a thread of its own: nothing can call back a read that waits for a keyboard.
struct Stdin {
    chunks: Receiver<io::Result<Vec<u8>>>,
    chunk: Cursor<Vec<u8>>,
    stop: CancellationToken,
}

impl Stdin {
    fn new(stop: CancellationToken) -> Stdin {
        let (to, chunks) = sync_channel(2);
        std::thread::spawn(move || {
            let mut stdin = io::stdin().lock();
            loop {
                let mut chunk = vec![0; CHUNK_BYTES_MAX];
                let read = stdin.read(&mut chunk).map(|bytes| {
                    chunk.truncate(bytes);
                    chunk
                });
                let last = !matches!(&read, Ok(chunk) if !chunk.is_empty());
                if to.send(read).is_err() || last {
                    return;
                }
            }
        });
        Stdin { chunks, chunk: Cursor::default(), stop }
    }
}

impl Read for Stdin {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        loop {
            let bytes = self.chunk.read(to)?;
            if bytes > 0 || self.stop.is_cancelled() {
                return Ok(bytes);
            }
            match self.chunks.recv_timeout(LOOK) {
                Ok(chunk) => {
                    let chunk = chunk?;
                    if chunk.is_empty() {
                        return Ok(0);
                    }
                    self.chunk = Cursor::new(chunk);
                }
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => return Ok(0),
            }
        }
    }
}
