//! Where the input ends: taken once, at the start, so that it does not move while jobs read it.

use super::table::{SKEW_MICROS_MAX, tables};
use crate::QueryError;
use crate::audit::result::{InputBound, Window, WindowState};
use crate::seal::newest_heads;
use clickhouse::{Client, Row};
use futures::stream::{self, StreamExt, TryStreamExt};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use uuid::Uuid;

/// Partitions of which ClickHouse is asked at once.
const QUESTIONS_MAX: usize = 8;

/// What the broker had when a partition was last looked at, and how far Tally had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Kafka topic.
    pub topic: String,
    /// Its identity.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// First retained offset.
    pub low: i64,
    /// High watermark.
    pub high: i64,
    /// Every offset below has its disposition.
    pub taken: i64,
    /// When that was so, microseconds since 1970 UTC.
    pub seen_us: i64,
    /// The topic is gone: nothing follows.
    pub ended: bool,
}

/// A fact or dead letter that the bound cuts off, and whose receipt is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Beyond {
    /// Its table.
    pub table: String,
    /// Identity of its topic.
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
}

/// An upper bound of the input, by partition, and how far time had come.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Snapshot {
    /// Offsets below these are read.
    pub bounds: Vec<InputBound>,
    /// The latest look at each partition.
    pub heads: Vec<Head>,
    /// Everything that happened before has arrived; `i64::MAX` once every topic has ended.
    pub watermark_us: i64,
    /// Event time of the first accepted event; `i64::MAX` where there is none.
    pub first_event_us: i64,
    /// Event time of the last one; `i64::MIN` where there is none.
    pub last_event_us: i64,
    /// Facts and dead letters that lie beyond the bound although every offset up to them is said to have its disposition,
    /// or the topic has ended: their receipts are gone.
    pub beyond: Vec<Beyond>,
    /// Those of partitions without any receipt, and those appended more than an hour ago: their receipts are late or gone.
    pub beyond_waiting: i64,
    /// No `state_version` of a task event is above.
    pub state_version_max: i64,
    /// Append time of the first receipt that the checkpoint which covers most of them leaves out, microseconds since 1970 UTC;
    /// `i64::MAX` where it covers all, `i64::MIN` where nothing was sealed.
    #[serde(default = "never")]
    pub unsealed_from_us: i64,
    /// When it was taken, milliseconds since 1970 UTC: the delivery ledger is read as it was then.
    #[serde(default)]
    pub taken_ms: i64,
    /// Rows in each table, as the store counts them: an estimate for plans and progress.
    pub rows: Vec<(String, u64)>,
    /// The store's version.
    pub version: String,
}

impl Default for Snapshot {
    fn default() -> Snapshot {
        Snapshot {
            bounds: Vec::new(),
            heads: Vec::new(),
            watermark_us: 0,
            first_event_us: 0,
            last_event_us: 0,
            beyond: Vec::new(),
            beyond_waiting: 0,
            state_version_max: 0,
            unsealed_from_us: never(),
            taken_ms: 0,
            rows: Vec::new(),
            version: String::new(),
        }
    }
}

/// Nothing was sealed: every receipt comes after.
const fn never() -> i64 {
    i64::MIN
}

/// Where receipts of a partition end.
#[derive(Row, Deserialize)]
pub(super) struct BoundRow {
    topic: String,
    id: String,
    partition: i32,
    next: i64,
    newest_us: i64,
}

#[derive(Row, Deserialize)]
struct BeyondRow {
    id: String,
    partition: i32,
    offset: i64,
    waiting: bool,
}

#[derive(Row, Deserialize)]
struct HeadRow {
    topic: String,
    id: String,
    partition: i32,
    low: i64,
    high: i64,
    taken: i64,
    seen_us: i64,
    ended: bool,
}

impl Head {
    /// Receipts may have come further than when the partition was looked at.
    pub(super) fn catch_up(&mut self, bounds: &[BoundRow]) {
        let id = self.topic_id.to_string();
        let bound = bounds.iter().find(|b| b.partition == self.partition && b.id == id);
        self.taken = self.taken.max(bound.map_or(0, |b| b.next));
    }
}

