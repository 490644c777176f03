//! What the benches of this crate and of those above it read: examples, encoded and framed.

use std::path::PathBuf;
use tally_schemas::{Encoder, Topic, frame_single_object, latest};

/// So many messages of a topic: its valid examples in turn, each with an id of its own, under the newest contract.
pub(crate) fn messages(topic: Topic, count: usize) -> Vec<Vec<u8>> {
    let home = [env!("CARGO_MANIFEST_DIR"), "..", "schemas", "examples", topic.name(), "valid"];
    let folder: PathBuf = home.iter().collect();
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(folder).expect("the examples").map(|file| file.expect("an entry").path()).collect();
    files.sort();
    let parse = |file: &PathBuf| -> serde_json::Value {
        serde_json::from_str(&std::fs::read_to_string(file).expect("a file")).expect("JSON")
    };
    let mut events: Vec<serde_json::Value> = files.iter().map(parse).collect();
    let encoder = Encoder::new(latest(topic)).expect("a plan");
    let kinds = events.len();
    let encode = |number: usize| {
        let event = &mut events[number % kinds];
        event["event_id"] = uuid::Uuid::from_u128(number as u128).to_string().into();
        frame_single_object(latest(topic), &encoder.encode(event).expect("a body"))
    };
    (0..count).map(encode).collect()
}

/// What machines differ by: SHA-256 of each value, one by one. A step's time divided by this one's, of the same topic in the same run, may be
/// held against another day's.
pub(crate) fn yardstick(values: &[Vec<u8>]) -> u8 {
    values.iter().fold(0, |all, value| all ^ tally_schemas::sha256(value)[0])
}
