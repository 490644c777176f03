//! `tally ingest`: joins the group, runs a lane for each partition it is given, and stops in good order.

use crate::catch_up::{CatchUpError, Goal, catch_up, goals};
use crate::config::Sections;
use crate::inbox::{Inbox, Limits};
use crate::lane::{Lane, LaneState, Places, Route, Servers};
use crate::look::{Lookout, Watched, Way, last_look, look};
use crate::metrics::Metrics;
use crate::ops::{self, Shown};
use crate::slab::Budget;
use crate::source::{Lanes, Partition, Source, SourceError};
use crate::write::Sinks;
use crate::writers::Book;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tally_schemas::Topic;
use tally_sinks::fault::{Point, pass};
use tally_sinks::{DeadTopic, Store};
use thiserror::Error;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What `tally ingest` needs.
#[derive(Clone, Debug)]
pub struct Config {
    /// Kafka, ClickHouse, registry and bounds.
    pub sections: Sections,
    /// Where metrics are shown; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Stop when the high watermarks seen at the start are attested and committed.
    pub until_caught_up: bool,
}

/// What was done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// Offsets attested by this process, gaps included.
    pub offsets: i64,
    /// From the first assignment to the end.
    pub elapsed: Duration,
    /// What it had to catch up with; empty where it had not.
    pub goals: Vec<Goal>,
}

