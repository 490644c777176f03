//! What happened in a run, counted.

use std::collections::BTreeMap;

use tally_sinks::fault::Point;

/// What happened, for the line of a seed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) started: u32,
    pub(super) killed: u32,
    /// Ended by themselves, told to.
    pub(super) stopped: u32,
    /// Could not start, and said so: ClickHouse was away.
    pub(super) turned_away: u32,
    /// Died at a crash point, by its name.
    pub(super) died: BTreeMap<&'static str, u32>,
    pub(super) frozen: u32,
    pub(super) stores: u32,
    pub(super) brokers: u32,
    /// Registries that went down.
    pub(super) registries: u32,
    /// Jumps of a clock that somebody went by.
    pub(super) clocks: u32,
    /// Pieces and connections to ClickHouse, the registry and Kafka that met a fault.
    pub(super) stores_met: u64,
    pub(super) registries_met: u64,
    pub(super) kafka_met: u64,
    pub(super) upgrades: u32,
    pub(super) topics: u32,
    pub(super) publications: u32,
    /// Commits that were held against the ledger while things went wrong.
    pub(super) commits: u32,
}

impl Counts {
    /// What went wrong.
    pub(super) fn wrong(&self) -> u64 {
        let deeds = [self.killed, self.frozen, self.stores, self.brokers, self.registries, self.clocks];
        let met = [self.stores_met, self.registries_met, self.kafka_met];
        deeds.into_iter().chain(self.died.values().copied()).map(u64::from).chain(met).sum()
    }

    /// Adds what happened in another run.
    pub(super) fn add(&mut self, other: &Counts) {
        self.started += other.started;
        self.killed += other.killed;
        self.stopped += other.stopped;
        self.turned_away += other.turned_away;
        for (point, died) in &other.died {
            *self.died.entry(point).or_default() += died;
        }
        self.frozen += other.frozen;
        self.stores += other.stores;
        self.brokers += other.brokers;
        self.registries += other.registries;
        self.clocks += other.clocks;
        self.stores_met += other.stores_met;
        self.registries_met += other.registries_met;
        self.kafka_met += other.kafka_met;
        self.upgrades += other.upgrades;
        self.topics += other.topics;
        self.publications += other.publications;
        self.commits += other.commits;
    }

    /// What many runs have not met: then what they show is less than it seems.
    pub(super) fn lacks(&self) -> Vec<&'static str> {
        let points = Point::ALL.iter().map(|point| point.name());
        let never = points.filter(|point| !self.died.contains_key(point));
        let kinds = [
            ("a kill", u64::from(self.killed)),
            ("an orderly stop", self.stopped.into()),
            ("a freeze", self.frozen.into()),
            ("ClickHouse going down", self.stores.into()),
            ("Kafka going down", self.brokers.into()),
            ("the registry going down", self.registries.into()),
            ("a clock that jumps", self.clocks.into()),
            ("a fault on the way to ClickHouse", self.stores_met),
            ("a fault on the way to the registry", self.registries_met),
            ("a fault on the way to Kafka", self.kafka_met),
            ("a contract's next version", self.upgrades.into()),
            ("a topic created anew", self.topics.into()),
            ("a commit held against the ledger", self.commits.into()),
        ];
        never.chain(kinds.into_iter().filter(|(_, met)| *met == 0).map(|(kind, _)| kind)).collect()
    }
}
