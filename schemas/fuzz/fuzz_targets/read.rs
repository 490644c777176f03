//! Reads a batch of hostile messages of one topic.
//!
//! The first byte names the topic. Then messages: a control byte (how it is framed, which writer, null or not), two
//! bytes of length, little-endian, and so many bytes of body as are left. `seeds/read` holds starting points, made
//! by `schemas/tests/reading/seeds.rs`.
#![no_main]

use libfuzzer_sys::fuzz_target;
use std::cell::RefCell;
use std::sync::{Arc, LazyLock};
use tally_schemas::{
    Messages, Read, Reader, Topic, Writer, WriterId, Writers, latest, local_writers, versions,
};

const VALUE_BYTES_MAX: usize = 4096;
const MESSAGES_MAX: usize = 32;
/// Messages of a batch that are also read alone.
const ALONE_MAX: usize = 4;
/// 2025-07-01T12:00:00Z, less than a day after the newest example.
const APPENDED_AT_MS: i64 = 1_751_371_200_000;
const REGISTRY_OLDEST: u32 = 1;
const REGISTRY_LATEST: u32 = 2;
const REGISTRY_EXTRA: u32 = 3;
const REGISTRY_UNKNOWN: u32 = 0xFFFF;

/// What a registry may hold and the contract does not read: one of everything that a walk must find the end of.
const EXTRA_FIELDS: &str = r#"[
  {"name": "x_nested", "type": {"type": "array", "items": {"type": "map", "values": ["null", "long", "string", {
      "type": "record", "name": "Inner", "namespace": "x", "fields": [
        {"name": "flag", "type": "boolean"},
        {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 3}},
        {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}},
        {"name": "again", "type": ["null", "Hash"]},
        {"name": "day", "type": {"type": "int", "logicalType": "date"}}]}]}}},
  {"name": "x_nothings", "type": {"type": "array", "items": "null"}},
  {"name": "x_empties", "type": {"type": "array", "items": {"type": "record", "name": "Empty", "fields": []}}},
  {"name": "x_numbers", "type": {"type": "map", "values": {"type": "array", "items": ["float", "double", "int"]}}},
  {"name": "x_bytes", "type": ["bytes", "null"]},
  {"name": "x_twice", "type": ["null", "x.Inner"]},
  {"name": "x_uuid", "type": {"type": "string", "logicalType": "uuid"}},
  {"name": "x_price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}}
]"#;

static WRITERS: LazyLock<[Writers; 4]> = LazyLock::new(|| Topic::ALL.map(writers_of));

thread_local! {
    /// Kept between inputs, as a lane keeps its own: what one batch leaves behind must not reach the next.
    static READERS: RefCell<[Reader; 4]> = RefCell::new(Topic::ALL.map(|topic| Reader::new(topic, VALUE_BYTES_MAX)));
}

fn writers_of(topic: Topic) -> Writers {
    let mut writers = Writers::default();
    for writer in local_writers(topic) {
        let writer = writer.expect("a contract reads itself");
        writers.insert(writer.id(), Ok(Arc::new(writer)));
    }
    let oldest = versions(topic).next().expect("a version");
    let extra = with_extra_fields(&latest(topic).json);
    for (id, json) in
        [(REGISTRY_OLDEST, &oldest.json), (REGISTRY_LATEST, &latest(topic).json), (REGISTRY_EXTRA, &extra)]
    {
        let id = WriterId::Confluent(id);
        let writer = Writer::new(topic, id, json).expect("a readable schema");
        writers.insert(id, Ok(Arc::new(writer)));
    }
    writers
}

/// The extra fields stand before, between and after those of the contract.
fn with_extra_fields(contract: &str) -> String {
    let mut schema: serde_json::Value = serde_json::from_str(contract).expect("JSON");
    let extra: Vec<serde_json::Value> = serde_json::from_str(EXTRA_FIELDS).expect("JSON");
    let fields = schema["fields"].as_array_mut().expect("fields");
    for (place, field) in extra.into_iter().enumerate() {
        fields.insert((place * 3).min(fields.len()), field);
    }
    schema.to_string()
}

