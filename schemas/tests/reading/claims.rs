//! Bytes that claim what is not there: lengths, counts, branches, symbols, texts.

use crate::hostile::between_neighbours;
use crate::world::{
    VALUE_BYTES_MAX, body, confluent, example, field_ends, insert, message, read, read_one, read_with,
    single, valid, varint, writers,
};
use apache_avro::Schema;
use serde_json::{Value as Json, json};
use tally_schemas::{Reader, Reason, Topic, Writers, latest};

/// The example with the bytes of one field replaced.
fn with_field(topic: Topic, name: &str, bytes: &[u8]) -> Vec<u8> {
    let schema = &latest(topic).schema;
    let (_, event) = valid(topic).remove(0);
    let ends = field_ends(schema, &event);
    let at = ends.iter().position(|(field, _)| field == name).expect("a field");
    let (start, end) = (if at == 0 { 0 } else { ends[at - 1].1 }, ends[at].1);
    let body = body(schema, &event);
    single(latest(topic), &[&body[..start], bytes, &body[end..]].concat())
}

/// Each is one fault, of that reason and field, and its neighbours keep their rows.
fn refused(topic: Topic, field: &str, reason: Reason, all: &[Vec<u8>]) {
    let hostile: Vec<Vec<u8>> = all.iter().map(|bytes| with_field(topic, field, bytes)).collect();
    let read = between_neighbours(topic, &hostile);
    assert_eq!(read.faults.len(), all.len(), "{topic} {field}");
    for ((_, fault), bytes) in read.faults.iter().zip(all) {
        assert_eq!(
            (fault.reason, fault.path.as_str()),
            (reason, field),
            "{topic}: {bytes:02X?}: {}",
            fault.sentence
        );
    }
}

/// Scenario: a text claims 2^62 bytes, more than the message has, fewer than none.
/// Guarantees: `body`, by name; nothing of that size is allocated (the fuzzer holds the memory).
#[test]
fn lengths_that_cannot_be() {
    let claims = [1 << 62, i64::MAX, 1 << 40, 1 << 31, (1 << 31) - 1, 100_000, -1, -2, i64::MIN].map(varint);
    for topic in Topic::ALL {
        refused(topic, "event_id", Reason::Body, &claims);
        refused(topic, "source", Reason::Body, &claims);
        let present = claims.clone().map(|claim| [varint(1), claim].concat());
        refused(topic, "trace_id", Reason::Body, &present);
    }
}

/// Scenario: a union's branch or an enum's symbol that the schema does not have; an integer that never ends or is
/// wider than its type; a boolean of 2.
/// Guarantees: `body`, by name, for each.
#[test]
fn indexes_and_integers_that_cannot_be() {
    let indexes = [-1, 127, 128, 1 << 31, 1 << 32, (1 << 32) + 1, 1 << 62, i64::MIN].map(varint);
    let endless =
        [vec![0xFF; 9], vec![0xFF; 10], vec![0xFF; 11], vec![0xFF; 300], vec![0x80; 10], vec![0x80; 300]];
    let beyond = [[&[0xFF; 9][..], &[0x02]].concat(), [&[0x80; 9][..], &[0x7E]].concat()];
    for topic in Topic::ALL {
        let tags = [&indexes[..], &[varint(16)]].concat();
        refused(topic, "policy_tag", Reason::Body, &tags);
        refused(topic, "actor_role", Reason::Body, &[varint(5)]);
        refused(topic, "trace_id", Reason::Body, &[&indexes[..], &[varint(2)]].concat());
        for field in ["policy_tag", "occurred_at", "source", "trace_id"] {
            refused(topic, field, Reason::Body, &endless);
            refused(topic, field, Reason::Body, &beyond);
        }
        // Zeros after the end of an index: no 32-bit integer has six bytes.
        refused(topic, "policy_tag", Reason::Body, &[vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x00]]);
        refused(topic, "trace_id", Reason::Body, &[vec![0x80, 0x80, 0x80, 0x80, 0x80, 0x00]]);
    }
    let ints = [i64::from(i32::MAX) + 1, i64::from(i32::MIN) - 1, 1 << 62, i64::MIN]
        .map(|i| [varint(1), varint(i)].concat());
    refused(Topic::Credit, "http_status", Reason::Body, &ints);
    refused(Topic::Credit, "gift", Reason::Body, &[vec![2, 2], vec![2, 0xFF]]);
}

