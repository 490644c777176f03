//! The log in memory, for those who have no Kafka: what is appended is judged as the route judges it.

use super::log::{Batch, Bounds, EventLog, LogError, LogPartition, LogReader, Shape};
use async_trait::async_trait;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tally_schemas::{Messages, Reader, Topic, Writers};
use tokio::sync::watch;
use uuid::Uuid;

/// Bytes of one event.
const VALUE_BYTES_MAX: usize = 1 << 20;

/// A log that lives as long as it is held.
#[derive(Clone, Debug)]
pub struct VecLog {
    shape: Shape,
    inside: Arc<Mutex<Inside>>,
    grown: watch::Sender<u64>,
}

#[derive(Debug)]
struct Inside {
    batches: Vec<Batch>,
    bounds: Vec<Bounds>,
    readers: Vec<Reader>,
    writers: Vec<Writers>,
}

impl VecLog {
    /// An empty log of so many partitions a topic; topics are told apart by `topic_ids`, in the order of [`Topic::ALL`].
    pub fn new(partitions: i32, topic_ids: [Uuid; 4]) -> VecLog {
        let topics = Topic::ALL.into_iter().zip(topic_ids);
        let all = topics.flat_map(|(contract, topic_id)| {
            (0..partitions).map(move |number| LogPartition {
                contract,
                topic: contract.name().to_owned(),
                topic_id,
                number,
            })
        });
        let shape = Shape::new(all.collect());
        let writers = |topic: Topic| {
            let mut known = Writers::default();
            let own = tally_schemas::local_writers(topic).zip(tally_schemas::versions(topic));
            own.for_each(|(writer, contract)| {
                known.insert(
                    tally_schemas::WriterId::SingleObject(contract.fingerprint),
                    writer.map(Arc::new),
                );
            });
            known
        };
        let inside = Inside {
            batches: Vec::new(),
            bounds: vec![Bounds { low: 0, high: 0 }; shape.partitions().len()],
            readers: Topic::ALL.map(|topic| Reader::new(topic, VALUE_BYTES_MAX)).into(),
            writers: Topic::ALL.map(writers).into(),
        };
        VecLog { shape, inside: Arc::new(Mutex::new(inside)), grown: watch::Sender::new(0) }
    }

    /// Appends one message as published to a partition of a topic; returns its offset. One that the route would refuse
    /// takes an offset and is nothing more. `None` where there is no such partition.
    pub fn append(&self, topic: Topic, number: i32, value: &[u8], appended_at_ms: i64) -> Option<i64> {
        let place = self.shape.partitions().iter().position(|p| p.contract == topic && p.number == number)?;
        let lane = Topic::ALL.iter().position(|one| *one == topic)?;
        let mut inside = self.lock();
        let Inside { batches, bounds, readers, writers } = &mut *inside;
        let messages = Messages { values: &[Some(value)], appended_at_ms: &[appended_at_ms] };
        let read = readers.get_mut(lane)?.read(messages, writers.get(lane)?).ok()?;
        let bound = bounds.get_mut(place)?;
        let offset = bound.high;
        bound.high += 1;
        let rows = read.events.num_rows();
        batches.push(Batch {
            place,
            events: read.events,
            offsets: vec![offset; rows],
            appended_at_ms: vec![appended_at_ms; rows],
            next: offset + 1,
        });
        drop(inside);
        self.grown.send_modify(|count| *count += 1);
        Some(offset)
    }

    /// Forgets what lies before an offset of every partition, as retention does.
    pub fn retain_from(&self, low: i64) {
        let mut inside = self.lock();
        inside.bounds.iter_mut().for_each(|bound| bound.low = bound.low.max(low.min(bound.high)));
        let lows: Vec<i64> = inside.bounds.iter().map(|bound| bound.low).collect();
        inside.batches.retain(|batch| lows.get(batch.place).is_some_and(|low| batch.next > *low));
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl EventLog for VecLog {
    async fn shape(&self) -> Result<Shape, LogError> {
        Ok(self.shape.clone())
    }

    async fn bounds(&self, _: &Shape) -> Result<Vec<Bounds>, LogError> {
        Ok(self.lock().bounds.clone())
    }

    async fn read(&self, _: &Shape, from: &[i64]) -> Result<Box<dyn LogReader>, LogError> {
        let gone = self.lock().bounds.iter().zip(from).any(|(bound, from)| *from < bound.low);
        if gone {
            return Err(LogError::Evicted);
        }
        Ok(Box::new(VecReader { log: self.clone(), next: from.to_vec(), grown: self.grown.subscribe() }))
    }
}

struct VecReader {
    log: VecLog,
    next: Vec<i64>,
    grown: watch::Receiver<u64>,
}

impl VecReader {
    fn take(&mut self) -> Option<Batch> {
        let inside = self.log.lock();
        let found =
            inside.batches.iter().find(|b| self.next.get(b.place).is_some_and(|next| b.next > *next))?;
        *self.next.get_mut(found.place)? = found.next;
        Some(found.clone())
    }
}

#[async_trait]
impl LogReader for VecReader {
    async fn next(&mut self) -> Result<Batch, LogError> {
        loop {
            self.grown.borrow_and_update();
            if let Some(batch) = self.take() {
                return Ok(batch);
            }
            let closed = |e| LogError::Unavailable(Box::new(e));
            self.grown.changed().await.map_err(closed)?;
        }
    }
}
