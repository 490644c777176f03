//! Looking at the lanes every few seconds: lag and age for the metrics, how far each partition has come for the table
//! `partition_heads`, and whether a topic is still the one that its lanes know.

use crate::lane::{LaneState, Reached, Route};
use crate::source::Partition;
use std::collections::{BTreeSet, HashMap};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tally_sinks::{Head, StoreError};
use uuid::Uuid;

/// Between two looks.
const LOOK_SECONDS: u64 = 2;
/// Between two records of heads.
const HEADS_SECONDS: u64 = 10;
/// How long a look waits for the store's clock.
const CLOCK_WAIT: Duration = Duration::from_secs(1);
/// How long the last look may hold up the end.
const LAST_LOOK_SECONDS_MAX: u64 = 10;

/// A lane from outside.
pub(crate) type Watched = (Partition, Arc<LaneState>);

/// How far a partition has come; `None` where that is not known yet.
pub(crate) type Way = (Partition, Option<Reached>);

/// Who knows the lanes of this process.
pub(crate) trait Lookout: Send + Sync + 'static {
    /// What the lanes share.
    fn route(&self) -> &Route;
    /// Bytes of records held in memory.
    fn held_bytes(&self) -> usize;
    /// The lanes that run now.
    fn lanes(&self) -> Vec<Watched>;
}

/// What was seen of the lanes' partitions at one moment.
struct Sight {
    /// Watermarks; `None` where Kafka did not answer.
    marks: Vec<Option<(i64, i64)>>,
    /// What each topic is, asked after the watermarks: they are those of this identity.
    identities: HashMap<String, Uuid>,
}

/// Heads as they were recorded so far.
#[derive(Default)]
struct Recorded {
    at: Option<Instant>,
    /// Topics whose earlier identities were ended, and the identity that followed them.
    followed: HashMap<String, Uuid>,
}

/// Looks for as long as it is polled. A look that fails is told and made up for by the next; no lane waits for it.
pub(crate) async fn look(lookout: Arc<impl Lookout>) {
    let mut recorded = Recorded::default();
    loop {
        tokio::time::sleep(Duration::from_secs(LOOK_SECONDS)).await;
        let route = lookout.route();
        route.metrics.held(lookout.held_bytes());
        let lanes = lookout.lanes();
        let is_due = recorded.at.is_none_or(|at| at.elapsed().as_secs() >= HEADS_SECONDS);
        let seen_at_ms = if is_due { clock_of_the_store(route).await } else { None };
        let sight = sight(route, lanes.iter().map(|(at, _)| at.clone()).collect()).await;
        measure(route, &lanes, &sight);
        if let Some(seen_at_ms) = seen_at_ms {
            let ways: Vec<Way> = lanes.iter().map(|(at, state)| (at.clone(), state.reached())).collect();
            match record(route, &ways, (seen_at_ms, &sight), &mut recorded.followed).await {
                Ok(()) => recorded.at = Some(Instant::now()),
                Err(error) => tracing::warn!(%error, "heads of partitions not recorded, will try again"),
            }
        }
    }
}

/// Records the heads of partitions as a run ends: how far each has come, whoever took it there.
pub(crate) async fn last_look(route: &Route, ways: Vec<Way>) {
    let look = async {
        let seen_at_ms = route.outside.sinks.store.now_ms().await?;
        let sight = sight(route, ways.iter().map(|(at, _)| at.clone()).collect()).await;
        record(route, &ways, (seen_at_ms, &sight), &mut HashMap::new()).await
    };
    match tokio::time::timeout(Duration::from_secs(LAST_LOOK_SECONDS_MAX), look).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::warn!(%error, "last heads of partitions not recorded"),
        Err(_) => tracing::warn!("last heads of partitions not recorded in time"),
    }
}

/// The store's clock, asked before watermarks; `None` where it does not answer soon: lag and age are measured in any case.
async fn clock_of_the_store(route: &Route) -> Option<i64> {
    let asked = tokio::time::timeout(CLOCK_WAIT, route.outside.sinks.store.now_ms());
    let said = asked.await.map_err(|_| StoreError::Unanswered("its time is over".to_owned()));
    said.flatten()
        .inspect_err(
            |error| tracing::warn!(%error, "the store's clock is not known, so heads are not recorded yet"),
        )
        .ok()
}

async fn sight(route: &Route, partitions: Vec<Partition>) -> Sight {
    let topics: BTreeSet<String> = partitions.iter().map(|at| at.topic.clone()).collect();
    let (source, none) = (route.outside.source.clone(), vec![None; partitions.len()]);
    let ask = move || partitions.iter().map(|at| source.watermarks_now(at).ok()).collect();
    let marks = tokio::task::spawn_blocking(ask).await.unwrap_or(none);
    let each = topics.into_iter().map(|topic| async move {
        let id = route.outside.source.identity(&topic).await.ok()?;
        Some((topic, id))
    });
    let identities = futures::future::join_all(each).await.into_iter().flatten().collect();
    Sight { marks, identities }
}

fn measure(route: &Route, lanes: &[Watched], sight: &Sight) {
    for ((at, state), marks) in lanes.iter().zip(&sight.marks) {
        let lag = state.reached().zip(*marks).map(|(reached, (_, high))| (high - reached.next).max(0));
        let oldest = *state.oldest.lock().unwrap_or_else(PoisonError::into_inner);
        let age = oldest.map_or(Duration::ZERO, |at| at.elapsed());
        route.metrics.looked_at(at, lag, age, state.stalled.load(Ordering::Relaxed));
    }
}

/// Records the heads of partitions whose topic is still the one that was taken, and ends those of the identities before.
async fn record(
    route: &Route,
    ways: &[Way],
    (seen_at_ms, sight): (i64, &Sight),
    followed: &mut HashMap<String, Uuid>,
) -> Result<(), StoreError> {
    let mut heads = Vec::with_capacity(ways.len());
    for ((at, reached), marks) in ways.iter().zip(&sight.marks) {
        let (Some(reached), Some((low, high))) = (*reached, *marks) else { continue };
        if sight.identities.get(&at.topic) != Some(&reached.topic_id) {
            continue; // the watermarks may be of another topic than the one that was taken
        }
        heads.push(Head {
            topic: at.topic.clone(),
            topic_id: reached.topic_id,
            partition: at.number,
            low,
            high,
            taken: reached.next.min(high),
            seen_at_ms,
        });
    }
    let store = &route.outside.sinks.store;
    store.record_heads(&heads).await?;
    for head in heads {
        if followed.get(&head.topic) != Some(&head.topic_id) {
            store.end_heads_before(&head.topic, head.topic_id).await?;
            followed.insert(head.topic, head.topic_id);
        }
    }
    Ok(())
}