/// Scenario: text that is not UTF-8: a lone continuation, an overlong form, a surrogate, beyond Unicode, a cut.
/// Guarantees: `body`, by name; and an id that is no UUID likewise.
#[test]
fn texts_that_are_none() {
    let texts: [&[u8]; 6] =
        [b"\x80", b"\xC3\x28", b"\xC0\xAF", b"\xED\xA0\x80", b"\xF5\x80\x80\x80", b"ok \xE2\x82"];
    let sized = |text: &[u8]| [varint(i64::try_from(text.len()).expect("short")), text.to_vec()].concat();
    let ids = [
        &b"not a UUID"[..],
        b"",
        b"01955b49-9a20-7538-96ad-005e01b384dg",
        b"01955b49-9a20-7538-96ad-005e01b384d",
    ];
    for topic in Topic::ALL {
        refused(topic, "source", Reason::Body, &texts.map(sized));
        refused(topic, "trace_id", Reason::Body, &texts.map(|text| [varint(1), sized(text)].concat()));
        refused(topic, "event_id", Reason::Body, &texts.map(sized));
        refused(topic, "event_id", Reason::Body, &ids.map(sized));
    }
}

const ID: u32 = 9;

/// A writer whose first field is of another type; its bytes stand before those of the event.
fn with_first(topic: Topic, first: &Json) -> (Writers, Vec<u8>) {
    let mut schema: Json = serde_json::from_str(&latest(topic).json).expect("JSON");
    let field = json!({"name": "x", "type": first});
    schema["fields"].as_array_mut().expect("fields").insert(0, field);
    let mut known = writers(topic);
    insert(&mut known, topic, ID, &schema.to_string());
    let rest: Schema = latest(topic).schema.clone();
    let (_, event) = valid(topic).remove(0);
    (known, body(&rest, &event))
}

/// Scenario: arrays and maps of nothings, of somethings and of each other that claim 2^62 items, blocks that claim
/// more or fewer bytes than they have, and blocks without end; a thousand of each in one batch.
/// Guarantees: `body`, under the field's name; the batch ends (a nothing costs no byte, so only a bound ends it),
/// and a message of the same writer between them is a row.
#[test]
fn block_counts_without_end() {
    let array = |items: Json| json!({"type": "array", "items": items});
    let empty = json!({"type": "record", "name": "Empty", "fields": []});
    let nulls = json!({"type": "record", "name": "Nulls", "fields": [{"name": "a", "type": "null"}, {"name": "b", "type": "null"}]});
    let nothing = json!({"type": "fixed", "name": "Nothing", "size": 0});
    let map = json!({"type": "map", "values": "null"});
    let nested = array(array(json!("null")));
    let endless = |count: i64| [varint(count), varint(0)].concat();
    let many = [varint(50_000), varint(50_000).repeat(40)].concat();
    let cases = [
        (array(json!("null")), vec![endless(1 << 62), endless(1 << 30), varint(i64::MAX)]),
        (array(json!("null")), vec![[varint(-(1 << 62)), varint(0), varint(0)].concat(), varint(i64::MIN)]),
        (array(json!("null")), vec![[varint(i64::MIN), varint(0), varint(0)].concat()]),
        (array(empty), vec![endless(1 << 62)]),
        (array(nulls), vec![endless(1 << 62)]),
        (array(nothing), vec![endless(1 << 62)]),
        (nested, vec![endless(1 << 62), many]),
        (
            array(json!("long")),
            vec![varint(1 << 62), varint(1 << 20), [varint(-1), varint(1 << 62)].concat()],
        ),
        (
            array(json!("long")),
            vec![[varint(-1), varint(-1), varint(0)].concat(), [varint(-2), varint(1)].concat()],
        ),
        (array(json!("long")), vec![[varint(-1), varint(2), varint(0), varint(0), varint(0)].concat()]),
        (map, vec![varint(1 << 62), [varint(1), varint(1 << 62)].concat(), [varint(1), varint(-1)].concat()]),
    ];
    for topic in Topic::ALL {
        for (first, prefixes) in &cases {
            let (writers, rest) = with_first(topic, first);
            for prefix in prefixes {
                let hostile = confluent(ID, &[&prefix[..], &rest].concat());
                let good = confluent(ID, &[&[0][..], &rest].concat());
                let mut values = vec![Some(hostile.as_slice()); 1000];
                values.insert(500, Some(&good));
                let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &writers, &values);
                assert_eq!(read.places, [500], "{topic} {first} {prefix:02X?}");
                let sound = |reason| matches!(reason, Reason::Body | Reason::TrailingBytes);
                assert!(read.faults.iter().all(|(_, fault)| sound(fault.reason)), "{:?}", read.faults[0]);
                assert!(
                    read.faults.iter().all(|(_, fault)| fault.path.is_empty() || fault.path.starts_with('x'))
                );
                assert!(read.faults.iter().all(|(_, fault)| !fault.sentence.starts_with("not decoded")));
            }
        }
    }
}

