//! The figures of the README. Not a test: `make bench` runs it, in release, and prints.

use std::time::Duration;
use tally_tests::{Kafka, Stage, Tally, skip_without};

/// Events in the backlog.
const EVENTS: &str = "1000000";

/// Drains a backlog of 1,000,000 simulated events (1 % invalid, 1 % duplicate) over twelve partitions, three times.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_drain_of_a_million() {
    if skip_without(Kafka::real()) {
        return;
    }
    for round in 1..=3 {
        let stage = Stage::shared("bench");
        let backlog = ["simulate", "--events", EVENTS, "--seed", "7"];
        let mut publish = Tally::spawn(&[&backlog[..], &stage.at_kafka()[..]].concat(), &[]);
        publish.expect_success(Duration::from_secs(300));
        let mut drain = stage.ingest(&["--until-caught-up"]);
        drain.expect_success(Duration::from_secs(600));
        let output = drain.stdout();
        println!("round {round}: {}", output.lines().last().unwrap_or_default());
    }
}
