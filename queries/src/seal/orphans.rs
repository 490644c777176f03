//! Facts and receipts that do not belong together: tampering, a block that is being written, or one that never ended.
//!
//! Among sealed offsets the seal decides. Beyond them what is known of the partition does: a lane writes facts only of
//! records that Kafka had, and every offset below `taken` has its receipt.
//!
//! Bound: `appended_at` is the producer's time where the topic says so. A crash between facts and receipts of records that
//! were dated back looks like facts that Kafka never had, until `tally ingest` goes on.

use super::checkpoint::Checkpoint;
use super::facts::{Mismatch, OFFENDERS_MAX, mismatches};
use super::report::{Class, Finding, Report};
use super::{SealError, history};
use crate::QueryError;
use clickhouse::{Client, Row};
use serde::Deserialize;
use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use uuid::Uuid;

/// How old a record may be of which only one of fact and receipt is there: its block is being written. Milliseconds.
const BLOCK_GRACE_MS: u64 = 60_000;
/// Before what would be told is asked for once more, milliseconds: of records that waited long in Kafka, or were dated
/// back, the age says nothing, and a block that is being written gets its receipts meanwhile.
const ASK_AGAIN_MS: u64 = 5_000;

/// The latest look at a partition: table `partition_heads`.
#[derive(Clone, Copy, Debug, Row, Deserialize)]
struct Look {
    #[serde(with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
    partition: i32,
    high: i64,
    taken: i64,
    seen_at_ms: i64,
    ended: bool,
}

/// What is known of partitions and topics.
#[derive(Debug, Default)]
struct Ground {
    /// The offset after the last sealed one.
    sealed: HashMap<(Uuid, i32), i64>,
    looks: HashMap<(Uuid, i32), Look>,
    /// Identities of topics of which there are receipts, dead letters, gaps or looks.
    topics: HashSet<Uuid>,
}

