//! Nanoseconds of what is done with judged rows before they are sent, over blocks of 10,000 events of each topic:
//! `cargo bench -p tally-sinks`. A time divided by 10,000 is the time of one event; divided by `a_yardstick`'s of the same
//! topic and run, a figure to hold against another day's.
//!
//! The body is private to the crate, so its module is compiled in here; nothing is made public for a clock.

#[cfg_attr(test, expect(unused_imports, reason = "a bench runs no tests of the module"))]
#[path = "../src/body.rs"]
mod body;
#[path = "../../schemas/benches/messages/mod.rs"]
mod messages;

use divan::Bencher;
use divan::counter::ItemsCount;
use messages::messages;
use std::sync::Arc;
use tally_schemas::{Messages, Read, Reader, Topic, Writers, local_writers};
use tally_sinks::rows::{Coordinates, Origin, facts, receipts};
use uuid::Uuid;

const EVENTS: usize = 10_000;
const VALUE_BYTES_MAX: usize = 1 << 20;
/// 2025-07-01T12:00:00Z, less than a day after the newest example.
const APPENDED_AT_MS: i64 = 1_751_371_200_000;

fn main() {
    divan::main();
}

/// A block as the judge leaves it.
struct Judged {
    origin: Origin,
    read: Read,
    at: Coordinates,
}

/// The topic's valid examples in turn, each with an id of its own, judged.
fn judged(contract: Topic) -> Judged {
    let values = messages(contract, EVENTS);
    let writer = local_writers(contract).last().expect("a version").expect("a contract reads itself");
    let mut writers = Writers::default();
    writers.insert(writer.id(), Ok(Arc::new(writer)));
    let shown: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    let messages = Messages { values: &shown, appended_at_ms: &vec![APPENDED_AT_MS; EVENTS] };
    let read = Reader::new(contract, VALUE_BYTES_MAX).read(messages, &writers).expect("a reading");
    assert_eq!(read.events.num_rows(), EVENTS);
    let origin =
        Origin { contract, topic: contract.name().to_owned(), topic_id: Uuid::from_u128(7), partition: 1 };
    let at = Coordinates {
        offsets: (0..EVENTS).map(|offset| i64::try_from(offset).expect("an offset")).collect(),
        appended_at_ms: vec![APPENDED_AT_MS; EVENTS],
        raw_bytes: vec![250; EVENTS],
        raw_sha256: read.digests.clone(),
        schema: vec![0; EVENTS],
        schemas: vec!["avro:0000000000000000".to_owned()],
    };
    Judged { origin, read, at }
}

/// What the other times are compared by.
#[divan::bench(args = Topic::ALL)]
fn a_yardstick(bencher: Bencher<'_, '_>, contract: Topic) {
    let values = messages(contract, EVENTS);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| messages::yardstick(&values));
}

#[divan::bench(args = Topic::ALL)]
fn columns_of_facts(bencher: Bencher<'_, '_>, contract: Topic) {
    let Judged { origin, read, at } = judged(contract);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| facts(&origin, &read.events, &at, &read.digests).expect("columns"));
}

#[divan::bench(args = Topic::ALL)]
fn columns_of_receipts(bencher: Bencher<'_, '_>, contract: Topic) {
    let Judged { origin, read, at } = judged(contract);
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| receipts(&origin, &read.events, &at, &read.digests).expect("columns"));
}

#[divan::bench(args = Topic::ALL)]
fn body_of_facts(bencher: Bencher<'_, '_>, contract: Topic) {
    let Judged { origin, read, at } = judged(contract);
    let rows = [facts(&origin, &read.events, &at, &read.digests).expect("columns")];
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| body::body(&rows).expect("a body"));
}
