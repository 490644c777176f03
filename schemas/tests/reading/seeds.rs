//! The starting points of the fuzzer, `schemas/fuzz/seeds/read`, made from the examples.

use crate::world::{body, valid};
use std::collections::BTreeMap;
use std::path::Path;
use tally_schemas::{Topic, latest, versions};

/// One message of a seed, as `fuzz_targets/read.rs` takes it apart.
fn part(control: u8, body: &[u8]) -> Vec<u8> {
    let length = u16::try_from(body.len()).expect("a short body");
    [&[control][..], &length.to_le_bytes(), body].concat()
}

/// For each topic: each example alone, and all of them in one batch in turn with broken ones.
fn seeds() -> BTreeMap<String, Vec<u8>> {
    let mut seeds = BTreeMap::new();
    for (number, topic) in (0_u8..).zip(Topic::ALL) {
        let oldest = versions(topic).next().expect("a version");
        let mut batch = vec![number];
        for (turn, (kind, event)) in (0_u8..).zip(valid(topic)) {
            let newest = body(&latest(topic).schema, &event);
            seeds.insert(format!("{topic}.{kind}"), [vec![number], part(0, &newest)].concat());
            // Fingerprints and ids of the newest (0, 3) and of the oldest contract (1, 2).
            let (control, body) = match turn % 4 {
                0 => (0, newest),
                1 => (1, body(&oldest.schema, &event)),
                2 => (2, body(&oldest.schema, &event)),
                _ => (3, newest),
            };
            batch.extend(part(control, &body));
            if turn % 3 == 2 {
                // Cut short; a null; an unknown id; a writer with other fields.
                batch.extend(
                    [part(control, &body[..body.len() / 2]), part(0x80, &[]), part(6, &body)].concat(),
                );
                batch.extend(part(0x44, &body));
            }
        }
        seeds.insert(format!("{topic}.batch"), batch);
    }
    seeds
}

/// Scenario: a contract or an example changes, and the fuzzer would start from yesterday's events.
/// Guarantees: the committed seeds are made from today's; TALLY_WRITE_SEEDS=1 writes them anew.
#[test]
fn the_fuzzer_starts_from_the_examples() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/read");
    if std::env::var_os("TALLY_WRITE_SEEDS").is_some() {
        std::fs::create_dir_all(&folder).expect("a folder");
        for file in std::fs::read_dir(&folder).expect("a folder") {
            std::fs::remove_file(file.expect("an entry").path()).expect("an old seed");
        }
        for (name, bytes) in seeds() {
            std::fs::write(folder.join(name), bytes).expect("a seed");
        }
    }
    let files = std::fs::read_dir(&folder).expect("schemas/fuzz/seeds/read").map(|file| {
        let file = file.expect("an entry");
        let name = file.file_name().into_string().expect("a name");
        (name, std::fs::read(file.path()).expect("a seed"))
    });
    assert!(files.collect::<BTreeMap<_, _>>() == seeds(), "run this test once with TALLY_WRITE_SEEDS=1");
}
