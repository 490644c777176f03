//! How the feed opens, and what it does while the log is away.

use super::replays::{events, hub, ring_at_the_end, stream, unopened};
use super::{block_on, log, publish};
use crate::feed::Feed;
use crate::feed::frame::Close;
use crate::feed::log::{Batch, Bounds, EventLog, LogError, LogPartition, LogReader, Shape};
use crate::feed::memory::VecLog;
use crate::feed::preload::read_back_from;
use async_trait::async_trait;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_queries::feed::Position;
use tally_schemas::Topic;
use tokio::sync::watch;
use tokio::time::timeout;
use uuid::Uuid;

/// Longer than any change may take to be noticed: five seconds of silence, and the looks between.
const SOON: Duration = Duration::from_secs(15);

/// A log that can be away: then it answers nothing and gives nothing.
#[derive(Clone)]
struct AwayLog {
    log: VecLog,
    away: watch::Sender<bool>,
}

impl AwayLog {
    async fn back(&self) {
        let mut away = self.away.subscribe();
        away.wait_for(|away| !away).await.expect("a log that is held");
    }
}

#[async_trait]
impl EventLog for AwayLog {
    async fn shape(&self) -> Result<Shape, LogError> {
        self.back().await;
        self.log.shape().await
    }

    async fn bounds(&self, shape: &Shape) -> Result<Vec<Bounds>, LogError> {
        self.back().await;
        self.log.bounds(shape).await
    }

    async fn read(&self, shape: &Shape, from: &[i64]) -> Result<Box<dyn LogReader>, LogError> {
        self.back().await;
        let reader = self.log.read(shape, from).await?;
        Ok(Box::new(AwayReader { log: self.clone(), reader }))
    }
}

struct AwayReader {
    log: AwayLog,
    reader: Box<dyn LogReader>,
}

#[async_trait]
impl LogReader for AwayReader {
    async fn next(&mut self) -> Result<Batch, LogError> {
        self.log.back().await;
        self.reader.next().await
    }
}

