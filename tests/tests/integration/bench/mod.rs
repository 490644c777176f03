//! How fast, beside whom, and what bounds it. Not tests: `make bench` runs them, in release, and prints.
//!
//! One run measures all contenders turn by turn, several rounds, so that what else the machine does falls on all alike.
//! `backlog` is what they drain, `contenders` who they are, `raw` the limits, `report` what is said.

mod backlog;
mod contenders;
mod gauge;
mod growth;
mod kafka_engine;
mod latency;
mod raw;
mod report;
mod steps;

use backlog::{Backlog, Layout, register};
use contenders::{Arena, Contender, everybody};
use report::Figures;
use serde_json::json;
use std::env;
use tally_tests::{ClickHouse, Kafka, Registry, TempFolder, skip_without};

/// Rounds of the comparison.
const ROUNDS: u64 = 3;
/// Records of the backlog, unless `TALLY_BENCH_EVENTS` says otherwise.
const EVENTS: u64 = 1_000_000;

/// Drains the same backlog (1 % invalid, 1 % duplicate, twelve partitions) by everybody, once packed and once plain.
/// `TALLY_BENCH_ONLY=tally,raw` keeps to contenders whose names have one of these words.
#[test]
#[ignore = "a measurement: run `make bench`"]
fn bench_drain() {
    compare("drain", everybody(), "lz4,none", ROUNDS);
}

/// The same by ClickHouse's Kafka engine alone, one setting after another.
#[test]
#[ignore = "a measurement: run `make bench`"]
fn bench_kafka_engine() {
    compare("kafka-engine", kafka_engine::variants(), "lz4", 1);
}

/// Has contenders drain one backlog turn by turn, and says and keeps what it took.
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn compare(name: &str, mut contenders: Vec<Contender>, codecs: &str, rounds: u64) {
    if skip_without(Kafka::installed()) || skip_without(Registry::installed()) {
        return;
    }
    let only = env::var("TALLY_BENCH_ONLY").unwrap_or_default();
    contenders.retain(|one| only.split(',').any(|word| one.name.contains(word)));
    if contenders.is_empty() {
        return;
    }
    let (kafka, registry) = (Kafka::start(), Registry::start());
    let data = TempFolder::new("bench-clickhouse");
    let mut clickhouse = ClickHouse::start(data.path());
    let clickhouse_id = clickhouse.process().id();
    let ids = register(&registry);
    let rounds = number("TALLY_BENCH_ROUNDS", rounds);
    let mut documents = Vec::new();
    for codec in env::var("TALLY_BENCH_CODECS").as_deref().unwrap_or(codecs).split(',') {
        let codec = if codec == "lz4" { "lz4" } else { "none" };
        let layout = Layout {
            codec,
            events: number("TALLY_BENCH_EVENTS", EVENTS),
            partitions: 3,
            only: None,
            invalid_permille: 10,
            own_bytes: 0,
        };
        let backlog = Backlog::fill(&kafka, &ids, layout);
        let rows = raw::Rows::of(&backlog, &ids);
        let arena = Arena { clickhouse: &clickhouse, clickhouse_id, registry: registry.url(), backlog, rows };
        let mut all: Vec<Figures> = contenders.iter().map(|one| Figures::new(&one.name)).collect();
        for _ in 0..rounds {
            for (one, figures) in contenders.iter().zip(&mut all) {
                let turn = (one.run)(&arena);
                println!("{}: {} events in {:.1} s", one.name, turn.events, turn.seconds);
                figures.push(turn);
            }
        }
        let title = format!(
            "{} events of {}, {codec}, 12 partitions, median of {rounds} rounds, load {}",
            layout.events,
            arena.backlog.sizes(),
            gauge::load()
        );
        let table = report::table(&title, &all);
        println!("{table}");
        report::keep(&format!("{name}-{codec}.txt"), &table);
        documents.push(report::json(&title, &all));
        report::keep(&format!("{name}-{codec}.svg"), &report::plot(&title, &all));
    }
    let kept = report::keep(&format!("{name}.json"), &format!("{:#}\n", json!(documents)));
    println!("figures and plots are in {}", kept.parent().unwrap_or(&kept).display());
}

/// A number from the environment.
fn number(name: &str, default: u64) -> u64 {
    env::var(name).ok().and_then(|text| text.parse().ok()).unwrap_or(default)
}
