//! The columns of every table that the route writes.

use arrow_array::builder::{BinaryBuilder, ListBuilder, StringBuilder, StructBuilder};
use arrow_array::types::Int32Type;
use arrow_array::{
    Array, ArrayRef, DictionaryArray, FixedSizeBinaryArray, Int8Array, Int32Array, Int64Array, RecordBatch,
    StringArray, TimestampMicrosecondArray, TimestampMillisecondArray, UInt32Array, UInt64Array,
};
use arrow_schema::{ArrowError, DataType, Field, Fields, Schema};
use std::sync::Arc;
use tally_schemas::{Fault, Kind, Sha256Digest, Topic, columns};
use uuid::Uuid;

/// Where a block comes from.
#[derive(Clone, Debug)]
pub struct Origin {
    /// The contract.
    pub contract: Topic,
    /// Name of the Kafka topic.
    pub topic: String,
    /// Identity of the Kafka topic, which a deleted and re-created topic does not share.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
}

/// What the ledger says of each accepted or refused record, column by column, all of one length.
#[derive(Clone, Debug, Default)]
pub struct Coordinates {
    /// Kafka offsets.
    pub offsets: Vec<i64>,
    /// Kafka timestamps, milliseconds since 1970 UTC; negative where there is none.
    pub appended_at_ms: Vec<i64>,
    /// Lengths of the values, bytes.
    pub raw_bytes: Vec<u32>,
    /// SHA-256 of the values.
    pub raw_sha256: Vec<Sha256Digest>,
    /// The writer's schema as text, as a place in `schemas`.
    pub schema: Vec<i32>,
    /// The schemas.
    pub schemas: Vec<String>,
}

/// A refused record, whole.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// Kafka offset.
    pub offset: i64,
    /// Kafka timestamp, milliseconds; negative where there is none.
    pub appended_at_ms: i64,
    /// Why, where, and a sentence.
    pub fault: Fault,
    /// The writer's schema; empty where the frame names none.
    pub schema: String,
    /// Kafka key.
    pub key: Option<Vec<u8>>,
    /// Kafka value.
    pub value: Option<Vec<u8>>,
    /// Kafka headers.
    pub headers: Vec<(String, Option<Vec<u8>>)>,
    /// SHA-256 of the value.
    pub raw_sha256: Sha256Digest,
    /// Where the event was first published, if this is a replay.
    pub lineage: Lineage,
}

/// The line of replays that a record stands in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lineage {
    /// Id of the replay that published it; nil where there was none.
    pub replay_id: Uuid,
    /// How often it was replayed.
    pub attempt: u32,
    /// Topic identity, partition and offset of the first publication.
    pub first: Option<(Uuid, i32, i64)>,
}

/// Offsets [first, next) that hold no record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Gap {
    /// First absent offset.
    pub first: i64,
    /// The offset after the last absent one.
    pub next: i64,
    /// True where retention deleted records before they were read.
    pub expired: bool,
}

struct Columns {
    fields: Vec<Field>,
    arrays: Vec<ArrayRef>,
}

impl Columns {
    fn of(origin: &Origin, rows: usize) -> Columns {
        let mut columns = Columns { fields: Vec::new(), arrays: Vec::new() };
        columns.push("topic", constant(&origin.topic, rows));
        columns.push("topic_id", uuids(origin.topic_id, rows));
        columns.push("partition", Int32Array::from(vec![origin.partition; rows]));
        columns
    }

    fn push(&mut self, name: &str, array: impl Array + 'static) {
        self.push_ref(name, Arc::new(array));
    }

    fn push_ref(&mut self, name: &str, array: ArrayRef) {
        self.fields.push(Field::new(name, array.data_type().clone(), true));
        self.arrays.push(array);
    }

    fn batch(self) -> Result<RecordBatch, ArrowError> {
        RecordBatch::try_new(Arc::new(Schema::new(self.fields)), self.arrays)
    }
}

/// Rows of a fact table: the event's own columns, and where it came from.
///
/// # Errors
/// Where lengths differ.
pub fn facts(
    origin: &Origin,
    events: &RecordBatch,
    at: &Coordinates,
    digests: &[Sha256Digest],
) -> Result<RecordBatch, ArrowError> {
    let mut out = Columns::of(origin, events.num_rows());
    for (field, array) in events.schema().fields().iter().zip(events.columns()) {
        out.push_ref(field.name(), array.clone());
    }
    out.push("offset", Int64Array::from(at.offsets.clone()));
    out.push("appended_at", milliseconds(&at.appended_at_ms));
    out.push("digest", fixed(digests)?);
    out.push("rank", UInt64Array::from_iter_values(at.offsets.iter().zip(&at.appended_at_ms).map(rank)));
    out.batch()
}

