use super::explain;
use crate::contract::{Topic, latest, parse_schema};
use crate::encode::Encoder;
use crate::examples;
use proptest::prelude::*;
use serde_json::{Map, Value as Json, json};

/// Scenario: a moderator mends a dead letter: explain, edit, publish.
/// Guarantees: what `explain` says encodes to the very same bytes.
#[test]
fn what_is_explained_can_be_published() {
    for topic in Topic::ALL {
        let encoder = Encoder::new(latest(topic)).expect("a plan");
        for (name, event) in examples::valid(topic) {
            let body = encoder.encode(&event).expect("a body");
            let explained: Map<String, Json> =
                explain(&latest(topic).schema, &body).fields.into_iter().collect();
            assert_eq!(encoder.encode(&explained.into()).expect("a body"), body, "{topic} {name}");
        }
    }
}

/// Scenario: an event is cut off at any byte, or has bytes after its end.
/// Guarantees: the fields before the cut are shown as they were, and the reading stops where the bytes end.
#[test]
fn a_cut_event_is_explained_up_to_the_cut() {
    let contract = latest(Topic::Credit);
    let encoder = Encoder::new(contract).expect("a plan");
    for (name, event) in examples::valid(Topic::Credit) {
        let mut body = encoder.encode(&event).expect("a body");
        let whole = explain(&contract.schema, &body).fields;
        for end in 0..body.len() {
            let cut = explain(&contract.schema, &body[..end]);
            let stopped = cut.stopped_at.expect("it stops");
            assert_eq!(cut.fields[..], whole[..cut.fields.len()], "{name} cut at {end}");
            assert_eq!(stopped.path, whole[cut.fields.len()].0, "{name} cut at {end}");
            assert!(stopped.byte_offset <= end);
        }
        body.extend([1, 2, 3]);
        let longer = explain(&contract.schema, &body);
        assert_eq!((longer.fields, longer.stopped_at, longer.trailing_bytes), (whole, None, 3));
    }
}

/// Scenario: schemas of a foreign registry, with bytes that claim too much.
/// Guarantees: values are shown in a readable form; a false claim ends with its field, its offset and a sentence.
#[test]
fn claims_are_not_believed() {
    let record = |field: &str| {
        let text = format!(r#"{{"type":"record","name":"R","fields":[{{"name":"f","type":{field}}}]}}"#);
        parse_schema("a test", &text).expect("a schema")
    };
    let huge = [0xFE, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x7F];
    type Case<'a> = (&'a str, &'a [u8], Result<Json, (&'a str, usize, &'a str)>);
    let cases: [Case<'_>; 15] = [
        (r#""bytes""#, &[4, 0xAB, 0xCD], Ok(json!("abcd"))),
        (r#"["null","double"]"#, &[2, 0, 0, 0, 0, 0, 0, 0xF8, 0x7F], Ok(json!("NaN"))),
        (r#"{"type":"map","values":"int"}"#, &[2, 2, b'k', 14, 0], Ok(json!({"k": 7}))),
        (r#"{"type":"array","items":"int"}"#, &[3, 4, 2, 4, 0], Ok(json!([1, 2]))),
        (r#"{"type":"fixed","name":"F","size":2}"#, &[1, 2], Ok(json!("0102"))),
        (r#"{"type":"long","logicalType":"timestamp-micros"}"#, &[0], Ok(json!("1970-01-01T00:00:00Z"))),
        (r#""string""#, &huge, Err(("f", 0, "4611686018427387903 bytes claimed, 0 left"))),
        (r#""string""#, &[1], Err(("f", 0, "a length of -1"))),
        (r#""string""#, &[2, 0xFF], Err(("f", 0, "text that is not UTF-8"))),
        (r#""boolean""#, &[2], Err(("f", 0, "a byte that is neither true nor false"))),
        (r#""int""#, &[0xFF; 10], Err(("f", 0, "an integer beyond 64 bits"))),
        (
            r#"{"type":"enum","name":"E","symbols":["A"]}"#,
            &[2],
            Err(("f", 0, "enum index 1; the schema has 1")),
        ),
        (r#"["null","int"]"#, &[4], Err(("f", 0, "union index 2; the schema has 2"))),
        (r#"{"type":"array","items":"null"}"#, &huge, Err(("f", 9, "more than 100000 values"))),
        (r#"["null","R"]"#, &[2; 99], Err(("f.f.f", 11, "types nested more than 32 deep"))),
    ];
    for (field, body, expected) in cases {
        let explained = explain(&record(field), body);
        match expected {
            Ok(value) => assert_eq!(explained.fields, [("f".to_owned(), value)], "{field}"),
            Err((path, offset, problem)) => {
                let stopped = explained.stopped_at.expect(field);
                assert!(stopped.path.starts_with(path), "{field}: {stopped:?}");
                assert_eq!((stopped.byte_offset, stopped.problem.as_str()), (offset, problem), "{field}");
            }
        }
    }
}

proptest! {
    /// Scenario: arbitrary bytes under every contract.
    /// Guarantees: never a panic; the bytes that are left are bytes that were there.
    #[test]
    fn arbitrary_bytes_never_panic(body in prop::collection::vec(any::<u8>(), 0..600)) {
        for topic in Topic::ALL {
            prop_assert!(explain(&latest(topic).schema, &body).trailing_bytes <= body.len());
        }
    }
}
