use super::{Block, Known, READ_ROWS, judge};
use crate::slab::{Budget, Record, Slab};
use crate::writers::{Book, named_in};
use arrow_array::{Array, FixedSizeBinaryArray};
use serde_json::json;
use std::collections::BTreeMap;
use tally_schemas::{Encoder, Reader, Topic, frame_single_object, latest};
use tally_sinks::Refused;
use tally_sinks::rows::{self, Origin};
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

fn ids(block: &Block) -> &FixedSizeBinaryArray {
    let ids = block.accepted.events.column_by_name("event_id").expect("ids").as_any();
    ids.downcast_ref().expect("16 bytes each")
}

/// Offsets 10 to 14, of which 12 and 14 hold no event.
async fn judged() -> Block {
    judged_from(10, &[event(10), event(11), b"no event".to_vec(), event(13), b"nor this one".to_vec()]).await
}

async fn judged_from(first: i64, values: &[Vec<u8>]) -> Block {
    let mut slab = Slab::new(first, &Budget::default());
    for (offset, value) in (first..).zip(values) {
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
    let ids = ids(&block);
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

/// Scenario: more records than are read at once, with letters on both sides of where that ends, and at it.
/// Guarantees: every row keeps its own offset, id and digest of its bytes, and every letter its own offset.
#[tokio::test]
async fn what_is_read_in_pieces_is_one_block() {
    let rows = u32::try_from(READ_ROWS).expect("a few thousand") + 700;
    let is_dead = |offset: u32| offset.is_multiple_of(1_000) || offset as usize % READ_ROWS < 2;
    let value = |offset| if is_dead(offset) { b"no event".to_vec() } else { event(offset) };
    let values: Vec<Vec<u8>> = (0..rows).map(value).collect();
    let block = judged_from(0, &values).await;
    let (dead, alive): (Vec<u32>, Vec<u32>) = (0..rows).partition(|offset| is_dead(*offset));
    let offsets = |of: &[u32]| of.iter().map(|offset| i64::from(*offset)).collect::<Vec<_>>();
    assert_eq!(block.accepted.at.offsets, offsets(&alive));
    assert_eq!(block.dead_at.offsets, offsets(&dead));
    assert_eq!(block.letters.iter().map(|letter| letter.offset).collect::<Vec<_>>(), offsets(&dead));
    let ids = ids(&block);
    assert_eq!((ids.len(), block.accepted.digests.len()), (alive.len(), alive.len()));
    for (place, offset) in alive.iter().enumerate() {
        let id = hex::encode(ids.value(place));
        assert!(id.ends_with(&format!("{offset:012}")), "{id} at {offset}");
        assert_eq!(block.accepted.at.raw_sha256[place], tally_schemas::sha256(&values[*offset as usize]));
    }
}

/// Scenario: the facts of a block are stored, and it lets go of what stands in facts alone.
/// Guarantees: those columns are gone, and its receipts are the same as before.
#[tokio::test]
async fn receipts_need_nothing_that_stands_in_facts_alone() {
    let mut block = judged().await;
    let receipts = |block: &Block| {
        let accepted = &block.accepted;
        rows::receipts(&block.origin, &accepted.events, &accepted.at, &accepted.digests).expect("receipts")
    };
    let before = receipts(&block);
    assert!(block.accepted.events.column_by_name("queue").is_some());
    block.forget_facts();
    assert!(block.accepted.events.column_by_name("queue").is_none());
    assert_eq!(receipts(&block), before);
}
