//! What is read from the log for one subscriber: long polls, places, and what the ledger says of it.

use super::{Said, block_on, log, publish};
use crate::feed::FeedParts;
use crate::feed::bell::Transport;
use crate::feed::cursor::{self, Asked};
use crate::feed::frame::Close;
use crate::feed::hub::Hub;
use crate::feed::log::{Batch, Bounds, EventLog, LogError, LogReader, Shape};
use crate::feed::memory::VecLog;
use crate::feed::poll::gather;
use crate::feed::ring::{Ring, RingBounds};
use crate::feed::settings::FeedSettings;
use crate::feed::sign::Signer;
use crate::feed::stream::Stream;
use crate::identity::{Authority, KeySource, Principal, Role, Settings, generate_key};
use crate::rates::Rates;
use async_trait::async_trait;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tally_queries::service::ReadLimits;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

/// As long as opening a reader of Kafka may take; more than a poll waits for company.
const SLOW: Duration = Duration::from_millis(200);
/// A log that gives nothing while a test runs.
const NEVER: Duration = Duration::from_secs(3_600);

/// A log whose readers begin slowly, and are counted.
#[derive(Clone)]
pub(super) struct SlowLog {
    pub(super) log: VecLog,
    pub(super) delay: Duration,
    pub(super) open: Arc<AtomicUsize>,
}

struct SlowReader {
    reader: Box<dyn LogReader>,
    delay: Option<Duration>,
    open: Arc<AtomicUsize>,
}

impl Drop for SlowReader {
    fn drop(&mut self) {
        self.open.fetch_sub(1, Ordering::SeqCst);
    }
}

#[async_trait]
impl EventLog for SlowLog {
    async fn shape(&self) -> Result<Shape, LogError> {
        self.log.shape().await
    }

    async fn bounds(&self, shape: &Shape) -> Result<Vec<Bounds>, LogError> {
        self.log.bounds(shape).await
    }

    async fn read(&self, shape: &Shape, from: &[i64]) -> Result<Box<dyn LogReader>, LogError> {
        let reader = self.log.read(shape, from).await?;
        self.open.fetch_add(1, Ordering::SeqCst);
        Ok(Box::new(SlowReader { reader, delay: Some(self.delay), open: self.open.clone() }))
    }
}

#[async_trait]
impl LogReader for SlowReader {
    async fn next(&mut self) -> Result<Batch, LogError> {
        if let Some(delay) = self.delay {
            sleep(delay).await;
            self.delay = None;
        }
        self.reader.next().await
    }
}

/// So many events of each of these buyers in turn.
pub(super) fn events(each: usize, users: &[u8]) -> Vec<Said> {
    let said = |user: &u8| Said {
        topic: 2,
        kind: 3,
        user: *user,
        grantee: None,
        creator: 0,
        licensed: true,
        case: 0,
        task: *user,
        moderator: 0,
    };
    (0..each).flat_map(|_| users.iter().map(said)).collect()
}

/// A hub whose ring is empty and stands at the log's end, so that whatever was published before lies behind it.
pub(super) async fn hub<L: EventLog + Clone>(log: &L, replays_max: usize) -> (Arc<Hub>, Arc<Shape>) {
    let hub = unopened(log, replays_max);
    let shape = Arc::new(log.shape().await.expect("a shape"));
    hub.open(1, ring_at_the_end(log, &shape).await);
    (hub, shape)
}

/// An empty ring at the log's end.
pub(super) async fn ring_at_the_end(log: &impl EventLog, shape: &Arc<Shape>) -> Ring {
    let head = log.bounds(shape).await.expect("bounds").iter().map(|bound| bound.high).collect();
    Ring::new(shape.clone(), head, RingBounds { events_max: 1_000, bytes_max: usize::MAX })
}

