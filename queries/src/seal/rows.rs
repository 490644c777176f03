//! A partition's rows out of ClickHouse, in the order of their leaves.

use super::leaf::{Key, Kind, Leaf, leaf, row_length};
use super::{Lane, SealError};
use crate::QueryError;
use clickhouse::Client;
use clickhouse::query::BytesCursor;

/// Largest row that is read, bytes: Kafka's records stay far below.
const ROW_BYTES_MAX: usize = 256 << 20;

/// Rows of one table, still as bytes.
struct Rows {
    kind: Kind,
    cursor: BytesCursor,
    buffer: Vec<u8>,
    /// Bytes of `buffer` that are behind us.
    at: usize,
    ahead: Option<Leaf>,
}

/// The leaves of [from, next) of one partition, merged from three tables.
pub(super) struct Leaves {
    tables: [Rows; 3],
}

fn failed(kind: Kind) -> impl Fn(clickhouse::error::Error) -> SealError {
    move |source| SealError::Query(QueryError::new(kind.table(), source))
}

const fn sql(kind: Kind) -> &'static str {
    match kind {
        Kind::Record => include_str!("../../sql/seal_records.sql"),
        Kind::Letter => include_str!("../../sql/seal_letters.sql"),
        Kind::Gap => include_str!("../../sql/seal_gaps.sql"),
    }
}

impl Rows {
    async fn open(client: &Client, kind: Kind, lane: &Lane, from: i64, next: i64) -> Result<Rows, SealError> {
        let question = client.query(sql(kind)).param("topic_id", lane.topic_id.to_string());
        let question = question.param("partition", lane.partition).param("from", from).param("next", next);
        let cursor = question.fetch_bytes("RowBinary").map_err(failed(kind))?;
        let mut rows = Rows { kind, cursor, buffer: Vec::new(), at: 0, ahead: None };
        rows.step().await?;
        Ok(rows)
    }

    /// Reads the next row into `ahead`.
    async fn step(&mut self) -> Result<(), SealError> {
        loop {
            if let Some(length) = row_length(self.kind, &self.buffer[self.at..]) {
                self.ahead = Some(leaf(self.kind, &self.buffer[self.at..self.at + length])?);
                self.at += length;
                return Ok(());
            }
            self.buffer.drain(..self.at);
            self.at = 0;
            if self.buffer.len() > ROW_BYTES_MAX {
                return Err(SealError::malformed(format!("a row of {} is too long", self.kind.table())));
            }
            match self.cursor.next().await.map_err(failed(self.kind))? {
                Some(more) => self.buffer.extend_from_slice(&more),
                None if self.buffer.is_empty() => {
                    self.ahead = None;
                    return Ok(());
                }
                None => {
                    return Err(SealError::malformed(format!(
                        "{}: the answer is cut off",
                        self.kind.table()
                    )));
                }
            }
        }
    }
}

impl Leaves {
    /// Opens the rows whose first offset lies in [from, next).
    pub(super) async fn open(
        client: &Client,
        lane: &Lane,
        from: i64,
        next: i64,
    ) -> Result<Leaves, SealError> {
        let open = |kind| Rows::open(client, kind, lane, from, next);
        let (records, letters, gaps) =
            futures::try_join!(open(Kind::Record), open(Kind::Letter), open(Kind::Gap))?;
        Ok(Leaves { tables: [records, letters, gaps] })
    }

    /// The next leaf by key.
    pub(super) async fn next(&mut self) -> Result<Option<Leaf>, SealError> {
        let key = |rows: &Rows| rows.ahead.as_ref().map(|leaf| leaf.key);
        let first: Option<Key> = self.tables.iter().filter_map(key).min();
        let Some(rows) = self.tables.iter_mut().find(|rows| key(rows) == first && first.is_some()) else {
            return Ok(None);
        };
        let leaf = rows.ahead.take();
        rows.step().await?;
        Ok(leaf)
    }

    /// The key of the next leaf.
    pub(super) fn peek(&self) -> Option<Key> {
        self.tables.iter().filter_map(|rows| rows.ahead.as_ref().map(|leaf| leaf.key)).min()
    }
}

/// The row of one leaf, exactly as the leaf has it; empty if there is none.
pub(super) async fn row(client: &Client, kind: Kind, lane: &Lane, offset: i64) -> Result<Vec<u8>, SealError> {
    let question = client.query(sql(kind)).param("topic_id", lane.topic_id.to_string());
    let question =
        question.param("partition", lane.partition).param("from", offset).param("next", offset + 1);
    let mut cursor = question.fetch_bytes("RowBinary").map_err(failed(kind))?;
    Ok(cursor.collect().await.map_err(failed(kind))?.to_vec())
}
