//! METRICS 1 by hand: which tasks are in the population, and what makes one incomplete.

use super::ledger::{DAY, FIRST_DAY, HOUR, Ledger, MINUTE, Record, SECOND, T0};
use serde_json::json;

/// A task's events, one a second from `at`, versions from 1.
fn chain(task: &str, kinds: &[&str], at: i64) -> Vec<Record> {
    let versions = (1..).zip(kinds);
    versions.map(|(version, kind)| Record::task(task, kind, version, at + version * SECOND)).collect()
}

const WHOLE: [&str; 4] = ["SUBMITTED", "QUEUED", "STARTED", "SUCCEEDED"];

/// Tasks that are complete (nine), and tasks that lie outside of the day.
fn whole(ledger: &mut Ledger) {
    let noon = T0 + 12 * HOUR;
    let mut put = |records: Vec<Record>| ledger.put_all(records);
    // 5
    put(chain("ok-customer", &WHOLE, noon));
    put(chain("ok-running", &["SUBMITTED", "QUEUED"], noon));
    for audience in ["TEST", "STAFF", "CANARY"] {
        let task = format!("ok-{}", audience.to_lowercase());
        put(chain(&task, &WHOLE, noon).into_iter().map(|one| one.with("audience", audience)).collect());
    }
    // on the edges of the day; the first lies in it, the second begins the next one, the third began the day before
    put(vec![Record::task("ok-at-midnight", "SUBMITTED", 1, T0)]); // 6
    put(vec![Record::task("out-next-day", "SUBMITTED", 1, T0 + DAY)]);
    put(vec![
        Record::task("out-day-before", "SUBMITTED", 1, T0 - 1),
        Record::task("out-day-before", "STARTED", 3, noon),
    ]);
    // event time: 5 minutes off is as it says, one microsecond more and the append counts (milliseconds: 1 ms more)
    let near_end = T0 + DAY - MINUTE;
    put(vec![Record::task("ok-skew-allowed", "SUBMITTED", 1, near_end).appended(near_end + 5 * MINUTE)]); // 7
    put(vec![Record::task("out-skewed", "SUBMITTED", 1, near_end).appended(near_end + 5 * MINUTE + 1000)]);
    // the same event twice is no harm: 8
    put(vec![
        Record::task("ok-dup", "SUBMITTED", 1, noon).event(8, 0),
        Record::task("ok-dup", "SUBMITTED", 1, noon).event(8, 0).appended(noon + HOUR),
    ]);
    put(vec![
        Record::task("ok-replayed", "SUBMITTED", 1, noon), // 9
        Record::task("ok-replayed", "QUEUED", 2, noon).dead("policy_tag_unknown").bytes(77),
        Record::task("ok-replayed", "QUEUED", 2, noon + MINUTE).bytes(77),
    ]);
}

/// Tasks that are incomplete, each in its way (fourteen).
fn broken(ledger: &mut Ledger) {
    let noon = T0 + 12 * HOUR;
    let mut put = |records: Vec<Record>| ledger.put_all(records);
    // five broken chains
    put(vec![
        Record::task("chain-gap", "SUBMITTED", 1, noon),
        Record::task("chain-gap", "QUEUED", 2, noon),
        Record::task("chain-gap", "SUCCEEDED", 4, noon),
    ]);
    put(vec![
        Record::task("chain-headless", "QUEUED", 2, noon),
        Record::task("chain-headless", "STARTED", 3, noon),
    ]);
    put(chain("chain-wrong-first", &["STARTED", "SUCCEEDED"], noon));
    put(vec![
        Record::task("chain-twice", "SUBMITTED", 1, noon),
        Record::task("chain-twice", "QUEUED", 2, noon),
        Record::task("chain-twice", "STARTED", 2, noon),
    ]);
    // a duplicate fills no gap: versions 1, 3, 3, and one receipt more than events
    put(vec![
        Record::task("chain-dup", "SUBMITTED", 1, noon),
        Record::task("chain-dup", "STARTED", 3, noon).event(7, 0),
        Record::task("chain-dup", "STARTED", 3, noon).event(7, 0),
    ]);
    put(chain("ended-twice", &["SUBMITTED", "SUCCEEDED", "FAILED"], noon));
    put(vec![
        Record::task("tags", "SUBMITTED", 1, noon),
        Record::task("tags", "QUEUED", 2, noon).with("policy_tag", "COPYRIGHT"),
    ]);
    // dead letters: the last event of one, the middle of another, the only one of a third
    put(vec![
        Record::task("dead-tail", "SUBMITTED", 1, noon),
        Record::task("dead-tail", "SUCCEEDED", 2, noon).dead("policy_tag_missing"),
    ]);
    put(vec![
        Record::task("dead-middle", "SUBMITTED", 1, noon),
        Record::task("dead-middle", "QUEUED", 2, noon).dead("policy_tag_unknown"),
        Record::task("dead-middle", "SUCCEEDED", 3, noon),
    ]);
    put(vec![Record::task("dead-only", "SUBMITTED", 1, noon).dead("body")]);
    // known from elsewhere only: 3
    put(vec![
        Record::credit("CHARGED", noon, json!({"task_id": "orphan-credit", "wallet_id": "w"})),
        Record::license("CHECKED", noon, json!({"task_id": "orphan-license", "license_id": "l"})),
        Record::case("c", "REPORTED", noon).with("task_id", "orphan-case"),
    ]);
    put(chain("unreceipted", &WHOLE, noon).into_iter().map(Record::without_receipt).collect());
}

