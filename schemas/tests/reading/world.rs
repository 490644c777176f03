//! Events as JSON, their bytes as apache-avro writes them, and rows back as JSON.

use apache_avro::Schema;
use apache_avro::reader::datum::GenericDatumReader;
use apache_avro::types::Value;
use apache_avro::writer::datum::GenericDatumWriter;
use arrow_array::RecordBatch;
use arrow_array::cast::AsArray;
use arrow_array::types::{Int8Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow_schema::DataType;
use serde_json::{Map, Value as Json};
use std::io::Read as _;
use std::path::PathBuf;
use std::sync::Arc;
use tally_schemas::{
    Contract, Messages, Read, Reader, Topic, Writer, WriterId, Writers, latest, local_writers, versions,
};

/// What the pipeline takes from Kafka by default.
pub(crate) const VALUE_BYTES_MAX: usize = 1 << 20;
/// 2025-07-01T12:00:00Z: after every valid example, and within a day of the newest.
pub(crate) const APPENDED_AT_MS: i64 = 1_751_371_200_000;

pub(crate) type Event = Map<String, Json>;

/// An example that breaks a rule, and how.
pub(crate) struct Invalid {
    pub(crate) event: Event,
    pub(crate) reason: String,
    pub(crate) path: String,
}

/// The valid examples of a topic by file name, sorted.
pub(crate) fn valid(topic: Topic) -> Vec<(String, Event)> {
    files(topic, "valid").into_iter().map(|(name, json)| (name, event(&json))).collect()
}

/// The invalid examples of a topic by file name, sorted.
pub(crate) fn invalid(topic: Topic) -> Vec<(String, Invalid)> {
    let text = |json: &Json| json.as_str().expect("text").to_owned();
    let example = |json: Json| Invalid {
        event: event(&json["event"]),
        reason: text(&json["reason"]),
        path: text(&json["path"]),
    };
    files(topic, "invalid").into_iter().map(|(name, json)| (name, example(json))).collect()
}

/// The example of that kind.
pub(crate) fn example(topic: Topic, kind: &str) -> Event {
    valid(topic).into_iter().find(|(name, _)| name == kind).expect("an example").1
}

fn files(topic: Topic, folder: &str) -> Vec<(String, Json)> {
    let path: PathBuf = [env!("CARGO_MANIFEST_DIR"), "examples", topic.name(), folder].iter().collect();
    let mut files: Vec<(String, Json)> = std::fs::read_dir(path)
        .expect("the folder of examples")
        .map(|entry| {
            let file = entry.expect("an entry").path();
            let text = std::fs::read_to_string(&file).expect("a readable file");
            let name = file.file_stem().expect("a name").to_string_lossy().into_owned();
            (name, serde_json::from_str(&text).expect("JSON"))
        })
        .collect();
    files.sort_by(|a, b| a.0.cmp(&b.0));
    files
}

/// Times become the microseconds that travel.
fn event(json: &Json) -> Event {
    let micros = |text: &str| chrono::DateTime::parse_from_rfc3339(text).expect("a time").timestamp_micros();
    let value = |(name, value): (&String, &Json)| match value {
        Json::String(text) if name.ends_with("_at") => (name.clone(), micros(text).into()),
        other => (name.clone(), other.clone()),
    };
    json.as_object().expect("an object").iter().map(value).collect()
}

/// The Avro body of an event as apache-avro writes it. Absent fields take the schema's default, or null where they
/// may; fields that the schema does not have are left out.
pub(crate) fn body(schema: &Schema, event: &Event) -> Vec<u8> {
    let Schema::Record(record) = schema else { panic!("a record") };
    let mut event = event.clone();
    for field in &record.fields {
        let nullable = match &field.schema {
            Schema::Union(union) => union.is_nullable(),
            other => *other == Schema::Null,
        };
        if nullable && field.default.is_none() {
            event.entry(&field.name).or_insert(Json::Null);
        }
    }
    let value = avro(&Json::Object(event)).resolve(schema).expect("an event of that schema");
    let writer = GenericDatumWriter::builder(schema).build().expect("a writer");
    writer.write_value_to_vec(value).expect("a body")
}

fn avro(json: &Json) -> Value {
    match json {
        Json::Null => Value::Null,
        Json::Bool(flag) => Value::Boolean(*flag),
        Json::Number(number) if number.is_f64() => Value::Double(number.as_f64().expect("a double")),
        Json::Number(number) => {
            let long = number.as_i64().expect("64 bits");
            i32::try_from(long).map_or(Value::Long(long), Value::Int)
        }
        Json::String(text) => Value::String(text.clone()),
        Json::Array(items) => Value::Array(items.iter().map(avro).collect()),
        Json::Object(fields) => {
            Value::Map(fields.iter().map(|(name, json)| (name.clone(), avro(json))).collect())
        }
    }
}

/// Puts a body into Avro single-object encoding.
pub(crate) fn single(contract: &Contract, body: &[u8]) -> Vec<u8> {
    // `apache-avro` leaves primitives that had a logical type as objects; the specification makes them names.
    let primitives = ["int", "long", "string", "bytes"];
    let canonical = primitives.iter().fold(contract.schema.canonical_form(), |text, name| {
        text.replace(&format!(r#"{{"type":"{name}"}}"#), &format!(r#""{name}""#))
    });
    [&[0xC3, 0x01][..], &crc_64_avro(&canonical).to_le_bytes(), body].concat()
}

/// Puts a body into the Confluent wire format.
pub(crate) fn confluent(id: u32, body: &[u8]) -> Vec<u8> {
    [&[0x00][..], &id.to_be_bytes(), body].concat()
}

/// The fingerprint as the Avro specification writes it down.
fn crc_64_avro(text: &str) -> u64 {
    const EMPTY: u64 = 0xC15D_213A_A4D7_A795;
    let step = |fingerprint: u64| (fingerprint >> 1) ^ (EMPTY & (fingerprint & 1).wrapping_neg());
    text.bytes().fold(EMPTY, |fingerprint, byte| {
        let table = (0..8).fold((fingerprint ^ u64::from(byte)) & 0xFF, |entry, _| step(entry));
        (fingerprint >> 8) ^ table
    })
}

/// An event under the newest contract in single-object encoding.
pub(crate) fn message(topic: Topic, event: &Event) -> Vec<u8> {
    single(latest(topic), &body(&latest(topic).schema, event))
}

/// The registry's id of a version in these tests.
pub(crate) fn registry_id(version: u32) -> u32 {
    100 + version
}

/// Every version of a topic's contract by fingerprint, and by a registry's id.
pub(crate) fn writers(topic: Topic) -> Writers {
    let mut writers = Writers::default();
    for writer in local_writers(topic) {
        let writer = writer.expect("a contract reads itself");
        writers.insert(writer.id(), Ok(Arc::new(writer)));
    }
    for contract in versions(topic) {
        insert(&mut writers, topic, registry_id(contract.version), &contract.json);
    }
    writers
}

/// Adds what a registry says of an id, good or bad.
pub(crate) fn insert(writers: &mut Writers, topic: Topic, id: u32, json: &str) {
    let id = WriterId::Confluent(id);
    writers.insert(id, Writer::new(topic, id, json).map(Arc::new));
}

/// Reads a batch and holds the outcome against the one rule: rows and faults tile the batch, in order.
pub(crate) fn read_with(reader: &mut Reader, writers: &Writers, values: &[Option<&[u8]>]) -> Read {
    let appended_at_ms = vec![APPENDED_AT_MS; values.len()];
    let read = reader.read(Messages { values, appended_at_ms: &appended_at_ms }, writers).expect("a reading");
    assert_eq!(read.events.num_rows(), read.places.len());
    assert_eq!(read.digests.len(), read.places.len());
    assert!(read.places.is_sorted() && read.faults.is_sorted_by_key(|(place, _)| *place));
    let mut places: Vec<u32> = read.places.clone();
    places.extend(read.faults.iter().map(|(place, _)| *place));
    places.sort_unstable();
    let all: Vec<u32> = (0..).take(values.len()).collect();
    assert_eq!(places, all, "each message is one row or one fault");
    read
}

/// Reads a batch with a reader of its own that knows every version of the contract.
pub(crate) fn read(topic: Topic, values: &[Vec<u8>]) -> Read {
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &writers(topic), &values)
}

/// Reads one message: its row, or its reason and path.
pub(crate) fn read_one(topic: Topic, writers: &Writers, value: &[u8]) -> Result<Event, (String, String)> {
    let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), writers, &[Some(value)]);
    match read.faults.as_slice() {
        [] => Ok(row(topic, &read.events, 0)),
        [(_, fault), ..] => Err((fault.reason.name().to_owned(), fault.path.clone())),
    }
}

