//! Writers that a registry knows and the repository does not.

use crate::world::{
    APPENDED_AT_MS, Event, VALUE_BYTES_MAX, body, confluent, example, fields, insert, message, read_one,
    read_with, valid, with_defaults, writers,
};
use apache_avro::Schema;
use serde_json::{Value as Json, json};
use tally_schemas::{Messages, Reader, Topic, Writer, WriterId, Writers, latest};

const ID: u32 = 7;

/// The newest contract with its fields changed.
fn changed(topic: Topic, change: impl FnOnce(&mut Vec<Json>)) -> Json {
    let mut schema: Json = serde_json::from_str(&latest(topic).json).expect("JSON");
    change(schema["fields"].as_array_mut().expect("fields"));
    schema
}

fn field<'f>(fields: &'f mut [Json], name: &str) -> &'f mut Json {
    fields.iter_mut().find(|field| field["name"] == name).expect("a field")
}

fn known(topic: Topic, schema: &Json) -> Writers {
    let mut writers = Writers::default();
    insert(&mut writers, topic, ID, &schema.to_string());
    writers
}

fn written(schema: &Json, event: &Event) -> Vec<u8> {
    confluent(ID, &body(&Schema::parse(schema).expect("a schema"), event))
}

fn outcome(topic: Topic, schema: &Json, event: &Event) -> Result<Event, (String, String)> {
    read_one(topic, &known(topic, schema), &written(schema, event))
}

fn refused(reason: &str, path: &str) -> Result<Event, (String, String)> {
    Err((reason.to_owned(), path.to_owned()))
}

fn assert_all_rows(topic: Topic, schema: &Json, more: &Json) {
    for (name, event) in valid(topic) {
        let mut written = event.clone();
        written.extend(more.as_object().expect("an object").clone());
        assert_eq!(outcome(topic, schema, &written), Ok(with_defaults(topic, event)), "{topic} {name}");
    }
}

