//! Reading from the log what is no longer in the ring, for one subscriber, until the ring goes on from there.

use super::event::{Event, events_of};
use super::frame::{Close, Resync};
use super::hub::Hub;
use super::log::{Bounds, LogError, Shape};
use super::settings::{REPLAY_STALL_MS_MAX, REPLAY_TURN_SECONDS_MAX};
use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::{self, error::SendTimeoutError};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// Batches that wait for the subscriber.
const BATCHES_WAITING_MAX: usize = 1;

/// What was read of one partition.
type Part = (usize, i64, Vec<Event>);

/// A replay under way. Its reader is a task of its own, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Replay {
    parts: mpsc::Receiver<Result<Part, Close>>,
    events: VecDeque<Arc<Event>>,
    /// The partition that is being handed out, and where it ends.
    part: Option<(usize, i64)>,
    position: Vec<i64>,
}

/// The places of those who replay from the log at once: so many in all, one of each subject.
#[derive(Debug)]
pub(super) struct Places {
    all: Arc<Semaphore>,
    by_subject: Mutex<HashMap<Arc<str>, Arc<Semaphore>>>,
}

/// A place that is held, or waited for; it is free again when this is dropped.
#[derive(Debug)]
struct Place {
    places: Arc<Places>,
    subject: Arc<str>,
    own: Arc<Semaphore>,
    held: Vec<OwnedSemaphorePermit>,
}

impl Places {
    pub(super) fn new(replays_max: usize) -> Arc<Places> {
        Arc::new(Places { all: Arc::new(Semaphore::new(replays_max)), by_subject: Mutex::default() })
    }

    fn by_subject(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Semaphore>>> {
        self.by_subject.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Subjects that hold a place or wait for one.
    #[cfg(test)]
    pub(super) fn subjects(&self) -> usize {
        self.by_subject().len()
    }

    /// Waits for a place, first among the subject's own streams, so that one subject never stands before another's; not
    /// longer than [`REPLAY_TURN_SECONDS_MAX`].
    async fn take(self: &Arc<Self>, subject: &Arc<str>) -> Result<Place, Close> {
        let own =
            self.by_subject().entry(subject.clone()).or_insert_with(|| Arc::new(Semaphore::new(1))).clone();
        let mut place = Place { places: self.clone(), subject: subject.clone(), own, held: Vec::new() };
        let turns = async {
            for turns in [place.own.clone(), self.all.clone()] {
                place.held.push(turns.acquire_owned().await.ok()?);
            }
            Some(())
        };
        match timeout(Duration::from_secs(REPLAY_TURN_SECONDS_MAX), turns).await {
            Ok(Some(())) => Ok(place),
            Ok(None) | Err(_) => Err(Close::Overloaded),
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.held.clear();
        let mut by_subject = self.places.by_subject();
        // this one and the list's: nobody else of the subject waits
        if Arc::strong_count(&self.own) <= 2 {
            by_subject.remove(&self.subject);
        }
    }
}

impl Hub {
    /// What each partition holds now.
    pub(super) async fn bounds(&self, shape: &Shape) -> Result<Vec<Bounds>, Close> {
        self.log.bounds(shape).await.map_err(|error| {
            tracing::warn!(error = %crate::chain(&error), "the log's bounds");
            Close::LogUnavailable
        })
    }

    /// Begins to read for a subject what follows a position, if the log still has it and it is not too much.
    pub(super) async fn replay(
        self: Arc<Self>,
        shape: &Arc<Shape>,
        subject: &Arc<str>,
        position: Vec<i64>,
    ) -> Result<Result<Replay, Resync>, Close> {
        let bounds = self.bounds(shape).await?;
        if position.iter().zip(&bounds).any(|(at, bound)| *at < bound.low) {
            return Ok(Err(Resync::Evicted));
        }
        let offsets: i64 = position.iter().zip(&bounds).map(|(at, bound)| (bound.high - at).max(0)).sum();
        if offsets > self.settings.replay_offsets_max {
            return Ok(Err(Resync::TooMany));
        }
        let (sender, parts) = mpsc::channel(BATCHES_WAITING_MAX);
        let (shape, subject, mut from) = (shape.clone(), subject.clone(), position.clone());
        tokio::spawn(async move {
            // each turn goes on where the one before has ended
            loop {
                let turn = tokio::select! {
                    turn = self.turn(&shape, &subject, &mut from, &sender) => turn,
                    () = sender.closed() => return,
                };
                let ends = turn.is_err();
                if sender.send(turn).await.is_err() || ends {
                    return; // whoever replays may have gone
                }
            }
        });
        Ok(Ok(Replay { parts, events: VecDeque::new(), part: None, position }))
    }

    /// Reads in one place until the subscriber takes no more: then gives the place back, and what is still to be taken. A slow
    /// reader would keep it from everybody else.
    async fn turn(
        &self,
        shape: &Shape,
        subject: &Arc<str>,
        from: &mut [i64],
        sender: &mpsc::Sender<Result<Part, Close>>,
    ) -> Result<Part, Close> {
        let _place = self.places.take(subject).await?;
        let mut reader = self.log.read(shape, from).await.map_err(close_of)?;
        loop {
            let batch = reader.next().await.map_err(close_of)?;
            if let Some(from) = from.get_mut(batch.place) {
                *from = batch.next.max(*from);
            }
            let part = (batch.place, batch.next, events_of(shape, &batch));
            match sender.send_timeout(Ok(part), Duration::from_millis(REPLAY_STALL_MS_MAX)).await {
                Ok(()) => {}
                Err(SendTimeoutError::Timeout(part) | SendTimeoutError::Closed(part)) => return part,
            }
        }
    }
}

fn close_of(error: LogError) -> Close {
    match error {
        LogError::Evicted => Close::InsufficientState,
        LogError::Unavailable(_) => {
            tracing::warn!(error = %crate::chain(&error), "a replay broke off");
            Close::LogUnavailable
        }
    }
}

impl Replay {
    /// Whether everything that was read was handed out.
    pub(super) fn is_empty(&self) -> bool {
        self.events.is_empty() && self.part.is_none()
    }

    /// Waits for more. A future that is dropped loses nothing.
    pub(super) async fn fill(&mut self) -> Result<(), Close> {
        match self.parts.recv().await {
            Some(Ok((place, next, events))) => {
                self.events.extend(events.into_iter().map(Arc::new));
                self.part = Some((place, next));
                Ok(())
            }
            Some(Err(close)) => Err(close),
            None => Err(Close::LogUnavailable),
        }
    }

    /// The next event, and the position behind it.
    pub(super) fn take(&mut self) -> Option<(Arc<Event>, &[i64])> {
        match self.events.pop_front() {
            Some(event) => {
                if let Some(at) = self.position.get_mut(event.place) {
                    *at = event.offset + 1;
                }
                Some((event, &self.position))
            }
            None => {
                if let Some((place, next)) = self.part.take()
                    && let Some(at) = self.position.get_mut(place)
                {
                    *at = next.max(*at);
                }
                None
            }
        }
    }

    /// The position behind everything handed out.
    pub(super) fn position(&self) -> &[i64] {
        &self.position
    }
}
