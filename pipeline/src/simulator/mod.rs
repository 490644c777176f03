//! A simulated platform that publishes events: seeded, pure, endless.
//!
//! Wallets buy credits, ask for estimates, have licences checked and run tasks that wait, are accelerated,
//! need supplements, fail and are refunded; moderators work through cases. Simulated time jumps from event to
//! event; there is no clock, no global chance and no I/O. The same [`Config`] gives the same history.
//!
//! Valid histories are whole: `state_version` has no gap, money balances, every task that anything refers to
//! was submitted before. Invalid events and duplicates come on top, each with what is to be expected of it, and
//! [`Truth`] keeps the exact figures that an audit of the emissions so far must find. Two things are there only where
//! [`Config`] asks for them: tasks with an event that never came with a valid policy tag (`foreign`), and the
//! purchases of the weeks before (`past`).
//!
//! Start at [`Simulator`]; a visit becomes a [`life::Life`], which `before` and `running` carry to its end.

mod before;
mod calls;
mod cases;
mod config;
mod encode;
mod event;
mod faults;
mod foreign;
mod licences;
mod life;
mod money;
mod past;
mod purchases;
mod rng;
mod running;
mod truth;
mod world;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use foreign::{ForeignSchema, foreign_schemas};
pub use purchases::{OrderEvent, Repurchase, Week};
pub use truth::{BrokenTask, Calls, Cases, Settlements, Share, Split, Tasks, Truth, WalletTruth};

use cases::Case;
use encode::{Edition, Encoder};
use event::{Event, Field, Value};
use life::Life;
use rng::Rng;
use std::cmp::Ordering;
use std::collections::{BinaryHeap, VecDeque};
use tally_schemas::{Contract, Topic};
use truth::Tally;
use uuid::Uuid;
use world::World;

/// What the pipeline is to make of an emission.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Expect {
    /// A valid event, seen for the first time.
    Accept,
    /// The event id and the content of an earlier accepted event, perhaps under another version of the contract.
    Duplicate,
    /// A dead letter of that reason.
    Dead(&'static str),
}

/// One message for Kafka.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Emission {
    /// Where it is published (for `wrong_topic`, not where it belongs).
    pub topic: Topic,
    /// The Kafka key.
    pub key: String,
    /// The framed bytes; empty for some `framing` faults.
    pub value: Vec<u8>,
    /// Simulated time of publishing, microseconds; never falls. For `Accept` it is the event's own
    /// `occurred_at`; a duplicate keeps the earlier time inside and shows here when it was sent again.
    pub occurred_at: i64,
    /// The `occurred_at` inside, where one can be read that is within bounds; else the same as `occurred_at`.
    pub event_at: i64,
    /// The event's id. An emission that dies of its framing has one that its bytes do not hold.
    pub event_id: Uuid,
    /// What is to become of it.
    pub expect: Expect,
}

/// The simulated platform.
#[derive(Debug)]
pub struct Simulator {
    config: Config,
    rng: Rng,
    now: i64,
    closing: bool,
    agenda: BinaryHeap<Entry>,
    entries: u64,
    ready: VecDeque<Emission>,
    world: World,
    encoder: Encoder,
    lives: Slab<Life>,
    cases: Slab<Case>,
    /// Tasks that were started so far.
    started: u64,
    tally: Tally,
}

impl Simulator {
    /// A platform at its first moment. Values of `config` outside their bounds are moved to the nearest bound.
    pub fn new(config: Config) -> Simulator {
        let config = config.bounded();
        let mut rng = Rng::new(config.seed);
        let mut world = World::new(&config, &mut rng);
        let past = past::orders(&config, &mut world);
        let begin = past.iter().map(|(at, _)| *at).min().unwrap_or(config.start).min(config.start);
        let mut simulator = Simulator {
            now: begin,
            config,
            rng,
            closing: false,
            agenda: BinaryHeap::new(),
            entries: 0,
            ready: VecDeque::new(),
            world,
            encoder: Encoder::new(),
            lives: Slab::new(),
            cases: Slab::new(),
            started: 0,
            tally: Tally::default(),
        };
        for (at, action) in past {
            simulator.at(at - begin, action);
        }
        simulator.at(simulator.config.start - begin, Action::Visit);
        simulator
    }