/// Scenario: what no framing has: nothing, a byte, another format; ids that nobody knows; a null value.
/// Guarantees: each its own reason.
#[test]
fn frames_of_nobody() {
    let topic = Topic::Credit;
    let known = writers(topic);
    let cases: [(&[u8], &str); 11] = [
        (b"", "framing"),
        (b"\xC3", "framing"),
        (b"\xC3\x01", "framing"),
        (b"\xC3\x02 version two", "framing"),
        (b"\x00", "framing"),
        (b"\x00\x00\x00\x00", "framing"),
        (b"{\"kind\": \"HELD\"}", "framing"),
        (b"Obj\x01 a container file", "framing"),
        (b"\x00\x00\x00\x00\x00", "unknown_schema"),
        (b"\x00\xFF\xFF\xFF\xFF and more", "unknown_schema"),
        (b"\xC3\x01\x00\x00\x00\x00\x00\x00\x00\x00", "unknown_schema"),
    ];
    for (value, reason) in cases {
        assert_eq!(read_one(topic, &known, value), Err((reason.to_owned(), String::new())), "{value:02X?}");
    }
    let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &[None]);
    assert_eq!(read.faults[0].1.reason, Reason::Tombstone);
    assert_eq!(read.events.num_rows(), 0);
    assert_eq!(read.events.schema(), tally_schemas::arrow_schema(topic).clone());
    let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &Writers::default(), &[]);
    assert!(read.faults.is_empty() && read.places.is_empty());
}

/// Scenario: a message of 1 MiB, and one of 1 MiB + 1.
/// Guarantees: the first is read (and refused for its long text, by name), the second is `oversize` unread.
#[test]
fn a_message_of_one_byte_too_many() {
    let topic = Topic::Task;
    let sized = |bytes: usize| {
        let mut event = example(topic, "SUBMITTED");
        let spare = bytes - message(topic, &event).len();
        let length = |event: &crate::world::Event| message(topic, event).len();
        for text in
            [spare - 8, spare, spare + 8].into_iter().flat_map(|near| near.saturating_sub(64)..near + 64)
        {
            event.insert("trace_id".to_owned(), "x".repeat(text).into());
            if length(&event) == bytes {
                return message(topic, &event);
            }
        }
        panic!("no text makes {bytes} bytes")
    };
    let whole = sized(VALUE_BYTES_MAX);
    let read = read(topic, &[whole.clone(), sized(VALUE_BYTES_MAX + 1), [&whole[..], &[0]].concat()]);
    let faults: Vec<_> = read.faults.iter().map(|(_, fault)| (fault.reason, fault.path.as_str())).collect();
    assert_eq!(faults, [(Reason::OutOfRange, "trace_id"), (Reason::Oversize, ""), (Reason::Oversize, "")]);
}
