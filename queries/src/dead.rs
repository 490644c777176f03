//! Dead letters: which there are, why, and what became of their replays.

use crate::QueryError;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

/// Which dead letters; an empty text or `None` means all.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Kafka topic.
    pub topic: String,
    /// Topic identity, as text.
    pub topic_id: String,
    /// Name of the reason.
    pub reason: String,
    /// Partition and offset.
    pub at: Option<(i32, i64)>,
    /// Appended at or after, RFC 3339.
    pub from: String,
    /// Appended before, RFC 3339.
    pub to: String,
    /// At most so many.
    pub limit: u64,
    /// With key, value and headers.
    pub payload: bool,
}

/// One dead letter. Key, value and headers are there only where they were asked for.
#[derive(Clone, Debug, Default, Deserialize, Row, Serialize)]
pub struct Letter {
    /// Kafka topic.
    pub topic: String,
    /// Its identity.
    pub topic_id: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When it was appended, RFC 3339.
    pub appended_at: String,
    /// Why it is dead.
    pub reason: String,
    /// The guilty field.
    pub path: String,
    /// What was found and what was expected.
    pub sentence: String,
    /// The writer's schema.
    pub schema: String,
    /// Length of the value.
    pub bytes: u64,
    /// SHA-256 of the value, hex.
    pub sha256: String,
    /// The replay that published it; nil where there was none.
    pub replay_id: String,
    /// How often it had been replayed when it came.
    pub replay_attempt: u32,
    /// `topic id/partition/offset` of the first publication.
    pub first: String,
    /// Partition and offset at which the same bytes were accepted later; at most one.
    pub accepted_at: Vec<(i32, i64)>,
    /// Later attempts that died: attempt, partition, offset.
    pub dead_again: Vec<(u32, i32, i64)>,
    /// Key, hex.
    pub key_hex: Option<String>,
    /// Value, hex.
    pub value_hex: Option<String>,
    /// Headers: name, and value in hex.
    pub headers: Vec<(String, Option<String>)>,
}

/// How many letters died of a reason.
#[derive(Clone, Debug, Deserialize, Row, Serialize)]
pub struct ByReason {
    /// Its name.
    pub reason: String,
    /// How many.
    pub letters: u64,
}

impl Letter {
    /// `topic/partition/offset`.
    pub fn at(&self) -> String {
        format!("{}/{}/{}", self.topic, self.partition, self.offset)
    }

    /// Whether it was replayed, whatever became of it.
    pub fn is_replayed(&self) -> bool {
        !self.accepted_at.is_empty() || !self.dead_again.is_empty()
    }

    /// How often its event is known to have been replayed.
    pub fn attempts(&self) -> u32 {
        let later = self.dead_again.iter().map(|(attempt, ..)| *attempt).max();
        later.map_or(self.replay_attempt, |later| later.max(self.replay_attempt))
    }

    /// What became of its replays, in words.
    pub fn replay_state(&self) -> String {
        let dead = self.dead_again.len();
        match (self.accepted_at.first(), self.dead_again.last()) {
            (Some((partition, offset)), _) => {
                format!("replayed, accepted at {}/{partition}/{offset}", self.topic)
            }
            (None, Some((_, partition, offset))) => {
                format!("replayed {dead} times, dead again at {}/{partition}/{offset}", self.topic)
            }
            (None, None) => "never replayed".to_owned(),
        }
    }
}

fn bounds(wanted: &Wanted) -> (&str, &str) {
    let or = |text, default| if str::is_empty(text) { default } else { text };
    (or(&wanted.from, "1900-01-01T00:00:00Z"), or(&wanted.to, "2299-01-01T00:00:00Z"))
}

/// The letters that are wanted, newest first.
///
/// # Errors
/// Where ClickHouse does not answer, or a time is none.
pub async fn dead_letters(client: &Client, wanted: &Wanted) -> Result<Vec<Letter>, QueryError> {
    let (from, to) = bounds(wanted);
    let (partition, offset) = wanted.at.unwrap_or((-1, -1));
    let question = client.query(include_str!("../sql/dead_letters.sql"));
    let question = question.param("topic", &wanted.topic).param("topic_id", &wanted.topic_id);
    let question =
        question.param("reason", &wanted.reason).param("partition", partition).param("offset", offset);
    let question = question.param("from", from).param("to", to).param("limit", wanted.limit);
    let letters = question.param("payload", wanted.payload).fetch_all().await;
    letters.map_err(|source| QueryError::new("dead letters", source))
}

/// How many letters there are by reason, with no regard to `limit` and `at`.
///
/// # Errors
/// Where ClickHouse does not answer, or a time is none.
pub async fn dead_reasons(client: &Client, wanted: &Wanted) -> Result<Vec<ByReason>, QueryError> {
    let (from, to) = bounds(wanted);
    let question = client.query(include_str!("../sql/dead_reasons.sql"));
    let question = question.param("topic", &wanted.topic).param("reason", &wanted.reason);
    let reasons = question.param("from", from).param("to", to).fetch_all().await;
    reasons.map_err(|source| QueryError::new("dead letters by reason", source))
}

/// Whether an event with that id (UUID) and content digest (hex) was accepted before.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn is_stored(client: &Client, event_id: &str, digest: &str) -> Result<bool, QueryError> {
    let question = client.query(include_str!("../sql/dead_duplicates.sql"));
    let count = question.param("event_id", event_id).param("digest", digest).fetch_one::<u64>().await;
    count.map(|count| count > 0).map_err(|source| QueryError::new("duplicates of a dead letter", source))
}
