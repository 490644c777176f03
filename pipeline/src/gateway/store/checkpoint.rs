//! The log of SQLite is carried into its file beside the writing thread, so that calls wait for that as little as can be.

use super::Gauges;
use super::open::connect;
use rusqlite::Connection;
use std::path::Path;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// What was written is on the disk after so long at the latest, with the time that the disk takes. More often, and calls would meet it
/// at work: who appends to a file waits while the file system commits.
const EVERY: Duration = Duration::from_secs(5);

/// Passes over the log in a row.
const PASSES_MAX: usize = 5;
/// Pages that are soon carried over: no pass more for them.
const FEW: i64 = 256;
/// How far this thread stands behind those that answer calls: what it does is a burst, and calls are due meanwhile.
const NICE: i32 = 10;

/// Carries the log over until the sender is dropped.
pub(super) fn run(path: &Path, gauges: &Gauges, stop: &Receiver<()>) {
    // of a thread it is, on Linux alone
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICE) {
        tracing::debug!(%error, "the checkpoint runs beside the calls as their equal");
    }
    let mut open = None;
    while matches!(stop.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
        let connection = match open.take().map_or_else(|| connect(path), Ok) {
            Ok(connection) => open.insert(connection),
            Err(error) => {
                tracing::error!(%error, "the gateway's store cannot be checkpointed; it is tried again");
                continue;
            }
        };
        match passes(connection) {
            Ok((frames, left)) => {
                let count = |pages: i64| u64::try_from(pages).unwrap_or(0);
                gauges.log_behind.store(count(left), Ordering::Relaxed);
                gauges.log_frames.store(count(frames), Ordering::Relaxed);
            }
            Err(error) => {
                tracing::warn!(%error, "a checkpoint of the gateway's store failed; it is tried again");
            }
        }
    }
}

/// Pass after pass, each as short as what came during the one before it, so that little is left to who has the log begin anew. Gives the
/// pages of the log, and how many the last pass found that had come since: about as many have come since then.
fn passes(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    let (mut frames, mut done) = pass(connection)?;
    let mut left = frames;
    for _ in 1..PASSES_MAX {
        let before = done;
        (frames, done) = pass(connection)?;
        left = frames - before;
        if left < FEW {
            break;
        }
    }
    Ok((frames, left))
}

/// Carries over what the log has when it begins; gives how many pages that were, and how many are carried over. It waits for nobody:
/// what is in use stays for the next time.
fn pass(connection: &Connection) -> rusqlite::Result<(i64, i64)> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| Ok((row.get(1)?, row.get(2)?)))
}
