//! Why a log could not be read, written or believed.

use crate::QueryError;
use thiserror::Error;

/// What kept a seal, a verification or a proof from being made. None of these is ever a pass.
#[derive(Debug, Error)]
pub enum SealError {
    /// ClickHouse did not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// The directory or object store did not answer.
    #[error("the log at {path}")]
    Store {
        /// The object, relative to the log.
        path: String,
        /// What the store said.
        #[source]
        source: object_store::Error,
    },
    /// An object of the log is not there.
    #[error("the log lacks {0}")]
    Missing(String),
    /// An object of the log is not what it must be.
    #[error("the log is altered: {0}")]
    Altered(String),
    /// The map from offsets to tiles leads astray, while the rows give the signed root.
    #[error(
        "the map {0} does not lead to the rows that are there; `tally verify` of everything names what was altered"
    )]
    Map(String),
    /// A checkpoint or proof bears no signature of a key that was given.
    #[error("no signature of a known key: {0}")]
    UnknownKey(String),
    /// A key, or a file of keys, cannot be used.
    #[error("key: {0}")]
    Key(String),
    /// What ClickHouse or a file gave cannot be read.
    #[error("{0}")]
    Malformed(String),
    /// Whoever still has the bytes did not give them.
    #[error("Kafka's bytes")]
    Witness(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Another sealer published meanwhile, more often than this one tries.
    #[error("other sealers publish faster than this one; {0} attempts")]
    Contended(u32),
}

impl SealError {
    pub(super) fn malformed(what: impl std::fmt::Display) -> SealError {
        SealError::Malformed(what.to_string())
    }
}