/// The latest look at each partition.
pub(super) async fn heads(client: &Client) -> Result<Vec<Head>, QueryError> {
    let heads = client.query(include_str!("../../sql/snapshot_heads.sql")).fetch_all::<HeadRow>().await;
    let heads = heads.map_err(|source| QueryError::new("heads of partitions", source))?;
    Ok(heads.into_iter().map(head).collect())
}

/// Where receipts of each partition end.
pub(super) async fn bounds(client: &Client) -> Result<Vec<BoundRow>, QueryError> {
    let bounds = client.query(include_str!("../../sql/snapshot_bounds.sql")).fetch_all::<BoundRow>().await;
    bounds.map_err(|source| QueryError::new("bounds of the input", source))
}

/// Event time of the first and of the last accepted event.
pub(super) async fn first_and_last_event(client: &Client) -> Result<(i64, i64), QueryError> {
    let events = client.query(include_str!("../../sql/snapshot_events.sql")).fetch_one::<(i64, i64)>().await;
    events.map_err(|source| QueryError::new("first and last event", source))
}

impl Snapshot {
    /// Asks ClickHouse where the input ends now. Fresher looks at partitions, if the caller has asked Kafka, come first.
    ///
    /// # Errors
    /// Where ClickHouse does not answer.
    pub async fn take(client: &Client, fresh: Vec<Head>) -> Result<Snapshot, QueryError> {
        let failed = |question| move |source| QueryError::new(question, source);
        let mut heads = heads(client).await?;
        for one in fresh {
            heads.retain(|known| (known.topic_id, known.partition) != (one.topic_id, one.partition));
            heads.push(one);
        }
        // bounds after heads: what a head says was taken is below them
        let bounds = bounds(client).await?;
        for head in &mut heads {
            head.catch_up(&bounds);
        }
        let (first_event_us, last_event_us) = first_and_last_event(client).await?;
        // after the bounds, so that it holds for every row below them
        let versions =
            client.query("SELECT max(state_version) AS most FROM task_events").fetch_one::<i64>().await;
        let rows =
            client.query(include_str!("../../sql/snapshot_rows.sql")).fetch_all::<(String, u64)>().await;
        let version = client
            .query("SELECT version(), toUnixTimestamp64Milli(now64(3))")
            .fetch_one::<(String, i64)>()
            .await;
        let (version, taken_ms) = version.map_err(failed("version and time"))?;
        let watermark_us = watermark(&heads, &bounds);
        let bounds: Vec<InputBound> = bounds.into_iter().map(bound).collect();
        let snapshot = Snapshot {
            watermark_us,
            unsealed_from_us: unsealed_from(client, &bounds).await?,
            bounds,
            heads,
            first_event_us,
            last_event_us,
            beyond: Vec::new(),
            beyond_waiting: 0,
            state_version_max: versions.map_err(failed("the highest version of a state"))?,
            rows: rows.map_err(failed("rows of tables"))?,
            taken_ms,
            version,
        };
        snapshot.look_beyond(client).await.map_err(failed("rows beyond the last receipts"))
    }

    /// Counts rows that the bound cuts off and that are not just being written: a bound is where receipts end, so receipts
    /// that were deleted from the end would otherwise take their facts out of sight.
    async fn look_beyond(mut self, client: &Client) -> Result<Snapshot, clickhouse::error::Error> {
        let (mut beyond, mut waiting) = (Vec::new(), 0);
        for table in tables() {
            let Some(question) = table.beyond(&self) else { continue };
            let rows: Vec<BeyondRow> = client.query(&question).fetch_all().await?;
            for row in rows {
                let same = |h: &&Head| h.partition == row.partition && h.topic_id.to_string() == row.id;
                let head = self.heads.iter().find(same);
                let gone = head.is_some_and(|head| head.ended || row.offset < head.taken.min(head.high));
                let known = self
                    .bounds
                    .iter()
                    .any(|b| b.partition == row.partition && b.topic_id.to_string() == row.id);
                waiting += i64::from(!gone && (row.waiting || !known));
                if gone {
                    let topic_id = row.id.parse().unwrap_or_default();
                    let (table, BeyondRow { partition, offset, .. }) = (table.name.to_owned(), row);
                    beyond.push(Beyond { table, topic_id, partition, offset });
                }
            }
        }
        (self.beyond, self.beyond_waiting) = (beyond, waiting);
        Ok(self)
    }

