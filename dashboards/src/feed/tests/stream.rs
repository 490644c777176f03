//! One subscriber against a model: whatever happens in whatever order, everything comes once and in order.

use super::{Said, log, publish};
use crate::feed::FeedParts;
use crate::feed::bell::Transport;
use crate::feed::cursor::Asked;
use crate::feed::hub::Hub;
use crate::feed::log::{EventLog, LogReader, Shape};
use crate::feed::memory::VecLog;
use crate::feed::ring::{Ring, RingBounds};
use crate::feed::settings::{FRAMES_AT_ONCE_MAX, FeedSettings, SNAPSHOTS_AT_ONCE_MAX};
use crate::feed::sign::Signer;
use crate::feed::snapshot::turn;
use crate::feed::stream::Stream;
use crate::identity::{Authority, KeySource, Principal, Role, Settings, generate_key};
use crate::problem::Problem;
use crate::rates::Rates;
use axum::response::IntoResponse;
use proptest::prelude::*;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tally_queries::service::ReadLimits;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// Longest wait for what must come, on a machine that builds at the same time.
const IN_VAIN: Duration = Duration::from_secs(30);

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    /// So many events are appended, each the subscriber's own or another's.
    Publish(Vec<bool>),
    /// The hub reads a batch.
    Read,
    /// The subscriber takes what comes.
    Take,
    /// A heartbeat is due, whatever waits.
    Beat,
    /// The connection is cut and resumed at what the client was told last.
    Cut,
    /// The same at another replica, which reads partitions in another order and holds another ring.
    Move,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => proptest::collection::vec(any::<bool>(), 1..90).prop_map(Step::Publish),
        4 => Just(Step::Read),
        4 => Just(Step::Take),
        2 => Just(Step::Beat),
        1 => Just(Step::Cut),
        1 => Just(Step::Move),
    ]
}

fn who(role: Role) -> Principal {
    let subject = if role == Role::Admin { "root" } else { "u0" };
    Principal {
        subject: subject.to_owned(),
        role,
        scopes: Vec::new(),
        token_id: "t".to_owned(),
        issued_at_s: 0,
        expires_at_s: i64::MAX,
    }
}

/// A hub that is fed by hand, and its reader.
struct Replica {
    hub: Arc<Hub>,
    reader: Box<dyn LogReader>,
    shape: Arc<Shape>,
}

impl Replica {
    async fn new(log: &VecLog, held: usize, signer: &Signer) -> Replica {
        let client = clickhouse::Client::default().with_url("http://127.0.0.1:9"); // nothing here asks it and waits
        let keys = KeySource::Local(vec![generate_key().1]);
        let settings = Settings { issuer: "i".to_owned(), audience: "a".to_owned(), keys };
        let authority = Authority::start(settings, client.clone(), CancellationToken::new()).expect("a key");
        let parts = FeedParts {
            log: Arc::new(log.clone()),
            authority,
            signer: signer.clone(),
            client,
            rates: Rates::new(NonZeroU32::MAX, NonZeroU32::MAX, NonZeroU32::MAX),
            read: ReadLimits { execution_s_max: 1, result_rows_max: 1, memory_bytes_max: 1 },
        };
        let hub = Hub::new(parts, FeedSettings::default(), CancellationToken::new());
        let shape = Arc::new(log.shape().await.expect("a shape"));
        let from: Vec<i64> =
            log.bounds(&shape).await.expect("bounds").iter().map(|bound| bound.low).collect();
        let reader = log.read(&shape, &from).await.expect("a reader");
        hub.open(1, Ring::new(shape.clone(), from, RingBounds { events_max: held, bytes_max: usize::MAX }));
        Replica { hub, reader, shape }
    }

    async fn read(&mut self) -> bool {
        match timeout(Duration::ZERO, self.reader.next()).await {
            Ok(batch) => {
                self.hub.take(&self.shape, &batch.expect("a batch"));
                true
            }
            Err(_) => false,
        }
    }

    async fn stream(&self, role: Role, cursor: &str) -> Stream {
        let asked = Asked::parse(cursor).expect("a cursor");
        let (stream, opening) =
            Stream::open(&self.hub, who(role), Transport::Poll, asked).await.expect("let in");
        assert_eq!(opening.resync, None);
        stream
    }
}

/// The client's side: what it was told, and what came.
#[derive(Default)]
struct Client {
    told: String,
    ids: Vec<(usize, i64, Uuid)>,
}

impl Client {
    /// Takes what comes within `wait`; true if something did.
    async fn take(&mut self, stream: &mut Stream, wait: Duration) -> bool {
        let Ok(sending) = timeout(wait, stream.next(FRAMES_AT_ONCE_MAX)).await else { return false };
        for one in sending.expect("a stream that goes on") {
            assert_eq!(*one.prev, *self.told, "a gap");
            one.cursor.as_ref().clone_into(&mut self.told);
            self.ids.push((one.event.place, one.event.offset, one.event.event_id));
        }
        true
    }
}

