//! METRICS 0 by hand: tiles, holes and overlaps, and rows without their counterpart. One topic identity a story.

use super::ledger::{Ledger, MINUTE, Record, T0, uuid};
use std::collections::BTreeMap;

/// An accepted event of a topic identity at an offset.
fn taken(topic_id: u32, offset: i64) -> Record {
    Record::task("t", "PROGRESSED", offset + 1, T0 + offset * MINUTE).placed(topic_id, offset)
}

/// The non-zero counters of one topic identity.
fn of(counters: &BTreeMap<String, i64>, topic_id: u32) -> BTreeMap<&str, i64> {
    let group = uuid(topic_id);
    let own = counters
        .iter()
        .filter_map(|(name, count)| Some((name.strip_prefix(&group)?.strip_prefix('/')?, *count)));
    own.collect()
}

/// Stories that are no loss: whole, a duplicate, a skewed event, a topic that retention has cut below what was read.
fn sound(ledger: &mut Ledger) {
    // 1: accepted 0 to 2, dead 3, absent [4, 6)
    ledger.put_all((0..3).map(|offset| taken(1, offset)));
    ledger.put(taken(1, 3).dead("body"));
    ledger.gap(1, 4, 6, "ABSENT");
    ledger.head(1, 0, 6, true);
    // 2: offset 1 is the event of offset 0 once more
    ledger.put_all((0..2).map(|offset| Record::task("d", "SUBMITTED", 1, T0).event(2, 0).placed(2, offset)));
    ledger.head(2, 0, 2, true);
    // 3: appended ten minutes after it occurred
    ledger.put(taken(3, 0).appended(T0 + 10 * MINUTE));
    ledger.head(3, 0, 1, true);
    // 4: the broker retains [2, 4); 0 and 1 were read in time
    ledger.put_all((0..4).map(|offset| taken(4, offset)));
    ledger.head(4, 2, 4, true);
    // 5: the broker retained [2, 4) when Tally came first, and both were read
    ledger.put_all((2..4).map(|offset| taken(5, offset)));
    ledger.head(5, 2, 4, true);
}

/// Scenario: only stories that are no loss.
/// Guarantees: PASS; duplicates and skew are counted, and no reason to fail.
#[test]
fn what_tiles_passes() {
    let mut ledger = Ledger::new();
    sound(&mut ledger);
    ledger.ended();
    let said = ledger.audit("offsets", &[]);
    said.says("PASS", 0).names(&[]);
    let counters = said.counters();
    let whole = [("partitions", 1), ("receipts", 4), ("accepted", 3), ("dead", 1), ("absent", 2)];
    assert_eq!(of(&counters, 1), whole.into());
    assert_eq!(
        of(&counters, 2),
        [("partitions", 1), ("receipts", 2), ("accepted", 2), ("duplicates", 1)].into()
    );
    assert_eq!(of(&counters, 3), [("partitions", 1), ("receipts", 1), ("accepted", 1), ("skewed", 1)].into());
    assert_eq!(of(&counters, 4), [("partitions", 1), ("receipts", 4), ("accepted", 4)].into());
    assert_eq!(of(&counters, 5), [("partitions", 1), ("receipts", 2), ("accepted", 2)].into());
    // 6 + 2 + 1 + 4 + 2 offsets
    assert_eq!(said.result()["numerator"], 15);
    assert_eq!(said.result()["denominator"], 15);
}

/// Each way of losing, inventing or contradicting.
fn unsound(ledger: &mut Ledger) {
    // 11: nothing at 0 and 1. 12: nothing at 1 and 2. 13: gone, and 2 and 3 were never taken
    ledger.put_all([taken(11, 2), taken(11, 3)]);
    ledger.head(11, 0, 4, true);
    ledger.put_all([taken(12, 0), taken(12, 3)]);
    ledger.head(12, 0, 4, true);
    ledger.put_all([taken(13, 0), taken(13, 1)]);
    ledger.head(13, 0, 4, true);
    // 14: retention took [0, 3) before it was read
    ledger.gap(14, 0, 3, "EXPIRED");
    ledger.put(taken(14, 3));
    ledger.head(14, 3, 4, true);
    // 15: offset 1 was taken, and is said to be absent
    ledger.put_all((0..3).map(|offset| taken(15, offset)));
    ledger.gap(15, 1, 2, "ABSENT");
    ledger.head(15, 0, 3, true);
    // 16: a receipt whose fact is gone. 17: a fact whose receipt is gone, so its offset is a hole, too
    ledger.put_all([taken(16, 0), taken(16, 1).without_fact()]);
    ledger.head(16, 0, 2, true);
    ledger.put_all([taken(17, 0), taken(17, 1).without_receipt(), taken(17, 2)]);
    ledger.head(17, 0, 3, true);
    // 18: a receipt that says dead, without its letter. 19: a letter without a receipt, and a hole
    ledger.put_all([taken(18, 0), taken(18, 1).dead("body").without_letter()]);
    ledger.head(18, 0, 2, true);
    ledger.put_all([taken(19, 0), taken(19, 1).dead("body").without_receipt(), taken(19, 2)]);
    ledger.head(19, 0, 3, true);
    // 20: accepted, and a dead letter. 21: one event id, two contents
    ledger.put(taken(20, 0).buried_alive());
    ledger.head(20, 0, 1, true);
    ledger.put_all([taken(21, 0).event(21, 1), taken(21, 1).event(21, 2)]);
    ledger.head(21, 0, 2, true);
}

