//! What every start stands on, watched while things go wrong: what the group has committed, the ledger has.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use tally_schemas::Topic;
use tally_tests::stage::PARTITIONS;
use tally_tests::{Committed, Group, Stage};

/// Between two looks.
const LOOK: Duration = Duration::from_millis(100);
const ANSWER: Duration = Duration::from_secs(2);

/// What was seen.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// Commits that were held against the ledger.
    pub(super) commits: u32,
    /// The first that the ledger did not bear out.
    pub(super) broken: Option<String>,
}

/// Looks until it is told to stop, or finds a commit that goes beyond the ledger: a crash would lose what lies between. Commits are read
/// first, so that whatever the ledger lacks afterwards it lacked when they were made.
pub(super) fn watch(stage: &Stage<'_>, stop: &AtomicBool) -> Seen {
    let topics = Topic::ALL.map(|contract| stage.topic(contract));
    let group = Group::new(stage.kafka.bootstrap(), stage.prefix(), topics, PARTITIONS);
    let (mut seen, mut held) = (Seen::default(), HashSet::new());
    while !stop.load(Ordering::Relaxed) && seen.broken.is_none() {
        thread::sleep(LOOK);
        for commit in group.committed(ANSWER).unwrap_or_default() {
            if held.contains(&commit) {
                continue;
            }
            let Some((lacking, first)) = until_answered(stage, &commit, stop) else { continue };
            seen.commits += 1;
            if lacking > 0 {
                let Committed { topic, partition, next, .. } = &commit;
                seen.broken = Some(format!(
                    "{topic}/{partition} was committed up to {next} without {lacking} receipts, the first of offset {first}"
                ));
            }
            held.insert(commit);
        }
    }
    seen
}

/// How many offsets before a commit have neither a receipt nor a gap, and the first; asked again while the store is away.
fn until_answered(stage: &Stage<'_>, commit: &Committed, stop: &AtomicBool) -> Option<(u64, u64)> {
    let Committed { metadata: topic_id, partition, next, .. } = commit;
    let of = format!("topic_id = '{topic_id}' AND partition = {partition}");
    let sql = format!(
        "SELECT count(), min(number) FROM numbers({next}) \
         WHERE number NOT IN (SELECT toUInt64(offset) FROM audit_log WHERE {of}) \
         AND number NOT IN (SELECT arrayJoin(range(toUInt64(first), toUInt64(next))) FROM gaps WHERE {of})"
    );
    loop {
        match stage.database.try_query(&sql) {
            Ok(answer) => {
                let mut numbers = answer.split_whitespace().map(|text| text.parse().expect("a number"));
                return Some((numbers.next()?, numbers.next()?));
            }
            Err(_) if stop.load(Ordering::Relaxed) => return None,
            Err(_) => thread::sleep(LOOK),
        }
    }
}
