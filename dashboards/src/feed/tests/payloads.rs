//! What a payload says, held against the committed examples of the contracts.

use super::{block_on, kinds, log, payload, read_all};
use crate::feed::event::Event;
use crate::feed::sign::Signer;
use crate::rights::Sight;
use chrono::{DateTime, Utc};
use serde_json::{Map, Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
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

/// The example as the log of the feed has it.
fn published(topic: Topic, example: &Map<String, Value>) -> Arc<Event> {
    let contract = latest(topic);
    let body = Encoder::new(contract).expect("a contract").encode(&json!(example)).expect("an event");
    let log = log();
    let value = frame_single_object(contract, &body);
    log.append(topic, 0, &value, 1_772_366_400_000).expect("a partition");
    let (_, parts) = block_on(read_all(&log));
    parts.into_iter().flat_map(|(_, _, events)| events).next().expect("an accepted event")
}

/// What everybody who sees a masked event is told.
const ALWAYS_STAYS: [&str; 7] =
    ["event_id", "occurred_at", "source", "kind", "policy_tag", "task_id", "case_id"];

/// What they are told beside it, by hand; RIGHTS.md has it for people. `None` for what nobody sees masked.
fn stays(topic: Topic, kind: &str) -> Option<&'static [&'static str]> {
    match (topic, kind) {
        (Topic::Task, "ACCELERATED" | "ACCELERATION_OFFERED") => None,
        (Topic::Task | Topic::Credit, kind) if kind.starts_with("SUPPLEMENT") => {
            Some(&["queue", "state_version"])
        }
        (Topic::Task, _) => {
            Some(&["template_id", "license_id", "queue", "progress_permille", "state_version", "error_code"])
        }
        (Topic::Moderation, "DECIDED" | "CLOSED") => Some(&["template_id", "license_id", "decision"]),
        (Topic::Moderation, _) => Some(&["template_id", "license_id", "risk_level", "sla_due_at"]),
        (Topic::Credit | Topic::License, _) => None,
    }
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
            let payload = payload(&published(topic, &example), Sight::Full, &signer);

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

/// Scenario: every valid example of what somebody sees masked is published, as it is and with odd values.
/// Guarantees: its masked payload is the full one with the fields that stay, with their values, and no other; it names its key only
/// where that is one of them.
#[test]
fn a_masked_payload_says_what_stays_and_nothing_else() {
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::open(folder.path()).expect("a key");
    let mut told = BTreeSet::new();
    for topic in Topic::ALL {
        for example in examples(topic) {
            let Some(stays) = stays(topic, example["kind"].as_str().expect("a kind")) else { continue };
            let event = published(topic, &example);
            let (mut whole, masked) =
                (payload(&event, Sight::Full, &signer), payload(&event, Sight::Masked, &signer));
            let stays = |name: &str| stays.contains(&name) || ALWAYS_STAYS.contains(&name);
            whole["data"].as_object_mut().expect("an object").retain(|name, _| stays(name));
            if !stays(topic.key_field()) {
                whole.as_object_mut().expect("an object").remove("subject");
            }
            assert_eq!(masked, whole);
            told.extend(whole["data"].as_object().expect("an object").keys().cloned());
        }
    }
    // each field that may stay has an example, so that none of them is held by its absence alone
    let sometimes = "template_id license_id queue progress_permille state_version error_code decision risk_level sla_due_at";
    for field in ALWAYS_STAYS.into_iter().chain(sometimes.split(' ')) {
        assert!(told.contains(field), "no example has {field}");
    }
}