async fn run(role: Role, held: usize, steps: Vec<Step>) {
    let log = log();
    let folder = tempfile::tempdir().expect("a folder");
    let signer = Signer::open(folder.path()).expect("a key");
    let mut replicas =
        [Replica::new(&log, held, &signer).await, Replica::new(&log, held / 2 + 1, &signer).await];
    let mut at = 0;
    let mut stream = replicas[at].stream(role, "now").await;
    let mut client = Client { told: stream.told().to_string(), ..Client::default() };
    let mut wanted = 0;
    for step in steps {
        match step {
            Step::Publish(owners) => {
                let said = |(number, own): (usize, &bool)| Said {
                    topic: 2,
                    kind: 3,
                    user: u8::from(!own),
                    grantee: None,
                    creator: 0,
                    licensed: true,
                    case: 0,
                    task: u8::try_from(number % 7).expect("small"),
                    moderator: 0,
                };
                publish(&log, &owners.iter().enumerate().map(said).collect::<Vec<_>>());
                wanted += owners.iter().filter(|own| role == Role::Admin || **own).count();
            }
            Step::Read => drop(replicas[at].read().await),
            Step::Take => drop(client.take(&mut stream, Duration::ZERO).await),
            Step::Beat => stream.heartbeat().as_ref().clone_into(&mut client.told),
            Step::Cut | Step::Move => {
                if matches!(step, Step::Move) {
                    at = 1 - at;
                    while replicas[at].read().await {} // it has been reading all the while, at its own pace
                }
                stream = replicas[at].stream(role, &client.told).await;
                assert_eq!(**stream.told(), *client.told);
            }
        }
    }
    while replicas[at].read().await {}
    while client.ids.len() < wanted && client.take(&mut stream, IN_VAIN).await {}
    client.take(&mut stream, Duration::from_millis(5)).await; // nothing more, that is
    let mut seen = client.ids.clone();
    seen.sort_unstable();
    seen.dedup();
    assert_eq!((seen.len(), client.ids.len()), (wanted, wanted), "lost or doubled");
    for place in 0..replicas[0].shape.partitions().len() {
        let offsets: Vec<i64> = client.ids.iter().filter(|one| one.0 == place).map(|one| one.1).collect();
        assert!(offsets.is_sorted(), "out of order in partition {place}: {offsets:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    /// Scenario: any order of publishing, reading, taking, heartbeats at the worst moment, cuts and changes of the replica, with
    /// rings that hold from one event to all of them.
    /// Guarantees: a buyer and an admin get everything that is theirs once, each partition in order, each frame's `prev` what
    /// they were told before.
    #[test]
    fn everything_comes_once(held in 1usize..120, is_admin in any::<bool>(), steps in proptest::collection::vec(step(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(run(if is_admin { Role::Admin } else { Role::Buyer }, held, steps));
    }
}

/// Scenario: much more is published than the ring holds, and read before the subscriber looks.
/// Guarantees: what is gone from the ring comes from the log, the rest from the ring, all of it once.
#[test]
fn what_was_evicted_unseen_is_replayed() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let owners: Vec<bool> = (0..350).map(|number| number % 2 == 0).collect();
    runtime.block_on(run(
        Role::Buyer,
        117,
        vec![Step::Publish(owners), Step::Beat, Step::Read, Step::Beat, Step::Read],
    ));
}

/// Scenario: as many snapshots are being asked of the store as may be at once, and one more; then one of them is done.
/// Guarantees: the one more is refused with 503 and a time to come again; the next has its turn.
#[test]
fn snapshots_wait_for_their_turn_and_not_for_long() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let folder = tempfile::tempdir().expect("a folder");
        let signer = Signer::open(folder.path()).expect("a key");
        let replica = Replica::new(&super::log(), 10, &signer).await;
        let mut turns = Vec::new();
        for _ in 0..SNAPSHOTS_AT_ONCE_MAX {
            turns.push(turn(&replica.hub).await.expect("a turn"));
        }
        let refused = turn(&replica.hub).await.expect_err("a refusal").into_response();
        assert_eq!(refused.status().as_u16(), 503);
        // what the layer makes of it
        let told = refused.extensions().get::<Problem>().expect("a problem").clone().render("r-1");
        assert!(told.headers().contains_key("retry-after"));
        turns.pop();
        assert!(turn(&replica.hub).await.is_ok());
    });
}

/// Scenario: two events are read into the ring, the stream is resumed before them, and a heartbeat is due before it has looked.
/// Guarantees: a bell that nobody rang since the resume does not say that nothing waits: both events come.
#[test]
fn a_heartbeat_right_after_a_resume_passes_over_nothing() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let steps = vec![Step::Publish(vec![true, true]), Step::Read, Step::Read, Step::Cut, Step::Beat];
    runtime.block_on(run(Role::Buyer, 10, steps));
}
