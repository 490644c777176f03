//! The rules that Avro cannot state, held by examples and by every combination of kind and field.

use crate::world::{
    Event, body, example, fields, invalid, message, read, row, symbols, valid, with_defaults,
};
use serde_json::{Value as Json, json};
use tally_schemas::{Topic, latest};

/// Reason and path of the one fault, or none.
fn outcome(topic: Topic, event: &Event) -> Option<(String, String)> {
    let read = read(topic, &[message(topic, event)]);
    let fault = read.faults.into_iter().next();
    fault.map(|(_, fault)| (fault.reason.name().to_owned(), fault.path))
}

fn fault(reason: &str, path: &str) -> Option<(String, String)> {
    Some((reason.to_owned(), path.to_owned()))
}

/// Scenario: a service publishes an example.
/// Guarantees: every valid one is a row of exactly what it says; every invalid one gives its reason and its path,
/// alone and among all others.
#[test]
fn the_examples() {
    for topic in Topic::ALL {
        let (good, bad) = (valid(topic), invalid(topic));
        let mut values = Vec::new();
        for (name, event) in &good {
            assert_eq!(outcome(topic, event), None, "{topic} {name}");
            values.push(message(topic, event));
        }
        for (name, example) in &bad {
            assert_eq!(
                outcome(topic, &example.event),
                fault(&example.reason, &example.path),
                "{topic} {name}"
            );
            values.push(message(topic, &example.event));
        }
        let read = read(topic, &values);
        assert_eq!(read.places.len(), good.len());
        for (at, (name, event)) in good.into_iter().enumerate() {
            assert_eq!(row(topic, &read.events, at), with_defaults(topic, event), "{topic} {name}");
        }
        for ((_, fault), (name, example)) in read.faults.iter().zip(&bad) {
            assert_eq!(
                (fault.reason.name(), &fault.path),
                (example.reason.as_str(), &example.path),
                "{topic} {name}"
            );
        }
    }
}

/// What each kind must carry beyond what Avro asks, as the contracts' words have it.
fn required(topic: Topic, kind: &str) -> &'static [&'static str] {
    match (topic, kind) {
        (Topic::Credit, "ESTIMATED") => &["estimate_id"],
        (Topic::Credit, "HELD" | "HOLD_FAILED" | "CHARGED" | "ROLLED_BACK") => &["task_id"],
        (Topic::Credit, "SUPPLEMENT_REQUESTED" | "SUPPLEMENT_CHARGED" | "SUPPLEMENT_DECLINED") => {
            &["task_id"]
        }
        (Topic::Credit, "REFUNDED") => &["refund_reason"],
        (Topic::Credit, "PURCHASED") => &["price_minor", "currency", "order_id"],
        (Topic::Credit | Topic::License, "ATTEMPTED") => &["endpoint"],
        (Topic::License, "CHECKED") => &["check_result"],
        (Topic::License, "GRANTED") => &["grantee_id", "quota_remaining_micros"],
        (Topic::License, "QUOTA_CHANGED") => &["quota_remaining_micros"],
        (Topic::Task, "SUBMITTED") => &["user_id", "template_id"],
        (Topic::Task, "PROGRESSED") => &["progress_permille"],
        (Topic::Task, "FAILED") => &["error_code"],
        (Topic::Moderation, "QUEUED") => &["sla_due_at"],
        (Topic::Moderation, "DECIDED") => &["decision"],
        _ => &[],
    }
}

/// Scenario: each kind of each topic with each field that may be absent removed, one at a time; then with all removed
/// that are not required.
/// Guarantees: `missing_reference` for exactly the fields that the kind must carry, `call_incomplete` for a call
/// without its parts, and otherwise a row.
#[test]
fn each_kind_without_each_field() {
    for topic in Topic::ALL {
        let nullable: Vec<String> = fields(topic)
            .iter()
            .filter(|field| field["type"].is_array())
            .map(|field| field["name"].as_str().expect("a name").to_owned())
            .collect();
        for (kind, event) in valid(topic) {
            let needed = required(topic, &kind);
            for field in &nullable {
                let mut less = event.clone();
                less.remove(field);
                let part_of_a_call = ["outcome", "latency_ms", "attempt"].contains(&field.as_str());
                let expected = match field.as_str() {
                    name if needed.contains(&name) => fault("missing_reference", name),
                    name if part_of_a_call && event.contains_key("endpoint") => {
                        fault("call_incomplete", name)
                    }
                    _ => None,
                };
                assert_eq!(outcome(topic, &less), expected, "{topic} {kind} without {field}");
            }
            let mut least = event.clone();
            let call: &[&str] =
                if needed.contains(&"endpoint") { &["outcome", "latency_ms", "attempt"] } else { &[] };
            least.retain(|name, _| {
                !nullable.contains(name) || needed.contains(&name.as_str()) || call.contains(&name.as_str())
            });
            assert_eq!(outcome(topic, &least), None, "{topic} {kind} with what it must carry");
        }
    }
}

