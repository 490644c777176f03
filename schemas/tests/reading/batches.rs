//! Many messages in one batch: of many writers, in any order, with one among them that is broken.

use crate::world::{
    APPENDED_AT_MS, Event, VALUE_BYTES_MAX, body, confluent, example, insert, message, read, read_with,
    registry_id, row, single, valid, with_defaults, writers,
};
use apache_avro::Schema;
use arrow_array::Array;
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use serde_json::{Value as Json, json};
use tally_schemas::{Messages, Reader, Reason, Rows, Topic, arrow_schema, latest, versions};

const TURNED: u32 = 77;

/// The newest contract whose enums list their symbols the other way round, after one that nobody knows.
fn turned(topic: Topic) -> Schema {
    let mut schema: Json = serde_json::from_str(&latest(topic).json).expect("JSON");
    for field in schema["fields"].as_array_mut().expect("fields") {
        let plain = match &mut field["type"] {
            Json::Array(branches) => branches.iter_mut().find(|branch| *branch != "null").expect("a type"),
            other => other,
        };
        if let Some(Json::Array(symbols)) = plain.get_mut("symbols") {
            symbols.reverse();
            symbols.insert(0, json!("OF_TOMORROW"));
        }
    }
    Schema::parse(&schema).expect("a schema")
}

/// An event under one of all the writers: each version in each framing, and the one with turned enums.
fn written(topic: Topic, event: &Event, writer: usize) -> Vec<u8> {
    let versions: Vec<_> = versions(topic).collect();
    let contract = versions[writer / 2 % versions.len()];
    let version_body = || body(&contract.schema, event);
    match writer {
        10.. => confluent(TURNED, &body(&turned(topic), event)),
        _ if writer.is_multiple_of(2) => single(contract, &version_body()),
        _ => confluent(registry_id(contract.version), &version_body()),
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    /// Scenario: services of several releases publish to one topic, through a registry and without, and one numbers
    /// its enums in another way; their messages come in any order.
    /// Guarantees: one row each, in the order of the messages, with the symbols that were meant.
    #[test]
    fn writers_in_any_order(
        topic in prop::sample::select(&Topic::ALL[..]),
        turns in prop::collection::vec((any::<prop::sample::Index>(), 0..13_usize), 1..60),
    ) {
        let mut known = writers(topic);
        insert(&mut known, topic, TURNED, &serde_json::to_string(&turned(topic)).expect("JSON"));
        let events = valid(topic);
        let turns: Vec<(&Event, Vec<u8>)> = turns
            .into_iter()
            .map(|(event, writer)| {
                let event = &event.get(&events).1;
                (event, written(topic, event, writer))
            })
            .collect();
        let values: Vec<Option<&[u8]>> = turns.iter().map(|(_, value)| Some(value.as_slice())).collect();
        let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &values);
        prop_assert_eq!(&read.faults, &[]);
        for (place, (event, _)) in turns.iter().enumerate() {
            prop_assert_eq!(row(topic, &read.events, place), with_defaults(topic, (*event).clone()));
        }
    }
}

/// Scenario: one cut message among ten thousand good ones, first, last or anywhere, and then another batch.
/// Guarantees: exactly one fault; every other message is the row it is without it; the reader is as good as new.
#[test]
fn one_truncated_message_among_ten_thousand() {
    for topic in Topic::ALL {
        let events: Vec<Vec<u8>> = valid(topic).iter().map(|(_, event)| message(topic, event)).collect();
        let good: Vec<&[u8]> = events.iter().cycle().take(10_000).map(Vec::as_slice).collect();
        let alone: Vec<Option<&[u8]>> = good.iter().copied().map(Some).collect();
        let (mut reader, known) = (Reader::new(topic, VALUE_BYTES_MAX), writers(topic));
        let expected = read_with(&mut reader, &known, &alone);
        assert!(expected.faults.is_empty());
        for at in [0, 1, 4_999, 9_999, 10_000] {
            let mut mixed = alone.clone();
            mixed.insert(at, Some(&good[at % 7][..good[at % 7].len() - 3]));
            let read = read_with(&mut reader, &known, &mixed);
            let faults: Vec<_> =
                read.faults.iter().map(|(place, fault)| (*place as usize, fault.reason)).collect();
            assert_eq!(faults, [(at, Reason::Body)]);
            assert_eq!(read.events, expected.events);
            assert_eq!(read.digests, expected.digests);
        }
        let again = read_with(&mut reader, &known, &alone);
        assert_eq!((again.events, again.digests), (expected.events, expected.digests));
    }
}