    /// A window as it stands: `to` must have been passed by the watermark and the grace. It is sealed where one checkpoint covers
    /// every receipt that was appended before that: what comes after makes a restatement and no window.
    pub fn window(&self, from_us: i64, to_us: i64, grace_us: i64) -> Window {
        // an event may be appended as long after it occurred as skew is let pass
        let end = to_us.saturating_add(grace_us.max(SKEW_MICROS_MAX));
        let state = match (self.watermark_us >= to_us.saturating_add(grace_us), self.unsealed_from_us >= end)
        {
            (false, _) => WindowState::Open,
            (true, false) => WindowState::Closed,
            (true, true) => WindowState::Sealed,
        };
        Window { from_us, to_us, state, watermark_us: self.watermark_us }
    }

    /// The window that takes in everything which can be judged by now.
    pub fn all(&self, grace_us: i64) -> (i64, i64) {
        let end = self.last_event_us.saturating_add(1);
        let to = end.min(self.watermark_us.saturating_sub(grace_us));
        (self.first_event_us.min(to), to)
    }

    /// The moment at which clocks that run on are read: the watermark, or the last event once nothing follows.
    pub fn as_of_us(&self) -> i64 {
        if self.watermark_us == i64::MAX { self.last_event_us } else { self.watermark_us }
    }

    /// How many rows the store holds of a table.
    pub(super) fn rows_of(&self, table: &str) -> Option<u64> {
        self.rows.iter().find(|(name, _)| name == table).map(|(_, rows)| *rows)
    }
}

/// See [`Snapshot::unsealed_from_us`].
async fn unsealed_from(client: &Client, bounds: &[InputBound]) -> Result<i64, QueryError> {
    let mut latest = never();
    for heads in newest_heads(client).await? {
        let sealed: HashMap<_, _> =
            heads.iter().map(|head| ((head.lane.topic_id, head.lane.partition), head.next)).collect();
        let open = bounds.iter().filter_map(|bound| {
            let next = sealed.get(&(bound.topic_id, bound.partition)).copied().unwrap_or(0);
            (next < bound.next).then_some((bound, next))
        });
        let first = |(bound, next): (&InputBound, i64)| {
            let question = client.query(include_str!("../../sql/snapshot_unsealed.sql"));
            let question = question.param("topic_id", bound.topic_id.to_string()).param("from", next);
            question.param("partition", bound.partition).param("next", bound.next).fetch_one::<Option<i64>>()
        };
        let firsts: Vec<Option<i64>> = stream::iter(open.map(first).collect::<Vec<_>>())
            .buffered(QUESTIONS_MAX)
            .try_collect()
            .await
            .map_err(|source| QueryError::new("receipts that are not sealed", source))?;
        latest = latest.max(firsts.into_iter().flatten().min().unwrap_or(i64::MAX));
    }
    Ok(latest)
}

/// The lowest watermark over all partitions of topics that still live. An idle partition, taken to its end, is as far
/// as the moment it was looked at; any other is as far as its newest record.
pub(super) fn watermark(heads: &[Head], bounds: &[BoundRow]) -> i64 {
    let ended = |id: &str| heads.iter().any(|head| head.ended && head.topic_id.to_string() == id);
    let idle = |head: &Head| head.taken >= head.high;
    let newest = |head: &Head| {
        let same = |b: &&BoundRow| b.partition == head.partition && b.id == head.topic_id.to_string();
        bounds.iter().find(same).map_or(i64::MIN, |b| b.newest_us)
    };
    let looked_at = heads.iter().filter(|head| !head.ended).map(|head| match idle(head) {
        true => head.seen_us.max(newest(head)),
        false => newest(head),
    });
    let known =
        |b: &BoundRow| heads.iter().any(|h| h.partition == b.partition && h.topic_id.to_string() == b.id);
    let unknown = bounds.iter().filter(|b| !known(b) && !ended(&b.id)).map(|b| b.newest_us);
    looked_at.chain(unknown).min().unwrap_or(if heads.is_empty() { i64::MIN } else { i64::MAX })
}

