//! What each step of reading and writing costs beside a yardstick, and whether that is still what it was.
//!
//! A machine of today is not that of yesterday, so a step's time is divided by that of `a_yardstick`, of the same topic in the same
//! run: that ratio is kept in `steps.json`, and held against.

use super::gauge::median;
use super::report::keep;
use std::collections::BTreeMap;
use std::env;
use std::fmt::Write as _;
use std::process::Stdio;
use tally_tests::cargo;

/// How much more than it was kept with a step may cost, in the middle of its topics: of four runs of the same code two differed by 1.16 at most.
const SLOWER: f64 = 1.25;
/// How much more for one topic, which differed by 1.50 at most.
const SLOWER_FOR_ONE: f64 = 1.75;
/// What is said where no step does.
const GOOD: &str = "no step costs more than it did\n";
/// The step that the others are divided by.
const YARDSTICK: &str = "a_yardstick";
/// Runs of each step, of which the one in the middle counts.
const RUNS: u32 = 3;

/// `<bench>/<step>/<topic>` → a figure.
type Steps = BTreeMap<String, f64>;

/// The micro-benches of schemas and sinks, each step beside what it did when its ratio was kept. `TALLY_BENCH_KEEP=1` keeps today's.
#[test]
#[ignore = "a measurement: run `make bench`"]
#[expect(clippy::print_stdout, reason = "the figures are the result")]
fn bench_steps() {
    let runs: Vec<Steps> = (0..RUNS).map(|_| medians(&run())).collect();
    let nanos = middle(&runs);
    let ratios = middle(&runs.iter().map(ratios).collect::<Vec<_>>());
    assert!(!ratios.is_empty(), "divan printed no step that can be read; `steps.rs` reads its table");
    let kept: Steps = serde_json::from_str(include_str!("steps.json")).expect("the ratios that were kept");
    let text = table(&nanos, &ratios, &kept);
    println!("{text}");
    keep("steps.txt", &text);
    let json = format!("{:#}\n", serde_json::json!(rounded(&ratios)));
    keep("steps.json", &json);
    if env::var_os("TALLY_BENCH_KEEP").is_some() {
        let home = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/integration/bench/steps.json");
        std::fs::write(home, json).expect("the ratios are kept");
        return;
    }
    assert!(
        text.ends_with(GOOD),
        "a step costs more than it did, or is new or gone: TALLY_BENCH_KEEP=1 keeps it so"
    );
}

/// What divan prints of the benches.
fn run() -> String {
    let benches = ["-p", "tally-schemas", "-p", "tally-sinks", "--bench", "reading", "--bench", "writing"];
    let ended = cargo("bench").args(benches).stderr(Stdio::inherit()).output().expect("cargo starts");
    assert!(ended.status.success(), "cargo bench ended with {}: its errors stand above", ended.status);
    String::from_utf8(ended.stdout).expect("text")
}

/// Nanoseconds of each step, its median over divan's samples.
fn medians(printed: &str) -> Steps {
    let (mut bench, mut step, mut found) = ("", "", Steps::new());
    for line in printed.lines() {
        let branch = line.trim_start_matches(['│', ' ']);
        let Some(rest) = branch.strip_prefix("├─ ").or_else(|| branch.strip_prefix("╰─ ")) else {
            // a bench's first line has its name before the heads of the columns, all others figures alone
            if line.contains("fastest") {
                bench = line.split_whitespace().next().unwrap_or_default();
            }
            continue;
        };
        let cells: Vec<&str> = rest.split('│').collect();
        let name = cells[0].split_whitespace().next().unwrap_or_default();
        if branch.len() == line.len() {
            step = name;
        } else if let Some(nanos) = cells.get(2).and_then(|cell| nanos(cell)) {
            found.insert(format!("{bench}/{step}/{name}"), nanos);
        }
    }
    found
}

/// `1.5 µs` is 1,500.
fn nanos(cell: &str) -> Option<f64> {
    let (figure, unit) = cell.trim().split_once(' ')?;
    let scale = match unit {
        "ns" => 1.0,
        "µs" => 1e3,
        "ms" => 1e6,
        "s" => 1e9,
        _ => return None,
    };
    Some(figure.parse::<f64>().ok()? * scale)
}

/// Each step beside the yardstick of its bench and topic.
fn ratios(nanos: &Steps) -> Steps {
    let of = |name: &str| -> Option<f64> {
        let (bench, rest) = name.split_once('/')?;
        let (step, topic) = rest.split_once('/')?;
        (step != YARDSTICK).then_some(nanos[name] / nanos.get(&format!("{bench}/{YARDSTICK}/{topic}"))?)
    };
    nanos.keys().filter_map(|name| Some((name.clone(), of(name)?))).collect()
}

/// Of each figure the one in the middle of all runs.
fn middle(runs: &[Steps]) -> Steps {
    let names = runs.iter().flat_map(BTreeMap::keys);
    names.map(|name| (name.clone(), median(runs.iter().filter_map(|run| run.get(name).copied())))).collect()
}