/// Scenario: each number and text at and just beyond its bounds.
/// Guarantees: both bounds are included; the reason is the field's.
#[test]
fn bounds_are_included() {
    let peta = 1_000_000_000_000_000_i64;
    let numbers = [
        (Topic::Credit, "PURCHASED", "amount_micros", 0, peta, "amount"),
        (Topic::Credit, "PURCHASED", "price_minor", 0, peta, "amount"),
        (Topic::Credit, "PURCHASED", "balance_after_micros", -peta, peta, "amount"),
        (Topic::License, "GRANTED", "quota_remaining_micros", 0, peta, "amount"),
        (Topic::Credit, "CHARGED", "http_status", 100, 599, "out_of_range"),
        (Topic::Credit, "CHARGED", "latency_ms", 0, i64::MAX, "out_of_range"),
        (Topic::License, "CHECKED", "attempt", 1, i64::from(i32::MAX), "out_of_range"),
        (Topic::Task, "PROGRESSED", "progress_permille", 0, 1000, "out_of_range"),
        (Topic::Task, "PROGRESSED", "state_version", 1, i64::MAX, "out_of_range"),
    ];
    for (topic, kind, field, min, max, reason) in numbers {
        let with = |value: i64| {
            let mut event = example(topic, kind);
            event.insert(field.to_owned(), value.into());
            outcome(topic, &event)
        };
        assert_eq!((with(min), with(max)), (None, None), "{field}");
        assert_eq!(with(min - 1), fault(reason, field));
        if max < i64::from(i32::MAX) || max == peta {
            assert_eq!(with(max + 1), fault(reason, field));
        }
    }
    // date -u -d 2000-01-01 +%s and 2100-01-01
    let (from, to) = (946_684_800_000_000_i64, 4_102_444_800_000_000_i64);
    for (topic, kind, field) in
        [(Topic::License, "GRANTED", "expires_at"), (Topic::Moderation, "QUEUED", "sla_due_at")]
    {
        let with = |value: i64| {
            let mut event = example(topic, kind);
            event.insert(field.to_owned(), value.into());
            outcome(topic, &event)
        };
        assert_eq!((with(from), with(to)), (None, None), "{field}");
        for beyond in [from - 1, to + 1, 0, -1, i64::MIN, i64::MAX] {
            assert_eq!(with(beyond), fault("time_out_of_range", field), "{field} {beyond}");
        }
    }
    for topic in Topic::ALL {
        let texts = fields(topic).into_iter().filter(|field| crate::world::plain_type(field) == "string");
        for field in texts.filter(|field| field["name"] != "currency") {
            let name = field["name"].as_str().expect("a name");
            let with = |text: String| {
                let mut event = valid(topic).remove(0).1;
                event.insert(name.to_owned(), text.into());
                outcome(topic, &event)
            };
            assert_eq!((with("x".repeat(256)), with("字".repeat(85))), (None, None), "{topic} {name}");
            assert_eq!(with("x".repeat(257)), fault("out_of_range", name));
            assert_eq!(with("字".repeat(86)), fault("out_of_range", name));
            assert_eq!(with(String::new()), fault("missing_reference", name));
        }
    }
    for currency in ["eur", "EU", "EURO", "E R", "€", "ÄÖÜ", "E1R"] {
        let mut event = example(Topic::Credit, "PURCHASED");
        event.insert("currency".to_owned(), currency.into());
        assert_eq!(outcome(Topic::Credit, &event), fault("amount", "currency"), "{currency}");
    }
}

/// Scenario: an event breaks every rule at once.
/// Guarantees: one fault, always of the same, first rule.
#[test]
fn of_many_faults_the_first_is_told() {
    let mut event = example(Topic::Credit, "PURCHASED");
    for (field, value) in [("amount_micros", json!(-1)), ("currency", json!("x")), ("source", json!(""))] {
        event.insert(field.to_owned(), value);
    }
    event.remove("order_id");
    assert_eq!(outcome(Topic::Credit, &event), fault("missing_reference", "source"));
    event.insert("occurred_at".to_owned(), json!(0));
    assert_eq!(outcome(Topic::Credit, &event), fault("time_out_of_range", "occurred_at"));
}

/// Scenario: each symbol of each enum of each topic.
/// Guarantees: it comes back as itself: a place in the contract counted from 1 is what the store calls it.
#[test]
fn every_symbol_comes_back() {
    for topic in Topic::ALL {
        for field in fields(topic) {
            let name = field["name"].as_str().expect("a name");
            for symbol in symbols(&field).unwrap_or_default() {
                let (_, mut event) = valid(topic).remove(0);
                if name == "kind" {
                    event = example(topic, symbol);
                }
                event.insert(name.to_owned(), Json::from(symbol));
                let read = read(topic, &[message(topic, &event)]);
                assert_eq!(row(topic, &read.events, 0)[name], symbol, "{topic} {name}");
                assert!(!body(&latest(topic).schema, &event).is_empty());
            }
        }
    }
}