async fn ready(feed: &Feed, wanted: bool) {
    let begun = Instant::now();
    while feed.waiting_for().is_none() != wanted {
        assert!(begun.elapsed() < SOON, "ready: {}", !wanted);
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

fn lag_ms(feed: &Feed) -> i64 {
    let lag = feed.metrics().lines().find_map(|line| {
        line.strip_prefix("tally_feed_lag_milliseconds ").and_then(|value| value.parse().ok())
    });
    lag.expect("a lag")
}

/// Scenario: a log where nothing happens for longer than it may be silent; then it goes away, and comes back with an event.
/// Guarantees: an idle log is no silent one; while it is away nobody is told that all is well: not ready, a growing lag, open
/// streams closed 4103 and new ones refused; afterwards all goes on, from the cursor that was told last.
#[test]
fn a_log_that_is_away_does_not_look_idle() {
    block_on(async {
        let log = AwayLog { log: log(), away: watch::Sender::new(false) };
        let (hub, shape) = hub(&log, 8).await;
        hub.follow_log();
        let feed = Feed { hub: hub.clone() };
        let mut open = stream(&hub, &shape, 0, "").await;
        assert!(timeout(Duration::from_secs(7), open.next(1)).await.is_err(), "an idle log closes no stream");
        assert_eq!(feed.waiting_for(), None);
        let told = open.heartbeat();
        log.away.send_replace(true);
        let ended = timeout(SOON, open.next(1)).await.expect("in time");
        assert_eq!(ended.err(), Some(Close::LogUnavailable));
        ready(&feed, false).await;
        assert_eq!(hub.until_open().await, Err(Close::LogUnavailable));
        let lag = lag_ms(&feed);
        tokio::time::sleep(Duration::from_millis(1_100)).await;
        assert!(lag >= 5_000 && lag_ms(&feed) > lag + 400, "{lag} {}", lag_ms(&feed));
        log.away.send_replace(false);
        ready(&feed, true).await;
        publish(&log.log, &events(1, &[0]));
        let mut again = stream(&hub, &shape, 0, &told).await;
        let came = timeout(SOON, again.next(1)).await.expect("in time").expect("a stream");
        assert_eq!(came.len(), 1);
    });
}

/// Scenario: somebody comes while the service has not read the log yet, another comes after; later the log turns out to be
/// another one.
/// Guarantees: the one who waited is let in as if it had come later, and stays; the streams of a ring that is replaced end.
#[test]
fn who_waits_for_the_opening_is_not_closed_by_it() {
    block_on(async {
        let log = log();
        let hub = unopened(&log, 8);
        let shape = Arc::new(log.shape().await.expect("a shape"));
        let waiting = tokio::spawn({
            let (hub, shape) = (hub.clone(), shape.clone());
            async move { stream(&hub, &shape, 0, "").await }
        });
        tokio::time::sleep(Duration::from_millis(200)).await;
        assert!(!waiting.is_finished(), "nothing is open yet");
        hub.open(1, ring_at_the_end(&log, &shape).await);
        let mut waited = timeout(SOON, waiting).await.expect("in time").expect("a stream");
        assert!(timeout(Duration::from_millis(300), waited.next(1)).await.is_err(), "it stays");
        hub.open(2, ring_at_the_end(&log, &shape).await);
        let ended = timeout(SOON, waited.next(1)).await.expect("in time");
        assert_eq!(ended.err(), Some(Close::InsufficientState));
    });
}

/// Scenario: partitions of two topics; the store lags behind what is read back, is ahead of it, lags behind retention, or has
/// never seen the partition.
/// Guarantees: moderation is read from the store's position on, if that is earlier, and never before what is retained; what
/// the store knows of other topics changes nothing.
#[test]
fn cases_miss_nothing_between_the_store_and_the_ring() {
    let part = |contract, number, id| LogPartition {
        contract,
        topic: "t".to_owned(),
        topic_id: Uuid::from_u128(id),
        number,
    };
    let (cases, tasks) = (Topic::Moderation, Topic::Task);
    let shape = Shape::new(vec![
        part(cases, 0, 4),
        part(cases, 1, 4),
        part(cases, 2, 4),
        part(cases, 3, 4),
        part(tasks, 0, 3),
    ]);
    let stored = |id, partition, next| Position { topic_id: Uuid::from_u128(id), partition, next };
    let stored = [stored(4, 0, 70_000), stored(4, 1, 99_000), stored(4, 2, 5), stored(3, 0, 70_000)];
    let bounds = vec![Bounds { low: 60_000, high: 100_000 }; 5];
    let from = read_back_from(&shape, &bounds, &stored);
    // five partitions share 20,000 events: 4,000 each
    let at = |contract, number| {
        let place =
            shape.partitions().iter().position(|one| (one.contract, one.number) == (contract, number));
        from[place.expect("a partition")]
    };
    let moderation = [at(cases, 0), at(cases, 1), at(cases, 2), at(cases, 3)];
    assert_eq!((moderation, at(tasks, 0)), ([70_000, 96_000, 60_000, 60_000], 96_000));
}

/// Scenario: three partitions of tasks; one holds little, two hold much; then all hold little.
/// Guarantees: all of what is short is read back, and what it leaves of its share goes to the others, not beyond the whole.
#[test]
fn what_short_partitions_leave_is_read_back_of_the_others() {
    let part = |number| LogPartition {
        contract: Topic::Task,
        topic: "t".to_owned(),
        topic_id: Uuid::from_u128(3),
        number,
    };
    let shape = Shape::new((0..3).map(part).collect());
    let from = |held: [i64; 3]| {
        let bounds: Vec<Bounds> = held.iter().map(|held| Bounds { low: 50, high: 50 + held }).collect();
        read_back_from(&shape, &bounds, &[])
    };
    assert_eq!(from([100_000, 2_000, 60_000]), [91_050, 50, 51_050]); // 9,000 of each that has them
    assert_eq!(from([10, 0, 7_000]), [50, 50, 50]);
}
