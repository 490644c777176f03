//! Any events in any batches with any corruptions.

use crate::world::{
    APPENDED_AT_MS, Event, VALUE_BYTES_MAX, confluent, fields, message, plain_type, registry_id, single,
    valid, writers,
};
use arrow_select::concat::concat_batches;
use proptest::prelude::*;
use proptest::sample::Index;
use serde_json::{Value as Json, json};
use tally_schemas::{Fault, Messages, Read, Reader, Topic, Writers, arrow_schema, latest};

/// Values for a field; each is right for its type and within its bounds.
fn value(field: &Json) -> BoxedStrategy<Json> {
    let name = field["name"].as_str().expect("a name");
    let plain = plain_type(field);
    if let Some(symbols) = crate::world::symbols(field) {
        let symbols: Vec<String> = symbols.into_iter().map(str::to_owned).collect();
        return prop::sample::select(symbols).prop_map(Json::from).boxed();
    }
    match (name, plain.as_str()) {
        ("event_id", _) => any::<u128>().prop_map(|id| uuid::Uuid::from_u128(id).to_string().into()).boxed(),
        ("occurred_at", _) => (1_577_836_800_000_000..APPENDED_AT_MS * 1000).prop_map(Json::from).boxed(),
        ("currency", _) => "[A-Z]{3}".prop_map(Json::from).boxed(),
        ("http_status", _) => (100..600).prop_map(Json::from).boxed(),
        ("progress_permille", _) => (0..=1000).prop_map(Json::from).boxed(),
        (_, Some("string")) => "\\PC{1,20}".prop_map(Json::from).boxed(),
        (_, Some("boolean")) => any::<bool>().prop_map(Json::from).boxed(),
        (_, Some("int")) => (1..=i32::MAX).prop_map(Json::from).boxed(),
        (_, Some("long")) => (1..=1_000_000_000_000_000_i64).prop_map(Json::from).boxed(),
        // the other times: 2000-01-01 to 2100-01-01
        _ => (946_684_800_000_000_i64..=4_102_444_800_000_000).prop_map(Json::from).boxed(),
    }
}

/// A valid event: an example of any kind with any of its fields filled anew, or more of them.
fn event(topic: Topic) -> BoxedStrategy<Event> {
    let fields = fields(topic);
    let name = |field: &Json| field["name"].as_str().expect("a name").to_owned();
    let values: Vec<_> = fields
        .iter()
        .filter(|field| !["kind", "endpoint"].contains(&field["name"].as_str().expect("a name")))
        .map(|field| (Just(name(field)), prop::option::of(value(field))))
        .collect();
    let examples: Vec<Event> = valid(topic).into_iter().map(|(_, event)| event).collect();
    let filled = |(mut event, values): (Event, Vec<(String, Option<Json>)>)| {
        event.extend(values.into_iter().filter_map(|(name, value)| Some((name, value?))));
        event
    };
    (prop::sample::select(examples), values).prop_map(filled).boxed()
}

pub(crate) fn event_of_any_topic() -> impl Strategy<Value = (Topic, Event)> {
    prop::sample::select(&Topic::ALL[..]).prop_flat_map(|topic| (Just(topic), event(topic)))
}

/// What becomes of a message on its way.
#[derive(Clone, Debug)]
enum Fate {
    Whole,
    Registry,
    Cut(Index),
    Flipped(Index, u8),
    Inserted(Index, Vec<u8>),
    Removed(Index, usize),
    Trailed(Vec<u8>),
    Null,
    Other(Vec<u8>),
    Doubled,
}

fn fate() -> impl Strategy<Value = Fate> {
    prop_oneof![
        4 => Just(Fate::Whole),
        2 => Just(Fate::Registry),
        1 => any::<Index>().prop_map(Fate::Cut),
        2 => (any::<Index>(), 0..8_u8).prop_map(|(at, bit)| Fate::Flipped(at, bit)),
        1 => (any::<Index>(), any::<Vec<u8>>()).prop_map(|(at, bytes)| Fate::Inserted(at, bytes)),
        1 => (any::<Index>(), 1..9_usize).prop_map(|(at, bytes)| Fate::Removed(at, bytes)),
        1 => any::<Vec<u8>>().prop_map(Fate::Trailed),
        1 => Just(Fate::Null),
        1 => any::<Vec<u8>>().prop_map(Fate::Other),
        1 => Just(Fate::Doubled),
    ]
}