/// A hub that has not read its log yet.
pub(super) fn unopened<L: EventLog + Clone>(log: &L, replays_max: usize) -> Arc<Hub> {
    let client = clickhouse::Client::default().with_url("http://127.0.0.1:9"); // nothing here asks it and waits
    let keys = KeySource::Local(vec![generate_key().1]);
    let settings = Settings { issuer: "i".to_owned(), audience: "a".to_owned(), keys };
    let authority = Authority::start(settings, client.clone(), CancellationToken::new()).expect("a key");
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::open(folder.path()).expect("a key");
    let parts = FeedParts {
        log: Arc::new(log.clone()),
        authority,
        signer,
        client,
        rates: Rates::new(NonZeroU32::MAX, NonZeroU32::MAX, NonZeroU32::MAX),
        read: ReadLimits { execution_s_max: 1, result_rows_max: 1, memory_bytes_max: 1 },
    };
    let settings = FeedSettings { replays_max, ..FeedSettings::default() };
    Hub::new(parts, settings, CancellationToken::new())
}

pub(super) async fn stream(hub: &Arc<Hub>, shape: &Arc<Shape>, user: u8, from: &str) -> Stream {
    let start = cursor::encode(shape, &vec![0; shape.partitions().len()]);
    let asked = Asked::parse(if from.is_empty() { &start } else { from }).expect("a cursor");
    let who = Principal {
        subject: format!("u{user}"),
        role: Role::Buyer,
        scopes: Vec::new(),
        token_id: "t".to_owned(),
        issued_at_s: 0,
        expires_at_s: i64::MAX,
    };
    let (stream, opening) = Stream::open(hub, who, Transport::Poll, asked).await.expect("let in");
    assert_eq!(opening.resync, None);
    stream
}

fn slow(delay: Duration) -> SlowLog {
    SlowLog { log: log(), delay, open: Arc::default() }
}

/// Scenario: ten events of a buyer, and twenty of another, lie behind the ring; readers of the log begin slowly; the buyer polls
/// without waiting, four events at a time.
/// Guarantees: each poll gets further; all ten come once and in order; a third person's poll ends at the log's end with nothing.
#[test]
fn a_poll_that_does_not_wait_gets_what_lies_behind_the_ring() {
    block_on(async {
        let log = slow(SLOW);
        publish(&log.log, &events(10, &[0, 1, 1]));
        let (hub, shape) = hub(&log, 8).await;
        let (mut at, mut offsets) = (String::new(), Vec::new());
        for _ in 0..10 {
            let mut stream = stream(&hub, &shape, 0, &at).await;
            let (frames, cursor) = gather(&mut stream, 4, Duration::ZERO).await.expect("a page");
            assert!(frames.len() <= 4);
            assert_ne!(*cursor, *at, "a poll that comes no further");
            offsets.extend(frames.iter().map(|one| (one.event.place, one.event.offset)));
            cursor.as_ref().clone_into(&mut at);
            if offsets.len() >= 10 {
                break;
            }
        }
        assert!(offsets.len() == 10 && offsets.is_sorted(), "{offsets:?}");
        let mut nothing = stream(&hub, &shape, 2, "").await;
        let (frames, cursor) = gather(&mut nothing, 4, Duration::ZERO).await.expect("a page");
        let head = hub.ring().as_ref().map(|(_, ring)| ring.head().1.clone());
        assert_eq!((frames.len(), Some(cursor)), (0, head));
    });
}

/// Scenario: the log gives a replay nothing.
/// Guarantees: a poll is told to come later; it is not told that it recovered what it was not sent.
#[test]
fn a_poll_that_comes_no_further_says_so() {
    block_on(async {
        let log = slow(NEVER);
        publish(&log.log, &events(2, &[0]));
        let (hub, shape) = hub(&log, 8).await;
        let mut stream = stream(&hub, &shape, 0, "").await;
        assert_eq!(gather(&mut stream, 4, Duration::ZERO).await.err(), Some(Close::Overloaded));
    });
}

