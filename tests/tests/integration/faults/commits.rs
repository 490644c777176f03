//! What every start stands on, watched while things go wrong: what the group has committed, the ledger has.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::{ClientConfig, Offset, TopicPartitionList};
use tally_schemas::Topic;
use tally_tests::Stage;
use tally_tests::stage::PARTITIONS;

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

/// A commit: an offset of a partition of the topic with that identity.
type Commits = HashMap<(String, i32), (String, i64)>;

/// Looks until it is told to stop, or finds a commit that goes beyond the ledger: a crash would lose what lies between. Commits are read
/// first, so that whatever the ledger lacks afterwards it lacked when they were made.
pub(super) fn watch(stage: &Stage<'_>, stop: &AtomicBool) -> Seen {
    let mut config = ClientConfig::new();
    config.set("bootstrap.servers", stage.kafka.bootstrap()).set("group.id", stage.prefix());
    let asker: BaseConsumer = config.create().expect("a client");
    let mut list = TopicPartitionList::new();
    for contract in Topic::ALL {
        list.add_partition_range(&stage.topic(contract), 0, PARTITIONS - 1);
    }
    let (mut seen, mut held) = (Seen::default(), Commits::new());
    while !stop.load(Ordering::Relaxed) && seen.broken.is_none() {
        thread::sleep(LOOK);
        let Ok(committed) = asker.committed_offsets(list.clone(), ANSWER) else { continue };
        for one in committed.elements() {
            let Offset::Offset(next) = one.offset() else { continue };
            let place = (one.topic().to_owned(), one.partition());
            let commit = (one.metadata().to_owned(), next);
            if held.get(&place) == Some(&commit) {
                continue;
            }
            let Some((lacking, first)) = until_answered(stage, &commit.0, place.1, next, stop) else {
                continue;
            };
            seen.commits += 1;
            if lacking > 0 {
                let (topic, partition) = &place;
                seen.broken = Some(format!(
                    "{topic}/{partition} was committed up to {next} without {lacking} receipts, the first of offset {first}"
                ));
            }
            held.insert(place, commit);
        }
    }
    seen
}

/// How many offsets before `next` have neither a receipt nor a gap, and the first; asked again while the store is away.
fn until_answered(
    stage: &Stage<'_>,
    topic_id: &str,
    partition: i32,
    next: i64,
    stop: &AtomicBool,
) -> Option<(u64, u64)> {
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
