//! The real lanes in a world of their own: a log, a group and a store in memory, a clock that jumps from event to
//! event, and a scheduler that draws from a seed who goes next. Everything that `lane.rs` decides is the code that runs
//! in production; only what stands behind [`super::outside::Outside`] is simulated.
//!
//! A seed that fails prints itself. `TALLY_SIM_SEED=n` runs that seed alone and prints its history,
//! `TALLY_SIM_SEEDS=n` runs so many.

mod connection;
mod messages;
mod process;
mod schedule;
mod scheduler;
mod store;
mod world;

pub(crate) use scheduler::simulated_clock;

use crate::fault::{Bug, plant};
use schedule::{Outcome, follow, lose_a_commit};
use std::sync::atomic::{AtomicU64, Ordering};

/// Seeds of a plain test run.
const SEEDS: u64 = 300;

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().and_then(|text| text.parse().ok())
}

/// Seeds within which a planted bug must show.
const SEEDS_OF_A_BUG_MAX: u64 = 20;

/// Runs seeds on all cores, with a bug planted or none; one that breaks a rule.
fn first_broken(seeds: std::ops::Range<u64>, bug: Option<Bug>) -> Option<(u64, Outcome)> {
    let (next, broken) = (AtomicU64::new(seeds.start), std::sync::Mutex::new(None));
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                plant(bug);
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= seeds.end || scheduler::lock(&broken).is_some() {
                        return;
                    }
                    let outcome = follow(seed, false);
                    if outcome.broken.is_some() {
                        scheduler::lock(&broken).get_or_insert((seed, outcome));
                        return;
                    }
                }
            });
        }
    });
    broken.into_inner().expect("nobody panicked")
}

/// Scenario: seeded lives of one to four processes on a topic of one to three partitions, with much memory or almost none: kills at every step and between,
/// lost answers and inserts that are done late, frozen owners, rebalances, retention, transactions, a topic created anew,
/// repeated and withheld deliveries, rows that the store refuses.
/// Guarantees: at every moment no commit passes an offset that is not settled, no receipt comes before what it attests, no
/// offset is row and dead letter; in the end every offset has one disposition, the expected one, and every content one fact.
#[test]
fn seeded_lives_lose_and_double_nothing() {
    if let Some(seed) = number("TALLY_SIM_SEED") {
        let outcome = follow(seed, true);
        assert!(outcome.broken.is_none(), "{}\nseed {seed}: {:?}", outcome.lines.join("\n"), outcome.broken);
        return;
    }
    let seeds = number("TALLY_SIM_SEEDS").unwrap_or(SEEDS);
    if let Some((seed, Outcome { broken: Some(said), .. })) = first_broken(0..seeds, None) {
        panic!("seed {seed}: {said}\nTALLY_SIM_SEED={seed} replays it");
    }
}

/// Scenario: some seeds, each twice.
/// Guarantees: their histories are the same, word by word; other seeds have others.
#[test]
fn a_seed_has_one_history() {
    let mut histories = std::collections::BTreeSet::new();
    for seed in 0..20 {
        let (one, other) = (follow(seed, true), follow(seed, true));
        assert!(one.steps > 50 && one.lines.len() > 50, "seed {seed}: {} steps", one.steps);
        assert_eq!(one.lines, other.lines, "seed {seed}");
        assert_eq!((one.history, one.steps), (other.history, other.steps), "seed {seed}");
        histories.insert(one.history);
    }
    assert_eq!(histories.len(), 20);
}

/// Scenario: a bug is planted in the lanes: they commit before they attest, or forget the last record of each block.
/// Guarantees: within twenty seeds a rule is broken, and it is the rule that the bug breaks.
#[test]
fn planted_bugs_are_found() {
    for (bug, rule) in [(Bug::CommitFirst, "is not settled"), (Bug::SkipOffset, "is not settled")] {
        let (seed, outcome) =
            first_broken(0..SEEDS_OF_A_BUG_MAX, Some(bug)).unwrap_or_else(|| panic!("{bug:?} is not found"));
        let said = outcome.broken.unwrap_or_default();
        assert!(said.contains(rule), "{bug:?}, seed {seed}: {said}");
    }
}

/// Scenario: the last record of a log is taken and attested, and its commit is lost on the way; nothing follows.
/// Guarantees: the lane finds out and sends it again: the group does not stay behind, and who waits for it is not kept.
#[test]
fn a_lost_commit_is_sent_again() {
    assert_eq!(lose_a_commit().broken, None);
}