/// Why ingest could not run.
#[derive(Debug, Error)]
pub enum IngestError {
    /// The configuration does not hold together.
    #[error("{0}")]
    Config(String),
    /// Kafka refused.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// The dead-letter producer was refused.
    #[error("dead-letter producer: {0}")]
    DeadTopic(String),
    /// The metrics' address is taken.
    #[error("cannot listen on {0}")]
    Listen(SocketAddr, #[source] std::io::Error),
    /// What Kafka has now cannot be caught up with.
    #[error(transparent)]
    CatchUp(#[from] CatchUpError),
    /// The source's thread died.
    #[error("the source's thread ended: {0}")]
    Thread(String),
}

/// From so many offsets on a lane starts with a backlog.
const BACKLOG_OFFSETS_MIN: i64 = 8_192;

struct Running {
    state: Arc<LaneState>,
    inbox: Arc<Inbox>,
    task: JoinHandle<()>,
}

/// The lanes of this process.
struct Fleet {
    route: Arc<Route>,
    books: HashMap<String, (Topic, Arc<Book>)>,
    running: Mutex<HashMap<String, HashMap<i32, Running>>>,
    budget: Budget,
    limits: Limits,
    stop_max: Duration,
    runtime: tokio::runtime::Handle,
    assigned_once: AtomicBool,
    attested: AtomicI64,
    first_assigned: Mutex<Option<Instant>>,
    /// How far the lanes had come that were let go last.
    released: Mutex<Vec<Way>>,
}

/// Runs until `shutdown`, or until caught up. The store's tables must be there already.
///
/// # Errors
/// Where nothing could be started, or Kafka gives this instance nothing more because another has its name. Other trouble on the way is
/// waited out and told in the log.
pub async fn run(
    config: Config,
    store: Store,
    metrics: Metrics,
    shutdown: CancellationToken,
) -> Result<Summary, IngestError> {
    let Sections { kafka, registry, bounds, .. } = &config.sections;
    let client = kafka.client().map_err(IngestError::Config)?;
    let mut member = client.clone();
    // a one-off run that took the name of a service, from the environment that both have, would end it
    if !kafka.instance.is_empty() && !config.until_caught_up {
        member.set("group.instance.id", &kafka.instance);
    }
    let source = Source::open(member, &kafka.group)?;
    source.admitted().await?;
    let mut topics: Vec<String> = Topic::ALL.iter().map(|contract| kafka.topic(*contract)).collect();
    topics.sort_unstable();
    let (admin, dead) = (client.clone(), topics.clone());
    tokio::spawn(async move { DeadTopic::ensure(&admin, &dead).await });
    let dead_topic = DeadTopic::new(client).map_err(|e| IngestError::DeadTopic(e.to_string()))?;
    let registry = registry.client().map_err(|e| IngestError::Config(e.to_string()))?.map(Arc::new);
    let books = Topic::ALL
        .map(|contract| (kafka.topic(contract), (contract, Arc::new(Book::new(contract, registry.clone())))));
    let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
    let fleet = Arc::new(Fleet {
        route: Arc::new(Route {
            outside: Servers { source: source.clone(), sinks: Sinks { store, dead_topic } },
            metrics,
            value_bytes_max: bounds.event.value_bytes_max as usize,
            in_hand: Places::new(cores + 1), // every core has work while one block waits for its answer
            backlog_offsets_min: BACKLOG_OFFSETS_MIN,
        }),
        books: HashMap::from(books),
        running: Mutex::default(),
        budget: Budget::new(bounds.buffer_bytes_max as usize),
        limits: Limits {
            rows_max: bounds.block_rows_max as usize,
            bytes_max: bounds.block_bytes_max as usize,
            linger: Duration::from_millis(bounds.linger_ms.into()),
        },
        stop_max: Duration::from_secs(bounds.stop_seconds_max.into()),
        runtime: tokio::runtime::Handle::current(),
        assigned_once: AtomicBool::new(false),
        attested: AtomicI64::new(0),
        first_assigned: Mutex::new(None),
        released: Mutex::default(),
    });
    let helpers = CancellationToken::new();
    if let Some(listen) = config.listen {
        let serve = ops::serve(listen, fleet.clone(), helpers.clone());
        let address = serve.await.map_err(|e| IngestError::Listen(listen, e))?;
        tracing::info!(%address, "metrics are served");
    }
    tokio::spawn(helpers.clone().run_until_cancelled_owned(look(fleet.clone())));
    let stop = shutdown.child_token();
    let mut owed = Vec::new();
    let caught_up = match config.until_caught_up {
        true => {
            let store = fleet.route.outside.sinks.store.clone();
            let named = Topic::ALL.map(|contract| (contract, kafka.topic(contract)));
            let goals = goals(&source, &store, &named).await?;
            owed.clone_from(&goals);
            let lanes = fleet.clone();
            let waits = move || lanes.contradiction();
            let catch_up = catch_up(source.clone(), store, goals, waits, stop.clone());
            let stopped = stop.clone();
            Some(tokio::spawn(async move { stopped.run_until_cancelled(catch_up).await.transpose() }))
        }
        false => None,
    };
    let (lanes, budget) = (fleet.clone(), fleet.budget.clone());
    let thread = std::thread::Builder::new().name("source".to_owned());
    let (done, ended) = tokio::sync::oneshot::channel();
    let spawned = thread.spawn(move || {
        let _ = done.send(source.run(&topics, lanes, &budget, &stop)); // nobody waits after a panic
    });
    spawned.map_err(|e| IngestError::Thread(e.to_string()))?;
    let ran = ended.await.map_err(|e| IngestError::Thread(e.to_string()))?;
    helpers.cancel();
    ran?;
    let caught_up = outcome(caught_up).await;
    let ways = match &caught_up {
        Ok(Some(whole)) => whole.clone(), // the group's, whichever instance took them there
        _ => std::mem::take(&mut *fleet.released.lock().unwrap_or_else(PoisonError::into_inner)),
    };
    last_look(&fleet.route, ways).await;
    caught_up?;
    let elapsed = fleet
        .first_assigned
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .map_or(Duration::ZERO, |at| at.elapsed());
    Ok(Summary { offsets: fleet.attested.load(Ordering::Relaxed), elapsed, goals: owed })
}

/// How far the group had come when it was caught up; `None` where nobody waited for that, or was told to stop before.
type CaughtUp = Result<Option<Vec<Way>>, CatchUpError>;

async fn outcome(caught_up: Option<JoinHandle<CaughtUp>>) -> CaughtUp {
    match caught_up {
        Some(caught_up) => caught_up.await.unwrap_or(Ok(None)),
        None => Ok(None),
    }
}

impl Fleet {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, HashMap<i32, Running>>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A lane that waits for an operator, and why.
    fn contradiction(&self) -> Option<(Partition, String)> {
        self.lanes().into_iter().find_map(|(partition, state)| Some((partition, state.contradiction()?)))
    }

    fn begin(&self, partition: Partition) -> Option<Running> {
        let (contract, book) = self.books.get(&partition.topic)?;
        let inbox = Arc::new(Inbox::new(&self.budget, self.limits));
        let state = Arc::new(LaneState::default());
        let lane = Lane {
            route: self.route.clone(),
            book: book.clone(),
            contract: *contract,
            partition,
            inbox: inbox.clone(),
            state: state.clone(),
        };
        Some(Running { task: self.runtime.spawn(lane.run()), state, inbox })
    }

    /// Waits until the lanes' blocks are finished; past the deadline they are abandoned, which loses nothing.
    fn finish(&self, lanes: Vec<(Partition, Running)>) {
        let deadline = tokio::time::Instant::now() + self.stop_max;
        let mut released = Vec::with_capacity(lanes.len());
        self.runtime.block_on(async {
            for (partition, mut lane) in lanes {
                if tokio::time::timeout_at(deadline, &mut lane.task).await.is_err() {
                    tracing::warn!(lane = %partition, "block abandoned: it was not finished in time");
                    lane.state.abandon.cancel();
                    let _ = lane.task.await; // it ends at its next await
                }
                self.attested.fetch_add(lane.state.offsets.load(Ordering::Relaxed), Ordering::Relaxed);
                released.push((partition, lane.state.reached()));
            }
        });
        if !released.is_empty() {
            *self.released.lock().unwrap_or_else(PoisonError::into_inner) = released;
        }
    }
}

impl Lanes for Fleet {
    fn assigned(&self, partitions: Vec<Partition>) {
        self.assigned_once.store(true, Ordering::Relaxed);
        self.first_assigned.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(Instant::now);
        for partition in partitions {
            if let Some(lane) = self.begin(partition.clone()) {
                self.lock().entry(partition.topic).or_default().insert(partition.number, lane);
            }
        }
    }

    fn revoked(&self, partitions: Vec<Partition>, lost: bool) {
        let mut lanes = Vec::new();
        for partition in partitions {
            let lane =
                self.lock().get_mut(&partition.topic).and_then(|lanes| lanes.remove(&partition.number));
            lanes.extend(lane.map(|lane| (partition, lane)));
        }
        for (_, lane) in &lanes {
            lane.state.stop.cancel();
            if lost {
                lane.state.abandon.cancel(); // somebody else has it by now: commit nothing
            }
        }
        pass(Point::Revoked);
        self.finish(lanes);
    }

    fn held(&self) -> Vec<Partition> {
        let running = self.lock();
        let all = running.iter().flat_map(|(topic, lanes)| {
            lanes.keys().map(move |number| Partition { topic: topic.clone(), number: *number })
        });
        all.collect()
    }

    fn inbox(&self, topic: &str, partition: i32) -> Option<Arc<Inbox>> {
        self.lock().get(topic)?.get(&partition).map(|lane| lane.inbox.clone())
    }
}

impl Lookout for Fleet {
    fn route(&self) -> &Route {
        &self.route
    }

    fn held_bytes(&self) -> usize {
        self.budget.held()
    }

    fn lanes(&self) -> Vec<Watched> {
        let running = self.lock();
        let all = running.iter().flat_map(|(topic, lanes)| {
            let at = |number: &i32| Partition { topic: topic.clone(), number: *number };
            lanes.iter().map(move |(number, lane)| (at(number), lane.state.clone()))
        });
        all.collect()
    }
}

impl Shown for Fleet {
    fn metrics(&self) -> String {
        self.route.metrics.text()
    }

    fn waiting_for(&self) -> Option<String> {
        if !self.assigned_once.load(Ordering::Relaxed) {
            return Some("an assignment from the group".to_owned());
        }
        let lanes = self.lock();
        let all = lanes
            .iter()
            .flat_map(|(topic, lanes)| lanes.iter().map(move |(number, lane)| (topic, number, lane)));
        let stalled: Vec<String> = all
            .filter(|(_, _, lane)| lane.state.stalled.load(Ordering::Relaxed))
            .map(|(topic, number, _)| format!("{topic}/{number}"))
            .collect();
        (!stalled.is_empty()).then(|| format!("stalled lanes: {}", stalled.join(", ")))
    }
}
