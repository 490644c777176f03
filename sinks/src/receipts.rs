//! What the ledger already holds of a partition: read by a lane before it takes its first record.

use crate::error::StoreError;
use crate::store::Store;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use tally_schemas::{Fault, Reason, Sha256Digest};
use uuid::Uuid;

/// Offsets that a lane must not take again, and dead letters whose receipt is missing.
#[derive(Clone, Debug, Default)]
pub struct Receipts {
    /// Ranges [first, next) with a receipt or a recorded gap, ascending, apart from each other.
    pub done: Vec<(i64, i64)>,
    /// Dead letters without a receipt: a crash came between. What was found dead stays dead, so that a registry
    /// that knows more today cannot make a row and a dead letter of one offset.
    pub inherited: Inherited,
    /// Offsets of facts without a receipt: a crash came between. What was stored as a fact must not become a dead letter.
    pub stored: BTreeSet<i64>,
}

/// Faults by offset.
pub type Inherited = BTreeMap<i64, Fault>;

#[derive(clickhouse::Row, Deserialize)]
struct Range {
    first: i64,
    next: i64,
}

#[derive(clickhouse::Row, Deserialize)]
struct Orphan {
    offset: i64,
    reason: String,
    path: String,
    sentence: String,
}

#[derive(clickhouse::Row, Deserialize)]
struct Offset {
    offset: i64,
}

/// A record that was taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Taken {
    /// Its offset.
    pub offset: i64,
    /// The digest of its bytes.
    pub raw_sha256: Sha256Digest,
}

#[derive(clickhouse::Row, Deserialize)]
struct Last {
    offset: i64,
    raw_sha256: Sha256Digest,
}

const LAST: &str = "
SELECT offset, raw_sha256 FROM audit_log
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset < {below:Int64}
ORDER BY topic_id DESC, partition DESC, offset DESC LIMIT 1";

/// Receipts from an offset on, as ranges. An offset that was attested twice counts once.
const DONE: &str = "
WITH taken AS (
    SELECT offset AS first, offset + 1 AS next FROM audit_log
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64}
    UNION DISTINCT
    SELECT first, next FROM gaps
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND next > {from:Int64}
), islands AS (
    SELECT first, next,
        max(next) OVER (ORDER BY first, next ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS reach
    FROM taken
), numbered AS (
    SELECT first, next, sum(first > reach) OVER (ORDER BY first, next ROWS UNBOUNDED PRECEDING) AS island
    FROM islands
)
SELECT min(first) AS first, max(next) AS next FROM numbered GROUP BY island ORDER BY first";

const ORPHANS: &str = "
SELECT offset, reason, path, sentence FROM dead_letters FINAL
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64}
AND offset NOT IN (
    SELECT offset FROM audit_log
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64})
ORDER BY offset";

const STORED: &str = "
SELECT offset FROM {facts:Identifier}
WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64}
AND offset NOT IN (
    SELECT offset FROM audit_log
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32} AND offset >= {from:Int64})";

impl Store {
    /// Reads what is settled of one partition from offset `from` on; `facts` is the table of its topic.
    ///
    /// # Errors
    /// See [`StoreError`]. A lane that cannot read its receipts must not start.
    pub async fn receipts(
        &self,
        facts: &str,
        (topic_id, partition): (Uuid, i32),
        from: i64,
    ) -> Result<Receipts, StoreError> {
        let ask = |sql| {
            self.client
                .query(sql)
                .param("topic_id", topic_id.to_string())
                .param("partition", partition)
                .param("from", from)
        };
        let (orphans, stored) = tokio::try_join!(
            ask(ORPHANS).fetch_all::<Orphan>(),
            ask(STORED).param("facts", facts).fetch_all::<Offset>(),
        )?;
        // last: what the others leave out for its receipt is among these, though the receipt came a moment before
        let ranges = ask(DONE).fetch_all::<Range>().await?;
        let inherited = orphans.into_iter().map(|orphan| {
            let reason = Reason::from_name(&orphan.reason).unwrap_or(Reason::RejectedByStore);
            (orphan.offset, Fault { reason, path: orphan.path, sentence: orphan.sentence })
        });
        Ok(Receipts {
            done: ranges.into_iter().map(|r| (r.first, r.next)).collect(),
            inherited: inherited.collect(),
            stored: stored.into_iter().map(|fact| fact.offset).collect(),
        })
    }

    /// Reads what was taken last of one partition below an offset.
    ///
    /// # Errors
    /// Where the store does not answer.
    pub async fn last_receipt(
        &self,
        (topic_id, partition): (Uuid, i32),
        below: i64,
    ) -> Result<Option<Taken>, StoreError> {
        let asked = self.client.query(LAST).param("topic_id", topic_id.to_string());
        let asked = asked.param("partition", partition).param("below", below);
        let last = asked.fetch_optional::<Last>().await?;
        Ok(last.map(|Last { offset, raw_sha256 }| Taken { offset, raw_sha256 }))
    }
}