fn meet(topic: Topic, event: &Event, fate: &Fate) -> Option<Vec<u8>> {
    let mut value = message(topic, event);
    match fate {
        Fate::Whole => {}
        Fate::Registry => value = confluent(registry_id(latest(topic).version), &value[10..]),
        Fate::Cut(at) => value.truncate(at.index(value.len())),
        Fate::Flipped(at, bit) => {
            let at = at.index(value.len());
            value[at] ^= 1 << bit;
        }
        Fate::Inserted(at, bytes) => {
            let at = at.index(value.len());
            value.splice(at..at, bytes.iter().copied());
        }
        Fate::Removed(at, bytes) => {
            let at = at.index(value.len());
            value.drain(at..(at + bytes).min(value.len()));
        }
        Fate::Trailed(bytes) => value.extend(bytes),
        Fate::Null => return None,
        Fate::Other(bytes) => value = single(latest(topic), bytes),
        Fate::Doubled => value.extend(value.clone()),
    }
    Some(value)
}

fn batch() -> impl Strategy<Value = (Topic, Vec<Option<Vec<u8>>>)> {
    let batch =
        |topic| prop::collection::vec((event(topic), fate()), 0..40).prop_map(move |events| (topic, events));
    prop::sample::select(&Topic::ALL[..]).prop_flat_map(batch).prop_map(|(topic, events)| {
        (topic, events.iter().map(|(event, fate)| meet(topic, event, fate)).collect())
    })
}

fn read(reader: &mut Reader, writers: &Writers, values: &[Option<&[u8]>]) -> Read {
    crate::world::read_with(reader, writers, values)
}

fn shifted(faults: &[(u32, Fault)], by: u32) -> impl Iterator<Item = (u32, Fault)> {
    faults.iter().map(move |(place, fault)| (place + by, fault.clone()))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    /// Scenario: any valid event of any topic.
    /// Guarantees: a row of exactly its values.
    #[test]
    fn any_event_is_its_row((topic, event) in event_of_any_topic()) {
        let read = crate::world::read(topic, &[message(topic, &event)]);
        prop_assert_eq!(&read.faults, &[]);
        prop_assert_eq!(crate::world::row(topic, &read.events, 0), crate::world::with_defaults(topic, event));
    }

    /// Scenario: any events, any of them corrupted in any way, in one batch; the same again; and cut in two at any
    /// place, which is what a crash does to the bounds of blocks.
    /// Guarantees: rows and faults tile the batch, in order (`read_with` holds it); the same twice; the parts give
    /// what the whole gives.
    #[test]
    fn any_batch_anyhow_corrupted((topic, values) in batch(), cut in any::<Index>()) {
        let values: Vec<Option<&[u8]>> = values.iter().map(Option::as_deref).collect();
        let (mut reader, known) = (Reader::new(topic, VALUE_BYTES_MAX), writers(topic));
        let whole = read(&mut reader, &known, &values);
        let again = read(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &values);
        prop_assert_eq!(&again.events, &whole.events);
        prop_assert_eq!(&again.places, &whole.places);
        prop_assert_eq!(&again.digests, &whole.digests);
        prop_assert_eq!(&again.faults, &whole.faults);
        let at = cut.index(values.len() + 1);
        let by = u32::try_from(at).expect("small");
        let (first, second) = (read(&mut reader, &known, &values[..at]), read(&mut reader, &known, &values[at..]));
        let both = concat_batches(arrow_schema(topic), [&first.events, &second.events]).expect("rows");
        prop_assert_eq!(&both, &whole.events);
        prop_assert_eq!([first.digests, second.digests].concat(), whole.digests);
        let places: Vec<u32> = first.places.into_iter().chain(second.places.iter().map(|place| place + by)).collect();
        prop_assert_eq!(places, whole.places);
        let faults: Vec<(u32, Fault)> = shifted(&first.faults, 0).chain(shifted(&second.faults, by)).collect();
        prop_assert!(faults.iter().all(|(_, fault)| !fault.sentence.starts_with("not decoded")), "{:?}", faults);
        prop_assert_eq!(faults, whole.faults);
    }

    /// Scenario: an event whose Kafka timestamp is anything.
    /// Guarantees: a row exactly where it lies between 2020, 2100 and a day after the timestamp, if there is one.
    #[test]
    fn any_kafka_timestamp(appended in any::<i64>(), occurred in any::<i64>(), near in -90_000_000_000_i64..90_000_000_000) {
        let topic = Topic::Moderation;
        for occurred in [occurred, appended.saturating_mul(1000).saturating_add(near)] {
            let (_, mut event) = valid(topic).remove(0);
            event.insert("occurred_at".to_owned(), json!(occurred));
            let value = message(topic, &event);
            let messages = Messages { values: &[Some(&value)], appended_at_ms: &[appended] };
            let read = Reader::new(topic, VALUE_BYTES_MAX).read(messages, &writers(topic)).expect("a reading");
            let era = (1_577_836_800_000_000..=4_102_444_800_000_000).contains(&occurred);
            let ahead = i128::from(occurred) - i128::from(appended) * 1000 > 86_400_000_000;
            prop_assert_eq!(read.faults.is_empty(), era && (appended < 0 || !ahead));
        }
    }
}
