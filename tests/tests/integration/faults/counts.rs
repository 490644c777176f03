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
    pub(super) troubles: u32,
    pub(super) cuts: u32,
    pub(super) registries: u32,
    pub(super) networks: u32,
    pub(super) clocks: u32,
    pub(super) upgrades: u32,
    pub(super) topics: u32,
    pub(super) publications: u32,
}

impl Counts {
    /// What went wrong.
    pub(super) fn wrong(&self) -> u32 {
        self.killed
            + self.died
            + self.frozen
            + self.stores
            + self.brokers
            + self.troubles
            + self.cuts
            + self.registries
            + self.networks
            + self.clocks
    }
}