/// All of them; another day holds one whole task, whose receipt lies above those that are missing.
pub(super) fn stories(ledger: &mut Ledger) {
    whole(ledger);
    broken(ledger);
    ledger.put(Record::task("zzz", "SUBMITTED", 1, T0 + 2 * DAY));
}

/// Scenario: a day of tasks, each broken in one way or whole in one way; others that lie outside of the day.
/// Guarantees: population, reasons and offenders as counted by hand below.
#[test]
fn each_way_of_being_incomplete() {
    let mut ledger = Ledger::new();
    stories(&mut ledger);
    ledger.ended();
    // complete 9; incomplete: chains 5, ended twice 1, tags 1, dead 3, orphans 3, without receipt 1 = 14
    let said = ledger.audit("completeness", &FIRST_DAY);
    said.says("FAIL", 1).counts(&[
        ("population", 23),
        ("complete", 9),
        ("incomplete", 14),
        ("broken_chain", 6), // the five, and dead-middle, whose hole shows
        ("ended_twice", 1),
        ("conflicting_tag", 1),
        ("missing_tag", 2), // dead-tail and dead-middle; a body that cannot be read says nothing of a tag
        ("dead_lettered", 3),
        ("missing_audit", 2), // unreceipted, and dead-only: no entry for an event of its own
        ("orphan_audit", 3),
        ("duplicate_audit", 2), // chain-dup and ok-dup
    ]);
    said.names(&[
        ("chain-dup", "broken_chain"),
        ("chain-gap", "broken_chain"),
        ("chain-headless", "broken_chain"),
        ("chain-twice", "broken_chain"),
        ("chain-wrong-first", "broken_chain"),
        ("dead-middle", "missing_tag"),
        ("dead-only", "missing_audit"),
        ("dead-tail", "missing_tag"),
        ("ended-twice", "ended_twice"),
        ("orphan-case", "orphan_audit"),
        ("orphan-credit", "orphan_audit"),
        ("orphan-license", "orphan_audit"),
        ("tags", "conflicting_tag"),
        ("unreceipted", "missing_audit"),
    ]);
    assert_eq!((&said.result()["numerator"], &said.result()["denominator"]), (&json!(9), &json!(23)));

    // of the day after next only "zzz" is there, and it is whole; of the one after that there is nothing
    let day = |from, to| ledger.audit("completeness", &["--from", from, "--to", to]);
    day("2026-03-04", "2026-03-05").says("PASS", 0).counts(&[("population", 1), ("complete", 1)]).names(&[]);
    day("2026-03-05", "2026-03-06").says("NOT_EVALUATED", 2).counts(&[]).names(&[]);
}

/// Scenario: topics go on; everything before 02:00 is here.
/// Guarantees: with one hour of grace the window up to 01:00 is closed, one microsecond more is open: PENDING, not PASS;
/// a shorter grace closes it.
#[test]
fn nothing_passes_before_its_window_closes() {
    let mut ledger = Ledger::new();
    ledger.put_all(chain("whole", &WHOLE, T0 + MINUTE));
    ledger.seen_at(T0 + 2 * HOUR);
    let until = |to: &str, more: &[&str]| {
        ledger.audit("completeness", &[&["--from", "2026-03-02", "--to", to][..], more].concat())
    };
    until("2026-03-02T01:00:00Z", &[]).says("PASS", 0);
    let open = until("2026-03-02T01:00:00.000001Z", &[]);
    open.says("PENDING", 2).counts(&[("population", 1), ("complete", 1)]);
    assert_eq!(open.measure("complete tasks", "")["verdict"], "PENDING");
    until("2026-03-02T01:00:00.000001Z", &["--grace-minutes", "59"]).says("PASS", 0);
}

/// Scenario: chains of 62, 63 and 130 versions: whole ones, and each with a version missing, or one twice in another's place, on
/// either side of the 62nd.
/// Guarantees: however long a chain is, only those with a hole or a repetition are broken.
#[test]
fn long_chains() {
    let noon = T0 + 12 * HOUR;
    let mut ledger = Ledger::new();
    let mut put = |task: &str, versions: &[i64]| {
        let kind = |version| if version == 1 { "SUBMITTED" } else { "PROGRESSED" };
        let one = |(place, version): (i64, &i64)| {
            Record::task(task, kind(*version), *version, noon + place * SECOND)
        };
        ledger.put_all((0..).zip(versions).map(one));
    };
    for last in [62, 63, 130] {
        put(&format!("whole-{last}"), &(1..=last).collect::<Vec<_>>());
    }
    for (last, hole) in [(62, 40), (63, 62), (130, 3), (130, 62), (130, 63), (130, 129)] {
        put(
            &format!("hole-{last}-{hole}"),
            &(1..=last).filter(|version| *version != hole).collect::<Vec<_>>(),
        );
        let other = |version| if version == hole { hole - 1 } else { version };
        put(&format!("twice-{last}-{hole}"), &(1..=last).map(other).collect::<Vec<_>>());
    }
    ledger.ended();
    let said = ledger.audit("completeness", &FIRST_DAY);
    said.says("FAIL", 1).counts(&[
        ("population", 15),
        ("complete", 3),
        ("broken_chain", 12),
        ("incomplete", 12),
    ]);
}