    /// From now on frames events in the Confluent wire format, under these ids that a registry has for the contracts.
    pub fn frame_confluent(&mut self, id: impl Fn(&Contract) -> u32) {
        self.encoder.frame_confluent(id);
    }

    /// When the platform opens, microseconds since 1970 UTC: what is emitted with an earlier time is its past.
    pub fn opens_at(&self) -> i64 {
        self.config.start
    }

    /// The user ids of those who visit.
    pub fn visitors(&self) -> impl Iterator<Item = &str> {
        self.world.wallets.iter().take(self.world.visitors).map(|wallet| &*wallet.user)
    }

    /// The next emission; there is always one, even after [`Simulator::next_closing`] came to its end.
    #[expect(clippy::should_implement_trait, reason = "it never ends, so it is no iterator")]
    pub fn next(&mut self) -> Emission {
        if self.closing {
            self.closing = false;
            self.at(0, Action::Visit);
        }
        loop {
            if let Some(emission) = self.emit() {
                return emission;
            }
            if !self.advance() {
                self.at(0, Action::Visit);
            }
        }
    }

    /// The next emission of what is under way already: nobody visits or submits a task any more, tasks and cases come to their
    /// ends, copies that wait are sent. `None` once all is at rest; then [`Simulator::truth`] is final.
    pub fn next_closing(&mut self) -> Option<Emission> {
        self.closing = true;
        loop {
            if let Some(emission) = self.emit() {
                return Some(emission);
            }
            if !self.advance() {
                return None;
            }
        }
    }

    /// The exact figures of everything emitted so far.
    pub fn truth(&self) -> Truth {
        let unfinished = self.lives.iter().map(|life| &life.account);
        self.tally.truth(unfinished, &self.world.wallets)
    }

    /// Hands out what is ready. `accept` counts an event before it is handed out, so an action publishes at most
    /// one and `advance` is called only when nothing is ready: then the tally is never ahead of the caller.
    fn emit(&mut self) -> Option<Emission> {
        let emission = self.ready.pop_front()?;
        self.tally.emitted(&emission);
        Some(emission)
    }

    /// Takes the next action from the agenda; `false` where it is empty.
    fn advance(&mut self) -> bool {
        let Some(entry) = self.agenda.pop() else { return false };
        let lapses = matches!(entry.action, Action::Visit | Action::Expire { .. });
        if self.closing && lapses {
            return true;
        }
        self.now = self.now.max(entry.at);
        match entry.action {
            Action::Visit => self.visit(),
            Action::Buy(order) => self.buy(&order),
            Action::PayBack(refund) => self.pay_back(&refund),
            Action::Goodwill(request) => self.compensate(request),
            Action::Live(place) => self.live(place),
            Action::Handle(place) => self.handle(place),
            Action::Expire { place, at } => self.expire(place, at),
            Action::Copy(event, edition) => self.copy(&event, edition),
        }
        true
    }

    /// Puts `action` on the agenda, `delay` microseconds from now.
    fn at(&mut self, delay: i64, action: Action) {
        self.entries += 1;
        let at = self.now.saturating_add(delay.max(0));
        self.agenda.push(Entry { at, number: self.entries, action });
    }

    /// Publishes a valid event: gives it its id and time, counts it, writes it; now and then plans a copy, and
    /// adds an invalid neighbour.
    fn accept(&mut self, mut event: Event) {
        self.now += 1;
        let id = self.rng.uuid(self.now);
        event.set(Field::EventId, Value::Id(id)).set(Field::OccurredAt, self.now);
        let edition = self.edition(&event);
        self.tally.accepted(&event);
        self.publish(&event, edition, id, Expect::Accept);
        let opened = self.now >= self.config.start;
        let valid = 1000 - u64::from(self.config.invalid_permille + self.config.duplicate_permille);
        if self.rng.below(valid) < u64::from(self.config.duplicate_permille) {
            self.plan_copy(event, edition);
        }
        if self.rng.below(valid) < u64::from(self.config.invalid_permille) && opened {
            self.fault();
        }
    }

