//! Encoders that share no code with Tally: what another team's service writes, Tally stores unchanged.

use std::collections::BTreeMap;
use std::fs;

use serde_json::{Map, Value};
use tally_schemas::Topic;
use tally_tests::account::{compare, read};
use tally_tests::python::{Delivered, Produce};
use tally_tests::stage::line;
use tally_tests::{Kafka, Registry, Stage, Tally, TempFolder, examples, kcat, python, skip_without, unique};

/// Topic, partition and offset of a dead letter, its reason and its field.
type Expected = ((Topic, i32, i64), (String, Option<String>));

const SOON: std::time::Duration = std::time::Duration::from_secs(60);

/// One that published to a stage by Python.
struct Python<'a> {
    stage: &'a Stage<'a>,
    contract: Topic,
}

impl Python<'_> {
    fn publish(&self, schema: &std::path::Path, framing: &str, events: &[Value]) -> Vec<Delivered> {
        let topic = self.stage.topic(self.contract);
        let key = match self.contract {
            Topic::Credit => "wallet_id",
            Topic::License => "license_id",
            Topic::Task => "task_id",
            Topic::Moderation => "case_id",
        };
        let more = &["--key", key, "--header", "traceparent=00-abc"][..];
        let bootstrap = self.stage.kafka.bootstrap();
        python::produce(Produce { bootstrap, topic: &topic, schema, framing, more }, events)
    }
}

/// Scenario: fastavro writes every valid example of every contract, in every version, in both framings, with ids
/// that `tally schema register` got from a real registry.
/// Guarantees: one fact an event, every column as the example says; the other copies are duplicates, since they
/// have the same content in another dress; nothing is refused.
#[test]
fn every_valid_example_becomes_its_row() {
    if skip_without(Kafka::real()) || skip_without(Registry::installed()) {
        return;
    }
    let stage = Stage::shared("valid");
    let registry = Registry::start();
    let url = registry.url();
    let arguments = ["schema", "register", "--registry", &url, "--topic-prefix", stage.prefix()];
    Tally::spawn(&arguments, &[]).expect_success(SOON);
    let mut copies = BTreeMap::new();
    for contract in Topic::ALL {
        let python = Python { stage: &stage, contract };
        let events = examples::valid(contract);
        for version in 1..=examples::newest(contract) {
            let schema = examples::schema(contract, version);
            let text = fs::read_to_string(&schema).expect("a contract can be read");
            let id = registry.register(&format!("{}-value", stage.topic(contract)), &text);
            for framing in ["single-object".to_owned(), format!("confluent:{id}")] {
                let delivered = python.publish(&schema, &framing, &events);
                assert_eq!(delivered.len(), events.len());
                *copies.entry(contract).or_insert(0) += 1;
            }
        }
    }
    let balance = stage.catch_up(&["--registry", &url]);
    for contract in Topic::ALL {
        let events = examples::valid(contract);
        let (number, copies) = (events.len() as u64, copies[&contract]);
        let line = line(&balance, contract);
        let expected = (number * copies, 0, number * (copies - 1), 0);
        let found = (line.accepted, line.dead, line.duplicates, line.conflicts);
        assert_eq!(found, expected, "{contract}: {}", stage.reasons());
        let sql = format!("SELECT * EXCEPT (digest) FROM {} FINAL", contract.table());
        let rows: Vec<Map<String, Value>> = stage.database.rows(&sql);
        assert_eq!(rows.len(), events.len(), "{contract}");
        for event in &events {
            let row = rows.iter().find(|row| row["event_id"] == event["event_id"]);
            let row = row.unwrap_or_else(|| panic!("no row for {event}"));
            examples::assert_row(row, event, contract);
            assert_eq!(row["topic"], stage.topic(contract).as_str());
            assert_eq!(row["topic_id"], stage.topic_id(contract).as_str());
        }
    }
}

