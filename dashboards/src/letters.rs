//! What the service is handed to look into dead letters and to publish them again. Contracts, a registry and Kafka stand behind it.

use async_trait::async_trait;
use tally_queries::Letter;
use tally_schemas::Explained;
use thiserror::Error;
use uuid::Uuid;

/// What would become of a letter that is published now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Judged {
    /// An event, with its id and its content digest (hex).
    Event {
        /// Its id.
        event_id: Uuid,
        /// Its content digest, hex.
        digest: String,
    },
    /// It would die again.
    Dead {
        /// Name of the reason.
        reason: String,
        /// The guilty field; empty where none is.
        path: String,
        /// What was found and what was expected.
        sentence: String,
    },
}

/// The record that would be published: that of the letter, with its lineage among the headers.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Record {
    /// Kafka topic.
    pub topic: String,
    /// Key.
    pub key: Option<Vec<u8>>,
    /// Value.
    pub value: Option<Vec<u8>>,
    /// Headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// Which attempt this is.
    pub attempt: u32,
}

/// Why nothing can be said of a letter, or it was not published.
#[derive(Debug, Error)]
pub enum LettersError {
    /// Nobody knows how to read it.
    #[error("{0}")]
    Unreadable(String),
    /// The registry, or whoever else must be asked, does not answer.
    #[error("what a letter is held against does not answer")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Kafka did not take it.
    #[error("Kafka did not take the record")]
    NotTaken(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Kafka was handed it and did not say whether it has it.
    #[error("Kafka did not say whether it took the record")]
    Unacknowledged(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Whoever knows the contracts and the registry of today, and may publish.
#[async_trait]
pub trait Letters: std::fmt::Debug + Send + Sync {
    /// As many fields of a value as can be read under the schema that its frame names.
    ///
    /// # Errors
    /// Where no schema is known, or nobody answers.
    async fn explain(&self, value: &[u8]) -> Result<Explained, LettersError>;

    /// Judges a letter as if it were appended now.
    ///
    /// # Errors
    /// Where its topic is none of ours, or nobody answers.
    async fn judge(&self, letter: &Letter) -> Result<Judged, LettersError>;

    /// The record that [`Letters::publish`] sends.
    ///
    /// # Errors
    /// Where the letter's bytes are not there.
    fn record(&self, letter: &Letter, replay_id: Uuid) -> Result<Record, LettersError>;

    /// Whether it may publish.
    fn publishes(&self) -> bool;

    /// Publishes the letter's record again, and waits for its acknowledgement: partition and offset.
    ///
    /// # Errors
    /// Where it may not, or Kafka does not take it, or does not say so.
    async fn publish(&self, letter: &Letter, replay_id: Uuid) -> Result<(i32, i64), LettersError>;
}
