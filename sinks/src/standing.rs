//! What the ledger says of each offset of a range, and whether the row that it attests is still there.

use crate::error::StoreError;
use crate::store::Store;
use serde::Deserialize;
use std::ops::Range;
use uuid::Uuid;

/// A receipt that stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Kafka offset.
    pub offset: i64,
    /// True for an accepted record, false for a dead letter.
    pub accepted: bool,
    /// Why it is dead; empty for an accepted record.
    pub reason: String,
    /// Content digest of an accepted record; zeros for a dead letter.
    pub digest: [u8; 32],
    /// Whether its fact, or its dead letter, is in its table.
    pub kept: bool,
}

#[derive(clickhouse::Row, Deserialize)]
struct Receipt {
    offset: i64,
    accepted: u8,
    reason: String,
    digest: [u8; 32],
    kept: u8,
}

/// An event counts as kept under any coordinates: of equal ones the earliest append is the one that is stored.
const STANDING: &str = "
WITH here AS (
    SELECT offset, disposition, reason, digest, source, event_id, occurred_at FROM audit_log FINAL
    WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32}
    AND offset >= {first:Int64} AND offset < {next:Int64}
)
SELECT offset, disposition = 'ACCEPTED' AS accepted, reason, digest,
    if(accepted,
        (source, event_id, digest) GLOBAL IN (
            SELECT source, event_id, digest FROM {facts:Identifier}
            WHERE occurred_at >= (SELECT min(occurred_at) FROM here WHERE disposition = 'ACCEPTED')
            AND occurred_at <= (SELECT max(occurred_at) FROM here)),
        offset GLOBAL IN (
            SELECT offset FROM dead_letters
            WHERE topic_id = {topic_id:UUID} AND partition = {partition:Int32}
            AND offset >= {first:Int64} AND offset < {next:Int64})) AS kept
FROM here ORDER BY offset";

impl Store {
    /// The receipts of a partition's offsets in `range`, ascending; `facts` is the table of its topic.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn standing(
        &self,
        facts: &str,
        (topic_id, partition): (Uuid, i32),
        range: Range<i64>,
    ) -> Result<Vec<Standing>, StoreError> {
        let question = self.client.query(STANDING).param("facts", facts);
        let question = question.param("topic_id", topic_id.to_string()).param("partition", partition);
        let question = question.param("first", range.start).param("next", range.end);
        let receipts: Vec<Receipt> = question.fetch_all().await?;
        let standing = receipts.into_iter().map(|r| Standing {
            offset: r.offset,
            accepted: r.accepted == 1,
            reason: r.reason,
            digest: r.digest,
            kept: r.kept == 1,
        });
        Ok(standing.collect())
    }
}
