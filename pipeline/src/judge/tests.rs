use super::{Block, Known, judge};
use crate::slab::{Budget, Record, Slab};
use crate::writers::{Book, named_in};
use arrow_array::{Array, FixedSizeBinaryArray};
use serde_json::json;
use std::collections::BTreeMap;
use tally_schemas::{Encoder, Reader, Topic, frame_single_object, latest};
use tally_sinks::Refused;
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

/// Offsets 10 to 14, of which 12 and 14 hold no event.
async fn judged() -> Block {
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
    judge(origin, slab, &mut Reader::new(Topic::Task, 1 << 20), known).expect("Arrow works")
}

/// Scenario: events at 10, 11 and 13, letters at 12 and 14; what stands in the ledger says the content of 11 and the
/// life of 14 otherwise.
/// Guarantees: exactly those two are forgotten, and what is left keeps its own coordinates, id and fault.
#[tokio::test]
async fn what_stands_otherwise_is_forgotten() {
    let mut block = judged().await;
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

/// Scenario: ClickHouse refuses a row of a block.
/// Guarantees: it is a letter with what ClickHouse said, and the block has another token: what an earlier attempt, which was not refused,
/// wrote under the first one is not what there is to write now, and ClickHouse would drop it.
#[tokio::test]
async fn a_refusal_changes_the_token() {
    let mut block = judged().await;
    let before = block.token();
    block.refuse(&[Refused { row: 1, said: "no".to_owned() }]).expect("Arrow works");
    assert_eq!(
        (block.accepted.at.offsets.clone(), block.dead_at.offsets.clone()),
        (vec![10, 13], vec![12, 14, 11])
    );
    let letter = block.letters.iter().find(|letter| letter.offset == 11).expect("a letter");
    assert_eq!(
        (letter.fault.reason.name(), letter.fault.sentence.contains("no")),
        ("rejected_by_store", true)
    );
    assert_ne!(block.token(), before);
}