pub(super) fn stories(ledger: &mut Ledger) {
    sound(ledger);
    unsound(ledger);
}

/// Scenario: beside the sound ones, each way of losing, inventing or contradicting.
/// Guarantees: FAIL; each is counted where it is, and named by its coordinates.
#[test]
fn each_way_of_not_balancing() {
    let mut ledger = Ledger::new();
    stories(&mut ledger);
    ledger.ended();
    let said = ledger.audit("offsets", &[]);
    said.says("FAIL", 1);
    let counters = said.counters();
    let base = |receipts| BTreeMap::from([("partitions", 1), ("receipts", receipts), ("accepted", receipts)]);
    let with = |receipts, more: &[(&'static str, i64)]| {
        let mut all = base(receipts);
        all.extend(more.iter().copied());
        all
    };
    let expected = [
        (11, with(2, &[("holes", 2), ("uncovered", 2)])),
        (12, with(2, &[("holes", 2), ("uncovered", 2)])),
        (13, with(2, &[("never_taken", 2)])),
        (14, with(1, &[("absent", 3), ("expired", 3)])),
        (15, with(3, &[("absent", 1), ("overlaps", 1), ("uncovered", -1)])),
        (16, with(2, &[("accepted_without_fact", 1)])),
        (17, with(2, &[("holes", 1), ("uncovered", 1), ("fact_without_receipt", 1)])),
        (18, with(2, &[("accepted", 1), ("dead", 1), ("dead_without_letter", 1)])),
        (19, with(2, &[("holes", 1), ("uncovered", 1), ("letter_without_receipt", 1)])),
        (20, with(1, &[("both_ways", 1)])),
        (21, with(2, &[("conflicts", 1)])),
    ];
    for (topic_id, expected) in expected {
        assert_eq!(of(&counters, topic_id), expected, "story {topic_id}");
    }
    assert_eq!(of(&counters, 1)["receipts"], 4); // the sound ones beside them are as they were
    // the second opinion has computed every one of them, those that are 0 too; two counters are the snapshot's own
    let all = said.result()["counters"].as_object().expect("counters").len() as u64;
    assert_eq!(said.result()["cross_check"]["compared"], all - 2);
    named(&said);
}

/// Each offender by coordinates: the first ten in the report.
fn named(said: &super::ledger::Said) {
    let name = |topic_id, place: &str| format!("{}/0/{place}", uuid(topic_id));
    let all = [
        (name(11, "0-2"), "holes"),
        (name(12, "1-3"), "holes"),
        (name(13, "2-4"), "holes"),
        (name(14, "0-3"), "expired"),
        (name(15, "1-2"), "overlaps"),
        (name(16, "1"), "accepted_without_fact"),
        (name(17, "1"), "fact_without_receipt"),
        (name(17, "1-2"), "holes"),
        (name(18, "1"), "dead_without_letter"),
        (name(19, "1"), "letter_without_receipt"),
        (name(19, "1-2"), "holes"),
        (name(20, "0"), "both_ways"),
        (name(21, "0"), "conflicts"),
    ];
    let all: Vec<(&str, &str)> = all.iter().map(|(id, why)| (id.as_str(), *why)).collect();
    said.names(&all);
}

/// Scenario: of a topic that goes on the last receipts are gone; their facts are there, and the look at the partition says that all was taken.
/// Guarantees: FAIL, and each of the rows is named.
#[test]
fn receipts_that_are_gone_from_the_end_are_named() {
    let mut ledger = Ledger::new();
    ledger.put_all([taken(1, 0), taken(1, 1).without_receipt(), taken(1, 2).without_receipt()]);
    ledger.head(1, 0, 3, false);
    ledger.seen_at(T0);
    let (one, two) = (format!("{}/0/1", uuid(1)), format!("{}/0/2", uuid(1)));
    ledger.audit("offsets", &[]).says("FAIL", 1).names(&[(&one, "beyond_taken"), (&two, "beyond_taken")]);
}

/// Scenario: a topic that goes on has records that are not taken yet; of another one nothing but receipts is known; then
/// nothing at all was ever taken.
/// Guarantees: PENDING, INSUFFICIENT and NOT_EVALUATED: none of them a PASS.
#[test]
fn what_cannot_be_said_yet() {
    let mut ledger = Ledger::new();
    ledger.put_all([taken(1, 0), taken(1, 1)]);
    ledger.head(1, 0, 4, false);
    ledger.seen_at(T0);
    let said = ledger.audit("offsets", &[]);
    said.says("PENDING", 2).names(&[]);
    let untaken = [("partitions", 1), ("receipts", 2), ("accepted", 2), ("untaken", 2)];
    assert_eq!(of(&said.counters(), 1), untaken.into());

    let mut ledger = Ledger::new();
    ledger.put_all([taken(1, 0), taken(1, 1)]);
    ledger.seen_at(T0);
    ledger.audit("offsets", &[]).says("INSUFFICIENT", 2);

    let ledger = Ledger::new();
    ledger.audit("offsets", &[]).says("NOT_EVALUATED", 2).counts(&[]);
}
