//! Seeded schedules of faults on real Kafka and the real engine: `make faults`.
//!
//! A seed draws what is published, where processes die or stand still, who joins and leaves, and what network and servers
//! do meanwhile. Afterwards everything is held against what Kafka acknowledged. A seed that fails prints itself.
#![expect(clippy::print_stdout, reason = "seeds and their schedules are what a failed run shows")]

mod counts;
mod schedule;
mod servers;

use std::env;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use schedule::{Planted, run};
use servers::Servers;
use tally_sinks::fault::Point;
use tally_tests::{ClickHouse, Kafka, Stage, Tally, skip_without};

/// Seeds of a plain `make test`.
const SEEDS: [u64; 2] = [1, 2];
/// Seeds within which a planted bug must show.
const SEEDS_OF_A_BUG_MAX: u64 = 20;
/// What the account says where receipts are missing.
const RULE: &str = "receipts and published events";
const SOON: Duration = Duration::from_secs(60);
/// Runs at the same time; `TALLY_FAULTS_AT_ONCE` asks for others.
const RUNS_AT_ONCE: u64 = 2;

fn number(name: &str) -> Option<u64> {
    let text = env::var(name).ok().filter(|text| !text.is_empty())?;
    Some(text.parse().unwrap_or_else(|_| panic!("{name} is a whole number, not {text}")))
}

/// Scenario: two seeds of `make faults`, on the servers of the other tests, which nobody restarts.
/// Guarantees: nothing is missing, doubled or both; the audit of offsets passes, the seals verify.
#[test]
fn two_seeds_balance() {
    if skip_without(Kafka::real()) {
        return;
    }
    let servers = Servers::shared();
    let servers = &servers;
    std::thread::scope(|scope| {
        for seed in SEEDS {
            scope.spawn(move || println!("seed {seed}: {}", run(seed, servers, Planted::Nothing)));
        }
    });
}

/// Scenario: `TALLY_FAULTS_SEEDS` seeds from `TALLY_FAULTS_FROM` on (else 1), or the one that `TALLY_FAULTS_SEED` names.
/// Guarantees: as above; and a Kafka and a registry of their own go down now and then.
#[test]
#[ignore = "make faults"]
fn seeds_balance() {
    let (first, number) = match number("TALLY_FAULTS_SEED") {
        Some(seed) => (seed, 1),
        None => (number("TALLY_FAULTS_FROM").unwrap_or(1), number("TALLY_FAULTS_SEEDS").unwrap_or(20)),
    };
    let runs = self::number("TALLY_FAULTS_AT_ONCE").unwrap_or(RUNS_AT_ONCE);
    let servers = Servers::of_its_own(usize::try_from(runs).expect("few runs"));
    let (next, failed, began) = (AtomicU64::new(first), AtomicU64::new(0), Instant::now());
    std::thread::scope(|scope| {
        for _ in 0..runs {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= first + number {
                        return;
                    }
                    match catch_unwind(AssertUnwindSafe(|| run(seed, &servers, Planted::Nothing))) {
                        Ok(said) => println!("{:>6.0} s  seed {seed}: {said}", began.elapsed().as_secs_f64()),
                        Err(_) => {
                            failed.fetch_add(1, Ordering::Relaxed);
                            println!("seed {seed} FAILED; make faults SEED={seed} draws the same schedule");
                        }
                    }
                }
            });
        }
    });
    let failed = failed.into_inner();
    println!("{number} seeds, {failed} failed, {:.0} s", began.elapsed().as_secs_f64());
    assert_eq!(failed, 0, "seeds that failed");
}

/// Scenario: a bug is planted in the binary: it commits before it attests, or forgets the last record of each block.
/// Guarantees: within twenty seeds a run fails, by the rule that the bug breaks: events were published that have no receipt.
/// Without the bug the same seed balances.
#[test]
#[ignore = "make faults"]
fn planted_bugs_are_found_on_real_servers() {
    let servers = Servers::of_its_own(1);
    for planted in [Planted::CommitFirst, Planted::SkipOffset] {
        let breaks_the_rule = |seed: &u64| {
            let Err(panic) = catch_unwind(AssertUnwindSafe(|| run(*seed, &servers, planted))) else {
                return false;
            };
            let said = panic.downcast_ref::<String>().map_or("", String::as_str);
            let found = said.contains(RULE);
            if !found {
                println!("{planted:?}, seed {seed}, failed by something else: {said}");
            }
            found
        };
        let found = (1..=SEEDS_OF_A_BUG_MAX).find(breaks_the_rule);
        let seed = found.unwrap_or_else(|| panic!("{planted:?} is not found"));
        println!("{planted:?} is found by seed {seed}");
        println!("without it: {}", run(seed, &servers, Planted::Nothing));
    }
}

/// Scenario: the ordinary binary, and the one with crash points.
/// Guarantees: only the latter knows what a crash point or a planted bug is; nothing turns the feature on by itself.
#[test]
fn an_ordinary_build_has_no_crash_points() {
    let holds = |path: &std::path::Path, text: &str| {
        let bytes = std::fs::read(path).expect("a binary can be read");
        bytes.windows(text.len()).any(|window| window == text.as_bytes())
    };
    for text in ["TALLY_FAULT", "TALLY_PLANT"] {
        assert!(!holds(Tally::binary(), text), "the ordinary binary knows {text}");
        assert!(holds(Tally::binary_with_faults(), text), "the other one does not know {text}");
    }
    for manifest in ["Cargo.toml", "sinks/Cargo.toml", "pipeline/Cargo.toml", "tests/Cargo.toml"] {
        let text = std::fs::read_to_string(tally_tests::repository().join(manifest)).expect("a manifest");
        let turns_on = |line: &&str| {
            line.contains("faults") && (line.contains("default =") || line.contains("features = [\"faults"))
        };
        let line = text.lines().filter(|line| !line.starts_with("required-features")).find(turns_on);
        assert!(line.is_none(), "{manifest} turns crash points on: {line:?}");
    }
}

/// Scenario: each crash point in turn, at its first pass, with valid and invalid records under way.
/// Guarantees: the process does end there, so no point is a name without a place.
#[test]
fn every_crash_point_has_its_place() {
    if skip_without(Kafka::real()) {
        return;
    }
    let stage = Stage::shared("points");
    let what = ["--events", "300", "--invalid-permille", "50"];
    stage.simulate(&what).expect_success(SOON);
    Tally::binary_with_faults();
    for some in Point::ALL.chunks(3) {
        std::thread::scope(|scope| {
            for point in some {
                let stage = &stage;
                scope.spawn(move || {
                    let dies = schedule::dies_at(*point, stage, ClickHouse::shared());
                    assert!(dies, "nothing ended at {}", point.name());
                });
            }
        });
    }
}
