//! How a drain grows with partitions, with invalid events and with the backlog. Not a test: `make bench` prints it.

use super::backlog::{Backlog, Layout, register};
use super::contenders::{Arena, Turn, tally};
use super::{gauge, raw};
use tally_tests::{ClickHouse, Kafka, Registry, TempFolder, skip_without};

/// What is drained where nothing else is said.
const USUAL: Layout = Layout { codec: "lz4", events: 500_000, partitions: 3, invalid_permille: 10 };

/// Drains one backlog after another, each once.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_growth() {
    if skip_without(Kafka::installed()) || skip_without(Registry::installed()) {
        return;
    }
    let partitions = [1, 3, 12].map(|partitions| Layout { partitions, ..USUAL });
    let invalid = [0, 10, 500].map(|invalid_permille| Layout { invalid_permille, ..USUAL });
    let sizes = [100_000, 1_000_000, 3_000_000].map(|events| Layout { events, ..USUAL });
    let (kafka, registry) = (Kafka::start(), Registry::start());
    let ids = register(&registry);
    println!("tally ingest; load {}", gauge::load());
    println!(
        "  {:>10}{:>12}{:>10}{:>11}{:>10}{:>11}{:>10}",
        "events", "partitions", "invalid", "events/s", "CPU s/M", "store CPU", "peak MiB"
    );
    for layout in [partitions, invalid, sizes].concat() {
        let data = TempFolder::new("bench-clickhouse");
        let mut clickhouse = ClickHouse::start(data.path());
        let clickhouse_id = clickhouse.process().id();
        let backlog = Backlog::fill(&kafka, &ids, layout);
        let rows = raw::Rows::default();
        let arena = Arena { clickhouse: &clickhouse, clickhouse_id, registry: registry.url(), backlog, rows };
        let turn = tally(&arena);
        let of_million = |cpu: Option<f64>| cpu.unwrap_or(0.0) / events(&turn) * 1e6;
        println!(
            "  {:>10}{:>12}{:>8} ‰{:>11.0}{:>10.2}{:>11.2}{:>10}",
            layout.events,
            layout.partitions * 4,
            layout.invalid_permille,
            events(&turn) / turn.seconds,
            of_million(turn.cpu),
            of_million(turn.store_cpu),
            turn.peak_bytes.unwrap_or(0) >> 20
        );
        arena.backlog.forget();
    }
}

fn events(turn: &Turn) -> f64 {
    f64::from(u32::try_from(turn.events).unwrap_or(u32::MAX))
}
