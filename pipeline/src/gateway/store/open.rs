//! The file: made, locked, of the right version.

use super::{Durability, StoreConfig};
use rusqlite::Connection;
use rustix::fs::{FlockOperation, flock};
use std::fs::{DirBuilder, File, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;
use thiserror::Error;

/// The database's file in the folder.
const FILE: &str = "gateway.sqlite";
/// Version of the tables; a file of a higher one is refused.
const VERSION: i32 = 2;
/// What a file of version 1 lacks.
const SINCE_1: &str = "BEGIN;
    ALTER TABLE requests ADD COLUMN refused INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE flows ADD COLUMN busy_us INTEGER;
    ALTER TABLE flows ADD COLUMN ended_us INTEGER;
    UPDATE flows SET ended_us = updated_us WHERE state IN ('SETTLED', 'REFUNDED', 'REFUSED', 'ROLLED_BACK', 'ROLLED_BACK_IN_PART',
        'ACCELERATED', 'DECLINED', 'EXPIRED', 'CLOSED', 'CLOSED_IN_PART');
    PRAGMA user_version = 2;
    COMMIT";
/// Bytes of a page of a file that is made here. Each page that a commit touches is written to the log whole, and a row is some hundred
/// bytes: with SQLite's 4,096 the log grows by 47 MB/s at 2,000 calls/s, and who appends waits when a checkpoint has that synced.
const PAGE_BYTES: i64 = 2_048;
/// A statement waits so long for the checkpoint's lock.
pub(super) const BUSY: Duration = Duration::from_secs(30);

/// Why the store cannot be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The folder or the lock.
    #[error("{path}: {error}")]
    Folder {
        /// Which.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// Somebody else has it.
    #[error("{0} is in use by another gateway: each has a folder of its own")]
    InUse(PathBuf),
    /// It was written by a later program.
    #[error("{path} has tables of version {found}, this program knows {VERSION}: use a newer tally")]
    Newer {
        /// Which.
        path: PathBuf,
        /// Its version.
        found: i32,
    },
    /// SQLite.
    #[error("{path}: {error}")]
    Sqlite {
        /// Which.
        path: PathBuf,
        /// What it says.
        error: rusqlite::Error,
    },
}

/// An open store.
pub(super) struct Opened {
    pub(super) connection: Connection,
    pub(super) path: PathBuf,
    /// Held for as long as the process lives.
    pub(super) lock: File,
    pub(super) durability: Durability,
}

pub(super) fn open(config: &StoreConfig) -> Result<Opened, OpenError> {
    let folder = |error| OpenError::Folder { path: config.folder.clone(), error };
    DirBuilder::new().recursive(true).mode(0o700).create(&config.folder).map_err(folder)?;
    let lock = config.folder.join("lock");
    let file = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&lock);
    let file = file.map_err(|error| OpenError::Folder { path: lock.clone(), error })?;
    if flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Err(OpenError::InUse(config.folder.clone()));
    }
    let path = config.folder.join(FILE);
    // made with the right mode before SQLite would make it with another; its companions take over the mode
    let made = OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path);
    made.map_err(|error| OpenError::Folder { path: path.clone(), error })?;
    let sqlite = |error| OpenError::Sqlite { path: path.clone(), error };
    let connection = connect(&path).map_err(sqlite)?;
    let found: i32 = connection.query_row("PRAGMA user_version", [], |row| row.get(0)).map_err(sqlite)?;
    if found > VERSION {
        return Err(OpenError::Newer { path, found });
    }
    let synchronous = match config.durability {
        Durability::Process => "NORMAL",
        Durability::Disk => "FULL",
    };
    let prepare = || {
        connection.pragma_update(None, "synchronous", synchronous)?;
        connection.pragma_update(None, "wal_autocheckpoint", 0)?; // another thread does it
        if found == 1 {
            connection.execute_batch(SINCE_1)?;
        }
        connection.execute_batch(include_str!("schema.sql"))?;
        connection.pragma_update(None, "user_version", VERSION)
    };
    prepare().map_err(sqlite)?;
    Ok(Opened { connection, path, lock: file, durability: config.durability })
}

/// A connection in the mode in which who reads and who writes do not wait for one another.
pub(super) fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY)?;
    connection.pragma_update(None, "page_size", PAGE_BYTES)?; // a file that is there keeps its own
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "cache_size", -16_384)?; // KiB
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}
