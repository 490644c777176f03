//! Leaves a second. Not a test: `make bench` runs it, in release, and prints.

use super::bench_rows::{STEP, fill};
use std::time::Instant;
use tally_tests::{ClickHouse, Tally, TempFolder};

/// Receipts, over four partitions, and as many facts.
const ROWS: u32 = 1_000_000;
/// How often each is measured.
const ROUNDS: usize = 3;

/// A million receipts and facts, made by ClickHouse itself and honest, are sealed and verified, each time into a new log.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_seal() {
    let database = ClickHouse::shared().database();
    let at = ["--clickhouse", database.url(), "--database", database.name()];
    fill(&database, ROWS);
    let folder = TempFolder::new("bench-seal");
    let path = |name: &str| folder.path().join(name).to_str().expect("text").to_owned();
    for round in 1..=ROUNDS {
        // a log of its own name each time: ClickHouse remembers what was sealed before
        let (log, key) = (path(&format!("log-{round}")), path(&format!("key-{round}")));
        let name = format!("bench.example/{round}");
        Tally::spawn(&["seal", "keygen", "--out", &key, "--name", &name], &[]).expect_success(STEP);
        let timed = |command: &[&str]| {
            let start = Instant::now();
            let arguments = [command, &at, &["--seals", &log]].concat();
            let said = Tally::spawn(&arguments, &[]).expect_success(STEP).stdout;
            let seconds = start.elapsed().as_secs_f64();
            let last = said.lines().last().unwrap_or_default();
            println!("{}: {seconds:.2} s, {:.0} leaves/s: {last}", command[0], f64::from(ROWS) / seconds);
        };
        timed(&["seal", "--key", &key]);
        timed(&["verify", "--keys", &format!("{key}.pub")]);
    }
}
