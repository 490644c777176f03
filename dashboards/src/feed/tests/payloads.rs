//! What a payload says, held against the committed examples of the contracts.

use super::{block_on, kinds, log, payload, read_all};
use crate::feed::sign::Signer;
use crate::rights::Sight;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use std::path::Path;
use tally_schemas::{Encoder, Topic, frame_single_object, latest};

fn example(topic: Topic, file: &Path) -> Map<String, Value> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{topic:?} {file:?}: {error}"));
    serde_json::from_str(&text).expect("an example is a JSON object")
}

/// A field as the feed is to tell it: amounts as text; a time with its microseconds.
fn told(name: &str, value: &Value) -> Value {
    if name.ends_with("_micros") || name == "price_minor" {
        return value.to_string().into();
    }
    if name.ends_with("_at") {
        let time: DateTime<Utc> = value.as_str().expect("a text").parse().expect("a time");
        return time.format("%Y-%m-%dT%H:%M:%S%.6fZ").to_string().into();
    }
    value.clone()
}

/// The example, and the same with texts that JSON must escape, a gift, and a balance below zero.
fn examples(topic: Topic) -> Vec<Map<String, Value>> {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../schemas/examples").join(topic.name()).join("valid");
    let files = std::fs::read_dir(folder).expect("a folder");
    let both = files.flat_map(|file| {
        let plain = example(topic, &file.expect("a file").path());
        let mut odd = plain.clone();
        odd.insert("trace_id".to_owned(), json!("\"\\/\n\u{1}é\u{1f600}"));
        for (name, value) in
            [("gift", json!(true)), ("balance_after_micros", json!(-999_999_999_999_999_i64))]
        {
            if let Some(field) = odd.get_mut(name) {
                *field = value;
            }
        }
        [plain, odd]
    });
    both.collect()
}

/// Scenario: every valid example of every contract is published, as it is and with odd values.
/// Guarantees: its payload is a CloudEvent with the example's id, source, time and key, of the kind's type; its data has every field of
/// the example with its value, and no other.
#[test]
fn a_payload_says_what_was_published() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::open(folder.path()).expect("a key");
    let mut seen = 0;
    for topic in Topic::ALL {
        for example in examples(topic) {
            let contract = latest(topic);
            let body = Encoder::new(contract).expect("a contract").encode(&json!(example)).expect("an event");
            let log = log();
            let value = frame_single_object(contract, &body);
            log.append(topic, 0, &value, 1_772_366_400_000).expect("a partition");
            let (_, parts) = block_on(read_all(&log));
            let event = parts.into_iter().flat_map(|(_, _, events)| events).next();
            let payload = payload(&event.expect("an accepted event"), Sight::Full, &signer);

            let of = topic.name().trim_end_matches("-events");
            let kind = example["kind"].as_str().expect("a kind").to_lowercase();
            let head = json!({
                "specversion": "1.0", "id": example["event_id"], "source": example["source"],
                "type": format!("{of}.{kind}.v1"), "time": told("occurred_at", &example["occurred_at"]),
                "subject": example[topic.key_field()], "datacontenttype": "application/json",
                "data": payload["data"],
            });
            assert_eq!(payload, head);
            let mut data = payload["data"].as_object().expect("an object").clone();
            for (name, value) in &example {
                assert_eq!(data.remove(name), Some(told(name, value)), "{name} of {example:?}");
            }
            assert_eq!(data, Map::new(), "of {example:?}");
            seen += 1;
        }
    }
    assert_eq!(
        seen,
        2 * Topic::ALL.map(|topic| kinds(topic).len()).iter().sum::<usize>(),
        "two of each kind"
    );
}