/// Scenario: a topic's events one by one, none, and all of them again; a batch of another topic between each two.
/// Guarantees: together they are what Arrow itself makes of them; the foreign one is refused and changes nothing.
#[test]
fn rows_grow_batch_by_batch() {
    let all = Topic::ALL.map(|topic| {
        let messages: Vec<Vec<u8>> = valid(topic).iter().map(|(_, event)| message(topic, event)).collect();
        read(topic, &messages).events
    });
    for (at, (topic, events)) in Topic::ALL.into_iter().zip(&all).enumerate() {
        let mut batches: Vec<_> = (0..events.num_rows()).map(|row| events.slice(row, 1)).collect();
        batches.extend([events.slice(0, 0), events.clone()]);
        let mut rows = Rows::with_capacity(topic, 1);
        for batch in &batches {
            rows.append(batch).expect("the topic's shape");
            rows.append(&all[(at + 1) % all.len()]).expect_err("another topic's shape");
        }
        let whole = concat_batches(arrow_schema(topic), &batches).expect("one shape");
        assert!(whole.columns().iter().any(|column| column.null_count() > 0), "{topic}: nothing is absent");
        assert_eq!(rows.finish().expect("nothing is missing"), whole, "{topic}");
    }
}

/// Scenario: a topic's messages carry no Kafka timestamp (-1), or fewer timestamps than messages are given.
/// Guarantees: `occurred_at` is held against 2020 and 2100 alone.
#[test]
fn messages_without_a_kafka_timestamp() {
    let topic = Topic::Moderation;
    let at = |micros: i64| {
        let mut event = example(topic, "REPORTED");
        event.insert("occurred_at".to_owned(), micros.into());
        message(topic, &event)
    };
    let (from, to) = (1_577_836_800_000_000, 4_102_444_800_000_000);
    let values = [at(from - 1), at(from), at(to), at(to + 1), at(i64::MIN), at(i64::MAX)];
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    for appended_at_ms in [&[-1; 6][..], &[i64::MIN; 6], &[i64::MAX; 6], &[]] {
        let mut reader = Reader::new(topic, VALUE_BYTES_MAX);
        let read =
            reader.read(Messages { values: &values, appended_at_ms }, &writers(topic)).expect("a reading");
        assert_eq!(read.places, [1, 2], "{appended_at_ms:?}");
        assert!(read.faults.iter().all(|(_, fault)| fault.reason == Reason::TimeOutOfRange));
        assert!(read.faults.iter().all(|(_, fault)| fault.path == "occurred_at"));
    }
}

/// Scenario: an event of the future, by a microsecond more or less than a day, and a Kafka timestamp of 1970.
/// Guarantees: a day ahead is a row, a microsecond more is not; a timestamp of 0 is a timestamp.
#[test]
fn a_day_ahead_of_kafka() {
    let topic = Topic::Moderation;
    let at = |micros: i64| {
        let mut event = example(topic, "REPORTED");
        event.insert("occurred_at".to_owned(), micros.into());
        message(topic, &event)
    };
    let day_ahead = APPENDED_AT_MS * 1000 + 86_400_000_000;
    let read = read(topic, &[at(day_ahead), at(day_ahead + 1)]);
    assert_eq!(read.places, [0]);
    assert_eq!(read.faults[0].1.reason, Reason::TimeOutOfRange);
    let value = at(day_ahead);
    let messages = Messages { values: &[Some(&value)], appended_at_ms: &[0] };
    let read = Reader::new(topic, VALUE_BYTES_MAX).read(messages, &writers(topic)).expect("a reading");
    assert_eq!(read.faults[0].1.reason, Reason::TimeOutOfRange);
}