/// Scenario: fastavro writes every invalid example; a service with a dictionary of its own writes a policy tag that
/// nobody knows, another none at all; kcat writes garbage, nothing, and a cut-off event; each with key and headers.
/// Guarantees: each is a dead letter at its coordinates, with reason, path, key, bytes and headers untouched, in the
/// table and in the topic, where its coordinates are the key; none is a fact.
#[test]
fn every_invalid_message_becomes_its_dead_letter() {
    if skip_without(Kafka::real()) || skip_without(Registry::installed()) {
        return;
    }
    let stage = Stage::shared("invalid");
    let registry = Registry::start();
    let mut expected: BTreeMap<(Topic, i32, i64), (String, Option<String>)> = BTreeMap::new();
    for contract in Topic::ALL {
        let invalid = examples::invalid(contract);
        // The examples of a contract share their ids: here each gets its own.
        let numbered = |(number, one): (usize, &examples::Invalid)| {
            let mut event = one.event.clone();
            event["event_id"] = examples::id(number).into();
            event
        };
        let events: Vec<Value> = invalid.iter().enumerate().map(numbered).collect();
        let schema = examples::schema(contract, examples::newest(contract));
        let delivered = Python { stage: &stage, contract }.publish(&schema, "single-object", &events);
        for one in &delivered {
            let id = one.event_id.as_deref();
            let of = events.iter().position(|event| event["event_id"].as_str() == id);
            let of = &invalid[of.expect("a delivered example is one of ours")];
            let place = (contract, one.partition, one.offset);
            expected.insert(place, (of.reason.clone(), Some(of.path.clone())));
        }
    }
    let foreign = foreign_tags(&stage, &registry);
    expected.extend(foreign);
    let topic = stage.topic(Topic::Task);
    let raw: [(&[u8], &str); 4] = [
        (b"\x13 garbage, \x00\xff\n", "framing"),
        (b"", "tombstone"),
        (b"\xc3\x01\x01\x02", "framing"),
        (b"\xc3\x01\x01\x02\x03\x04\x05\x06\x07\x08body", "unknown_schema"),
    ];
    for (value, reason) in raw {
        let next = stage.kafka.watermarks(&topic, 2).1;
        let headers = ["plain=text", "said=Grüße"];
        kcat::produce_with(stage.kafka.bootstrap(), (&topic, 2), Some("a key"), &headers, value);
        expected.insert((Topic::Task, 2, next), (reason.to_owned(), None));
    }

    let balance = stage.catch_up(&["--registry", &registry.url()]);
    for contract in Topic::ALL {
        assert_eq!(line(&balance, contract).accepted, 0, "{contract}");
        let expected = expected.iter().filter(|(place, _)| place.0 == contract);
        assert_letters(&stage, contract, expected.map(|(at, why)| ((at.1, at.2), why)).collect());
    }
}

/// Writes events whose schema has a tag of its own, and events whose schema has no tag.
fn foreign_tags(stage: &Stage<'_>, registry: &Registry) -> Vec<Expected> {
    let folder = TempFolder::new("foreign");
    let text = fs::read_to_string(examples::schema(Topic::Task, 2)).expect("a contract can be read");
    let contract: Value = serde_json::from_str(&text).expect("a contract is JSON");
    let mut event = examples::many(Topic::Task, 1).remove(0);
    event["policy_tag"] = "ASTROLOGY".into();
    let mut found = Vec::new();
    for reason in ["policy_tag_unknown", "policy_tag_missing"] {
        let mut schema = contract.clone();
        let fields = schema["fields"].as_array_mut().expect("a record has fields");
        let tag = fields.iter().position(|field| field["name"] == "policy_tag").expect("a tag");
        if reason == "policy_tag_missing" {
            fields.remove(tag);
        } else {
            let symbols = fields[tag]["type"]["symbols"].as_array_mut().expect("an enum has symbols");
            symbols.push("ASTROLOGY".into());
        }
        let path = folder.path().join(format!("{reason}.avsc"));
        fs::write(&path, schema.to_string()).expect("a schema can be written");
        let id = registry.register(&unique(reason), &schema.to_string());
        let python = Python { stage, contract: Topic::Task };
        for one in python.publish(&path, &format!("confluent:{id}"), &[event.clone()]) {
            let why = (reason.to_owned(), Some("policy_tag".to_owned()));
            found.push(((Topic::Task, one.partition, one.offset), why));
        }
    }
    found
}

#[derive(Debug, serde::Deserialize)]
struct Letter {
    partition: i32,
    offset: i64,
    reason: String,
    path: String,
    key: Option<String>,
    value: Option<String>,
    headers: Vec<(String, String)>,
    sha256: String,
}