/// Four digits are more than runs agree in.
fn rounded(ratios: &Steps) -> Steps {
    ratios
        .iter()
        .map(|(name, ratio)| (name.clone(), format!("{ratio:.3e}").parse().expect("a number")))
        .collect()
}

/// All steps, and below them those that cost more than they did, by name.
fn table(nanos: &Steps, ratios: &Steps, kept: &Steps) -> String {
    let mut text = format!("  {:<46}{:>12}{:>10}{:>10}{:>10}\n", "", "µs a run", "ratio", "kept", "change");
    let (mut slower, mut changes) = (String::new(), BTreeMap::<&str, Vec<f64>>::new());
    for (name, ratio) in ratios {
        let was = kept.get(name);
        let change = was.map(|was| ratio / was);
        let step = name.rsplit_once('/').map_or(name.as_str(), |(step, _)| step);
        changes.entry(step).or_default().extend(change);
        let (was, percent) = (
            was.map_or("–".to_owned(), |was| format!("{was:.3}")),
            change.map_or("new".to_owned(), |change| format!("{:+.0} %", (change - 1.0) * 100.0)),
        );
        let _ = writeln!(text, "  {name:<46}{:>12.1}{ratio:>10.3}{was:>10}{percent:>10}", nanos[name] / 1e3);
        if change.is_some_and(|change| change > SLOWER_FOR_ONE) {
            let _ = writeln!(slower, "SLOWER: {name} costs {percent} beside the yardstick since it was kept");
        }
    }
    for (step, changes) in changes {
        let change = median(changes);
        if change > SLOWER {
            let percent = (change - 1.0) * 100.0;
            let _ = writeln!(
                slower,
                "SLOWER: {step} costs {percent:+.0} % beside the yardstick since it was kept"
            );
        }
    }
    for gone in kept.keys().filter(|name| !ratios.contains_key(*name)) {
        let _ = writeln!(slower, "GONE: {gone} was kept and is not measured any more");
    }
    for new in ratios.keys().filter(|name| !kept.contains_key(*name)) {
        let _ = writeln!(slower, "NEW: {new} has nothing to be held against");
    }
    if slower.is_empty() { text + GOOD } else { text + &slower }
}

/// A regression is told of by its name, what was read is what divan prints, and a slower machine is none.
#[test]
fn a_step_that_costs_more_is_told_of() {
    let printed = "\
Timer precision: 20 ns
reading                fastest       │ slowest       │ median        │ mean          │ samples │ iters
├─ a_yardstick                       │               │               │               │         │
│  ├─ task-events      1.9 ms        │ 9.9 ms        │ 2 ms          │ 2.1 ms        │ 100     │ 100
│  │                   5.2 Mitem/s   │ 1.0 Mitem/s   │ 5 Mitem/s     │ 4.8 Mitem/s   │         │
│  ╰─ case-events      900 µs        │ 2 ms          │ 1 ms          │ 1.1 ms        │ 100     │ 100
╰─ digests                           │               │               │               │         │
   ├─ task-events      3 ms          │ 9.9 ms        │ 4 ms          │ 4.1 ms        │ 100     │ 100
   │                   3 Mitem/s     │ 1.0 Mitem/s   │ 2.5 Mitem/s   │ 2.4 Mitem/s   │         │
   ╰─ case-events      800 ns        │ 3 µs          │ 900 ns        │ 1 µs          │ 100     │ 100
";
    let nanos = medians(printed);
    assert_eq!(nanos["reading/digests/task-events"], 4e6);
    assert_eq!(nanos["reading/digests/case-events"], 900.0);
    let today = ratios(&nanos);
    assert_eq!(
        today.keys().collect::<Vec<_>>(),
        ["reading/digests/case-events", "reading/digests/task-events"]
    );
    assert_eq!(today["reading/digests/task-events"], 2.0);

    let slow_machine: Steps = nanos.iter().map(|(name, nanos)| (name.clone(), nanos * 3.0)).collect();
    assert!(table(&slow_machine, &ratios(&slow_machine), &today).ends_with(GOOD));

    let mut regressed = nanos.clone();
    regressed.insert("reading/digests/task-events".to_owned(), 5e6);
    assert!(
        !table(&regressed, &ratios(&regressed), &today).contains("SLOWER"),
        "one topic by a quarter is noise"
    );
    regressed.insert("reading/digests/task-events".to_owned(), 8e6);
    let said = table(&regressed, &ratios(&regressed), &today);
    assert!(said.contains("SLOWER: reading/digests/task-events costs +100 % "), "{said}");
    let said =
        table(&nanos, &today, &today.iter().map(|(name, ratio)| (name.clone(), ratio / 1.3)).collect());
    assert!(said.contains("SLOWER: reading/digests costs +30 % "), "{said}");
    assert!(!said.contains("SLOWER: reading/digests/"), "{said}");

    assert!(table(&nanos, &today, &Steps::new()).contains("NEW: reading/digests/case-events"));
    regressed.remove("reading/digests/case-events");
    let said = table(&regressed, &ratios(&regressed), &today);
    assert!(said.contains("GONE: reading/digests/case-events"), "{said}");
}
