//! Reading from the log what is no longer in the ring, for one subscriber, until the ring goes on from there.

use super::event::{Event, events_of};
use super::frame::{Close, Resync};
use super::hub::Hub;
use super::log::{Bounds, LogError, Shape};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::sync::mpsc;

/// Batches that wait for the subscriber.
const BATCHES_WAITING_MAX: usize = 1;

/// What was read of one partition.
type Part = (usize, i64, Vec<Event>);

/// A replay under way. Its reader is a task of its own, which ends when this is dropped.
#[derive(Debug)]
pub(super) struct Replay {
    parts: mpsc::Receiver<Result<Part, LogError>>,
    events: VecDeque<Arc<Event>>,
    /// The partition that is being handed out, and where it ends.
    part: Option<(usize, i64)>,
    position: Vec<i64>,
}

impl Hub {
    /// What each partition holds now.
    pub(super) async fn bounds(&self, shape: &Shape) -> Result<Vec<Bounds>, Close> {
        self.log.bounds(shape).await.map_err(|error| {
            tracing::warn!(error = %crate::chain(&error), "the log's bounds");
            Close::LogUnavailable
        })
    }

    /// Begins to read what follows a position, if the log still has it and it is not too much.
    pub(super) async fn replay(
        self: Arc<Self>,
        shape: &Arc<Shape>,
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
        let (shape, from) = (shape.clone(), position.clone());
        tokio::spawn(async move {
            let ended = self.read_for(&shape, &from, &sender).await;
            if let Err(error) = ended {
                let _ = sender.send(Err(error)).await; // whoever replays may have gone
            }
        });
        Ok(Ok(Replay { parts, events: VecDeque::new(), part: None, position }))
    }

    async fn read_for(
        &self,
        shape: &Shape,
        from: &[i64],
        sender: &mpsc::Sender<Result<Part, LogError>>,
    ) -> Result<(), LogError> {
        let turn = tokio::select! {
            turn = self.replays.acquire() => turn,
            () = sender.closed() => return Ok(()),
        };
        let _turn = turn.map_err(|closed| LogError::Unavailable(Box::new(closed)))?;
        let mut reader = self.log.read(shape, from).await?;
        loop {
            let batch = tokio::select! {
                batch = reader.next() => batch?,
                () = sender.closed() => return Ok(()),
            };
            let part = (batch.place, batch.next, events_of(shape, &batch));
            if sender.send(Ok(part)).await.is_err() {
                return Ok(());
            }
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
            Some(Err(LogError::Evicted)) => Err(Close::InsufficientState),
            Some(Err(error)) => {
                tracing::warn!(error = %crate::chain(&error), "a replay broke off");
                Err(Close::LogUnavailable)
            }
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
