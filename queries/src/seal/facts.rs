//! Facts held against the ledger.
//!
//! Two questions, neither of which needs a tree, since the sealed receipt holds the content digest:
//! - Does each fact's content still give its digest? Every fact is read as the contract's Arrow columns, and
//!   `tally_schemas` digests it again. A text that is absent and an empty one are the same row; the contracts
//!   refuse empty texts, so nothing is lost by it.
//! - Does each accepted receipt have its fact, each fact its receipt, and do the fact's coordinates lie where the
//!   earliest receipt of that content does? ClickHouse answers with the offenders only.

use super::{Lane, SealError, cores};
use crate::QueryError;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int32Type, Int64Type, UInt64Type};
use arrow_array::{ArrayRef, RecordBatch};
use arrow_buffer::Buffer;
use arrow_ipc::reader::StreamDecoder;
use clickhouse::query::BytesCursor;
use clickhouse::{Client, Row};
use serde::Deserialize;
use std::collections::VecDeque;
use tally_schemas::{Kind, Sha256Digest, Topic, arrow_schema, columns, content_digests, content_text};
use uuid::Uuid;

/// Offenders that the second question gives; more than this cannot be told apart.
pub(super) const OFFENDERS_MAX: u64 = 100_000;

/// Batches of facts that may wait to be digested, or be digested, at once.
const BATCHES_MAX: usize = 4;

/// Which facts are read.
#[derive(Clone, Debug)]
pub(super) enum Which {
    /// All of a contract's table.
    All,
    /// Those of the accepted receipts of [from, next) of a partition.
    Receipts { lane: Lane, from: i64, next: i64 },
}

/// A fact that is not what it says.
#[derive(Clone, Debug)]
pub(super) struct Wrong {
    pub(super) topic: String,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) event_id: Uuid,
    pub(super) what: &'static str,
}

/// The contract of a Kafka topic: its name ends in the contract's, after whatever prefix.
pub(super) fn contract(topic: &str) -> Option<Topic> {
    Topic::ALL.into_iter().find(|contract| topic.ends_with(contract.name()))
}

/// The contract's columns as ClickHouse gives them in the shape that `tally_schemas` digests.
fn shape(contract: Topic) -> String {
    let column = |column: &tally_schemas::Column| {
        let name = format!("f.`{}`", column.name);
        match column.kind {
            Kind::Text if column.nullable => format!("nullIf(CAST({name} AS String), '')"),
            Kind::Text => format!("CAST({name} AS String)"),
            Kind::Enum(_) => format!("CAST({name} AS Int8)"),
            Kind::Uuid => format!("CAST(UUIDStringToNum(toString({name})) AS FixedString(16))"),
            Kind::Long | Kind::Int | Kind::Boolean | Kind::Timestamp => name,
        }
    };
    columns(contract).iter().map(column).collect::<Vec<_>>().join(", ")
}

const OWN: [&str; 5] =
    ["f.partition", "f.`offset`", "toUnixTimestamp64Milli(f.appended_at)", "f.digest", "f.rank"];

/// Facts on their way out of ClickHouse.
pub(super) struct Facts {
    contract: Topic,
    cursor: BytesCursor,
    decoder: StreamDecoder,
    /// Bytes that came and are not decoded yet.
    buffer: Buffer,
}

fn failed(source: clickhouse::error::Error) -> SealError {
    SealError::Query(QueryError::new("facts", source))
}

impl Facts {
    /// Begins to read: topic names, the contract's columns, then [`OWN`].
    pub(super) fn open(client: &Client, contract: Topic, which: &Which) -> Result<Facts, SealError> {
        let fields = format!("CAST(f.topic AS String), {}, {}", shape(contract), OWN.join(", "));
        let mut sql = format!("SELECT {fields} FROM {} AS f FINAL", contract.table());
        if let Which::Receipts { .. } = which {
            sql.push(' ');
            sql.push_str(include_str!("../../sql/seal_facts_of.sql"));
        }
        let mut question = client.query(&sql);
        if let Which::Receipts { lane, from, next } = which {
            question =
                question.param("topic_id", lane.topic_id.to_string()).param("partition", lane.partition);
            question = question.param("from", *from).param("next", *next);
        }
        let question = question
            .with_setting("output_format_arrow_string_as_string", "1")
            .with_setting("output_format_arrow_compression_method", "none")
            .with_setting("output_format_arrow_low_cardinality_as_dictionary", "0")
            .with_setting("do_not_merge_across_partitions_select_final", "1");
        let cursor = question.fetch_bytes("ArrowStream").map_err(failed)?;
        Ok(Facts { contract, cursor, decoder: StreamDecoder::new(), buffer: Buffer::from(Vec::<u8>::new()) })
    }

    /// The next batch. An answer that was cut off is an error.
    pub(super) async fn next(&mut self) -> Result<Option<Batch>, SealError> {
        loop {
            while !self.buffer.is_empty() {
                if let Some(batch) = self.decoder.decode(&mut self.buffer).map_err(SealError::malformed)? {
                    return Batch::new(self.contract, &batch).map(Some);
                }
            }
            match self.cursor.next().await.map_err(failed)? {
                Some(bytes) => self.buffer = Buffer::from(bytes),
                None => {
                    self.decoder.finish().map_err(SealError::malformed)?;
                    return Ok(None);
                }
            }
        }
    }
}