/// Scenario: a service adds fields of its own, of every type that Avro has, before, between and after ours.
/// Guarantees: they are skipped; every other field keeps its value.
#[test]
fn extra_fields_are_skipped() {
    let extra = json!([
        {"name": "x_array", "type": {"type": "array", "items": ["null", "long", "string"]}},
        {"name": "x_map", "type": {"type": "map", "values": {"type": "record", "name": "Inner", "namespace": "x.y",
            "fields": [
                {"name": "flag", "type": "boolean"},
                {"name": "colour", "type": {"type": "enum", "name": "Colour", "symbols": ["RED", "GREEN"]}},
                {"name": "hash", "type": {"type": "fixed", "name": "Hash", "size": 3}},
                {"name": "hashes", "type": {"type": "map", "values": "Hash"}},
                {"name": "policy_tag", "type": "string"}]}}},
        {"name": "x_again", "type": ["null", "x.y.Inner"]},
        {"name": "x_colour", "type": "x.y.Colour"},
        {"name": "x_float", "type": "float"},
        {"name": "x_double", "type": "double"},
        {"name": "x_bytes", "type": ["bytes", "null"]},
        {"name": "x_one", "type": ["string"]},
        {"name": "x_three", "type": ["int", "null", "boolean"]},
        {"name": "x_date", "type": {"type": "int", "logicalType": "date"}},
        {"name": "x_millis", "type": {"type": "long", "logicalType": "timestamp-millis"}},
        {"name": "x_uuid", "type": {"type": "string", "logicalType": "uuid"}},
        {"name": "x_price", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
        {"name": "x_empty", "type": {"type": "record", "name": "Empty", "fields": []}},
        {"name": "x_null", "type": "null"},
        {"name": "x_nulls", "type": {"type": "array", "items": "null"}},
        {"name": "x_none", "type": {"type": "array", "items": "long"}}
    ]);
    let inner = json!({"flag": true, "colour": "GREEN", "hash": "abc", "policy_tag": "not ours",
        "hashes": {"h": "def"}});
    let values = json!({
        "x_array": [1, null, "two", 1_i64 << 62], "x_map": {"a": inner, "": inner}, "x_again": inner, "x_colour": "RED",
        "x_float": 1.5, "x_double": -2.25, "x_bytes": [0, 255], "x_one": "one", "x_three": true, "x_date": 20_000,
        "x_millis": 1_700_000_000_000_i64, "x_uuid": "01955b49-9a20-7538-96ad-005e01b384d4",
        "x_price": "\u{1}\0", "x_empty": {}, "x_null": null, "x_nulls": [null, null, null], "x_none": []
    });
    for topic in Topic::ALL {
        let schema = changed(topic, |fields| {
            for (place, field) in extra.as_array().expect("fields").iter().enumerate() {
                fields.insert((place * 2).min(fields.len()), field.clone());
            }
        });
        assert_all_rows(topic, &schema, &values);
    }
}

/// Scenario: a code generator writes the fields in an order of its own.
/// Guarantees: rows as ever.
#[test]
fn reordered_fields() {
    for topic in Topic::ALL {
        // Named types are defined where they come first, which here is still their only place.
        assert_all_rows(topic, &changed(topic, |fields| fields.reverse()), &json!({}));
        let half = fields(topic).len() / 2;
        assert_all_rows(topic, &changed(topic, |fields| fields.rotate_left(half)), &json!({}));
    }
}

/// Scenario: a service writes int where the contract has long; the value at its edges.
/// Guarantees: promoted.
#[test]
fn an_int_is_read_as_a_long() {
    let topic = Topic::Credit;
    let schema = changed(topic, |fields| {
        field(fields, "amount_micros")["type"] = json!("int");
        field(fields, "latency_ms")["type"] = json!(["int", "null"]);
    });
    for (amount, latency) in [(0, 0), (1, i32::MAX), (i32::MAX, 61)] {
        let mut event = example(topic, "HELD");
        event
            .extend([("amount_micros".to_owned(), amount.into()), ("latency_ms".to_owned(), latency.into())]);
        assert_eq!(outcome(topic, &schema, &event), Ok(event));
    }
    let mut event = example(topic, "HELD");
    event.insert("amount_micros".to_owned(), (-1).into());
    assert_eq!(outcome(topic, &schema, &event), refused("amount", "amount_micros"));
}

/// Scenario: unions the other way round, a value where the contract takes null too, null where it takes none.
/// Guarantees: the same rows; a null in a field that must be there is a fault of that message alone.
#[test]
fn unions_of_another_shape() {
    for topic in Topic::ALL {
        let turned = changed(topic, |fields| {
            for field in fields {
                if let Json::Array(branches) = &mut field["type"] {
                    branches.reverse();
                    field.as_object_mut().expect("a field").remove("default");
                }
            }
        });
        assert_all_rows(topic, &turned, &json!({}));
        let widened = changed(topic, |fields| {
            for field in fields {
                if !field["type"].is_array() {
                    field["type"] = json!([field["type"], "null"]);
                    field.as_object_mut().expect("a field").remove("default");
                }
            }
        });
        assert_all_rows(topic, &widened, &json!({"audience": "CUSTOMER"}));
        for (_, mut event) in valid(topic) {
            event.insert("actor_id".to_owned(), Json::Null);
            assert_eq!(outcome(topic, &widened, &event), refused("missing_reference", "actor_id"));
        }
        let trace_of = |other: &str| {
            changed(topic, |fields| *field(fields, "trace_id") = json!({"name": "trace_id", "type": other}))
        };
        let narrowed = trace_of("string");
        for (_, mut event) in valid(topic) {
            event.insert("trace_id".to_owned(), json!("4bf92f3577b34da6a3ce929d0e0e4736"));
            assert_eq!(outcome(topic, &narrowed, &event), Ok(with_defaults(topic, event)));
        }
        let nothing = trace_of("null");
        for (_, mut event) in valid(topic) {
            event.remove("trace_id");
            // The decoder need not take a field that is always null, but if it does it takes it right.
            match outcome(topic, &nothing, &event) {
                Ok(row) => assert_eq!(row, with_defaults(topic, event)),
                Err((reason, _)) => assert_eq!(reason, "schema_incompatible"),
            }
        }
    }
}

/// Scenario: a service rolls out a policy tag that the dictionary does not have yet, first, last or in the middle.
/// Guarantees: `policy_tag_unknown` for the messages that use it; the others' tags are right though every number moved.
#[test]
fn an_additional_policy_tag() {
    for topic in Topic::ALL {
        for place in [0, 5, 16] {
            let schema = changed(topic, |fields| {
                let symbols = field(fields, "policy_tag")["type"]["symbols"].as_array_mut().expect("symbols");
                symbols.insert(place, json!("DEEPFAKE"));
            });
            assert_all_rows(topic, &schema, &json!({}));
            for (_, event) in valid(topic) {
                let mut unknown = event.clone();
                unknown.insert("policy_tag".to_owned(), json!("DEEPFAKE"));
                let values = [&event, &unknown, &event].map(|event| written(&schema, event));
                let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
                let read =
                    read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known(topic, &schema), &values);
                assert_eq!(read.places, [0, 2]);
                let (_, fault) = &read.faults[0];
                assert_eq!((fault.reason.name(), fault.path.as_str()), ("policy_tag_unknown", "policy_tag"));
            }
        }
        // An additional kind is the publisher's own business gone wrong: not a tag, so a body.
        let schema = changed(topic, |fields| {
            field(fields, "kind")["type"]["symbols"].as_array_mut().expect("symbols").push(json!("MELTED"));
        });
        let (_, mut event) = valid(topic).remove(0);
        event.insert("kind".to_owned(), json!("MELTED"));
        assert_eq!(outcome(topic, &schema, &event), refused("body", "kind"));
    }
}

