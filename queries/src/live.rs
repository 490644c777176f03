//! What the live page shows: the ledger's counts now.

use crate::QueryError;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

/// The ledger at one moment.
#[derive(Clone, Debug, Serialize)]
pub struct Live {
    /// By topic.
    pub topics: Vec<LiveTopic>,
    /// Dead letters by topic and reason, most first.
    pub reasons: Vec<LiveReason>,
    /// The latest dead letters.
    pub letters: Vec<LiveLetter>,
}

/// One topic's counts.
#[derive(Clone, Debug, Row, Deserialize, Serialize)]
pub struct LiveTopic {
    /// Kafka topic.
    pub topic: String,
    /// Accepted records.
    pub accepted: u64,
    /// Dead letters.
    pub dead: u64,
    /// Accepted records whose event was accepted before.
    pub duplicates: i64,
    /// Records whose Kafka timestamp lies in the last ten seconds.
    pub last_ten_seconds: u64,
    /// Newest Kafka timestamp, milliseconds since 1970 UTC.
    pub newest_ms: i64,
}

/// Dead letters of one topic and reason.
#[derive(Clone, Debug, Row, Deserialize, Serialize)]
pub struct LiveReason {
    /// Kafka topic.
    pub topic: String,
    /// Why.
    pub reason: String,
    /// How many.
    pub letters: u64,
}

/// One dead letter, without its bytes.
#[derive(Clone, Debug, Row, Deserialize, Serialize)]
pub struct LiveLetter {
    /// Kafka topic.
    pub topic: String,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// Why.
    pub reason: String,
    /// Which field.
    pub path: String,
    /// A sentence for people.
    pub sentence: String,
    /// Kafka timestamp, milliseconds since 1970 UTC.
    pub appended_ms: i64,
}

/// Reads the counts.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn live(client: &Client) -> Result<Live, QueryError> {
    let failed = |question| move |source| QueryError::new(question, source);
    let topics = client.query(include_str!("../sql/live_topics.sql")).fetch_all();
    let reasons = client.query(include_str!("../sql/live_reasons.sql")).fetch_all();
    let letters = client.query(include_str!("../sql/live_letters.sql")).fetch_all();
    Ok(Live {
        topics: topics.await.map_err(failed("live topics"))?,
        reasons: reasons.await.map_err(failed("live reasons"))?,
        letters: letters.await.map_err(failed("live letters"))?,
    })
}
