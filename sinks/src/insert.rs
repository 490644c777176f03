//! One INSERT: an ArrowStream body, a token, and the settings that make both mean something.

use crate::body::body;
use crate::error::StoreError;
use crate::fault::{self, Point};
use crate::store::Store;
use arrow_array::RecordBatch;
use std::time::Duration;
use uuid::Uuid;

/// How long ClickHouse may take for each piece of an insert, and then for its answer, before it counts as unanswered.
const ANSWER_SECONDS_MAX: u64 = if cfg!(feature = "faults") { 10 } else { 120 }; // a run of faults lasts seconds

impl Store {
    /// Inserts the batches, which share a schema, as one INSERT. Columns are matched by name. In a cluster the `token` makes a
    /// repeat within ClickHouse's window a no-op; the table's key does so everywhere and at any age.
    ///
    /// Without replicas each attempt has a token of its own: there ClickHouse writes a token down before the rows that it stands
    /// for, so that after a kill in between it acknowledges a repeat of rows that were never written.
    ///
    /// # Errors
    /// See [`StoreError::retry`]. After [`StoreError::Unanswered`] the rows may be there or not.
    pub async fn insert(&self, table: &str, token: &str, batches: &[RecordBatch]) -> Result<(), StoreError> {
        let Some(first) = batches.first() else { return Ok(()) };
        let schema = first.schema();
        let columns: Vec<String> = schema.fields().iter().map(|f| format!("`{}`", f.name())).collect();
        let sql = format!("INSERT INTO {table} ({}) FORMAT ArrowStream", columns.join(", "));
        let token = match self.cluster {
            Some(_) => token.to_owned(), // written together with the rows, by Keeper
            None => format!("{token}/{}", Uuid::now_v7()),
        };
        let pieces = body(batches)?;
        let limit = Some(Duration::from_secs(ANSWER_SECONDS_MAX));
        let mut insert = self
            .client
            .insert_formatted_with(sql)
            .with_timeouts(limit, limit)
            .with_setting("async_insert", "0") // under it tokens and acknowledgements mean something else
            .with_setting("insert_deduplicate", "1")
            .with_setting("insert_deduplication_token", token)
            .with_setting("input_format_null_as_default", "1")
            .with_setting("optimize_on_insert", "0") // repeats of one block stay, as those of two do: readers go by FINAL or by key
            .with_setting("max_partitions_per_insert_block", "0")
            .with_setting("max_insert_block_size", "1048449"); // one INSERT stays one block
        if self.cluster.is_some() {
            insert = insert
                .with_setting("distributed_foreground_insert", "1") // acknowledged means on the shard
                .with_setting("insert_quorum", "auto");
        }
        let mut pieces = pieces.into_iter().peekable();
        while let Some(piece) = pieces.next() {
            let sent = insert.send(piece);
            if pieces.peek().is_some() {
                fault::during(Point::WithinInsert, sent).await?;
            } else {
                sent.await?; // it may be all that there is
            }
        }
        fault::during(Point::InsertSent, insert.end()).await?;
        fault::pass(Point::Inserted);
        Ok(())
    }
}