/// The fields of a topic's newest contract, as its JSON has them.
pub(crate) fn fields(topic: Topic) -> Vec<Json> {
    let contract: Json = serde_json::from_str(&latest(topic).json).expect("JSON");
    contract["fields"].as_array().expect("fields").clone()
}

/// The type of a field less null.
pub(crate) fn plain_type(field: &Json) -> &Json {
    match &field["type"] {
        Json::Array(branches) => branches.iter().find(|branch| *branch != "null").expect("a type"),
        other => other,
    }
}

/// The symbols of an enum's field.
pub(crate) fn symbols(field: &Json) -> Option<Vec<&str>> {
    Some(plain_type(field)["symbols"].as_array()?.iter().filter_map(Json::as_str).collect())
}

/// One row as an event without its absent fields.
pub(crate) fn row(topic: Topic, rows: &RecordBatch, row: usize) -> Event {
    let mut event = Event::new();
    for (field, array) in fields(topic).iter().zip(rows.columns()) {
        let value: Json = match array.data_type() {
            _ if array.is_null(row) => continue,
            DataType::Utf8 => array.as_string::<i32>().value(row).into(),
            DataType::Int64 => array.as_primitive::<Int64Type>().value(row).into(),
            DataType::Int32 => array.as_primitive::<Int32Type>().value(row).into(),
            DataType::Timestamp(..) => array.as_primitive::<TimestampMicrosecondType>().value(row).into(),
            DataType::Boolean => array.as_boolean().value(row).into(),
            DataType::FixedSizeBinary(16) => uuid::Uuid::from_slice(array.as_fixed_size_binary().value(row))
                .expect("16 bytes")
                .to_string()
                .into(),
            DataType::Int8 => match array.as_primitive::<Int8Type>().value(row) {
                0 => continue,
                code => symbols(field).expect("an enum")[usize::try_from(code - 1).expect("a place")].into(),
            },
            other => panic!("a column of {other}"),
        };
        event.insert(field["name"].as_str().expect("a name").to_owned(), value);
    }
    event
}

