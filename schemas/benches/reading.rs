//! Nanoseconds of each step of reading, over batches of 10,000 events of each topic:
//! `cargo bench -p tally-schemas`. A time divided by 10,000 is the time of one event; divided by `a_yardstick`'s of the same
//! topic and run, a figure to hold against another day's.
//!
//! The steps are private to the crate, so its modules are compiled in here; nothing is made public for a clock.
#![expect(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "the library's own modules, of which a part is measured"
)]

#[path = "../src/columns.rs"]
mod columns;
#[path = "../src/contract.rs"]
mod contract;
#[path = "../src/decode.rs"]
mod decode;
#[path = "../src/digest.rs"]
mod digest;
#[path = "../src/framing.rs"]
mod framing;
mod messages;
#[path = "../src/read.rs"]
mod read;
#[path = "../src/reason.rs"]
mod reason;
#[path = "../src/rules.rs"]
mod rules;
#[path = "../src/validate.rs"]
mod validate;
#[path = "../src/walk.rs"]
mod walk;
#[path = "../src/writer.rs"]
mod writer;

use arrow_array::RecordBatch;
use contract::Topic;
use decode::Writers;
use divan::Bencher;
use divan::counter::ItemsCount;
use std::sync::Arc;
use writer::Writer;

const EVENTS: usize = 10_000;
const VALUE_BYTES_MAX: usize = 1 << 20;
/// 2025-07-01T12:00:00Z, less than a day after the newest example.
const APPENDED_AT_MS: i64 = 1_751_371_200_000;

fn main() {
    divan::main();
}

fn messages(topic: Topic) -> Vec<Vec<u8>> {
    let topic = tally_schemas::Topic::from_name(topic.name()).expect("a topic");
    messages::messages(topic, EVENTS)
}

fn newest(topic: Topic) -> Arc<Writer> {
    Arc::new(writer::local_writers(topic).last().expect("a version").expect("a contract reads itself"))
}

fn decoded(topic: Topic, writer: &Writer, values: &[Vec<u8>]) -> RecordBatch {
    let mut decoder = writer.decoder().expect("a decoder");
    for value in values {
        decoder.decode(value).expect("an event");
    }
    columns::shape(topic, &decoder.flush().expect("a batch").expect("rows")).expect("the topic's shape")
}

/// What the other times are compared by.
#[divan::bench(args = Topic::ALL)]
fn a_yardstick(bencher: Bencher<'_, '_>, topic: Topic) {
    let values = messages(topic);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| messages::yardstick(&values));
}

#[divan::bench(args = Topic::ALL)]
fn framing_alone(bencher: Bencher<'_, '_>, topic: Topic) {
    let values = messages(topic);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for value in &values {
            divan::black_box(framing::split(divan::black_box(value.as_slice())).expect("a frame"));
        }
    });
}

#[divan::bench(args = Topic::ALL)]
fn framing_and_walk(bencher: Bencher<'_, '_>, topic: Topic) {
    let (values, writer) = (messages(topic), newest(topic));
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for value in &values {
            let (_, body) = framing::split(value).expect("a frame");
            writer.walk(body).expect("an event");
        }
    });
}

#[divan::bench(args = Topic::ALL)]
fn arrow_decode(bencher: Bencher<'_, '_>, topic: Topic) {
    let (values, writer) = (messages(topic), newest(topic));
    let mut decoder = writer.decoder().expect("a decoder");
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        for value in &values {
            decoder.decode(value).expect("an event");
        }
        columns::shape(topic, &decoder.flush().expect("a batch").expect("rows")).expect("the topic's shape")
    });
}

#[divan::bench(args = Topic::ALL)]
fn validate_rules(bencher: Bencher<'_, '_>, topic: Topic) {
    let rows = decoded(topic, &newest(topic), &messages(topic));
    let appended_at_ms = vec![APPENDED_AT_MS; EVENTS];
    bencher
        .counter(ItemsCount::new(EVENTS))
        .bench_local(|| assert!(validate::validate(topic, &rows, &appended_at_ms).is_empty()));
}

#[divan::bench(args = Topic::ALL)]
fn digests(bencher: Bencher<'_, '_>, topic: Topic) {
    let rows = decoded(topic, &newest(topic), &messages(topic));
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| digest::content_digests(topic, &rows));
}

#[divan::bench(args = Topic::ALL)]
fn whole_read(bencher: Bencher<'_, '_>, topic: Topic) {
    let (values, writer) = (messages(topic), newest(topic));
    let mut writers = Writers::default();
    writers.insert(writer.id(), Ok(writer));
    let values: Vec<Option<&[u8]>> = values.iter().map(|value| Some(value.as_slice())).collect();
    let appended_at_ms = vec![APPENDED_AT_MS; EVENTS];
    let mut reader = read::Reader::new(topic, VALUE_BYTES_MAX);
    bencher.counter(ItemsCount::new(EVENTS)).bench_local(|| {
        let messages = read::Messages { values: &values, appended_at_ms: &appended_at_ms };
        let read = reader.read(messages, &writers).expect("a reading");
        assert_eq!(read.events.num_rows(), EVENTS);
        read
    });
}

/// What one more writer costs, and each message that only the decoder refuses.
#[divan::bench(args = Topic::ALL)]
fn a_decoder_built(bencher: Bencher<'_, '_>, topic: Topic) {
    let writer = newest(topic);
    bencher.bench_local(|| writer.decoder().expect("a decoder"));
}
