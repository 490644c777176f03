//! How the feed opens: the latest events are read back into a new ring, and moderators' cases are loaded from the store.

use super::cases::InWork;
use super::event::{Event, events_of};
use super::hub::{CASES_MAX, Hub};
use super::log::{Bounds, LogError, LogReader, Shape};
use super::ring::{Ring, RingBounds};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_queries::QueryError;
use tally_queries::feed::{Position, cases_in_work, positions};
use tally_schemas::Topic;

/// Events that are read back into the ring at the start, all partitions together: after a restart everybody comes at once, and
/// finds here what was missed meanwhile.
const PRELOAD_EVENTS: i64 = 20_000;
/// How long reading back may take before the feed opens without the rest.
const PRELOAD_SECONDS_MAX: u64 = 20;

/// Reads the last events back into a new ring, and opens it to everybody.
pub(super) async fn open_ring(
    hub: &Arc<Hub>,
    shape: &Arc<Shape>,
    generation: u64,
) -> Result<Box<dyn LogReader>, LogError> {
    let bounds = hub.log.bounds(shape).await?;
    // how far the store has come is asked before what it has: whatever the cases lack is read
    let moderation = shape.partitions().iter().filter(|one| one.contract == Topic::Moderation);
    let mut ids: Vec<_> = moderation.map(|one| one.topic_id).collect();
    ids.dedup();
    let stored = positions(&hub.client, &ids).await.map_err(unavailable)?;
    let from = read_back_from(shape, &bounds, &stored);
    load_cases(hub, shape).await?;
    let mut reader = hub.log.read(shape, &from).await?;
    let limits =
        RingBounds { events_max: hub.settings.ring_events_max, bytes_max: hub.settings.ring_bytes_max };
    let mut ring = Ring::new(shape.clone(), from, limits);
    let begun = Instant::now();
    while ring.head().0.iter().zip(&bounds).any(|(at, bound)| *at < bound.high) {
        let left = Duration::from_secs(PRELOAD_SECONDS_MAX).saturating_sub(begun.elapsed());
        let Ok(batch) = tokio::time::timeout(left, reader.next()).await else {
            tracing::warn!("reading back takes long; the feed opens without the rest, which follows");
            break;
        };
        let batch = batch?;
        let events: Vec<Arc<Event>> = events_of(shape, &batch).into_iter().map(Arc::new).collect();
        {
            let mut cases = hub.cases_mut();
            events.iter().for_each(|event| cases.take(event));
        }
        ring.push(events, batch.place, batch.next);
    }
    tracing::info!(partitions = bounds.len(), events = ring.len(), "the feed follows the log");
    hub.open(generation, ring);
    Ok(reader)
}

/// How much of each partition is read back at most, so that all together are [`PRELOAD_EVENTS`]: what short ones leave of an equal
/// share is shared by the others.
fn share(bounds: &[Bounds]) -> i64 {
    let mut held: Vec<i64> = bounds.iter().map(|bound| (bound.high - bound.low).max(0)).collect();
    held.sort_unstable();
    let (mut left, mut partitions) = (PRELOAD_EVENTS, i64::try_from(held.len()).unwrap_or(i64::MAX));
    for events in held {
        if events > left / partitions {
            return left / partitions;
        }
        (left, partitions) = (left - events, partitions - 1);
    }
    PRELOAD_EVENTS // all of them are short
}

/// Where each partition is read back from: its share of [`PRELOAD_EVENTS`] before its end; one of moderation from where the
/// store has come to, if that is earlier, since cases are loaded from there and nothing in between may be missed.
pub(super) fn read_back_from(shape: &Shape, bounds: &[Bounds], stored: &[Position]) -> Vec<i64> {
    let each = share(bounds);
    let from = shape.partitions().iter().zip(bounds).map(|(one, bound)| {
        let latest = bound.high - each;
        let is_it = |at: &&Position| at.topic_id == one.topic_id && at.partition == one.number;
        let stored = stored.iter().find(is_it).map_or(0, |at| at.next); // of what was never stored nothing is known
        let wanted = if one.contract == Topic::Moderation { latest.min(stored) } else { latest };
        if one.contract == Topic::Moderation && stored < bound.low {
            let missing = bound.low - stored;
            tracing::warn!(
                partition = one.number,
                missing,
                "retention took moderation events that the store does not have; cases may be wrong"
            );
        }
        wanted.max(bound.low)
    });
    from.collect()
}

async fn load_cases(hub: &Hub, shape: &Shape) -> Result<(), LogError> {
    let rows = cases_in_work(&hub.client).await.map_err(unavailable)?;
    if rows.len() >= CASES_MAX {
        tracing::warn!(cases = rows.len(), "the store has more cases in work than are loaded");
    }
    let mut cases = hub.cases_mut();
    *cases = super::cases::Cases::default();
    for row in rows {
        let place = shape
            .partitions()
            .iter()
            .position(|one| one.topic_id == row.topic_id && one.number == row.partition);
        // a case of a topic that is gone is in work all the same; no event will follow it
        let at = (place.unwrap_or(usize::MAX), row.offset);
        let in_work = InWork { moderator: row.moderator, task_id: row.task_id, license_id: row.license_id };
        cases.load(row.case_id, at, Some(in_work));
    }
    Ok(())
}

fn unavailable(error: QueryError) -> LogError {
    LogError::Unavailable(Box::new(error))
}
