//! How a drain grows with partitions, with invalid events, with the size of events and with the backlog. Not a test: `make bench`
//! prints it.

use super::backlog::{Backlog, Layout, register, register_with_own};
use super::contenders::{Arena, tally};
use super::report::{self, Figures};
use super::{gauge, number, raw};
use serde_json::json;
use tally_schemas::Topic;
use tally_tests::{ClickHouse, Kafka, Registry, TempFolder, skip_without};

/// What is drained where nothing else is said.
const USUAL: Layout =
    Layout { codec: "lz4", events: 500_000, partitions: 3, only: None, invalid_permille: 10, own_bytes: 0 };

/// Rounds, unless `TALLY_BENCH_ROUNDS` says otherwise.
const ROUNDS: u64 = 1;

/// What is changed, and the layouts along it; the largest backlog has `most` events. Partitions are those of each of the four topics,
/// save the first: one partition of one topic, so one lane alone.
fn axes(most: u64) -> [(&'static str, Vec<Layout>); 4] {
    let usual = Layout { events: most.min(USUAL.events), ..USUAL };
    let alone = Layout { partitions: 1, only: Some(Topic::Task), ..usual };
    let spread = [1, 3, 12].map(|partitions| Layout { partitions, ..usual });
    [
        ("partitions", [&[alone][..], &spread].concat()),
        ("invalid", [0, 10, 500].map(|invalid_permille| Layout { invalid_permille, ..usual }).to_vec()),
        // larger by a text that the contract does not have: fetched, walked and digested, but neither decoded nor stored
        ("size", [0, 400, 3_600].map(|own_bytes| Layout { own_bytes, ..usual }).to_vec()),
        ("events", [most / 100, most / 10, most].map(|events| Layout { events, ..usual }).to_vec()),
    ]
}

/// Drains one backlog after another. `TALLY_BENCH_EVENTS` is the largest (10,000,000, which take 6 GB of disk).
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_growth() {
    if skip_without(Kafka::installed()) || skip_without(Registry::installed()) {
        return;
    }
    let (kafka, registry) = (Kafka::start(), Registry::start());
    let (ids, ids_with_own) = (register(&registry), register_with_own(&registry));
    let mut documents = Vec::new();
    let rounds = number("TALLY_BENCH_ROUNDS", ROUNDS);
    for (axis, layouts) in axes(number("TALLY_BENCH_EVENTS", 10_000_000)) {
        let mut all = Vec::new();
        for layout in layouts {
            let data = TempFolder::new("bench-clickhouse");
            let mut clickhouse = ClickHouse::start(data.path());
            let clickhouse_id = clickhouse.process().id();
            let ids = if layout.own_bytes > 0 { &ids_with_own } else { &ids };
            let backlog = Backlog::fill(&kafka, ids, layout);
            let mut figures = Figures::new(&said(&backlog));
            let (registry, rows) = (registry.url(), raw::Rows::default());
            let arena = Arena { clickhouse: &clickhouse, clickhouse_id, registry, backlog, rows };
            for _ in 0..rounds {
                figures.push(tally(&arena));
            }
            arena.backlog.forget();
            all.push(figures);
        }
        let title = format!("tally ingest along {axis}, median of {rounds}, load {}", gauge::load());
        let table = report::table(&title, &all);
        println!("{table}");
        report::keep(&format!("growth-{axis}.txt"), &table);
        documents.push(report::json(&title, &all));
        report::keep(&format!("growth-{axis}.svg"), &report::plot(&title, &all));
    }
    let kept = report::keep("growth.json", &format!("{:#}\n", json!(documents)));
    println!("figures and plots are in {}", kept.parent().unwrap_or(&kept).display());
}

fn said(backlog: &Backlog<'_>) -> String {
    let Layout { events, partitions, only, invalid_permille, .. } = backlog.layout;
    let (thousands, bytes) = (events / 1_000, backlog.event_bytes());
    let lanes = match only {
        Some(_) => format!("{partitions} lane alone"),
        None => format!("{} partitions", partitions * 4),
    };
    format!("{thousands} k, {lanes}, {invalid_permille} \u{2030}, {bytes} B")
}