/// What apache-avro reads in bodies of one writer, resolved to the newest contract.
pub(crate) struct Apache<'s>(GenericDatumReader<'s>);

impl<'s> Apache<'s> {
    pub(crate) fn new(writer: &'s Schema, topic: Topic) -> Apache<'s> {
        let reader = GenericDatumReader::builder(writer).reader_schema(&latest(topic).schema).build();
        Apache(reader.expect("a reader"))
    }

    /// The event of a body; `None` where it refuses the body, or needs fewer or more bytes. It takes a text that the
    /// end cuts short for null, so the end is moved far away.
    pub(crate) fn reads(&self, body: &[u8]) -> Option<Event> {
        const PADDING: u64 = 1 << 16;
        let mut input = body.chain(std::io::repeat(0).take(PADDING));
        let Value::Record(fields) = self.0.read_value(&mut input).ok()? else { panic!("a record") };
        let event = fields.into_iter().filter_map(|(name, value)| Some((name, json(value)?))).collect();
        let (rest, padding) = input.into_inner();
        (rest.is_empty() && padding.limit() == PADDING).then_some(event)
    }
}

/// `None` for null.
fn json(value: Value) -> Option<Json> {
    Some(match value {
        Value::Union(_, inner) => return json(*inner),
        Value::Null => return None,
        Value::String(text) | Value::Enum(_, text) => text.into(),
        Value::Uuid(uuid) => uuid.to_string().into(),
        Value::Long(number) | Value::TimestampMicros(number) => number.into(),
        Value::Int(number) => number.into(),
        Value::Boolean(flag) => flag.into(),
        other => panic!("{other:?} in an event"),
    })
}

/// Where in the body each field ends, by writing the fields up to it.
pub(crate) fn field_ends(schema: &Schema, event: &Event) -> Vec<(String, usize)> {
    let whole = serde_json::to_value(schema).expect("JSON");
    let count = whole["fields"].as_array().expect("fields").len();
    let end = |count: usize| {
        let mut prefix = whole.clone();
        prefix["fields"].as_array_mut().expect("fields").truncate(count);
        let name = prefix["fields"][count - 1]["name"].as_str().expect("a name").to_owned();
        (name, body(&Schema::parse(&prefix).expect("a schema"), event).len())
    };
    (1..=count).map(end).collect()
}

/// A zigzag variable-length integer.
pub(crate) fn varint(value: i64) -> Vec<u8> {
    let mut rest = ((value << 1) ^ (value >> 63)).cast_unsigned();
    let mut bytes = Vec::new();
    while rest >= 0x80 {
        bytes.push((rest & 0x7F) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// The event with its defaults, as a row has it.
pub(crate) fn with_defaults(topic: Topic, mut event: Event) -> Event {
    for field in fields(topic) {
        let name = field["name"].as_str().expect("a name");
        if let Some(default) = field.get("default").filter(|default| !default.is_null()) {
            event.entry(name).or_insert_with(|| default.clone());
        }
    }
    event
}