/// Digests every fact of a contract again: how many there are, and those that are not what they say.
pub(super) async fn all_wrong(client: &Client, contract: Topic) -> Result<(u64, Vec<Wrong>), SealError> {
    let mut facts = Facts::open(client, contract, &Which::All)?;
    let (mut count, mut wrong, mut waiting) = (0, Vec::new(), VecDeque::new());
    while let Some(batch) = facts.next().await? {
        count += batch.rows() as u64;
        waiting.push_back(cores::begin(async move { Ok(batch.wrong()) }));
        if waiting.len() >= BATCHES_MAX
            && let Some(first) = waiting.pop_front()
        {
            wrong.extend(cores::end(first).await?);
        }
    }
    for batch in waiting {
        wrong.extend(cores::end(batch).await?);
    }
    Ok((count, wrong))
}

/// A batch of facts: content in the contract's shape, and what the route added.
pub(super) struct Batch {
    contract: Topic,
    content: RecordBatch,
    topic: ArrayRef,
    own: Vec<ArrayRef>,
}

impl Batch {
    fn new(contract: Topic, batch: &RecordBatch) -> Result<Batch, SealError> {
        let arrays = batch.columns();
        let width = columns(contract).len();
        let too_few = || SealError::malformed(format!("{}: too few columns", contract.table()));
        let [topic, rest @ ..] = arrays else { return Err(too_few()) };
        if rest.len() != width + OWN.len() {
            return Err(too_few());
        }
        let schema = arrow_schema(contract).clone();
        let content = RecordBatch::try_new(schema, rest[..width].to_vec()).map_err(SealError::malformed)?;
        Ok(Batch { contract, content, topic: topic.clone(), own: rest[width..].to_vec() })
    }

    /// How many facts it holds.
    pub(super) fn rows(&self) -> usize {
        self.content.num_rows()
    }

    fn digest(&self, row: usize) -> &[u8] {
        self.own[3].as_fixed_size_binary().value(row)
    }

    /// The digests that the facts say they have.
    pub(super) fn digests(&self) -> impl Iterator<Item = Sha256Digest> + '_ {
        (0..self.content.num_rows()).filter_map(|row| self.digest(row).try_into().ok())
    }

    /// The bytes whose digest is the content digest of the first fact with that digest.
    pub(super) fn content_of(&self, digest: &Sha256Digest) -> Option<Vec<u8>> {
        let row = (0..self.content.num_rows()).find(|row| self.digest(*row) == digest)?;
        Some(content_text(self.contract, &self.content, row))
    }

    /// Facts whose content does not give their digest, or whose rank is not that of their coordinates.
    pub(super) fn wrong(&self) -> Vec<Wrong> {
        let partition = self.own[0].as_primitive::<Int32Type>().values();
        let offset = self.own[1].as_primitive::<Int64Type>().values();
        let appended = self.own[2].as_primitive::<Int64Type>().values();
        let rank_of = self.own[4].as_primitive::<UInt64Type>().values();
        let digests = content_digests(self.contract, &self.content);
        let mut wrong = Vec::new();
        for (row, digest) in digests.iter().enumerate() {
            let what = if self.digest(row) != digest {
                "its content does not give its digest"
            } else if rank_of[row] != rank(offset[row], appended[row]) {
                "its rank is not that of its coordinates"
            } else {
                continue;
            };
            let ids =
                self.content.column_by_name("event_id").map(|ids| ids.as_fixed_size_binary().value(row));
            wrong.push(Wrong {
                topic: self.topic.as_string::<i32>().value(row).to_owned(),
                partition: partition[row],
                offset: offset[row],
                event_id: ids.map_or(Uuid::nil(), uuid),
                what,
            });
        }
        wrong
    }
}

fn uuid(bytes: &[u8]) -> Uuid {
    Uuid::from_slice(bytes).unwrap_or_default()
}

/// What the route writes into `rank`: it falls as append time and then offset rise, 41 and 22 bits.
fn rank(offset: i64, appended_at_ms: i64) -> u64 {
    let time = appended_at_ms.clamp(0, (1 << 41) - 1).unsigned_abs();
    !((time << 22) | (offset.unsigned_abs() & ((1 << 22) - 1)))
}

/// A content whose receipts and fact do not belong together.
#[derive(Clone, Debug, Row, Deserialize)]
pub(super) struct Mismatch {
    pub(super) topic: String,
    #[serde(with = "clickhouse::serde::uuid")]
    pub(super) topic_id: Uuid,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) appended_at_ms: i64,
    #[serde(with = "clickhouse::serde::uuid")]
    pub(super) event_id: Uuid,
    pub(super) receipts: u64,
    pub(super) facts: u64,
}

/// Contents of a contract whose receipts and facts do not match: a receipt without fact, a fact without receipt, or
/// coordinates of a fact that are not those of its earliest receipt.
pub(super) async fn mismatches(client: &Client, contract: Topic) -> Result<Vec<Mismatch>, SealError> {
    let question = client.query(include_str!("../../sql/seal_facts.sql"));
    let question = question.param("facts", contract.table()).param("contract", contract.name());
    let rows =
        question.param("key", rand::random::<u64>()).param("limit", OFFENDERS_MAX + 1).fetch_all().await;
    rows.map_err(|source| SealError::Query(QueryError::new("facts without receipts", source)))
}