/// Holds table and topic of one contract's dead letters against the records in its topic.
fn assert_letters(
    stage: &Stage<'_>,
    contract: Topic,
    expected: BTreeMap<(i32, i64), &(String, Option<String>)>,
) {
    let (bootstrap, topic) = (stage.kafka.bootstrap(), stage.topic(contract));
    let topic_id = stage.topic_id(contract);
    let letters: Vec<Letter> = stage.database.rows(&format!(
        "SELECT partition, offset, reason, path, hex(key) AS key, hex(value) AS value, \
         arrayMap(h -> (h.1, assumeNotNull(h.2)), headers) AS headers, lower(hex(raw_sha256)) AS sha256 \
         FROM dead_letters_final WHERE topic_id = '{topic_id}' ORDER BY partition, offset \
         SETTINGS output_format_json_named_tuples_as_objects = 0"
    ));
    let records = kcat::consume(bootstrap, &topic);
    let headers = kcat::headers(bootstrap, &topic);
    assert_eq!(letters.len(), expected.len(), "{contract}: {}", stage.reasons());
    let dead = format!("{topic}.dead");
    let dead_headers = kcat::headers(bootstrap, &dead);
    let sent: BTreeMap<String, kcat::Record> = kcat::consume(bootstrap, &dead)
        .into_iter()
        .map(|record| (String::from_utf8(record.key.clone().expect("a key")).expect("coordinates"), record))
        .collect();
    for letter in &letters {
        let place = (letter.partition, letter.offset);
        let (reason, path) = expected[&place];
        assert_eq!(
            (&letter.reason, path.as_ref().unwrap_or(&letter.path)),
            (reason, &letter.path),
            "{letter:?}"
        );
        let record =
            records.iter().find(|record| (record.partition, record.offset) == place).expect("a record");
        assert_eq!(letter.value, record.value.as_deref().map(hex), "{letter:?}");
        assert_eq!(letter.key, record.key.as_deref().map(hex), "{letter:?}");
        let own = &headers[&(i64::from(place.0), place.1)];
        assert_eq!(&letter.headers, own, "{letter:?}");

        let key = format!("{topic_id}/{}/{}", letter.partition, letter.offset);
        let copy = sent.get(&key).unwrap_or_else(|| panic!("{dead} has no {key}"));
        assert_eq!(copy.value, record.value, "{key}");
        let told = &dead_headers[&(i64::from(copy.partition), copy.offset)];
        assert_eq!(told[..own.len()], own[..], "{key}: its own headers come first");
        let said = |name: &str| told.iter().find(|(found, _)| found == name).map(|(_, value)| value.clone());
        for (name, value) in [
            ("tally-topic", topic.clone()),
            ("tally-topic-id", topic_id.clone()),
            ("tally-partition", letter.partition.to_string()),
            ("tally-offset", letter.offset.to_string()),
            ("tally-timestamp-ms", record.timestamp_ms.to_string()),
            ("tally-reason", reason.clone()),
            ("tally-path", letter.path.clone()),
            ("tally-sha256", letter.sha256.clone()),
        ] {
            assert_eq!(said(name), Some(value), "{key}: {name}");
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Scenario: a registry has the first two versions of a contract under FULL_TRANSITIVE; the third appends symbols to an enum.
/// Guarantees: it is registered only where somebody says that every reader knows them; what is registered after it is held as before.
#[test]
fn symbols_are_registered_once_readers_know_them() {
    if skip_without(Registry::installed()) {
        return;
    }
    let registry = Registry::start();
    let url = registry.url();
    let register = |more: &[&str]| {
        let what = ["schema", "register", "--registry", &url, "--topic", "credit-events"];
        Tally::spawn(&[&what[..], more].concat(), &[])
    };
    let subject = "credit-events-value";
    let text = |version| {
        fs::read_to_string(examples::schema(Topic::Credit, version)).expect("a contract can be read")
    };
    let ids = [1, 2].map(|version| registry.register(subject, &text(version)));
    let refused = register(&[]).expect_code(3, SOON);
    assert!(refused.stderr.contains("--readers-know"), "{}", refused.stderr);
    let done = register(&["--readers-know"]).expect_success(SOON);
    assert!(ids.iter().all(|id| done.stdout.contains(&format!("id {id}\n"))), "{}", done.stdout);
    assert!(done.stdout.contains("version 3"), "{}", done.stdout);
    assert_eq!(register(&[]).expect_success(SOON).stdout, done.stdout, "again it changes nothing");
    let ends = text(3).replacen("\"ATTEMPTED\"", "\"ATTEMPTED\", \"LATER\"", 1);
    assert!(ends.contains("LATER"));
    let taken = std::panic::catch_unwind(|| registry.register(subject, &ends));
    assert!(taken.is_err(), "a symbol more is refused as before");
}

/// Scenario: the simulated platform is to publish by a registry that has no contracts, and then by one that has.
/// Guarantees: first it says what to do and publishes nothing; then its events name their schemas by the registry, and become what they
/// were to become, id by id.
#[test]
fn the_simulated_platform_publishes_by_a_registry() {
    if skip_without(Kafka::real()) || skip_without(Registry::installed()) {
        return;
    }
    let (stage, registry, folder) =
        (Stage::shared("by-registry"), Registry::start(), TempFolder::new("record"));
    let (record, url) = (folder.path().join("record"), registry.url());
    let file = record.to_str().expect("paths in tests are text");
    let what = ["--events", "400", "--invalid-permille", "100", "--registry", &url, "--record", file];
    let said = stage.simulate(&what).expect_code(3, SOON).stderr;
    assert!(said.contains("run `tally schema register` first"), "{said}");
    let published: u64 = Topic::ALL.into_iter().map(|topic| stage.published(topic)).sum();
    assert_eq!(published, 0, "without a registered contract");

    let register = ["schema", "register", "--registry", &url, "--topic-prefix", stage.prefix()];
    Tally::spawn(&register, &[]).expect_success(SOON);
    stage.simulate(&what).expect_success(SOON);
    stage.catch_up(&["--registry", &url]);
    compare(&stage, &read(&record));
    let accepted = "SELECT count(), countIf(startsWith(schema, 'registry:')) FROM audit_log FINAL WHERE disposition = 'ACCEPTED'";
    let accepted = stage.database.query(accepted);
    let (all, by_registry) = accepted.trim().split_once('\t').expect("two numbers");
    assert!(all == by_registry && all != "0", "{accepted}");
}