/// Scenario: nine events wait, in the log and then in the ring; a poll asks for two.
/// Guarantees: two are counted as sent, and the answer's cursor stands behind the second.
#[test]
fn what_is_not_sent_is_not_recorded() {
    block_on(async {
        let log = slow(Duration::ZERO);
        publish(&log.log, &events(9, &[0]));
        let (hub, shape) = hub(&log, 8).await;
        let sent = |hub: &Hub| {
            let line = r#"tally_feed_deliveries_total{transport="poll"} "#;
            hub.metrics.text().lines().find_map(|one| one.strip_prefix(line).map(str::to_owned))
        };
        let mut behind = stream(&hub, &shape, 0, "").await;
        let (frames, cursor) = gather(&mut behind, 2, Duration::ZERO).await.expect("a page");
        assert_eq!((frames.len(), sent(&hub).as_deref()), (2, Some("2")));
        assert_eq!(cursor::offsets(&cursor).iter().sum::<i64>(), 2);
        let head = hub.ring().as_ref().map(|(_, ring)| ring.head().1.to_string()).expect("a ring");
        let from = cursor::offsets(&head);
        publish(&log.log, &events(9, &[0]));
        let mut reader = log.log.read(&shape, &from).await.expect("a reader");
        while let Ok(batch) = timeout(Duration::from_millis(20), reader.next()).await {
            hub.take(&shape, &batch.expect("a batch"));
        }
        let mut live = stream(&hub, &shape, 0, &head).await;
        let (frames, cursor) = gather(&mut live, 2, Duration::ZERO).await.expect("a page");
        assert_eq!((frames.len(), sent(&hub).as_deref()), (2, Some("4")));
        assert_eq!(cursor::offsets(&cursor).iter().sum::<i64>(), 11);
    });
}

/// Scenario: acknowledgements up to the ring's end, up to the log's, which is further, and beyond it.
/// Guarantees: what exists may be acknowledged at a replica that has not read it yet; what does not exist may not.
#[test]
fn what_is_still_to_come_cannot_be_acknowledged() {
    block_on(async {
        let log = slow(Duration::ZERO);
        publish(&log.log, &events(3, &[0]));
        let (hub, shape) = hub(&log, 8).await;
        let head = hub.ring().as_ref().map(|(_, ring)| ring.head().0.to_vec()).expect("a ring");
        publish(&log.log, &events(1, &[0]));
        let high: Vec<i64> =
            log.bounds(&shape).await.expect("bounds").iter().map(|bound| bound.high).collect();
        let beyond: Vec<i64> = high.iter().map(|at| at + 1).collect();
        let far = vec![1 << 62; high.len()];
        let subject = "u0".into();
        for (position, is_taken) in [(head, true), (high, true), (beyond, false), (far, false)] {
            let text = cursor::encode(&shape, &position);
            assert_eq!(hub.acknowledged(&subject, &text).await, Ok(is_taken), "{position:?}");
        }
    });
}

/// Scenario: one place for all; its holder takes nothing, while another subject replays.
/// Guarantees: the other has all of its events in time; the slow one goes on afterwards and gets its own once, in order.
#[test]
fn a_slow_reader_keeps_no_place_from_others() {
    block_on(async {
        let log = slow(Duration::ZERO);
        publish(&log.log, &events(20, &[0, 1]));
        let (hub, shape) = hub(&log, 1).await;
        let mut idle = stream(&hub, &shape, 0, "").await;
        sleep(SLOW).await; // it has its place, and what it reads has nowhere to go
        let mut other = stream(&hub, &shape, 1, "").await;
        for stream in [&mut other, &mut idle] {
            let mut offsets = Vec::new();
            while offsets.len() < 20 {
                let more = timeout(Duration::from_secs(9), stream.next(64)).await.expect("in time");
                offsets.extend(more.expect("a stream that goes on").iter().map(|one| one.event.offset));
            }
            assert!(offsets.len() == 20 && offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
        }
    });
}

/// Scenario: two places; one subject begins three replays of a log that gives nothing, then another subject one.
/// Guarantees: the first subject has one reader of the log, the second has its own; all are gone with their streams.
#[test]
fn a_subject_has_one_place() {
    block_on(async {
        let log = slow(NEVER);
        publish(&log.log, &events(2, &[0, 1]));
        let (hub, shape) = hub(&log, 2).await;
        let mut streams = Vec::new();
        for (user, open) in [(0, 1), (0, 1), (0, 1), (1, 2)] {
            streams.push(stream(&hub, &shape, user, "").await);
            sleep(Duration::from_millis(50)).await;
            assert_eq!(log.open.load(Ordering::SeqCst), open);
        }
        drop(streams);
        sleep(Duration::from_millis(50)).await;
        assert_eq!((log.open.load(Ordering::SeqCst), hub.places.subjects()), (0, 0));
    });
}
