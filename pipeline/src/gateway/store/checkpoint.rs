//! The log of SQLite is carried into its file beside the writing thread, so that no call waits for the disk of another.

use super::open::connect;
use std::path::PathBuf;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

/// What was written is on the disk after so long at the latest, with the time that the disk takes.
const EVERY: Duration = Duration::from_millis(500);

/// Carries the log over until the sender is dropped.
pub(super) fn run(path: &PathBuf, stop: &Receiver<()>) {
    let connection = match connect(path) {
        Ok(connection) => connection,
        Err(error) => return tracing::error!(%error, "the gateway's store cannot be checkpointed"),
    };
    while matches!(stop.recv_timeout(EVERY), Err(RecvTimeoutError::Timeout)) {
        // PASSIVE waits for nobody; the frames that are in use stay for the next time
        let done = connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()));
        if let Err(error) = done {
            tracing::warn!(%error, "a checkpoint of the gateway's store failed; it is tried again");
        }
    }
}