/// Scenario: a service makes policy_tag nullable, or forgets it.
/// Guarantees: null is `policy_tag_missing` for that message, tagged ones are rows; without the field, all are missing.
#[test]
fn a_policy_tag_that_may_be_absent() {
    for topic in Topic::ALL {
        let nullable = changed(topic, |fields| {
            let tag = field(fields, "policy_tag");
            tag["type"] = json!(["null", tag["type"]]);
        });
        let without = changed(topic, |fields| fields.retain(|field| field["name"] != "policy_tag"));
        let null = changed(topic, |fields| field(fields, "policy_tag")["type"] = json!("null"));
        assert_all_rows(topic, &nullable, &json!({}));
        for (_, mut event) in valid(topic) {
            assert_eq!(outcome(topic, &without, &event), refused("policy_tag_missing", "policy_tag"));
            event.remove("policy_tag");
            event.insert("policy_tag".to_owned(), Json::Null);
            assert_eq!(outcome(topic, &nullable, &event), refused("policy_tag_missing", "policy_tag"));
            assert_eq!(outcome(topic, &null, &event), refused("policy_tag_missing", "policy_tag"));
        }
    }
}

/// Scenario: a service keeps its own field names and gives ours as aliases.
/// Guarantees: Avro reads a *reader's* aliases, and the contracts have none: a field that must be there is named as
/// missing; one that may be absent is absent, whatever stands under the other name.
#[test]
fn a_writers_aliases_mean_nothing() {
    for topic in Topic::ALL {
        let renamed = |name: &str| {
            changed(topic, |fields| {
                let field = field(fields, name);
                field["name"] = json!("x_own");
                field["aliases"] = json!([name]);
            })
        };
        for (_, event) in valid(topic) {
            let mut own = event.clone();
            own.insert("x_own".to_owned(), json!("own"));
            assert_eq!(outcome(topic, &renamed("source"), &own), refused("schema_incompatible", "source"));
            let mut expected = with_defaults(topic, event);
            expected.remove("trace_id");
            assert_eq!(outcome(topic, &renamed("trace_id"), &own), Ok(expected));
        }
    }
}

