//! Who serves a data folder: a lock held for life, and a note that says where.
//!
//! The lock decides, not the note: the system lets go of it when its holder dies, so a note left
//! behind by SIGKILL misleads nobody.

use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::error::Error;

const LOCK: &str = "clickhouse.lock";
const NOTE: &str = "clickhouse.json";
/// Tries to lock, 50 ms apart: a reader of the note holds the lock for a moment.
const TRIES: u32 = 10;

/// Where an embedded ClickHouse listens.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoint {
    /// Process id of the server.
    pub pid: u32,
    /// Address of its HTTP interface, as `http://127.0.0.1:8123`.
    pub url: String,
}

/// The server of a data folder, if one is serving it now. Costs two system calls.
#[must_use]
pub fn locate(data_dir: &Path) -> Option<Endpoint> {
    let lock = File::open(data_dir.join(LOCK)).ok()?;
    match lock.try_lock_shared() {
        Err(TryLockError::WouldBlock) => note(data_dir),
        Ok(()) | Err(TryLockError::Error(_)) => None,
    }
}

fn note(data_dir: &Path) -> Option<Endpoint> {
    serde_json::from_slice(&std::fs::read(data_dir.join(NOTE)).ok()?).ok()
}

/// The right to serve a folder; given up when dropped.
pub(super) struct Claim {
    data_dir: PathBuf,
    _lock: File,
}

impl Claim {
    /// Takes the right to serve `data_dir`, which is made if missing. Waits up to half a second.
    pub(super) fn take(data_dir: &Path) -> Result<Self, Error> {
        let folder = |source| Error::Folder { path: data_dir.to_owned(), source };
        // events lie in it, and of a demo the keys of its tokens
        DirBuilder::new().recursive(true).mode(0o700).create(data_dir).map_err(folder)?;
        let mut options = OpenOptions::new();
        let lock = options.read(true).write(true).create(true).truncate(false);
        let lock = lock.open(data_dir.join(LOCK)).map_err(folder)?;
        for attempt in 0..TRIES {
            match lock.try_lock() {
                Ok(()) => {
                    // A note of a dead server must not be read while this one starts.
                    match std::fs::remove_file(data_dir.join(NOTE)) {
                        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(folder(error)),
                        _ => return Ok(Self { data_dir: data_dir.to_owned(), _lock: lock }),
                    }
                }
                Err(TryLockError::Error(error)) => return Err(folder(error)),
                Err(TryLockError::WouldBlock) if attempt + 1 < TRIES => {
                    std::thread::sleep(Duration::from_millis(50));
                }
                Err(TryLockError::WouldBlock) => {}
            }
        }
        let holder = note(data_dir)
            .map_or("still starting".into(), |endpoint| format!("pid {}, {}", endpoint.pid, endpoint.url));
        Err(Error::Locked { data: data_dir.to_owned(), holder })
    }

    /// Writes the note, whole or not at all.
    pub(super) fn announce(&self, endpoint: &Endpoint) -> Result<(), Error> {
        let path = self.data_dir.join(NOTE);
        let draft = self.data_dir.join("clickhouse.json.new");
        let write = || {
            std::fs::write(&draft, serde_json::to_vec(endpoint)?)?;
            std::fs::rename(&draft, &path)
        };
        write().map_err(|source| Error::Folder { path, source })
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        // Best effort: without the lock the note counts for nothing.
        let _ = std::fs::remove_file(self.data_dir.join(NOTE));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_live_claim_is_located() {
        let folder = std::env::temp_dir().join(format!("tally-claim-{}", std::process::id()));
        assert_eq!(locate(&folder), None);
        let claim = Claim::take(&folder).expect("first");
        assert_eq!(locate(&folder), None, "not announced yet");
        let endpoint = Endpoint { pid: 7, url: "http://127.0.0.1:1".into() };
        claim.announce(&endpoint).expect("announce");
        assert_eq!(locate(&folder), Some(endpoint.clone()));
        let refused = Claim::take(&folder).err().expect("second").to_string();
        assert!(refused.contains("pid 7, http://127.0.0.1:1"), "{refused}");
        drop(claim);
        // What SIGKILL leaves behind: a note without a lock.
        std::fs::write(folder.join(NOTE), serde_json::to_vec(&endpoint).expect("json")).expect("note");
        assert_eq!(locate(&folder), None);
        drop(Claim::take(&folder).expect("again"));
        std::fs::remove_dir_all(&folder).expect("clean up");
    }
}
