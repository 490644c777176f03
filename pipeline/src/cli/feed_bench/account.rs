//! What was published, and who has received what of it: every event at every subscriber, by its id.

use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use uuid::Uuid;

/// Who gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(super) enum Audience {
    /// Every subscriber (they are admins).
    All,
    /// One subscriber, in turn (they are buyers, each with tasks of its own).
    Own,
}

/// The events of one run. Event number `n` has an id that only this run gives, and its number can be read from it.
pub(super) struct Publication {
    run: u64,
    audience: Audience,
    subscribers: u64,
    began: Instant,
    published: AtomicU64,
    /// When event `n` was handed to the producer, nanoseconds since `began`; 0 for one that was not.
    sent_at: Vec<AtomicU64>,
}

impl Publication {
    /// For at most `events_max` events.
    pub(super) fn new(audience: Audience, subscribers: usize, events_max: usize) -> Publication {
        let sent_at = std::iter::repeat_with(AtomicU64::default).take(events_max).collect();
        let run = Uuid::new_v4().as_u64_pair().0;
        let subscribers = subscribers.max(1) as u64;
        Publication {
            run,
            audience,
            subscribers,
            began: Instant::now(),
            published: AtomicU64::new(0),
            sent_at,
        }
    }

    /// Nanoseconds since the run began; never 0.
    pub(super) fn now_ns(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// The id of event `number`.
    pub(super) fn event_id(&self, number: u64) -> Uuid {
        Uuid::from_u64_pair(self.run, number)
    }

    /// The number of an event of this run.
    pub(super) fn number(&self, event_id: &str) -> Option<u64> {
        let (run, number) = Uuid::try_parse(event_id).ok()?.as_u64_pair();
        (run == self.run && number < self.published()).then_some(number)
    }

    /// Event `number` is about to be handed to the producer. Numbers rise by one.
    pub(super) fn sending(&self, number: u64) {
        if let Some(at) = usize::try_from(number).ok().and_then(|n| self.sent_at.get(n)) {
            at.store(self.now_ns(), Ordering::Relaxed);
        }
        self.published.store(number + 1, Ordering::Release);
    }

    /// How many were handed over.
    pub(super) fn published(&self) -> u64 {
        self.published.load(Ordering::Acquire)
    }

    /// When event `number` was handed over, nanoseconds since the run began.
    pub(super) fn sent_at_ns(&self, number: u64) -> u64 {
        usize::try_from(number)
            .ok()
            .and_then(|n| self.sent_at.get(n))
            .map_or(0, |at| at.load(Ordering::Relaxed))
    }

    /// Which subscriber an event is for; `None` where it is for all.
    pub(super) fn owner(&self, number: u64) -> Option<u64> {
        match self.audience {
            Audience::All => None,
            Audience::Own => Some(number % self.subscribers),
        }
    }

    /// How many of the first `published` events are for that subscriber.
    fn share(&self, subscriber: u64, published: u64) -> u64 {
        match self.audience {
            Audience::All => published,
            Audience::Own => {
                published / self.subscribers + u64::from(subscriber < published % self.subscribers)
            }
        }
    }

    /// The place of an event among those of that subscriber; `None` where it is for another.
    fn place(&self, subscriber: u64, number: u64) -> Option<u64> {
        match self.audience {
            Audience::All => Some(number),
            Audience::Own => (number % self.subscribers == subscriber).then_some(number / self.subscribers),
        }
    }
}

/// What became of an event that reached a subscriber.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Entry {
    /// Counted: it is the first of its id.
    First,
    /// It was there before.
    Repeat,
    /// It belongs to somebody else, or to no event of this run.
    Foreign,
}

/// One subscriber's page of the account.
#[derive(Debug)]
pub(super) struct Page {
    subscriber: u64,
    /// One bit for each of its events.
    have: Vec<u64>,
    /// Everything before this place is there.
    whole_to: u64,
    received: u64,
}

impl Page {
    pub(super) fn new(subscriber: usize) -> Page {
        Page { subscriber: subscriber as u64, have: Vec::new(), whole_to: 0, received: 0 }
    }