struct Input {
    topic: Topic,
    values: Vec<Option<Vec<u8>>>,
    appended_at_ms: Vec<i64>,
}

fn input(data: &[u8]) -> Option<Input> {
    let (first, mut rest) = data.split_first()?;
    let topic = Topic::ALL[usize::from(first % 4)];
    let (mut values, mut appended_at_ms) = (Vec::new(), Vec::new());
    while let [control, low, high, body @ ..] = rest
        && values.len() < MESSAGES_MAX
    {
        let (body, left) = body.split_at(usize::from(u16::from_le_bytes([*low, *high])).min(body.len()));
        rest = left;
        appended_at_ms.push(if control & 0x40 == 0 { APPENDED_AT_MS } else { -1 });
        values.push((control & 0x80 == 0).then(|| [&frame(topic, control % 8)[..], body].concat()));
    }
    Some(Input { topic, values, appended_at_ms })
}

fn frame(topic: Topic, writer: u8) -> Vec<u8> {
    let single = |fingerprint: u64| [&[0xC3, 0x01][..], &fingerprint.to_le_bytes()].concat();
    let confluent = |id: u32| [&[0x00][..], &id.to_be_bytes()].concat();
    match writer {
        0 => single(latest(topic).fingerprint),
        1 => single(versions(topic).next().expect("a version").fingerprint),
        2 => confluent(REGISTRY_OLDEST),
        3 => confluent(REGISTRY_LATEST),
        4 | 5 => confluent(REGISTRY_EXTRA),
        6 => confluent(REGISTRY_UNKNOWN),
        _ => Vec::new(),
    }
}

fn read(reader: &mut Reader, topic: Topic, values: &[Option<&[u8]>], appended_at_ms: &[i64]) -> Read {
    let writers = &WRITERS[Topic::ALL.iter().position(|t| *t == topic).expect("a topic")];
    let read =
        reader.read(Messages { values, appended_at_ms }, writers).expect("nothing in a message stops a lane");
    let mut places: Vec<u32> =
        read.places.iter().copied().chain(read.faults.iter().map(|(place, _)| *place)).collect();
    places.sort_unstable();
    assert!(places.iter().copied().eq(0..values.len() as u32), "rows and faults tile the batch: {places:?}");
    assert!(read.places.is_sorted() && read.faults.is_sorted_by_key(|(place, _)| *place));
    assert_eq!(read.events.num_rows(), read.places.len());
    assert_eq!(read.digests.len(), read.places.len());
    read
}

fuzz_target!(|data: &[u8]| {
    let Some(Input { topic, values, appended_at_ms }) = input(data) else { return };
    let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
    READERS.with_borrow_mut(|readers| {
        let reader = &mut readers[Topic::ALL.iter().position(|t| *t == topic).expect("a topic")];
        let whole = read(reader, topic, &values, &appended_at_ms);
        for (_, fault) in &whole.faults {
            assert!(
                !fault.sentence.starts_with("not decoded"),
                "the walk let pass what the decoder refuses: {fault:?}"
            );
        }
        for (place, (value, appended)) in (0_u32..).zip(values.iter().zip(&appended_at_ms)).take(ALONE_MAX) {
            let alone = read(reader, topic, &[*value], &[*appended]);
            match whole.places.binary_search(&place) {
                Ok(row) => assert_eq!(alone.digests, [whole.digests[row]], "a neighbour changed a row"),
                Err(_) => {
                    let fault = whole.faults.iter().find(|(at, _)| *at == place).map(|(_, fault)| fault);
                    assert_eq!(
                        alone.faults.first().map(|(_, fault)| fault),
                        fault,
                        "a neighbour changed a fault"
                    );
                }
            }
        }
    });
});