/// Scenario: a service writes a field in a type that the contract cannot be read from.
/// Guarantees: `schema_incompatible`, by name, for every message of that writer and for no other's.
#[test]
fn incompatible_types() {
    let long = json!({"type": "array", "items": "long"});
    let millis = json!({"type": "long", "logicalType": "timestamp-millis"});
    let cases = [
        ("event_id", json!("bytes")),
        ("event_id", json!("string")),
        ("occurred_at", json!("long")),
        ("occurred_at", millis),
        ("source", json!("bytes")),
        ("source", json!(["string", "int"])),
        ("source", long),
        ("policy_tag", json!("string")),
        ("actor_role", json!("int")),
        ("kind", json!("string")),
        ("trace_id", json!(["null", "long"])),
        ("task_id", json!("boolean")),
    ];
    for topic in Topic::ALL {
        for (name, other) in &cases {
            let schema = changed(topic, |fields| {
                let field = field(fields, name);
                field["type"] = other.clone();
                field.as_object_mut().expect("a field").remove("default");
            });
            let mut writers = writers(topic);
            insert(&mut writers, topic, ID, &schema.to_string());
            let (_, event) = valid(topic).remove(0);
            let values = [message(topic, &event), confluent(ID, b"any bytes at all"), message(topic, &event)];
            let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
            let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &writers, &values);
            assert_eq!(read.places, [0, 2], "{topic} {name}");
            let fault = &read.faults[0].1;
            assert_eq!(
                (fault.reason.name(), fault.path.as_str()),
                ("schema_incompatible", *name),
                "{topic}: {other}"
            );
        }
    }
}

/// Scenario: the registry keeps schemas in parsing canonical form, with full names and without docs; or a client
/// writes full names.
/// Guarantees: rows as ever.
#[test]
fn a_schema_in_canonical_form() {
    for topic in Topic::ALL {
        // The canonical form drops the logical types, which the contract needs, so only the names are taken from it.
        let full =
            latest(topic).json.replace("\"name\": \"PolicyTag\"", "\"name\": \"tally.events.PolicyTag\"");
        let full = full.replace("\"namespace\": \"tally.events\",", "");
        let full = full.replacen("\"name\": \"", "\"name\": \"tally.events.", 1);
        let schema: Json = serde_json::from_str(&full).expect("JSON");
        assert!(schema.get("namespace").is_none());
        assert_eq!(Schema::parse(&schema).expect("a schema"), latest(topic).schema);
        assert_all_rows(topic, &schema, &json!({}));
    }
}

/// Scenario: an id comes to stand for another schema between two batches, as after a registry was set up anew; the
/// bytes of one can be read under the other, as two texts that changed places can.
/// Guarantees: a batch is read by the writers it is given, not by a decoder kept from before.
#[test]
fn an_id_that_changes_its_meaning() {
    let topic = Topic::Task;
    let before = changed(topic, |_| ());
    let after = changed(topic, |fields| {
        let place = |name: &str| fields.iter().position(|field| field["name"] == name).expect("a field");
        let (source, actor) = (place("source"), place("actor_id"));
        fields.swap(source, actor);
    });
    let event = example(topic, "SUBMITTED");
    let mut reader = Reader::new(topic, VALUE_BYTES_MAX);
    for schema in [&before, &after, &before] {
        let value = written(schema, &event);
        let read = read_with(&mut reader, &known(topic, schema), &[Some(&value)]);
        assert_eq!(read.faults, []);
        assert_eq!(crate::world::row(topic, &read.events, 0), with_defaults(topic, event.clone()));
    }
}

/// Scenario: a registry knows hundreds of versions, and a topic holds messages of all of them.
/// Guarantees: all are rows, also when a reader meets them again.
#[test]
fn many_writers_in_one_topic() {
    let topic = Topic::Task;
    let event = example(topic, "SUBMITTED");
    let mut writers = Writers::default();
    let mut values = Vec::new();
    for id in 0..100 {
        let schema = changed(topic, |fields| fields.push(json!({"name": format!("x_{id}"), "type": "long"})));
        let mut event = event.clone();
        event.insert(format!("x_{id}"), json!(id));
        values.push(confluent(id, &body(&Schema::parse(&schema).expect("a schema"), &event)));
        let id = WriterId::Confluent(id);
        writers.insert(id, Writer::new(topic, id, &schema.to_string()).map(Into::into));
    }
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    let mut reader = Reader::new(topic, VALUE_BYTES_MAX);
    let times = vec![APPENDED_AT_MS; values.len()];
    for _ in 0..3 {
        let read =
            reader.read(Messages { values: &values, appended_at_ms: &times }, &writers).expect("a reading");
        assert_eq!(read.places.len(), values.len());
        assert!(read.digests.iter().all(|digest| *digest == read.digests[0]));
    }
}
