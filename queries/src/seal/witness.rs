//! The ledger against whoever still has the bytes: Kafka, as long as it retains them. That finds what was altered before
//! it was sealed, which no tree can.

use super::report::{Class, Finding, Report};
use super::{Lane, SealError};
use crate::QueryError;
use async_trait::async_trait;
use clickhouse::{Client, Row};
use futures::stream::{self, BoxStream, StreamExt};
use serde::Deserialize;
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use uuid::Uuid;

/// SHA-256 of a record's value.
type RawDigest = [u8; 32];

/// Offsets that are compared at once.
const STEP_OFFSETS_MAX: i64 = 65_536;
/// Partitions that are read at once.
const LANES_MAX: usize = 4;

/// What a witness could not do, with its causes.
pub type WitnessError = Box<dyn std::error::Error + Send + Sync>;

/// All records of consecutive offsets, as a witness has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// The offset after the last that was looked at.
    pub next: i64,
    /// Offset and SHA-256 of the value of each record, in the order of offsets.
    pub records: Vec<(i64, RawDigest)>,
}

/// Somebody who has the records' bytes.
#[async_trait]
pub trait Witness: Send + Sync {
    /// Offsets [first, next) of which it has what there is; `None` where it no longer has the partition of that identity.
    ///
    /// # Errors
    /// Where it does not answer.
    async fn retained(&self, lane: &Lane) -> Result<Option<Range<i64>>, WitnessError>;

    /// Reads those offsets, batch by batch.
    fn read(&self, lane: &Lane, offsets: Range<i64>) -> BoxStream<'static, Result<Bytes, WitnessError>>;

    /// Whether it may drop records from the middle of what it retains.
    ///
    /// # Errors
    /// Where it does not answer.
    async fn compacts(&self, lane: &Lane) -> Result<bool, WitnessError>;
}

/// What was held against a witness.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Witnessed {
    /// Receipts whose record's bytes were there.
    pub records: u64,
    /// Receipts whose record is no longer retained.
    pub expired: u64,
}

/// Stretches of a partition, [from, next).
pub(super) type Looked = Vec<(Lane, Range<i64>)>;

#[derive(Row, Deserialize)]
struct Said {
    offset: i64,
    letter: bool,
    dead: bool,
    raw_sha256: RawDigest,
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
}

/// Holds all that was looked at against the witness.
pub(super) async fn hold(client: &Client, witness: &dyn Witness, looked: Looked, report: &mut Report) {
    let mut lanes: BTreeMap<Lane, Vec<Range<i64>>> = BTreeMap::new();
    for (lane, offsets) in looked {
        lanes.entry(lane).or_default().push(offsets);
    }
    let one = |(lane, ranges)| async move {
        let mut comparison = Comparison {
            client,
            witness,
            lane,
            compacts: None,
            findings: Vec::new(),
            count: Witnessed::default(),
        };
        let done = comparison.ranges(ranges).await;
        (comparison, done)
    };
    let mut all = stream::iter(lanes).map(one).buffered(LANES_MAX);
    let mut total = Witnessed::default();
    while let Some((comparison, done)) = all.next().await {
        total.records += comparison.count.records;
        total.expired += comparison.count.expired;
        report.add_all(comparison.findings);
        if let Err(error) = done {
            report.add(Finding { at: comparison.lane.to_string(), ..Finding::from(error) });
        }
    }
    if total.records == 0 && total.expired > 0 {
        // another cluster, or one that forgot everything, must not look like a yes
        let text = "Kafka has none of these records any more: nothing was held against their bytes";
        report.add(Finding::log(Class::Incomplete, text));
    }
    report.kafka = Some(total);
}

/// One partition's ledger and bytes.
struct Comparison<'a> {
    client: &'a Client,
    witness: &'a dyn Witness,
    lane: Lane,
    compacts: Option<bool>,
    findings: Vec<Finding>,
    count: Witnessed,
}

