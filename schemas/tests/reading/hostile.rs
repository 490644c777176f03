//! Every cut and every flipped bit of every example, between good neighbours.

use crate::world::{
    Apache, Event, VALUE_BYTES_MAX, body, confluent, field_ends, message, read_with, registry_id, row,
    single, valid, writers,
};
use tally_schemas::{Contract, Read, Reader, Reason, Topic, versions};

const SINGLE_HEADER: usize = 10;
const CONFLUENT_HEADER: usize = 5;

/// A message in both framings, each with the length of its header.
fn framed(contract: &Contract, body: &[u8]) -> [(Vec<u8>, usize); 2] {
    [
        (single(contract, body), SINGLE_HEADER),
        (confluent(registry_id(contract.version), body), CONFLUENT_HEADER),
    ]
}

/// Reads hostile messages, each between two good ones, and holds the good rows against the good ones read alone.
pub(crate) fn between_neighbours(topic: Topic, hostile: &[Vec<u8>]) -> Read {
    let good: Vec<Vec<u8>> = valid(topic).iter().map(|(_, event)| message(topic, event)).collect();
    let neighbour = |place: usize| Some(good[place % good.len()].as_slice());
    let mut mixed = vec![neighbour(0)];
    for (place, value) in hostile.iter().enumerate() {
        mixed.extend([Some(value.as_slice()), neighbour(place + 1)]);
    }
    let neighbours: Vec<Option<&[u8]>> = mixed.iter().step_by(2).copied().collect();
    let (mut reader, writers) = (Reader::new(topic, VALUE_BYTES_MAX), writers(topic));
    let mixed = read_with(&mut reader, &writers, &mixed);
    let alone = read_with(&mut reader, &writers, &neighbours);
    assert_eq!(alone.faults, []);
    assert!(mixed.faults.iter().all(|(place, _)| place % 2 == 1), "a neighbour was refused");
    let rows: Vec<u32> =
        (0_u32..).zip(&mixed.places).filter(|(_, place)| *place % 2 == 0).map(|(row, _)| row).collect();
    let rows = arrow_array::UInt32Array::from(rows);
    let kept = arrow_select::take::take_record_batch(&mixed.events, &rows).expect("rows");
    assert_eq!(kept, alone.events, "a neighbour's row changed");
    mixed
}

/// Scenario: a producer dies, or a proxy cuts, after any byte of any example, under any version and framing.
/// Guarantees: one fault, which says whether header or body was cut and names the field; neighbours keep their rows.
#[test]
fn truncated_at_every_byte() {
    for topic in Topic::ALL {
        for contract in versions(topic) {
            for (_, event) in valid(topic) {
                let body = body(&contract.schema, &event);
                let ends = field_ends(&contract.schema, &event);
                assert_eq!(ends.last().expect("a field").1, body.len());
                for (whole, header) in framed(contract, &body) {
                    let cuts: Vec<Vec<u8>> = (0..whole.len()).map(|end| whole[..end].to_vec()).collect();
                    let read = between_neighbours(topic, &cuts);
                    assert_eq!(read.faults.len(), cuts.len());
                    for (cut, (place, fault)) in read.faults.iter().enumerate() {
                        assert_eq!(*place as usize, 2 * cut + 1);
                        let (reason, path) = match cut.checked_sub(header) {
                            None => (Reason::Framing, ""),
                            Some(left) => {
                                let (field, _) = ends.iter().find(|(_, end)| left < *end).expect("a field");
                                (Reason::Body, field.as_str())
                            }
                        };
                        assert_eq!(
                            (fault.reason, fault.path.as_str()),
                            (reason, path),
                            "{topic} cut at {cut}"
                        );
                    }
                }
            }
        }
    }
}

