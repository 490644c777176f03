//! Does every offset of a topic have exactly one disposition, and every disposition its row?

use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use thiserror::Error;
use uuid::Uuid;

/// A question that ClickHouse did not answer.
#[derive(Debug, Error)]
#[error("ClickHouse did not answer a question: {question}")]
pub struct QueryError {
    question: &'static str,
    #[source]
    source: clickhouse::error::Error,
}

impl QueryError {
    pub(crate) fn new(question: &'static str, source: clickhouse::error::Error) -> QueryError {
        QueryError { question, source }
    }
}

/// The offsets [low, high) of a partition that must be settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// Partition.
    pub partition: i32,
    /// First retained offset.
    pub low: i64,
    /// High watermark.
    pub high: i64,
}

/// Offsets [first, next) without receipt or recorded gap.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Hole {
    /// Partition.
    pub partition: i32,
    /// First offset.
    pub first: i64,
    /// The offset after the last.
    pub next: i64,
}

/// The balance of one topic.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Balance {
    /// Kafka topic.
    pub topic: String,
    /// Records that were published: offsets between the bounds, or what the publisher says.
    pub published: u64,
    /// Accepted records.
    pub accepted: u64,
    /// Dead letters.
    pub dead: u64,
    /// Dead letters by reason.
    pub reasons: BTreeMap<String, u64>,
    /// Accepted records whose event was accepted before.
    pub duplicates: u64,
    /// Events with one id and several contents, counted beyond the first content.
    pub conflicts: u64,
    /// Offsets without disposition, and dispositions without their row.
    pub missing: u64,
    /// Rows without disposition.
    pub extra: u64,
    /// Offsets with a fact and a dead letter.
    pub both: u64,
    /// Where offsets are missing.
    pub holes: Vec<Hole>,
}

impl Balance {
    /// True when nothing is missing, nothing is too much, and nothing is both.
    pub fn holds(&self) -> bool {
        self.missing == 0 && self.extra == 0 && self.both == 0 && self.holes.is_empty()
    }
}

#[derive(Row, Deserialize)]
struct Counts {
    accepted: u64,
    dead: u64,
    duplicates: i64,
    conflicts: i64,
    accepted_without_fact: u64,
    dead_without_letter: u64,
    both: u64,
    facts_without_receipt: Option<u64>,
    letters_without_receipt: Option<u64>,
}

#[derive(Row, Deserialize)]
struct ByReason {
    reason: String,
    letters: u64,
}

#[derive(Row, Deserialize)]
struct Range {
    first: i64,
    next: i64,
}

/// Balances one topic's identity: `facts` is its table, `bounds` says which offsets must be settled.
///
/// # Errors
/// Where ClickHouse does not answer; never a balance that was not counted.
pub async fn balance(
    client: &Client,
    (topic, topic_id): (&str, Uuid),
    facts: &str,
    bounds: &[Bounds],
) -> Result<Balance, QueryError> {
    let failed = |question| move |source| QueryError::new(question, source);
    let id = topic_id.to_string();
    let counts: Counts = client
        .query(include_str!("../sql/balance.sql"))
        .param("topic_id", &id)
        .param("facts", facts)
        .fetch_one()
        .await
        .map_err(failed("balance"))?;
    let reasons: Vec<ByReason> = client
        .query(include_str!("../sql/reasons.sql"))
        .param("topic_id", &id)
        .fetch_all()
        .await
        .map_err(failed("reasons"))?;
    let mut holes = Vec::new();
    for Bounds { partition, low, high } in bounds {
        let question = client.query(include_str!("../sql/holes.sql")).param("topic_id", &id);
        let question = question.param("partition", partition).param("low", low).param("high", high);
        let ranges: Vec<Range> = question.fetch_all().await.map_err(failed("holes"))?;
        holes.extend(ranges.into_iter().map(|r| Hole {
            partition: *partition,
            first: r.first,
            next: r.next,
        }));
    }
    let absent: u64 = holes.iter().map(|hole| hole.next.abs_diff(hole.first)).sum();
    Ok(Balance {
        topic: topic.to_owned(),
        published: bounds.iter().map(|b| b.high.abs_diff(b.low)).sum(),
        accepted: counts.accepted,
        dead: counts.dead,
        reasons: reasons.into_iter().map(|r| (r.reason, r.letters)).collect(),
        duplicates: counts.duplicates.unsigned_abs(),
        conflicts: counts.conflicts.unsigned_abs(),
        missing: absent + counts.accepted_without_fact + counts.dead_without_letter,
        extra: counts.facts_without_receipt.unwrap_or(0) + counts.letters_without_receipt.unwrap_or(0),
        both: counts.both,
        holes,
    })
}
