//! The hot ring: the latest events in memory, in one order, with an index by owner.
//!
//! Nobody has a queue: a subscriber remembers a place and pulls from here at its own pace, so one that stalls costs nothing.

use super::cursor;
use super::event::Event;
use super::log::Shape;
use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

/// What the ring may hold; whichever comes first.
#[derive(Clone, Copy, Debug)]
pub(super) struct RingBounds {
    pub(super) events_max: usize,
    pub(super) bytes_max: usize,
}

/// An event in the ring, and the position behind it.
#[derive(Clone, Debug)]
pub(super) struct Entry {
    pub(super) event: Arc<Event>,
    pub(super) cursor: Arc<str>,
}

/// The ring. Places are counted from 0 by the process that holds it and mean nothing elsewhere; positions do.
#[derive(Debug)]
pub(super) struct Ring {
    shape: Arc<Shape>,
    bounds: RingBounds,
    entries: VecDeque<Entry>,
    /// Place of the first entry.
    base: u64,
    bytes: usize,
    /// Places by owner, ascending.
    owned: HashMap<Arc<str>, VecDeque<u64>>,
    /// From these offsets on, every event is here.
    floor: Vec<i64>,
    /// The position behind everything read.
    head: Vec<i64>,
    head_text: Arc<str>,
}

impl Ring {
    /// An empty ring at a position.
    pub(super) fn new(shape: Arc<Shape>, at: Vec<i64>, bounds: RingBounds) -> Ring {
        let head_text = cursor::encode(&shape, &at);
        Ring {
            shape,
            bounds,
            entries: VecDeque::new(),
            base: 0,
            bytes: 0,
            owned: HashMap::new(),
            floor: at.clone(),
            head: at,
            head_text,
        }
    }

    /// Takes what was read of one partition: its events and how far it has come.
    pub(super) fn push(&mut self, events: Vec<Arc<Event>>, place: usize, next: i64) {
        for event in events {
            if let Some(head) = self.head.get_mut(place) {
                *head = event.offset + 1;
            }
            let cursor = cursor::encode(&self.shape, &self.head);
            let at = self.end();
            for owner in event.owners() {
                let key = match self.owned.get_key_value(owner) {
                    Some((key, _)) => key.clone(),
                    None => owner.into(),
                };
                self.owned.entry(key).or_default().push_back(at);
            }
            self.bytes += event.bytes();
            self.entries.push_back(Entry { event, cursor });
        }
        if let Some(head) = self.head.get_mut(place) {
            *head = next.max(*head);
        }
        self.head_text = cursor::encode(&self.shape, &self.head);
        while self.entries.len() > self.bounds.events_max || self.bytes > self.bounds.bytes_max {
            self.evict();
        }
    }

    fn evict(&mut self) {
        let Some(Entry { event, .. }) = self.entries.pop_front() else { return };
        for owner in event.owners() {
            if let Some(places) = self.owned.get_mut(owner) {
                places.pop_front(); // the oldest of all is the oldest of its owners
                if places.is_empty() {
                    self.owned.remove(owner);
                }
            }
        }
        if let Some(floor) = self.floor.get_mut(event.place) {
            *floor = (*floor).max(event.offset + 1);
        }
        self.bytes -= event.bytes();
        self.base += 1;
    }

    /// The log that it holds the end of.
    pub(super) fn shape(&self) -> &Arc<Shape> {
        &self.shape
    }

    /// Place of the first entry.
    pub(super) fn base(&self) -> u64 {
        self.base
    }

    /// The place that the next entry will have.
    pub(super) fn end(&self) -> u64 {
        self.base + self.entries.len() as u64
    }

    /// The position behind everything read, and its text.
    pub(super) fn head(&self) -> (&[i64], &Arc<str>) {
        (&self.head, &self.head_text)
    }

    /// Whether everything behind that position is here.
    pub(super) fn covers(&self, position: &[i64]) -> bool {
        self.floor.iter().zip(position).all(|(floor, at)| at >= floor)
    }

    /// Bytes held, about.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }

    /// Entries held.
    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    /// How many entries of an owner there are from a place on.
    pub(super) fn count_from(&self, place: u64, owner: &str) -> usize {
        self.owned.get(owner).map_or(0, |places| places.len() - places.partition_point(|at| *at < place))
    }

    /// The entries from a place on, with their places: those of one owner, or all.
    pub(super) fn from(&self, place: u64, owner: Option<&str>) -> impl Iterator<Item = (u64, &Entry)> {
        let owned = owner.map(|owner| self.owned.get(owner));
        let (all, own) = match owned {
            None => (Some(place.max(self.base)..self.end()), None),
            Some(places) => (None, places.map(|p| p.range(p.partition_point(|at| *at < place)..).copied())),
        };
        let places = all.into_iter().flatten().chain(own.into_iter().flatten());
        places.filter_map(|at| {
            let entry = self.entries.get(usize::try_from(at.checked_sub(self.base)?).ok()?)?;
            Some((at, entry))
        })
    }
}
