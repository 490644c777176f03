//! Schemas that a registry could hold and that must not stop, drown or blow up the reader.

use crate::world::{
    VALUE_BYTES_MAX, body, confluent, example, insert, message, read_one, read_with, valid, writers,
};
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tally_schemas::{Fault, Reader, Reason, Topic, Writer, WriterId, latest};

const ID: WriterId = WriterId::Confluent(11);

/// The newest task contract with one more field, in front.
fn with_field(first: Json) -> String {
    let mut schema: Json = serde_json::from_str(&latest(Topic::Task).json).expect("JSON");
    schema["fields"].as_array_mut().expect("fields").insert(0, json!({"name": "x", "type": first}));
    schema.to_string()
}

fn judged(json: &str) -> Result<Writer, Fault> {
    Writer::new(Topic::Task, ID, json)
}

/// Scenario: a record that contains itself: straight, or through a union, an array, a map or another record.
/// Guarantees: `schema_incompatible` that names the field, at once and for each message; the decoder cannot skip
/// such a field, and the walk must not follow it.
#[test]
fn records_without_end() {
    let record =
        |again: Json| json!({"type": "record", "name": "Again", "fields": [{"name": "next", "type": again}]});
    let through =
        record(json!({"type": "record", "name": "Other", "fields": [{"name": "back", "type": "Again"}]}));
    let cases = [
        (record(json!("Again")), "x.next"),
        (record(json!(["null", "Again"])), "x.next"),
        (record(json!({"type": "array", "items": "Again"})), "x.next"),
        (record(json!({"type": "map", "values": ["null", "Again"]})), "x.next"),
        (through, "x.next.back"),
    ];
    for (first, path) in cases {
        let fault = judged(&with_field(first.clone())).expect_err("it has no end");
        assert_eq!((fault.reason, fault.path.as_str()), (Reason::SchemaIncompatible, path), "{first}");
        assert!(fault.sentence.contains("contains itself"), "{}", fault.sentence);
    }
}

/// A record of two fields of the record before it, so many times over: 2^levels leaves in one line per level.
fn doubled(levels: usize) -> Json {
    let mut inner = json!({"type": "record", "name": "L0", "fields": []});
    for level in 1..=levels {
        let again = format!("L{}", level - 1);
        let fields = json!([{"name": "a", "type": inner}, {"name": "b", "type": again}]);
        inner = json!({"type": "record", "name": format!("L{level}"), "fields": fields});
    }
    inner
}

/// Scenario: thirty lines of schema whose record doubles with each, to a thousand million leaves without a byte.
/// Guarantees: refused before the decoder copies it out; one that is small enough is read, and an array of it that
/// claims 2^62 items ends as one fault, not as an afternoon.
#[test]
fn records_that_double() {
    for levels in [14, 20, 30, 35] {
        let fault = judged(&with_field(doubled(levels))).expect_err("too many types");
        assert_eq!((fault.reason, fault.path.split('.').next()), (Reason::SchemaIncompatible, Some("x")));
    }
    let topic = Topic::Task;
    let event = body(&latest(topic).schema, &example(topic, "SUBMITTED"));
    let mut known = writers(topic);
    insert(&mut known, topic, 11, &with_field(doubled(9)));
    assert!(read_one(topic, &known, &confluent(11, &event)).is_ok());
    insert(&mut known, topic, 11, &with_field(json!({"type": "array", "items": doubled(9)})));
    let hostile = [&crate::world::varint(1 << 62)[..], &[0], &event].concat();
    let hostile = confluent(11, &hostile);
    let values = vec![Some(hostile.as_slice()); 1000];
    let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &values);
    assert!(read.faults.iter().all(|(_, fault)| fault.reason == Reason::Body && fault.path.starts_with('x')));
}

