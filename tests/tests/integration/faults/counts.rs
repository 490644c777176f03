//! What happened in a run, counted.

/// What happened, for the line of a seed.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) started: u32,
    pub(super) killed: u32,
    pub(super) died: u32,
    pub(super) frozen: u32,
    pub(super) stores: u32,
    pub(super) brokers: u32,
    /// Jumps of a clock that somebody went by.
    pub(super) clocks: u32,
    /// Pieces and connections to ClickHouse, the registry and Kafka that met a fault.
    pub(super) stores_met: u64,
    pub(super) registries_met: u64,
    pub(super) kafka_met: u64,
    pub(super) upgrades: u32,
    pub(super) topics: u32,
    pub(super) publications: u32,
}

impl Counts {
    /// What went wrong.
    pub(super) fn wrong(&self) -> u64 {
        let deeds = [self.killed, self.died, self.frozen, self.stores, self.brokers, self.clocks];
        let met = [self.stores_met, self.registries_met, self.kafka_met];
        deeds.into_iter().map(u64::from).chain(met).sum()
    }
}
