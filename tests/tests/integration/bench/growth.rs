//! How a drain grows with partitions, with invalid events, with the size of events and with the backlog. Not a test: `make bench`
//! prints it.

use super::backlog::{Backlog, Layout, register, register_with_own};
use super::contenders::{Arena, tally};
use super::report::{self, Figures};
use super::{gauge, raw};
use serde_json::json;
use tally_tests::{ClickHouse, Kafka, Registry, TempFolder, skip_without};

/// What is drained where nothing else is said.
const USUAL: Layout =
    Layout { codec: "lz4", events: 500_000, partitions: 3, invalid_permille: 10, own_bytes: 0 };

/// What is changed, and the layouts along it.
fn axes() -> [(&'static str, Vec<Layout>); 4] {
    [
        ("partitions", [1, 3, 12].map(|partitions| Layout { partitions, ..USUAL }).to_vec()),
        ("invalid", [0, 10, 500].map(|invalid_permille| Layout { invalid_permille, ..USUAL }).to_vec()),
        ("size", [0, 400, 3_600].map(|own_bytes| Layout { own_bytes, ..USUAL }).to_vec()),
        ("events", [100_000, 1_000_000, 10_000_000].map(|events| Layout { events, ..USUAL }).to_vec()),
    ]
}

/// Drains one backlog after another, each once.
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
    for (axis, layouts) in axes() {
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
            figures.push(tally(&arena));
            arena.backlog.forget();
            all.push(figures);
        }
        let title = format!("tally ingest along {axis}, each once, load {}", gauge::load());
        println!("{}", report::table(&title, &all));
        documents.push(report::json(&title, &all));
        report::keep(&format!("growth-{axis}.svg"), &report::plot(&title, &all));
    }
    let kept = report::keep("growth.json", &format!("{:#}\n", json!(documents)));
    println!("figures and plots are in {}", kept.parent().unwrap_or(&kept).display());
}

fn said(backlog: &Backlog<'_>) -> String {
    let Layout { events, partitions, invalid_permille, .. } = backlog.layout;
    let (thousands, bytes) = (events / 1_000, backlog.event_bytes());
    format!("{thousands} k, {} partitions, {invalid_permille} \u{2030}, {bytes} B", partitions * 4)
}