fn head(row: HeadRow) -> Head {
    Head {
        topic: row.topic,
        topic_id: row.id.parse().unwrap_or_default(),
        partition: row.partition,
        low: row.low,
        high: row.high,
        taken: row.taken,
        seen_us: row.seen_us,
        ended: row.ended,
    }
}

fn bound(row: BoundRow) -> InputBound {
    InputBound {
        topic: row.topic,
        topic_id: row.id.parse().unwrap_or_default(),
        partition: row.partition,
        next: row.next,
    }
}

#[cfg(test)]
mod tests {
    use super::{BoundRow, Head, Snapshot, watermark};
    use crate::audit::result::WindowState;
    use uuid::Uuid;

    fn head(partition: i32, (high, taken, seen_us): (i64, i64, i64), ended: bool) -> Head {
        let topic_id = Uuid::from_u128(u128::from(ended) + 1);
        Head { topic: "t".into(), topic_id, partition, low: 0, high, taken, seen_us, ended }
    }

    fn bound(partition: i32, newest_us: i64) -> BoundRow {
        let id = Uuid::from_u128(1).to_string();
        BoundRow { topic: "t".into(), id, partition, next: 5, newest_us }
    }

    /// Scenario: one partition is idle, one lags, one belongs to a topic that is gone.
    /// Guarantees: the laggard's newest record holds the watermark; idle ones advance with the clock; ended ones never hold it.
    #[test]
    fn the_slowest_living_partition_holds_the_watermark() {
        let idle = head(0, (5, 5, 900), false);
        let lagging = head(1, (9, 5, 900), false);
        let gone = head(2, (5, 5, 100), true);
        let bounds = [bound(0, 300), bound(1, 400)];
        assert_eq!(watermark(&[idle.clone(), lagging, gone.clone()], &bounds), 400);
        assert_eq!(watermark(&[idle, gone.clone()], &bounds[..1]), 900);
        assert_eq!(watermark(&[gone], &[]), i64::MAX);
        assert_eq!(watermark(&[], &[bound(0, 300)]), 300);
        assert_eq!(watermark(&[], &[]), i64::MIN);
    }

    /// Scenario: the watermark is just short of the end and the grace, then reaches it.
    /// Guarantees: open until then.
    #[test]
    fn a_window_closes_after_its_grace() {
        let at = |watermark_us| Snapshot { watermark_us, ..Snapshot::default() }.window(0, 100, 10).state;
        assert_eq!((at(109), at(110)), (WindowState::Open, WindowState::Closed));
    }

    /// Scenario: the first receipt that is not sealed was appended just before the window's end and the grace, then at it; then the
    /// window is still open; then the grace is shorter than what skew is let pass.
    /// Guarantees: sealed only where nothing is left out that belongs to a closed window.
    #[test]
    fn a_window_is_sealed_where_nothing_of_it_is_left_out() {
        let hour = 3_600_000_000;
        let at = |watermark_us, unsealed_from_us, grace_us| {
            let snapshot = Snapshot { watermark_us, unsealed_from_us, ..Snapshot::default() };
            snapshot.window(0, 100, grace_us).state
        };
        assert_eq!(at(hour + 100, hour + 99, hour), WindowState::Closed);
        assert_eq!(at(hour + 100, hour + 100, hour), WindowState::Sealed);
        assert_eq!(at(hour + 99, i64::MAX, hour), WindowState::Open);
        assert_eq!(at(i64::MAX, i64::MIN, hour), WindowState::Closed);
        assert_eq!(at(i64::MAX, 300_000_099, 0), WindowState::Closed);
        assert_eq!(at(i64::MAX, 300_000_100, 0), WindowState::Sealed);
    }
}
