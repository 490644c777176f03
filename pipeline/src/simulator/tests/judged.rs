//! The emissions before the real judge: the reader of `tally-schemas`.

use super::super::{Emission, Expect};
use super::WORLD;
use std::collections::HashMap;
use std::sync::Arc;
use tally_schemas::{Fault, Messages, Reader, Reason, Topic, WriterId, Writers, contracts, local_writers};

/// Scenario: everything that the simulator emits is read, topic by topic, in order.
/// Guarantees: accepted and duplicate events become rows, a duplicate with the digest of its original; every
/// invalid event becomes a fault of the reason that was expected.
#[test]
fn the_reader_agrees_with_every_expectation() {
    judge(&WORLD.emissions, writers);
}

/// Holds emissions against the reader, which knows these writers of each topic.
pub(super) fn judge(all: &[Emission], writers: impl Fn(Topic) -> Writers) {
    for topic in Topic::ALL {
        let emissions: Vec<&Emission> = all.iter().filter(|e| e.topic == topic).collect();
        let writers = writers(topic);
        let mut reader = Reader::new(topic, 1 << 20);
        let mut digests = HashMap::new();
        for batch in emissions.chunks(1_000) {
            let values: Vec<Option<&[u8]>> = batch.iter().map(|e| Some(e.value.as_slice())).collect();
            let appended_at_ms: Vec<i64> = batch.iter().map(|e| e.occurred_at / 1000).collect();
            let messages = Messages { values: &values, appended_at_ms: &appended_at_ms };
            let read = reader.read(messages, &writers).expect("arrow");
            assert_eq!(read.places.len() + read.faults.len(), batch.len());
            for (place, digest) in read.places.iter().zip(&read.digests) {
                let emission = batch[*place as usize];
                match emission.expect {
                    Expect::Accept => assert!(digests.insert(emission.event_id, *digest).is_none()),
                    Expect::Duplicate => assert_eq!(digests.get(&emission.event_id), Some(digest)),
                    Expect::Dead(reason) => panic!("{topic}: {reason} was accepted"),
                }
            }
            for (place, fault) in &read.faults {
                assert_eq!(batch[*place as usize].expect, Expect::Dead(fault.reason.name()), "{fault:?}");
            }
        }
    }
}

/// The contracts of the topic; those of the others are known, and wrong.
pub(super) fn writers(topic: Topic) -> Writers {
    let mut writers = Writers::default();
    for writer in local_writers(topic).map(|writer| writer.expect("a contract compiles")) {
        writers.insert(writer.id(), Ok(Arc::new(writer)));
    }
    for contract in contracts().iter().filter(|c| c.topic != topic) {
        let fault = Fault { reason: Reason::WrongTopic, path: String::new(), sentence: String::new() };
        writers.insert(WriterId::SingleObject(contract.fingerprint), Err(fault));
    }
    writers
}
