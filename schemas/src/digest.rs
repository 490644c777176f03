//! The content digest: what an event says, whatever bytes it came in.
//!
//! SHA-256 over `tally content 1`, the topic's name, and each field that is present and says more than its
//! default, by ascending field number: one byte of field number, then the value. Texts and enum symbols are a
//! 32-bit length and bytes, integers and times are 64 bits, booleans one byte, UUIDs sixteen; all little-endian.
//! A field added later with a default leaves the digests of earlier events as they are.

use crate::columns::{Column, Kind, columns};
use crate::contract::Topic;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_array::{Array, BooleanArray, FixedSizeBinaryArray, RecordBatch, StringArray};
use arrow_buffer::NullBuffer;
use sha2::{Digest, Sha256};

/// A SHA-256 digest.
pub type Sha256Digest = [u8; 32];

/// SHA-256 of raw bytes.
pub fn sha256(bytes: &[u8]) -> Sha256Digest {
    Sha256::digest(bytes).into()
}

enum Values<'a> {
    Text(&'a StringArray),
    Long(&'a [i64]),
    Int(&'a [i32]),
    Boolean(&'a BooleanArray),
    Uuid(&'a FixedSizeBinaryArray),
    Enum(&'a [i8], &'a [String], i8),
}

struct Part<'a> {
    field_id: u8,
    values: Values<'a>,
    nulls: Option<&'a NullBuffer>,
}

/// The fields of a batch, in the order in which they are digested.
struct Contents<'a> {
    parts: Vec<Part<'a>>,
    text: Vec<u8>,
    head: usize,
}

impl<'a> Contents<'a> {
    fn new(topic: Topic, rows: &'a RecordBatch) -> Contents<'a> {
        let mut parts: Vec<Part<'_>> = columns(topic)
            .iter()
            .zip(rows.columns())
            .map(|(column, array)| part(column, array.as_ref()))
            .collect();
        parts.sort_by_key(|part| part.field_id);
        let mut text = Vec::with_capacity(512);
        text.extend_from_slice(b"tally content 1\n");
        text.extend_from_slice(topic.name().as_bytes());
        text.push(b'\n');
        let head = text.len();
        Contents { parts, text, head }
    }

    /// What is digested of a row.
    fn text(&mut self, row: usize) -> &[u8] {
        self.text.truncate(self.head);
        for part in &self.parts {
            if part.nulls.is_none_or(|nulls| nulls.is_valid(row)) {
                append(&mut self.text, part, row);
            }
        }
        &self.text
    }
}

/// The content digest of every row of a batch in the topic's shape ([`crate::arrow_schema`]).
pub fn content_digests(topic: Topic, rows: &RecordBatch) -> Vec<Sha256Digest> {
    let mut contents = Contents::new(topic, rows);
    (0..rows.num_rows()).map(|row| sha256(contents.text(row))).collect()
}

/// The bytes whose SHA-256 is the content digest of one row of a batch in the topic's shape.
///
/// # Panics
/// Where the batch has no such row.
pub fn content_text(topic: Topic, rows: &RecordBatch, row: usize) -> Vec<u8> {
    Contents::new(topic, rows).text(row).to_vec()
}

fn part<'a>(column: &'a Column, array: &'a dyn Array) -> Part<'a> {
    let values = match &column.kind {
        Kind::Text => Values::Text(array.as_string()),
        Kind::Long => Values::Long(array.as_primitive::<Int64Type>().values()),
        Kind::Timestamp => Values::Long(array.as_primitive::<TimestampMicrosecondType>().values()),
        Kind::Int => Values::Int(array.as_primitive::<Int32Type>().values()),
        Kind::Boolean => Values::Boolean(array.as_boolean()),
        Kind::Uuid => Values::Uuid(array.as_fixed_size_binary()),
        Kind::Enum(symbols) => {
            Values::Enum(array.as_primitive::<Int8Type>().values(), symbols, column.default_code)
        }
    };
    Part { field_id: column.field_id, values, nulls: array.nulls() }
}

fn append(text: &mut Vec<u8>, part: &Part<'_>, row: usize) {
    let mut sized = |bytes: &[u8]| {
        text.push(part.field_id);
        text.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        text.extend_from_slice(bytes);
    };
    match &part.values {
        Values::Text(texts) => sized(texts.value(row).as_bytes()),
        Values::Enum(codes, symbols, default) => {
            let code = codes.get(row).copied().unwrap_or(0);
            if code != *default && code != 0 {
                let symbol = symbols.get(usize::from(code.unsigned_abs()) - 1);
                sized(symbol.map_or("", String::as_str).as_bytes());
            }
        }
        Values::Uuid(uuids) => {
            text.push(part.field_id);
            text.extend_from_slice(uuids.value(row));
        }
        Values::Long(longs) => {
            text.push(part.field_id);
            text.extend_from_slice(&longs.get(row).copied().unwrap_or(0).to_le_bytes());
        }
        Values::Int(ints) => {
            text.push(part.field_id);
            text.extend_from_slice(&ints.get(row).copied().map_or(0, i64::from).to_le_bytes());
        }
        Values::Boolean(flags) => {
            text.push(part.field_id);
            text.push(u8::from(flags.value(row)));
        }
    }
}
