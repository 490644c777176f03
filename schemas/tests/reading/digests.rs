//! The content digest, made again from an event's JSON after the words in `src/digest.rs`.

use crate::properties::event_of_any_topic;
use crate::world::{
    Event, VALUE_BYTES_MAX, body, confluent, example, fields, insert, message, plain_type, read, read_with,
    registry_id, single, valid, writers,
};
use apache_avro::Schema;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use sha2::{Digest as _, Sha256};
use tally_schemas::{Reader, Sha256Digest, Topic, latest, versions};

/// SHA-256 over the head and the fields by number: what says no more than a default is left out.
fn expected(topic: Topic, event: &Event) -> Sha256Digest {
    let mut fields = fields(topic);
    fields.sort_by_key(|field| field["field_id"].as_u64());
    let mut text = format!("tally content 1\n{topic}\n").into_bytes();
    for field in fields {
        let value = event.get(field["name"].as_str().expect("a name")).unwrap_or(&Json::Null);
        let is_enum = plain_type(&field).get("symbols").is_some();
        let default = is_enum && field.get("default") == Some(value);
        if value.is_null() || default {
            continue;
        }
        text.push(u8::try_from(field["field_id"].as_u64().expect("a number")).expect("a small number"));
        match value {
            Json::Bool(flag) => text.push(u8::from(*flag)),
            Json::Number(number) => text.extend(number.as_i64().expect("64 bits").to_le_bytes()),
            Json::String(id) if plain_type(&field)["logicalType"] == "uuid" => {
                let digits: Vec<u8> = id.bytes().filter(|byte| *byte != b'-').collect();
                text.extend(hex::decode(digits).expect("hex"));
            }
            Json::String(string) => {
                text.extend(u32::try_from(string.len()).expect("short").to_le_bytes());
                text.extend(string.as_bytes());
            }
            other => panic!("{other}"),
        }
    }
    Sha256::digest(&text).into()
}

/// Scenario: every example, in one batch and alone.
/// Guarantees: the digest is the one of the words, whatever stands beside it.
#[test]
fn the_examples_digests() {
    for topic in Topic::ALL {
        let events = valid(topic);
        let values: Vec<Vec<u8>> = events.iter().map(|(_, event)| message(topic, event)).collect();
        let whole = read(topic, &values);
        for (((name, event), value), digest) in events.iter().zip(&values).zip(&whole.digests) {
            assert_eq!(*digest, expected(topic, event), "{topic} {name}");
            assert_eq!(read(topic, std::slice::from_ref(value)).digests, [*digest]);
        }
    }
}

/// Scenario: one event in either framing, under either version, and by a writer whose fields stand the other way
/// round, whose unions and enums are turned and who adds a field.
/// Guarantees: one digest.
#[test]
fn bytes_differ_and_the_digest_does_not() {
    for topic in Topic::ALL {
        let mut schema: Json = serde_json::from_str(&latest(topic).json).expect("JSON");
        let turned = schema["fields"].as_array_mut().expect("fields");
        turned.reverse();
        for field in turned.iter_mut() {
            field.as_object_mut().expect("a field").remove("default");
            match &mut field["type"] {
                Json::Array(branches) => branches.reverse(),
                plain => {
                    if let Some(Json::Array(symbols)) = plain.get_mut("symbols") {
                        symbols.reverse();
                    }
                }
            }
        }
        turned.push(json!({"name": "x", "type": "double"}));
        let mut known = writers(topic);
        insert(&mut known, topic, 50, &schema.to_string());
        let turned = Schema::parse(&schema).expect("a schema");
        for (name, mut event) in valid(topic) {
            let mut values = Vec::new();
            for contract in versions(topic) {
                let body = body(&contract.schema, &event);
                values.extend([single(contract, &body), confluent(registry_id(contract.version), &body)]);
            }
            event.insert("x".to_owned(), json!(0.5));
            if symbols_of_audience(topic) {
                event.entry("audience").or_insert_with(|| json!("CUSTOMER"));
            }
            values.push(confluent(50, &body(&turned, &event)));
            let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
            let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &values);
            assert_eq!(read.faults, [], "{topic} {name}");
            assert!(read.digests.iter().all(|digest| *digest == expected(topic, &event)), "{topic} {name}");
        }
    }
}