    /// Enters an event.
    pub(super) fn enter(&mut self, publication: &Publication, number: u64) -> Entry {
        let Some(place) = publication.place(self.subscriber, number) else { return Entry::Foreign };
        let (word, bit) = (usize::try_from(place / 64).unwrap_or(usize::MAX), 1u64 << (place % 64));
        if self.have.len() <= word {
            self.have.resize(word + 1, 0);
        }
        if self.have[word] & bit != 0 {
            return Entry::Repeat;
        }
        self.have[word] |= bit;
        self.received += 1;
        while self.has(self.whole_to) {
            self.whole_to += 1;
        }
        Entry::First
    }

    fn has(&self, place: u64) -> bool {
        let word = usize::try_from(place / 64).ok().and_then(|word| self.have.get(word));
        word.is_some_and(|word| word & (1 << (place % 64)) != 0)
    }

    /// Different events received.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// True when everything of the first `published` events that is for this subscriber is there.
    pub(super) fn is_whole(&self, publication: &Publication, published: u64) -> bool {
        self.whole_to >= publication.share(self.subscriber, published)
    }

    /// How many of the first `published` events are missing here.
    pub(super) fn missing(&self, publication: &Publication, published: u64) -> u64 {
        let due = publication.share(self.subscriber, published);
        due - (0..due).filter(|place| self.has(*place)).count() as u64
    }
}

/// Significant digits of the latency histograms.
const DIGITS: u8 = 3;
/// Longest latency told apart, microseconds.
const LATENCY_US_MAX: u64 = 600_000_000;
/// Histograms behind one another's locks; subscribers are spread over them.
const SHARDS: usize = 16;

/// Latencies of many subscribers, microseconds.
pub(super) struct Latencies(Vec<Mutex<hdrhistogram::Histogram<u64>>>);

impl Latencies {
    pub(super) fn new() -> anyhow::Result<Latencies> {
        let new = || hdrhistogram::Histogram::new_with_bounds(1, LATENCY_US_MAX, DIGITS).map(Mutex::new);
        Ok(Latencies(std::iter::repeat_with(new).take(SHARDS).collect::<Result<_, _>>()?))
    }

    /// Records one latency of a subscriber.
    pub(super) fn record(&self, subscriber: usize, nanoseconds: u64) {
        let mut shard = self.0[subscriber % SHARDS].lock().unwrap_or_else(PoisonError::into_inner);
        shard.saturating_record((nanoseconds / 1_000).max(1));
    }

    /// All of them in one.
    pub(super) fn merged(&self) -> hdrhistogram::Histogram<u64> {
        let lock = |shard: &Mutex<hdrhistogram::Histogram<u64>>| {
            shard.lock().unwrap_or_else(PoisonError::into_inner).clone()
        };
        let mut whole = lock(&self.0[0]);
        for shard in &self.0[1..] {
            let _ = whole.add(lock(shard)); // equal bounds: cannot fail
        }
        whole
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: two subscribers with events of their own; one event comes twice, one never, one is another's.
    /// Guarantees: exactly the missing one is missing; repeats and what is another's are told apart.
    #[test]
    fn a_missing_event_is_seen_and_nothing_else() {
        let publication = Publication::new(Audience::Own, 2, 16);
        (0..7).for_each(|number| publication.sending(number));
        let mut page = Page::new(0); // of 0, 2, 4, 6
        let enter = |page: &mut Page, number: u64| {
            let id = publication.event_id(number).to_string();
            page.enter(&publication, publication.number(&id).expect("an event of this run"))
        };
        assert_eq!(
            [0, 4, 4, 3].map(|n| enter(&mut page, n)),
            [Entry::First, Entry::First, Entry::Repeat, Entry::Foreign]
        );
        assert_eq!((page.missing(&publication, 7), page.received()), (2, 2));
        assert!(page.is_whole(&publication, 2) && !page.is_whole(&publication, 3));
        assert_eq!(enter(&mut page, 2), Entry::First);
        assert!(page.is_whole(&publication, 6) && page.missing(&publication, 7) == 1);
        assert_eq!(publication.number(&Uuid::new_v4().to_string()), None);
        assert_eq!(publication.number(&publication.event_id(7).to_string()), None, "not published yet");
    }
}