/// Scenario: types within types, to where a parser's stack would end; a fixed of half the address space.
/// Guarantees: a fault of the writer or of the message, never an abort, nothing allocated by a size in a schema.
#[test]
fn types_within_types() {
    for depth in [20, 60, 200, 10_000] {
        let [open, close] = [r#"{"type":"array","items":"#, "}"];
        let nested = format!("{}\"null\"{}", open.repeat(depth), close.repeat(depth));
        let json = with_field(json!("HERE")).replace("\"HERE\"", &nested);
        let topic = Topic::Task;
        let mut known = writers(topic);
        insert(&mut known, topic, 11, &json);
        let event = body(&latest(topic).schema, &example(topic, "SUBMITTED"));
        let innermost = [vec![2; depth], vec![0; depth], event.clone()].concat();
        assert!(read_one(topic, &known, &confluent(11, &innermost)).is_ok() == (depth <= 20), "{depth}");
        let empty = read_one(topic, &known, &confluent(11, &[&[0][..], &event].concat()));
        assert!(empty.is_ok() == (depth <= 60), "{depth}: {empty:?}");
    }
    for size in [0_u64, 1 << 31, (1 << 31) - 1, 1 << 40, (1 << 63) - 1, u64::MAX] {
        let fixed = with_field(json!({"type": "fixed", "name": "Big", "size": size}));
        let mut known = writers(Topic::Task);
        insert(&mut known, Topic::Task, 11, &fixed);
        let event = body(&latest(Topic::Task).schema, &example(Topic::Task, "SUBMITTED"));
        let outcome = read_one(Topic::Task, &known, &confluent(11, &event));
        assert_eq!(outcome.is_ok(), size == 0, "{size}");
    }
}

/// Scenario: texts that are no schema, or another's; one of a mebibyte.
/// Guarantees: `schema_incompatible` or `wrong_topic` with a sentence of bounded length: every message carries it.
#[test]
fn texts_that_are_no_schema() {
    let long = format!(r#"{{"type": "{}"}}"#, "x".repeat(1 << 20));
    let unknown = with_field(json!("y".repeat(1 << 20)));
    let renamed = latest(Topic::Task).json.replace("tally.events", "elsewhere");
    let cases = [
        ("", Reason::SchemaIncompatible),
        ("null", Reason::SchemaIncompatible),
        ("{}", Reason::SchemaIncompatible),
        ("\"string\"", Reason::WrongTopic),
        (r#"["null", "string"]"#, Reason::WrongTopic),
        (&latest(Topic::Credit).json, Reason::WrongTopic),
        (&renamed, Reason::WrongTopic),
        (&long, Reason::SchemaIncompatible),
        (&unknown, Reason::SchemaIncompatible),
    ];
    for (json, reason) in cases {
        let fault = judged(json).expect_err("no schema of this topic");
        assert_eq!(fault.reason, reason, "{}", fault.sentence);
        assert!(fault.sentence.len() < 1000, "{} bytes: {:.200}", fault.sentence.len(), fault.sentence);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Scenario: a registry answers with a schema that something on the way has changed: any bytes of it.
    /// Guarantees: a writer or a fault, never a panic; and whatever the writer, its messages are rows or faults and
    /// disturb no other's.
    #[test]
    fn schemas_with_changed_bytes(
        topic in prop::sample::select(&Topic::ALL[..]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), "[\\[\\]{}\",:a-z0-9]{0,6}", 0..6_usize), 1..4),
    ) {
        let mut json = latest(topic).json.clone();
        for (at, text, cut) in changes {
            let at = json.floor_char_boundary(at.index(json.len()));
            let end = json.floor_char_boundary((at + cut).min(json.len()));
            json.replace_range(at..end, &text);
        }
        let mut known = writers(topic);
        insert(&mut known, topic, 11, &json);
        let events = valid(topic);
        let good = message(topic, &events[0].1);
        let other = confluent(11, &body(&latest(topic).schema, &events[1].1));
        let values = [&good, &other, &good].map(|value| Some(value.as_slice()));
        let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &values);
        prop_assert!(read.places.contains(&0) && read.places.contains(&2));
    }
}