fn symbols_of_audience(topic: Topic) -> bool {
    fields(topic).iter().any(|field| field["name"] == "audience")
}

/// Scenario: an event says null or its field's default, or says nothing.
/// Guarantees: an enum's default says no more than its absence; any other value says more, also zero and false.
#[test]
fn a_default_says_no_more_than_nothing() {
    let topic = Topic::Credit;
    let digest = |event: &Event| read(topic, &[message(topic, event)]).digests[0];
    let with = |field: &str, value: Json| {
        let mut event = example(topic, "PURCHASED");
        event.insert(field.to_owned(), value);
        event
    };
    let without = |field: &str| {
        let mut event = example(topic, "PURCHASED");
        event.remove(field);
        event
    };
    assert_eq!(digest(&with("audience", json!("CUSTOMER"))), digest(&without("audience")));
    assert_ne!(digest(&with("audience", json!("TEST"))), digest(&without("audience")));
    assert_eq!(digest(&with("gift", Json::Null)), digest(&without("gift")));
    assert_ne!(digest(&with("gift", json!(false))), digest(&without("gift")));
    assert_ne!(digest(&with("gift", json!(false))), digest(&with("gift", json!(true))));
    assert_eq!(digest(&with("balance_after_micros", Json::Null)), digest(&without("balance_after_micros")));
    assert_ne!(digest(&with("balance_after_micros", json!(0))), digest(&without("balance_after_micros")));
    // The first symbol is no default where the contract names none.
    assert_ne!(digest(&with("queue", json!("NORMAL"))), digest(&without("queue")));
}

/// Scenario: a publisher writes the id in capitals, without hyphens, in braces or as a URN.
/// Guarantees: sixteen bytes are an identity, not their spelling: one digest.
#[test]
fn an_id_in_other_letters() {
    let topic = Topic::Task;
    let event = example(topic, "QUEUED");
    let schema = &latest(topic).schema;
    let plain = body(schema, &event);
    let id = event["event_id"].as_str().expect("text");
    assert_eq!(plain[1..37], *id.as_bytes());
    let spelled = |text: String| {
        let length = crate::world::varint(i64::try_from(text.len()).expect("short"));
        single(latest(topic), &[&length[..], text.as_bytes(), &plain[37..]].concat())
    };
    let spellings = [id.to_uppercase(), id.replace('-', ""), format!("{{{id}}}"), format!("urn:uuid:{id}")];
    let read = read(topic, &spellings.map(spelled));
    assert_eq!(read.faults, []);
    assert!(read.digests.iter().all(|digest| *digest == expected(topic, &event)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Scenario: any event, and the same with one field of another value, or without it.
    /// Guarantees: the digest is the one of the words, and another content is another digest.
    #[test]
    fn any_changed_field_is_another_digest(
        (topic, event) in event_of_any_topic(),
        (other_topic, other) in event_of_any_topic(),
        field in any::<prop::sample::Index>(),
    ) {
        let digests = |event: &Event| {
            let read = read(topic, &[message(topic, event)]);
            prop_assert_eq!(&read.faults, &[]);
            prop_assert_eq!(read.digests[0], expected(topic, event));
            Ok(read.digests[0])
        };
        let first = digests(&event)?;
        if other_topic == topic {
            let name = field.get(&fields(topic))["name"].as_str().expect("a name").to_owned();
            let mut changed = event.clone();
            match other.get(&name) {
                Some(value) => changed.insert(name, value.clone()),
                None => changed.remove(&name),
            };
            let value = message(topic, &changed);
            let read = read(topic, &[value]);
            let default = |event: &Event| {
                event.get("audience").filter(|audience| *audience != "CUSTOMER").cloned()
            };
            let same = {
                let (mut a, mut b) = (event.clone(), changed.clone());
                a.remove("audience");
                b.remove("audience");
                a == b && default(&event) == default(&changed)
            };
            if let [second] = read.digests[..] {
                prop_assert_eq!(first == second, same);
                prop_assert_eq!(second, expected(topic, &changed));
            }
        } else {
            prop_assert_ne!(first, expected(other_topic, &other));
        }
    }
}