/// Scenario: one bit of any example flips, in its header or its body, in either framing.
/// Guarantees: one row or one fault, neighbours keep their rows; a row holds what apache-avro reads in the same
/// bytes, and bytes that are refused as a body are bytes that apache-avro refuses too.
#[test]
fn one_bit_flipped_at_every_bit() {
    for topic in Topic::ALL {
        let contract = versions(topic).next_back().expect("a version");
        let newest = Apache::new(&contract.schema, topic);
        let earlier: Vec<_> = versions(topic)
            .filter(|earlier| earlier.version < contract.version)
            .map(|earlier| (registry_id(earlier.version).to_be_bytes(), Apache::new(&earlier.schema, topic)))
            .collect();
        for (name, event) in valid(topic) {
            for (whole, header) in framed(contract, &body(&contract.schema, &event)) {
                let flip = |bit: usize| {
                    let mut flipped = whole.clone();
                    flipped[bit / 8] ^= 1 << (bit % 8);
                    flipped
                };
                let flipped: Vec<Vec<u8>> = (0..whole.len() * 8).map(flip).collect();
                let read = between_neighbours(topic, &flipped);
                let hostile = |place: u32| (place % 2 == 1).then_some(place as usize / 2);
                for (at, place) in read.places.iter().enumerate() {
                    let Some(bit) = hostile(*place) else { continue };
                    // A flipped header still names a version only where the two ids are a bit apart.
                    let id_changed = bit / 8 < header;
                    let named = |bytes: &[u8]| earlier.iter().find(|(id, _)| bytes.ends_with(id));
                    let apache = match id_changed {
                        true => &named(&flipped[bit][..header]).expect("a version is named").1,
                        false => &newest,
                    };
                    let expected = apache.reads(&flipped[bit][header..]);
                    assert_eq!(Some(row(topic, &read.events, at)), expected, "{topic} {name}: bit {bit}");
                }
                for (place, fault) in &read.faults {
                    let bit = hostile(*place).expect("a flipped one");
                    let refused = matches!(fault.reason, Reason::Body | Reason::TrailingBytes);
                    if refused && bit / 8 >= header {
                        assert_eq!(
                            newest.reads(&flipped[bit][header..]),
                            None,
                            "{topic} {name}: bit {bit}: {fault:?}"
                        );
                    }
                    assert!(
                        !fault.sentence.starts_with("not decoded"),
                        "the walk is as strict as the decoder"
                    );
                }
            }
        }
    }
}

/// Scenario: a publisher leaves bytes behind an event: a second event, a zero, another's padding.
/// Guarantees: `trailing_bytes`, one fault each.
#[test]
fn trailing_bytes() {
    for topic in Topic::ALL {
        let events = valid(topic);
        let second = message(topic, &events[0].1);
        let tail = |event: &Event, tail: &[u8]| [&message(topic, event)[..], tail].concat();
        let mut hostile = Vec::new();
        for (_, event) in &events {
            hostile.extend([&second[..], &[0], &[0xFF; 64]].map(|bytes| tail(event, bytes)));
        }
        let read = between_neighbours(topic, &hostile);
        assert_eq!(read.faults.len(), hostile.len());
        assert!(read.faults.iter().all(|(_, fault)| fault.reason == Reason::TrailingBytes));
    }
}

/// Scenario: the right bytes are published to the wrong topic, in either framing.
/// Guarantees: without that topic's contract among the writers, `unknown_schema`; where the id resolves, as a
/// registry's does, `wrong_topic` with the name of the right one. Never a row.
#[test]
fn right_bytes_under_the_wrong_topic() {
    for topic in Topic::ALL {
        for other in Topic::ALL.into_iter().filter(|other| *other != topic) {
            let mut known = writers(topic);
            for contract in versions(other) {
                crate::world::insert(&mut known, topic, 200 + contract.version, &contract.json);
            }
            for contract in versions(other) {
                for (_, event) in valid(other) {
                    let body = body(&contract.schema, &event);
                    let values = [single(contract, &body), confluent(200 + contract.version, &body)];
                    let values: Vec<Option<&[u8]>> =
                        values.iter().map(|value| Some(value.as_slice())).collect();
                    let read = read_with(&mut Reader::new(topic, VALUE_BYTES_MAX), &known, &values);
                    let reasons: Vec<Reason> = read.faults.iter().map(|(_, fault)| fault.reason).collect();
                    assert_eq!(reasons, [Reason::UnknownSchema, Reason::WrongTopic]);
                    assert!(read.faults[1].1.sentence.ends_with(&format!("its topic is {other}")));
                }
            }
        }
    }
}
