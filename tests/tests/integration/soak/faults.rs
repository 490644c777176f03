//! One fault after the other, drawn from a seed.

use super::super::kill::Moments;
use super::watch::peak_mib;
use super::{END, Place};
use std::time::{Duration, Instant};
use tally_tests::Tally;

/// Between the end of a fault and the next.
const PAUSE_SECONDS: u64 = 12;
/// How long something stands still or is away.
const ABSENCE: Duration = Duration::from_secs(4);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// All connections to ClickHouse end, inserts under way with them.
    Cut,
    /// All connections to ClickHouse stay open, and nothing passes.
    Swallow,
    /// The second instance is killed, and started again.
    KillSecond,
    /// It leaves in good order, and comes back: its partitions go to the first and return.
    StopSecond,
    KillClickHouse,
    FreezeKafka,
    KillKafka,
}

const ALL: [Fault; 7] = [
    Fault::Cut,
    Fault::Swallow,
    Fault::KillSecond,
    Fault::StopSecond,
    Fault::KillClickHouse,
    Fault::FreezeKafka,
    Fault::KillKafka,
];

/// A fault that was, from when to when.
#[derive(Clone, Copy, Debug)]
pub(super) struct Happened {
    pub(super) fault: Fault,
    pub(super) begun: Instant,
    pub(super) ended: Instant,
}

/// What happens, and the instance to which it happens.
pub(super) struct Faults {
    moments: Moments,
    /// What may happen.
    kinds: Vec<Fault>,
    second: Tally,
    happened: Vec<Happened>,
    /// The most memory that any second instance held, MiB.
    peak_mib: f64,
}

impl Faults {
    /// All kinds, or those that `TALLY_SOAK_FAULTS` names, as in `KillKafka,Cut`.
    pub(super) fn new(seed: f64, second: Tally) -> Faults {
        let names = std::env::var("TALLY_SOAK_FAULTS").unwrap_or_default();
        let kind = |name: &str| {
            let known = ALL.into_iter().find(|kind| format!("{kind:?}") == name);
            known.unwrap_or_else(|| {
                panic!("TALLY_SOAK_FAULTS has some of {ALL:?}, with commas between, not {name}")
            })
        };
        let names = names.split(',').map(str::trim).filter(|name| !name.is_empty());
        let mut kinds: Vec<Fault> = names.map(kind).collect();
        if kinds.is_empty() {
            kinds.extend(ALL);
        }
        Faults { moments: Moments(seed.to_bits()), kinds, second, happened: Vec::new(), peak_mib: 0.0 }
    }

    pub(super) fn pause(&self) -> Duration {
        Duration::from_secs(PAUSE_SECONDS)
    }

    /// Does the next one; returns when it is over.
    pub(super) fn next(&mut self, place: &mut Place) {
        let kinds = &self.kinds;
        let fault = kinds[usize::try_from(self.moments.below(kinds.len() as u64)).expect("few")];
        self.peak_mib = self.peak_mib.max(peak_mib(self.second.id())); // before it may end
        let begun = Instant::now();
        match fault {
            Fault::Cut => place.proxy.cut(),
            Fault::Swallow => {
                place.proxy.swallow();
                std::thread::sleep(ABSENCE);
                place.proxy.cut();
            }
            Fault::KillSecond => {
                self.second.sigkill();
                std::thread::sleep(ABSENCE);
                self.second = place.second();
            }
            Fault::StopSecond => {
                self.second.sigterm();
                self.second.expect_success(END);
                self.second = place.second();
            }
            Fault::KillClickHouse => {
                place.clickhouse.kill();
                std::thread::sleep(ABSENCE);
                place.clickhouse.restart();
            }
            Fault::FreezeKafka => {
                place.kafka.pause();
                std::thread::sleep(ABSENCE);
                place.kafka.resume();
            }
            Fault::KillKafka => {
                place.kafka.kill();
                place.kafka.restart();
            }
        }
        self.happened.push(Happened { fault, begun, ended: Instant::now() });
    }

    /// The second instance leaves; what has happened, and the most memory, MiB, that it held.
    pub(super) fn end(mut self) -> (Vec<Happened>, f64) {
        let peak_mib = self.peak_mib.max(peak_mib(self.second.id()));
        self.second.sigterm();
        self.second.expect_success(END);
        (self.happened, peak_mib)
    }
}
