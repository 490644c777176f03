//! What the simulated platform is like.

/// The settings of a simulated platform. Shares are per mille of what each names.
#[derive(Clone, Debug)]
pub struct Config {
    /// The same seed and settings give the same history, byte for byte, on every platform.
    pub seed: u64,
    /// Share of emissions that are invalid on purpose. Default 10.
    pub invalid_permille: u16,
    /// Share of emissions that repeat an earlier event. Default 10.
    pub duplicate_permille: u16,
    /// When the simulation starts, microseconds since 1970-01-01 UTC. Default 2025-09-26.
    pub start: i64,
    /// Wallets, one user each. Default 2,000.
    pub wallets: u32,
    /// Creators. Default 100.
    pub creators: u32,
    /// Templates. Default 300.
    pub templates: u32,
    /// Mean simulated time between two visits, microseconds; a visit makes about 15 events. Default 5 s.
    pub visit_gap_micros: i64,
    /// Stretches waiting and computing: 1000 is a platform of people (a task takes minutes), 20 one for a
    /// demonstration of seconds. Calls, retries, licences and moderation keep their own clocks.
    pub life_permille: u32,
    /// Moderators' pace: 1000 decides most cases within 60 % of the SLA of their tag; below 1000 is quicker.
    pub case_permille: u32,
    /// Share of tasks whose price misses the tolerance of their queue. Default 25.
    pub estimate_miss_permille: u32,
    /// Share of requests whose first attempt fails; a retry fails in 3 of 10 cases. Default 8.
    pub call_error_permille: u32,
    /// Share of tasks that are accelerated from the start. Default 150.
    pub accelerated_permille: u32,
    /// Share of normal tasks that are offered acceleration while they wait. Default 120.
    pub offer_permille: u32,
    /// Share of tasks that ask for a supplementary charge. Default 60.
    pub supplement_permille: u32,
    /// Share of tasks that fail while they run. Default 40.
    pub failure_permille: u32,
    /// Share of started tasks that are reported to moderation. Default 20.
    pub report_permille: u32,
    /// Share of wallets whose audience is TEST, STAFF or CANARY. Default 30.
    pub internal_permille: u32,
    /// Share of customers' credit and task events written under the oldest contract. Default 250.
    pub oldest_contract_permille: u32,
    /// Share of started tasks of which one event is published without a valid policy tag, and never again with one.
    /// Above 0, events of nothing without a valid tag are among the invalid ones too. A registry must know
    /// [`foreign_schemas`](super::foreign_schemas). Default 0.
    pub untagged_permille: u32,
    /// Wallets of earlier customers, whose purchases of the ten weeks before `start` are published first, under the
    /// time at which they happened; they do not visit the platform after `start`. Default 0: no such history.
    pub past_wallets: u32,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            seed: 1,
            invalid_permille: 10,
            duplicate_permille: 10,
            start: 1_758_844_800_000_000,
            wallets: 2_000,
            creators: 100,
            templates: 300,
            visit_gap_micros: 5_000_000,
            life_permille: 1_000,
            case_permille: 1_000,
            estimate_miss_permille: 25,
            call_error_permille: 8,
            accelerated_permille: 150,
            offer_permille: 120,
            supplement_permille: 60,
            failure_permille: 40,
            report_permille: 20,
            internal_permille: 30,
            oldest_contract_permille: 250,
            untagged_permille: 0,
            past_wallets: 0,
        }
    }
}

impl Config {
    /// The default platform with neither invalid events nor duplicates.
    pub fn bench() -> Config {
        Config { invalid_permille: 0, duplicate_permille: 0, ..Config::default() }
    }

    /// The default platform under another seed.
    pub fn seeded(seed: u64) -> Config {
        Config { seed, ..Config::default() }
    }

    /// The same settings with every value inside its bounds.
    pub(super) fn bounded(mut self) -> Config {
        self.invalid_permille = self.invalid_permille.min(500);
        self.duplicate_permille = self.duplicate_permille.min(450);
        self.start = self.start.max(1_577_836_800_000_000);
        self.wallets = self.wallets.clamp(2, 1_000_000);
        self.creators = self.creators.clamp(1, 1_000_000);
        self.templates = self.templates.clamp(1, 1_000_000);
        self.past_wallets = self.past_wallets.min(1_000_000);
        self.visit_gap_micros = self.visit_gap_micros.clamp(1, 86_400_000_000);
        self.life_permille = self.life_permille.clamp(1, 100_000);
        self.case_permille = self.case_permille.clamp(1, 10_000);
        self
    }
}
