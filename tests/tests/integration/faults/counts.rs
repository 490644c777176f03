//! What happened in a run, counted.

use std::collections::BTreeMap;

use tally_sinks::fault::Point;
use tally_tests::Met;

/// What a network does to what passes.
const NETWORK: [&str; 4] = ["late", "half", "cut", "silent"];
/// What is said in the store's place.
const REFUSED: [&str; 3] = ["unavailable", "read-only", "full"];

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
    /// Pieces and connections to ClickHouse, the registry and Kafka that met a fault, by its kind.
    pub(super) stores_met: Met,
    pub(super) registries_met: Met,
    pub(super) kafka_met: Met,
    pub(super) upgrades: u32,
    pub(super) topics: u32,
    pub(super) publications: u32,
    /// Of these in the Confluent wire format.
    pub(super) confluent: u32,
    /// Transactions that were aborted.
    pub(super) aborted: u32,
    /// Events that the store refused.
    pub(super) rejected: u32,
    /// Commits that were held against the ledger while things went wrong.
    pub(super) commits: u32,
}

impl Counts {
    /// What went wrong.
    pub(super) fn wrong(&self) -> u64 {
        let deeds = [self.killed, self.frozen, self.stores, self.brokers, self.registries, self.clocks];
        let met = [&self.stores_met, &self.registries_met, &self.kafka_met]
            .into_iter()
            .flat_map(|met| met.values().copied());
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
        for (all, more) in [
            (&mut self.stores_met, &other.stores_met),
            (&mut self.registries_met, &other.registries_met),
            (&mut self.kafka_met, &other.kafka_met),
        ] {
            more.iter().for_each(|(kind, met)| *all.entry(kind).or_default() += met);
        }
        self.upgrades += other.upgrades;
        self.topics += other.topics;
        self.publications += other.publications;
        self.confluent += other.confluent;
        self.aborted += other.aborted;
        self.rejected += other.rejected;
        self.commits += other.commits;
    }

    /// What many runs have not met: then what they show is less than it seems.
    pub(super) fn lacks(&self) -> Vec<String> {
        let points = Point::ALL.iter().map(|point| point.name());
        let never = points.filter(|point| !self.died.contains_key(point)).map(str::to_owned);
        let ways = [
            ("ClickHouse", &self.stores_met, &[&NETWORK[..], &REFUSED, &["all cut"]][..]),
            ("the registry", &self.registries_met, &[&NETWORK, &REFUSED[..1]]),
            ("Kafka", &self.kafka_met, &[&NETWORK, &["all cut"]]),
        ];
        let ways = ways.into_iter().flat_map(|(to, met, kinds)| {
            let never =
                kinds.iter().copied().flatten().filter(|kind| met.get(*kind).copied().unwrap_or(0) == 0);
            never.map(move |kind| format!("{kind} on the way to {to}"))
        });
        let kinds = [
            ("a kill", self.killed),
            ("an orderly stop", self.stopped),
            ("a freeze", self.frozen),
            ("ClickHouse going down", self.stores),
            ("Kafka going down", self.brokers),
            ("the registry going down", self.registries),
            ("a clock that jumps", self.clocks),
            ("a contract's next version", self.upgrades),
            ("a topic created anew", self.topics),
            ("the Confluent wire format", self.confluent),
            ("an aborted transaction", self.aborted),
            ("an event that the store refuses", self.rejected),
            ("a commit held against the ledger", self.commits),
        ];
        let kinds = kinds.into_iter().filter(|(_, met)| *met == 0).map(|(kind, _)| kind.to_owned());
        never.chain(ways).chain(kinds).collect()
    }
}
