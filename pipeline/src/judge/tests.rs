use super::{Known, judge};
use crate::slab::{Budget, Record, Slab};
use crate::writers::{Book, named_in};
use arrow_array::{Array, FixedSizeBinaryArray};
use serde_json::json;
use std::collections::BTreeMap;
use tally_schemas::{Encoder, Reader, Topic, frame_single_object, latest};
use tally_sinks::rows::Origin;
use uuid::Uuid;

/// A task event whose id ends in that number, framed.
fn event(number: u32) -> Vec<u8> {
    let contract = latest(Topic::Task);
    let event = json!({
        "event_id": format!("019cadde-226c-77ad-9cb8-{number:012}"), "occurred_at": "2025-03-03T09:25:42Z",
        "source": "scheduler", "policy_tag": "LIKENESS", "actor_id": "a", "actor_role": "SERVICE",
        "task_id": "task-1", "kind": "STARTED", "queue": "NORMAL", "state_version": 1,
    });
    let encoder = Encoder::new(contract).expect("a plan");
    frame_single_object(contract, &encoder.encode(&event).expect("encodes"))
}

/// Scenario: events at 10, 11 and 13, letters at 12 and 14; what stands in the ledger says the content of 11 and the
/// life of 14 otherwise.
/// Guarantees: exactly those two are forgotten, and what is left keeps its own coordinates, id and fault.
#[tokio::test]
async fn what_stands_otherwise_is_forgotten() {
    let mut slab = Slab::new(10, &Budget::default());
    let values = [event(10), event(11), b"no event".to_vec(), event(13), b"nor this one".to_vec()];
    for (offset, value) in (10..).zip(&values) {
        let value = Some(value.as_slice());
        slab.push(Record {
            offset,
            appended_at_ms: 1_741_000_000_000,
            key: None,
            value,
            headers: Vec::new(),
        });
    }
    let writers = Book::new(Topic::Task, None).resolve(named_in(&slab)).await.expect("contracts are known");
    let origin = Origin {
        contract: Topic::Task,
        topic: "task-events".to_owned(),
        topic_id: Uuid::nil(),
        partition: 0,
    };
    let known = Known { writers: &writers, settled: &[], inherited: &BTreeMap::new() };
    let mut block = judge(origin, slab, &mut Reader::new(Topic::Task, 1 << 20), known).expect("Arrow works");
    assert_eq!(
        (block.accepted.at.offsets.clone(), block.dead_at.offsets.clone()),
        (vec![10, 11, 13], vec![12, 14])
    );
    let digest = *block.accepted.digests.get(1).expect("of 11");
    let (before, raw) = (block.token(), block.accepted.at.raw_sha256.clone());
    let forgotten = block.retain(|offset, said| match said {
        Some(said) => *said != digest,
        None => offset != 14,
    });
    assert_eq!(forgotten.expect("Arrow works"), 2);
    assert_eq!((block.accepted.at.offsets.clone(), block.dead_at.offsets.clone()), (vec![10, 13], vec![12]));
    assert_eq!(block.letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), [12]);
    assert_eq!(block.accepted.at.raw_sha256, [raw[0], raw[2]]);
    let ids = block.accepted.events.column_by_name("event_id").expect("ids").as_any();
    let ids: &FixedSizeBinaryArray = ids.downcast_ref().expect("16 bytes each");
    let last = |place| ids.value(place).last().copied();
    assert_eq!((ids.len(), last(0), last(1)), (2, Some(0x10), Some(0x13)), "ids end in their offset");
    assert_eq!(block.accepted.digests.len(), 2);
    assert_ne!(block.token(), before);
}