/// Falls as append time and then offset rise, so that of equal events the earliest append is the one kept.
fn rank((offset, appended_at_ms): (&i64, &i64)) -> u64 {
    let time = appended_at_ms.clamp(&0, &((1 << 41) - 1)).unsigned_abs();
    !((time << 22) | (offset.unsigned_abs() & ((1 << 22) - 1)))
}

/// Receipts of accepted records.
///
/// # Errors
/// Where lengths differ.
pub fn receipts(
    origin: &Origin,
    events: &RecordBatch,
    at: &Coordinates,
    digests: &[Sha256Digest],
) -> Result<RecordBatch, ArrowError> {
    let rows = events.num_rows();
    let mut out = Columns::of(origin, rows);
    ledger_columns(&mut out, at)?;
    out.push("disposition", Int8Array::from(vec![1; rows]));
    out.push("reason", constant("", rows));
    out.push("digest", fixed(digests)?);
    for name in SUBJECT {
        let Some(array) = events.column_by_name(name) else {
            return Err(ArrowError::SchemaError(format!("events without {name}")));
        };
        out.push_ref(name, array.clone());
    }
    out.push("kind", symbols(origin.contract, "kind", events)?);
    out.batch()
}

const SUBJECT: [&str; 13] = [
    "event_id",
    "occurred_at",
    "source",
    "policy_tag",
    "actor_id",
    "actor_role",
    "task_id",
    "wallet_id",
    "user_id",
    "creator_id",
    "license_id",
    "template_id",
    "case_id",
];

/// Of events, the columns that their receipts have.
pub fn attested(events: &RecordBatch) -> RecordBatch {
    let schema = events.schema_ref();
    let of_receipts = SUBJECT.iter().chain(&["kind"]);
    let places: Vec<usize> = of_receipts.filter_map(|name| schema.index_of(name).ok()).collect();
    events.project(&places).unwrap_or_else(|_| events.clone()) // the places are its own: this does not fail
}

/// Receipts of dead letters, in the same columns.
///
/// # Errors
/// Where lengths differ.
pub fn dead_receipts(
    origin: &Origin,
    at: &Coordinates,
    faults: &[&Fault],
) -> Result<RecordBatch, ArrowError> {
    let rows = faults.len();
    let mut out = Columns::of(origin, rows);
    ledger_columns(&mut out, at)?;
    out.push("disposition", Int8Array::from(vec![2; rows]));
    out.push("reason", faults.iter().map(|f| Some(f.reason.name())).collect::<DictionaryArray<Int32Type>>());
    out.push("digest", fixed(&vec![[0; 32]; rows])?);
    out.push("event_id", uuids(Uuid::nil(), rows));
    out.push("occurred_at", TimestampMicrosecondArray::from(vec![0; rows]).with_timezone("UTC"));
    for name in &SUBJECT[2..] {
        match *name {
            "policy_tag" | "actor_role" => out.push(name, Int8Array::from(vec![0; rows])),
            _ => out.push(name, StringArray::from(vec![None::<&str>; rows])),
        }
    }
    out.push("kind", constant("", rows));
    out.batch()
}

fn ledger_columns(out: &mut Columns, at: &Coordinates) -> Result<(), ArrowError> {
    out.push("offset", Int64Array::from(at.offsets.clone()));
    out.push("appended_at", milliseconds(&at.appended_at_ms));
    out.push("raw_bytes", UInt32Array::from(at.raw_bytes.clone()));
    out.push("raw_sha256", fixed(&at.raw_sha256)?);
    let schemas = Arc::new(StringArray::from_iter_values(&at.schemas));
    out.push("schema", DictionaryArray::<Int32Type>::try_new(Int32Array::from(at.schema.clone()), schemas)?);
    Ok(())
}

