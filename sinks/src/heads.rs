//! How far each partition has come: what was retained, what was taken, and whether anything can follow.

use crate::error::StoreError;
use crate::store::Store;
use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeBinaryArray, Int32Array, Int64Array, RecordBatch, StringArray,
    TimestampMillisecondArray,
};
use std::sync::Arc;
use uuid::Uuid;

/// One look at a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Head {
    /// Kafka topic.
    pub topic: String,
    /// Its identity at that look.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// First retained offset.
    pub low: i64,
    /// The offset that the next committed record will have.
    pub high: i64,
    /// Every offset below this one has its disposition; never above `high`.
    pub taken: i64,
    /// The store's clock ([`Store::now_ms`]) before the watermarks were asked for, milliseconds since 1970 UTC: with `taken` at
    /// `high`, everything committed before then was taken.
    pub seen_at_ms: i64,
}

/// Ends every head of a topic whose identity is (`of`) or is not the given one. An ended head is later than the one it
/// replaces, whatever the clocks say.
const END: &str = "
INSERT INTO partition_heads (topic, topic_id, partition, low, high, taken, seen_at, ended)
SELECT topic, topic_id, partition, low, high, taken,
    greatest(seen_at + toIntervalMillisecond(1), now64(3, 'UTC')), true
FROM partition_heads FINAL
WHERE topic = {topic:String} AND (topic_id = {topic_id:UUID}) = {of:Bool} AND NOT ended";

impl Store {
    /// The store's clock, milliseconds since 1970 UTC. Who looks at partitions takes this one and not that of their machine: of
    /// two looks the later counts, so an instance whose clock had run ahead would hide what all others see.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn now_ms(&self) -> Result<i64, StoreError> {
        let asked = self.client.query("SELECT toUnixTimestamp64Milli(now64(3))");
        asked.fetch_one::<i64>().await.map_err(StoreError::from)
    }

    /// Records looks; of several at one partition the latest counts.
    ///
    /// # Errors
    /// See [`StoreError`]. Nobody has to wait for it: the next look says more.
    pub async fn record_heads(&self, heads: &[Head]) -> Result<(), StoreError> {
        if heads.is_empty() {
            return Ok(());
        }
        // no look is repeated: a token only keeps two looks of equal content apart
        let token = format!("heads/{}", Uuid::now_v7());
        self.insert("partition_heads", &token, &[columns(heads)?]).await
    }

    /// Marks a topic's identity as ended: nothing will ever be appended to it again.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_heads_of(&self, topic: &str, topic_id: Uuid) -> Result<(), StoreError> {
        self.end_heads(topic, topic_id, true).await
    }

    /// Marks every other identity of that topic's name as ended: it was deleted and created again as `topic_id`.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub async fn end_heads_before(&self, topic: &str, topic_id: Uuid) -> Result<(), StoreError> {
        self.end_heads(topic, topic_id, false).await
    }

    async fn end_heads(&self, topic: &str, topic_id: Uuid, of: bool) -> Result<(), StoreError> {
        let statement = self.client.query(END).param("topic", topic).param("topic_id", topic_id.to_string());
        let statement = statement.param("of", of);
        let token = Uuid::now_v7().to_string(); // a repeat is written again
        let statement = statement.with_setting("insert_deduplication_token", token);
        statement.with_setting("async_insert", "0").execute().await.map_err(StoreError::from)
    }
}

fn columns(heads: &[Head]) -> Result<RecordBatch, StoreError> {
    let numbers =
        |of: fn(&Head) -> i64| -> ArrayRef { Arc::new(Int64Array::from_iter_values(heads.iter().map(of))) };
    let ids: Vec<u8> = heads.iter().flat_map(|head| head.topic_id.into_bytes()).collect();
    let seen_at: TimestampMillisecondArray = heads.iter().map(|head| Some(head.seen_at_ms)).collect();
    let topics = StringArray::from_iter_values(heads.iter().map(|head| &head.topic));
    let partitions = Int32Array::from_iter_values(heads.iter().map(|head| head.partition));
    let columns: [(&str, ArrayRef); 8] = [
        ("topic", Arc::new(topics)),
        ("topic_id", Arc::new(FixedSizeBinaryArray::try_new(16, ids.into(), None)?)),
        ("partition", Arc::new(partitions)),
        ("low", numbers(|head| head.low)),
        ("high", numbers(|head| head.high)),
        ("taken", numbers(|head| head.taken)),
        ("seen_at", Arc::new(seen_at.with_timezone("UTC"))),
        ("ended", Arc::new(BooleanArray::from(vec![false; heads.len()]))),
    ];
    Ok(RecordBatch::try_from_iter(columns)?)
}