impl Comparison<'_> {
    async fn ranges(&mut self, ranges: Vec<Range<i64>>) -> Result<(), SealError> {
        for range in merged(ranges) {
            self.range(range).await?;
        }
        Ok(())
    }

    async fn range(&mut self, range: Range<i64>) -> Result<(), SealError> {
        let mut at = range.start;
        while at < range.end {
            let retained = self.witness.retained(&self.lane).await.map_err(SealError::Witness)?;
            let Some(retained) = retained else { return self.expire(at..range.end).await };
            if at < retained.start {
                let gone = retained.start.min(range.end);
                self.expire(at..gone).await?;
                at = gone;
                continue;
            }
            if at >= retained.end {
                return self.beyond(at..range.end).await;
            }
            let mut batches = self.witness.read(&self.lane, at..range.end.min(retained.end));
            let (before, mut failure) = (at, None);
            while let Some(batch) = batches.next().await {
                match batch {
                    Ok(batch) => {
                        self.compare(at..batch.next, &batch.records).await?;
                        at = at.max(batch.next);
                    }
                    Err(error) => failure = Some(error),
                }
            }
            if let Some(error) = failure {
                // retention may have overtaken the reader: what is left is looked at, what is not is told
                let now = self.witness.retained(&self.lane).await.map_err(SealError::Witness)?;
                if now.is_some_and(|now| now.start <= at) {
                    return Err(SealError::Witness(error));
                }
            } else if at == before {
                return Err(SealError::malformed(format!("Kafka gave nothing from offset {at} on")));
            }
        }
        Ok(())
    }

    /// Offsets that the witness no longer has.
    async fn expire(&mut self, offsets: Range<i64>) -> Result<(), SealError> {
        let question = self.client.query(include_str!("../../sql/seal_raw_count.sql"));
        let question = question.param("topic_id", self.lane.topic_id.to_string());
        let question = question.param("partition", self.lane.partition);
        let question = question.param("from", offsets.start).param("next", offsets.end);
        self.count.expired += question.fetch_one::<u64>().await.map_err(failed)?;
        Ok(())
    }

    /// Offsets that the witness has never had, or no longer at its end.
    async fn beyond(&mut self, offsets: Range<i64>) -> Result<(), SealError> {
        let mut at = offsets.start;
        while at < offsets.end {
            let next = offsets.end.min(at.saturating_add(STEP_OFFSETS_MAX));
            self.compare(at..next, &[]).await?;
            at = next;
        }
        Ok(())
    }

    /// Holds receipts and dead letters of a stretch against all the records that are there.
    async fn compare(&mut self, offsets: Range<i64>, records: &[(i64, RawDigest)]) -> Result<(), SealError> {
        let said = self.said(offsets).await?;
        let mut rows: HashMap<i64, (Option<&Said>, Option<&Said>)> = HashMap::new();
        for one in &said {
            let (receipt, letter) = rows.entry(one.offset).or_default();
            *(if one.letter { letter } else { receipt }) = Some(one);
        }
        for (offset, raw) in records {
            let (receipt, letter) = rows.remove(offset).unwrap_or_default();
            let event_id = receipt.map_or(Uuid::nil(), |receipt| receipt.event_id);
            match receipt {
                None => self.name(
                    "audit_log",
                    *offset,
                    event_id,
                    "Kafka has a record there, and there is no receipt",
                ),
                Some(receipt) if receipt.raw_sha256 != *raw => {
                    self.name("audit_log", *offset, event_id, "raw_sha256 is not that of the bytes in Kafka");
                }
                Some(_) => self.count.records += 1,
            }
            match letter {
                None if receipt.is_some_and(|receipt| receipt.dead) => {
                    self.name(
                        "dead_letters",
                        *offset,
                        event_id,
                        "its receipt says dead, and there is no dead letter",
                    );
                }
                Some(letter) if letter.raw_sha256 != *raw => {
                    self.name(
                        "dead_letters",
                        *offset,
                        event_id,
                        "raw_sha256 is not that of the bytes in Kafka",
                    );
                }
                _ => {}
            }
        }
        let mut rest: Vec<_> = rows.into_iter().collect();
        rest.sort_unstable_by_key(|(offset, _)| *offset);
        for (offset, (receipt, _)) in rest {
            if self.may_be_compacted().await? {
                self.count.expired += u64::from(receipt.is_some());
                continue;
            }
            let (table, event_id) =
                receipt.map_or(("dead_letters", Uuid::nil()), |receipt| ("audit_log", receipt.event_id));
            self.name(table, offset, event_id, "Kafka retains this offset and has no such record");
        }
        Ok(())
    }

    async fn may_be_compacted(&mut self) -> Result<bool, SealError> {
        if let Some(known) = self.compacts {
            return Ok(known);
        }
        let told = self.witness.compacts(&self.lane).await.map_err(SealError::Witness)?;
        Ok(*self.compacts.insert(told))
    }

    async fn said(&self, offsets: Range<i64>) -> Result<Vec<Said>, SealError> {
        let question = self.client.query(include_str!("../../sql/seal_raw.sql"));
        let question = question.param("topic_id", self.lane.topic_id.to_string());
        let question = question.param("partition", self.lane.partition);
        let question = question.param("from", offsets.start).param("next", offsets.end);
        question.fetch_all().await.map_err(failed)
    }

    fn name(&mut self, table: &str, offset: i64, event_id: Uuid, what: &str) {
        let at = format!("{}/{offset}", self.lane);
        self.findings.push(Finding::row(table, at, event_id, what));
    }
}

/// The same offsets in rising ranges that neither touch nor overlap.
fn merged(mut ranges: Vec<Range<i64>>) -> Vec<Range<i64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut all: Vec<Range<i64>> = Vec::with_capacity(ranges.len());
    for range in ranges.into_iter().filter(|range| range.start < range.end) {
        match all.last_mut() {
            Some(last) if range.start <= last.end => last.end = last.end.max(range.end),
            _ => all.push(range),
        }
    }
    all
}

fn failed(source: clickhouse::error::Error) -> SealError {
    SealError::Query(QueryError::new("digests of bytes", source))
}

#[cfg(test)]
mod tests {
    use super::merged;

    /// Scenario: ranges that overlap, touch, lie apart, and an empty one.
    /// Guarantees: every offset once, and no other.
    #[test]
    fn ranges_are_read_once() {
        let ranges = vec![10..20, 0..5, 15..30, 5..6, 8..8, 40..41];
        assert_eq!(merged(ranges), [0..6, 10..30, 40..41]);
    }
}