/// Rows of `dead_letters`.
///
/// # Errors
/// Where lengths differ.
pub fn dead_letters(origin: &Origin, letters: &[DeadLetter]) -> Result<RecordBatch, ArrowError> {
    let mut out = Columns::of(origin, letters.len());
    let text = |f: fn(&DeadLetter) -> &str| StringArray::from_iter_values(letters.iter().map(f));
    out.push("offset", Int64Array::from_iter_values(letters.iter().map(|l| l.offset)));
    out.push("appended_at", milliseconds(&letters.iter().map(|l| l.appended_at_ms).collect::<Vec<_>>()));
    out.push("reason", text(|l| l.fault.reason.name()));
    out.push("path", text(|l| &l.fault.path));
    out.push("sentence", text(|l| &l.fault.sentence));
    out.push("schema", text(|l| &l.schema));
    out.push("key", binary(letters.iter().map(|l| l.key.as_deref())));
    out.push("value", binary(letters.iter().map(|l| l.value.as_deref())));
    out.push("headers", headers(letters));
    out.push("raw_sha256", fixed(&letters.iter().map(|l| l.raw_sha256).collect::<Vec<_>>())?);
    let ids: Vec<[u8; 16]> = letters.iter().map(|l| l.lineage.replay_id.into_bytes()).collect();
    out.push("replay_id", fixed(&ids)?);
    out.push("replay_attempt", UInt32Array::from_iter_values(letters.iter().map(|l| l.lineage.attempt)));
    let first = |l: &DeadLetter| l.lineage.first.unwrap_or((origin.topic_id, origin.partition, l.offset));
    let ids: Vec<[u8; 16]> = letters.iter().map(|l| first(l).0.into_bytes()).collect();
    out.push("origin_topic_id", fixed(&ids)?);
    out.push("origin_partition", Int32Array::from_iter_values(letters.iter().map(|l| first(l).1)));
    out.push("origin_offset", Int64Array::from_iter_values(letters.iter().map(|l| first(l).2)));
    out.batch()
}

/// Rows of `gaps`.
///
/// # Errors
/// Where lengths differ.
pub fn gaps(origin: &Origin, gaps: &[Gap]) -> Result<RecordBatch, ArrowError> {
    let mut out = Columns::of(origin, gaps.len());
    out.push("first", Int64Array::from_iter_values(gaps.iter().map(|g| g.first)));
    out.push("next", Int64Array::from_iter_values(gaps.iter().map(|g| g.next)));
    out.push("kind", Int8Array::from_iter_values(gaps.iter().map(|g| if g.expired { 2 } else { 1 })));
    out.batch()
}

fn headers(letters: &[DeadLetter]) -> impl Array + use<> {
    let fields = Fields::from(vec![
        Field::new("name", DataType::Utf8, false),
        Field::new("value", DataType::Binary, true),
    ]);
    let pairs =
        StructBuilder::new(fields, vec![Box::new(StringBuilder::new()), Box::new(BinaryBuilder::new())]);
    let mut list = ListBuilder::new(pairs);
    for letter in letters {
        for (name, value) in &letter.headers {
            let pair = list.values();
            if let Some(names) = pair.field_builder::<StringBuilder>(0) {
                names.append_value(name);
            }
            if let Some(values) = pair.field_builder::<BinaryBuilder>(1) {
                values.append_option(value.as_deref());
            }
            pair.append(true);
        }
        list.append(true);
    }
    list.finish()
}

/// An enum column as the symbols themselves: kinds differ by topic, the ledger's column holds all.
fn symbols(topic: Topic, name: &str, events: &RecordBatch) -> Result<DictionaryArray<Int32Type>, ArrowError> {
    let missing = || ArrowError::SchemaError(format!("events without {name}"));
    let column = columns(topic).iter().find(|c| c.name == name).ok_or_else(missing)?;
    let Kind::Enum(all) = &column.kind else { return Err(missing()) };
    let codes = events.column_by_name(name).ok_or_else(missing)?;
    let codes = codes.as_any().downcast_ref::<Int8Array>().ok_or_else(missing)?;
    let values = std::iter::once("").chain(all.iter().map(String::as_str));
    let keys = Int32Array::from_iter_values(codes.values().iter().map(|code| i32::from(*code)));
    DictionaryArray::try_new(keys, Arc::new(StringArray::from_iter_values(values)))
}

fn constant(text: &str, rows: usize) -> DictionaryArray<Int32Type> {
    let values = Arc::new(StringArray::from_iter_values([text]));
    DictionaryArray::new(Int32Array::from(vec![0; rows]), values)
}

fn uuids(id: Uuid, rows: usize) -> FixedSizeBinaryArray {
    FixedSizeBinaryArray::new(16, id.as_bytes().repeat(rows).into(), None)
}

fn fixed<const N: usize>(values: &[[u8; N]]) -> Result<FixedSizeBinaryArray, ArrowError> {
    let width = i32::try_from(N).map_err(|e| ArrowError::InvalidArgumentError(e.to_string()))?;
    FixedSizeBinaryArray::try_new(width, values.as_flattened().to_vec().into(), None)
}

fn milliseconds(values: &[i64]) -> TimestampMillisecondArray {
    TimestampMillisecondArray::from(values.to_vec()).with_timezone("UTC")
}

fn binary<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> arrow_array::BinaryArray {
    values.collect()
}