    fn publish(&mut self, event: &Event, edition: Edition, event_id: Uuid, expect: Expect) {
        self.ready.push_back(Emission {
            topic: event.topic,
            key: event.key().to_owned(),
            value: self.encoder.encode(event, edition),
            occurred_at: self.now,
            event_at: event.int(Field::OccurredAt).unwrap_or(self.now),
            event_id,
            expect,
        });
    }

    fn edition(&mut self, event: &Event) -> Edition {
        let versioned = matches!(event.topic, Topic::Credit | Topic::Task);
        let oldest =
            versioned && event.is_customer() && self.rng.chance(self.config.oldest_contract_permille);
        if oldest { Edition::Oldest } else { Edition::Latest }
    }

    /// Plans to send `event` again: mostly within seconds, as an impatient producer does, at times hours later;
    /// in four of ten cases under the other version of its contract.
    fn plan_copy(&mut self, event: Event, edition: Edition) {
        let other = event.is_customer() && self.rng.chance(400);
        let edition = match edition {
            Edition::Latest if other => Edition::Oldest,
            Edition::Oldest if other => Edition::Latest,
            same => same,
        };
        let seconds = if self.rng.chance(900) { 5 } else { 7_200 };
        let delay = self.rng.between(1_000, seconds * world::SECOND);
        self.at(delay, Action::Copy(Box::new(event), edition));
    }

    fn copy(&mut self, event: &Event, edition: Edition) {
        if let Value::Id(id) = *event.get(Field::EventId) {
            self.publish(event, edition, id, Expect::Duplicate);
        }
    }
}

/// What is to happen at a moment.
#[derive(Debug)]
enum Action {
    /// Somebody comes to the platform.
    Visit,
    /// A wallet is credited.
    Buy(Box<money::Order>),
    /// Money is given back for an order.
    PayBack(Box<money::PayBack>),
    /// Credits are asked back for goodwill.
    Goodwill(Box<money::Goodwill>),
    /// A life takes its next step.
    Live(usize),
    /// A case takes its next step.
    Handle(usize),
    /// A licence ends, unless it has been replaced.
    Expire { place: usize, at: i64 },
    /// An event is sent again.
    Copy(Box<Event>, Edition),
}

/// An action and its time; the earliest is the greatest, as the heap wants it, and equal times keep their order.
#[derive(Debug)]
struct Entry {
    at: i64,
    number: u64,
    action: Action,
}

impl Ord for Entry {
    fn cmp(&self, other: &Entry) -> Ordering {
        (other.at, other.number).cmp(&(self.at, self.number))
    }
}

impl PartialOrd for Entry {
    fn partial_cmp(&self, other: &Entry) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Entry {
    fn eq(&self, other: &Entry) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Entry {}

/// Places for things that come and go.
#[derive(Debug)]
struct Slab<T> {
    places: Vec<Option<Box<T>>>,
    free: Vec<usize>,
}

impl<T> Slab<T> {
    fn new() -> Slab<T> {
        Slab { places: Vec::new(), free: Vec::new() }
    }

    fn add(&mut self, thing: T) -> usize {
        let place = self.free.pop().unwrap_or_else(|| {
            self.places.push(None);
            self.places.len() - 1
        });
        self.places[place] = Some(Box::new(thing));
        place
    }

    /// Takes a thing out for a step; its place stays its own until `release`.
    fn take(&mut self, place: usize) -> Option<Box<T>> {
        self.places.get_mut(place)?.take()
    }

    fn put_back(&mut self, place: usize, thing: Box<T>) {
        self.places[place] = Some(thing);
    }

    fn release(&mut self, place: usize) {
        self.free.push(place);
    }

    fn iter(&self) -> impl Iterator<Item = &T> {
        self.places.iter().flatten().map(Box::as_ref)
    }
}