/// What a mismatch means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// It lies among what was sealed.
    Altered(&'static str),
    /// It lies beyond, and no lane makes such a thing.
    Tampered(&'static str),
    /// Too old to be on its way; after a crash it is made up for.
    NeverEnded(&'static str),
    /// Its block may be being written.
    OnItsWay,
}

impl Meaning {
    /// Whether it would be told, and may be another a moment later.
    fn is_of_the_moment(self) -> bool {
        matches!(self, Meaning::Tampered(_) | Meaning::NeverEnded(_))
    }
}

impl Ground {
    /// Reads it, before the mismatches are asked for: a block that ends in between must not look as if it had ended before.
    async fn read(client: &Client, checkpoint: &Checkpoint) -> Result<Ground, SealError> {
        let heads = checkpoint.heads.iter();
        let sealed = heads.map(|head| ((head.lane.topic_id, head.lane.partition), head.next)).collect();
        let looks = client.query(include_str!("../../sql/seal_heads.sql")).fetch_all::<Look>().await;
        let looks = looks.map_err(|source| SealError::Query(QueryError::new("partition_heads", source)))?;
        let lanes = history::lanes(client).await?;
        let topics = lanes.iter().map(|lane| lane.topic_id).chain(looks.iter().map(|look| look.topic_id));
        let topics = topics.collect();
        let looks = looks.into_iter().map(|look| ((look.topic_id, look.partition), look)).collect();
        Ok(Ground { sealed, looks, topics })
    }

    async fn judge(&self, client: &Client, contract: Topic, now_ms: i64) -> Judged {
        let found = mismatches(client, contract).await?;
        if found.len() as u64 > OFFENDERS_MAX {
            let text = "more facts and receipts do not match than can be told apart";
            return Err(SealError::malformed(text));
        }
        let judge = |found: Mismatch| {
            let meaning = self.meaning(&found, now_ms);
            (found, meaning)
        };
        Ok(found.into_iter().map(judge).collect())
    }

    /// `now_ms`: milliseconds since 1970 UTC at the time of the question.
    fn meaning(&self, found: &Mismatch, now_ms: i64) -> Meaning {
        let place = (found.topic_id, found.partition);
        let what = match (found.receipts, found.facts) {
            (_, 0) => "has its receipt and no fact: it was deleted",
            (0, _) => "has no receipt: it was inserted",
            (_, 1) => "does not carry the coordinates of its earliest receipt",
            _ => "is there several times",
        };
        if self.sealed.get(&place).is_some_and(|next| found.offset < *next) {
            return Meaning::Altered(what);
        }
        let old = now_ms.abs_diff(found.appended_at_ms) > BLOCK_GRACE_MS;
        if found.receipts == 0
            && let Some(what) = self.inserted(found, old)
        {
            return Meaning::Tampered(what);
        }
        if old { Meaning::NeverEnded(what) } else { Meaning::OnItsWay }
    }

    /// Why no lane can have written a fact that has no receipt.
    fn inserted(&self, found: &Mismatch, old: bool) -> Option<&'static str> {
        let Some(look) = self.looks.get(&(found.topic_id, found.partition)) else {
            let stray = old && !self.topics.contains(&found.topic_id);
            return stray
                .then_some("has no receipt, nor has anything of its topic's identity: it was inserted");
        };
        if found.offset < look.taken {
            return Some(
                "has no receipt, though every offset up to there had its own: it was inserted, or its receipt deleted",
            );
        }
        if found.offset < look.high {
            return None; // Kafka has that record
        }
        if look.ended {
            return Some("has no receipt, and its topic ended before that offset: it was inserted");
        }
        let later = look.seen_at_ms > found.appended_at_ms;
        later.then_some(
            "has no receipt, and Kafka did not reach that offset, as a later look says: it was inserted",
        )
    }
}

type Judged = Result<Vec<(Mismatch, Meaning)>, SealError>;

/// What does not belong together, contract by contract.
pub(super) struct Orphans {
    by_contract: Vec<(Topic, Judged)>,
}

/// Asks for it. `now_ms` was the time at `begun`, milliseconds since 1970 UTC.
pub(super) async fn orphans(
    client: &Client,
    checkpoint: &Checkpoint,
    (now_ms, begun): (i64, Instant),
) -> Result<Orphans, SealError> {
    let now = || now_ms.saturating_add(i64::try_from(begun.elapsed().as_millis()).unwrap_or(i64::MAX));
    let mut ground = Ground::read(client, checkpoint).await?;
    let mut by_contract: Vec<(Topic, Judged)> = Vec::new();
    for contract in Topic::ALL {
        by_contract.push((contract, ground.judge(client, contract, now()).await));
    }
    let told = |judged: &Judged| {
        judged.as_ref().is_ok_and(|all| all.iter().any(|(_, meaning)| meaning.is_of_the_moment()))
    };
    if by_contract.iter().any(|(_, judged)| told(judged)) {
        tokio::time::sleep(Duration::from_millis(ASK_AGAIN_MS)).await;
        ground = Ground::read(client, checkpoint).await?;
        for (contract, judged) in by_contract.iter_mut().filter(|(_, judged)| told(judged)) {
            *judged = ground.judge(client, *contract, now()).await;
        }
    }
    Ok(Orphans { by_contract })
}

impl Orphans {
    /// Puts it into the report.
    pub(super) fn tell(self, report: &mut Report) {
        for (contract, judged) in self.by_contract {
            match judged {
                Ok(found) => {
                    found.iter().for_each(|(found, meaning)| tell(contract, found, *meaning, report))
                }
                Err(error) => {
                    report.add(Finding { table: contract.table().to_owned(), ..Finding::from(error) })
                }
            }
        }
    }
}

fn tell(contract: Topic, found: &Mismatch, meaning: Meaning, report: &mut Report) {
    let at = format!("{}/{}/{}", found.topic, found.partition, found.offset);
    match meaning {
        Meaning::Altered(what) | Meaning::Tampered(what) => {
            report.add(Finding::row(contract.table(), at, found.event_id, what))
        }
        Meaning::NeverEnded(what) => report.add(Finding {
            class: Class::Incomplete,
            what: format!("{what}, or its block never ended"),
            ..Finding::row(contract.table(), at, found.event_id, what)
        }),
        Meaning::OnItsWay => report.unsealed += 1,
    }
}

#[cfg(test)]
mod tests {
    use super::{BLOCK_GRACE_MS, Ground, Look, Meaning, Mismatch};
    use uuid::Uuid;

    const NOW_MS: i64 = 1_800_000_000_000;
    const LIVE: Uuid = Uuid::from_u128(1);
    const GONE: Uuid = Uuid::from_u128(2);
    const BACKLOG: Uuid = Uuid::from_u128(3);
    const NEVER: Uuid = Uuid::from_u128(4);

    /// Sealed up to 50; seen 10 s ago: 100 taken, of 100 live ones, of 130 of a topic that is gone, of 200 of a backlog.
    fn ground() -> Ground {
        let look = |topic_id, high, ended| Look {
            topic_id,
            partition: 0,
            high,
            taken: 100,
            seen_at_ms: NOW_MS - 10_000,
            ended,
        };
        let looks = [look(LIVE, 100, false), look(GONE, 130, true), look(BACKLOG, 200, false)];
        Ground {
            sealed: looks.iter().map(|look| ((look.topic_id, 0), 50)).collect(),
            topics: looks.iter().map(|look| look.topic_id).collect(),
            looks: looks.into_iter().map(|look| ((look.topic_id, 0), look)).collect(),
        }
    }

    /// Scenario: a fact without receipt, at offsets below and beyond what was sealed, taken and seen, of a topic that lives,
    /// one that is gone, one with a backlog and one that never was; appended just now and long ago.
    /// Guarantees: what no lane can have written is tampering at once or after the grace; what a lane may be writing is passed
    /// over for that grace and never longer.
    #[test]
    fn a_fact_that_no_lane_wrote_is_told() {
        let ground = ground();
        let said = |topic_id, offset, age_ms: i64| {
            let appended_at_ms = NOW_MS - age_ms;
            let (topic, event_id) = ("task-events".to_owned(), Uuid::nil());
            let found = Mismatch {
                topic,
                topic_id,
                partition: 0,
                offset,
                appended_at_ms,
                event_id,
                receipts: 0,
                facts: 1,
            };
            match ground.meaning(&found, NOW_MS) {
                Meaning::Altered(_) | Meaning::Tampered(_) => 1,
                Meaning::NeverEnded(_) => 2,
                Meaning::OnItsWay => 0,
            }
        };
        let (just_now, before_the_look, long_ago) = (1_000, 11_000, 7_200_000);
        for (topic, offset, age_ms, expected) in [
            (LIVE, 49, just_now, 1),      // sealed
            (LIVE, 99, just_now, 1),      // taken
            (LIVE, 100, just_now, 0),     // appended after the look
            (LIVE, 900_000, just_now, 0), // as far as is known
            (LIVE, 900_000, before_the_look, 1),
            (LIVE, 100, before_the_look, 1),
            (LIVE, 100, -7_200_000, 2), // from the future
            (GONE, 99, just_now, 1),
            (GONE, 120, just_now, 0), // Kafka had it, and nobody took it for good
            (GONE, 120, long_ago, 2),
            (GONE, 130, just_now, 1),
            (GONE, 900_000, long_ago, 1),
            (BACKLOG, 150, just_now, 0),
            (BACKLOG, 150, long_ago, 2), // asked for again before it is told
            (NEVER, 0, just_now, 0),     // a topic's first block
            (NEVER, 0, long_ago, 1),
            (NEVER, 0, -7_200_000, 1),
        ] {
            assert_eq!(said(topic, offset, age_ms), expected, "{topic} {offset} {age_ms}");
        }
        let grace = i64::try_from(BLOCK_GRACE_MS).expect("small");
        assert_eq!((said(NEVER, 0, grace), said(NEVER, 0, grace + 1)), (0, 1));
    }

    /// Scenario: a receipt without its fact, sealed and not, just now and long ago.
    /// Guarantees: sealed it is tampering; else it is never passed over for longer than the grace.
    #[test]
    fn a_receipt_without_its_fact_is_told() {
        let ground = ground();
        let said = |offset, age_ms| {
            let (topic, event_id, appended_at_ms) = ("task-events".to_owned(), Uuid::nil(), NOW_MS - age_ms);
            let found = Mismatch {
                topic,
                topic_id: LIVE,
                partition: 0,
                offset,
                appended_at_ms,
                event_id,
                receipts: 1,
                facts: 0,
            };
            ground.meaning(&found, NOW_MS)
        };
        assert!(matches!(said(49, 0), Meaning::Altered(_)));
        assert_eq!(said(60, 1_000), Meaning::OnItsWay);
        assert!(matches!(said(60, 120_000), Meaning::NeverEnded(_)));
    }
}
