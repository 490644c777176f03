//! The shape of the house: who may know whom, what lies where, and what nobody may leave behind.

use std::fs;
use std::path::{Path, PathBuf};

use tally_tests::repository;

/// Lines of a file: a sign to look again long before.
const LINES_MAX: usize = 500;
/// What the repository's root shows.
const ROOT: [&str; 11] = [
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "Makefile",
    "README.md",
    "dashboards",
    "pipeline",
    "queries",
    "schemas",
    "sinks",
    "tests",
];
/// Crate, tally crates it may depend on, and others it must not.
const ARROWS: [(&str, &[&str], &[&str]); 4] = [
    ("schemas", &[], &["tokio", "rdkafka", "clickhouse", "axum", "reqwest"]),
    ("sinks", &["tally-schemas"], &["axum"]),
    ("queries", &["tally-schemas"], &["rdkafka", "axum"]),
    ("dashboards", &["tally-schemas", "tally-queries"], &["rdkafka"]),
];

/// The names under `[dependencies]` and its kin; what only tests and benches use is free.
fn dependencies(folder: &str) -> Vec<String> {
    let manifest = repository().join(folder).join("Cargo.toml");
    let text =
        fs::read_to_string(&manifest).unwrap_or_else(|error| panic!("{}: {error}", manifest.display()));
    let mut names = Vec::new();
    let mut counts = false;
    for line in text.lines().map(str::trim) {
        if let Some(section) = line.strip_prefix('[') {
            let section = section.trim_end_matches(']');
            let table = section.split_once("dependencies.").map(|(_, name)| name.to_owned());
            counts = section.ends_with("dependencies") && !section.contains("dev-");
            names.extend(table.filter(|_| !section.contains("dev-")));
        } else if counts && !line.starts_with('#') {
            names.extend(
                line.split(['.', '=', ' ']).next().filter(|name| !name.is_empty()).map(str::to_owned),
            );
        }
    }
    names
}

/// Scenario: somebody adds a dependency.
/// Guarantees: the arrows between the crates hold, and contracts stay pure.
#[test]
fn the_arrows_between_crates_hold() {
    for (folder, may, must_not) in ARROWS {
        let names = dependencies(folder);
        assert!(!names.is_empty(), "{folder} has dependencies");
        for name in &names {
            let ours = name.starts_with("tally-");
            assert!(!ours || may.contains(&name.as_str()), "{folder} must not depend on {name}");
            assert!(!must_not.contains(&name.as_str()), "{folder} must not depend on {name}");
        }
    }
    for folder in ["schemas", "sinks", "queries", "dashboards", "pipeline"] {
        assert!(
            !dependencies(folder).contains(&"tally-tests".to_owned()),
            "{folder} must not need its tests"
        );
    }
}

/// Scenario: a module of the route reaches for what only the binary may see, or for Kafka's client.
/// Guarantees: queries and dashboards are named by the binary's files alone, rdkafka by the edges of the route.
#[test]
fn only_the_edges_name_their_crates() {
    let pipeline = repository().join("pipeline/src");
    for (path, text) in sources(&pipeline) {
        let inside = path.strip_prefix(&pipeline).expect("a file of the pipeline");
        let is_binary = inside == Path::new("main.rs") || inside.starts_with("cli");
        let code = without_comments(&text);
        for name in ["tally_queries", "tally_dashboards"] {
            assert!(is_binary || !code.contains(name), "{} names {name}", inside.display());
        }
        let is_edge = is_binary
            || inside.starts_with("source")
            || inside.starts_with("config")
            || ["simulate.rs", "config.rs", "dead.rs", "client/publisher.rs", "gateway/publish.rs"]
                .iter()
                .any(|edge| inside == Path::new(edge));
        assert!(is_edge || !code.contains("rdkafka"), "{} names rdkafka", inside.display());
    }
    for folder in ["schemas/src", "queries/src", "dashboards/src"] {
        for (path, text) in sources(&repository().join(folder)) {
            assert!(!without_comments(&text).contains("rdkafka"), "{} names rdkafka", path.display());
        }
    }
}

/// Scenario: the clock of a machine jumps, back or ahead, while it takes events.
/// Guarantees: nothing on the route can notice: no module of it, of judging or of the store reads the time of day; who publishes
/// may, and the binary's commands.
#[test]
fn the_route_does_not_read_the_time_of_day() {
    for folder in ["schemas/src", "sinks/src", "pipeline/src"] {
        let folder = repository().join(folder);
        for (path, text) in sources(&folder) {
            let inside = path.strip_prefix(&folder).expect("a file of the folder");
            let publishes = inside.starts_with("cli")
                || inside.starts_with("client")
                || inside.starts_with("gateway")
                || [Path::new("simulate.rs"), Path::new("dead.rs")].contains(&inside);
            let code = without_comments(&text);
            for clock in ["SystemTime", "UNIX_EPOCH", "Utc::now"] {
                assert!(publishes || !code.contains(clock), "{} reads the time of day", path.display());
            }
        }
    }
}

/// Scenario: the package of the pipeline has one more binary, which only tests may have.
/// Guarantees: `cargo run`, and with it `make demo`, still knows which one is meant.
#[test]
fn cargo_run_means_tally() {
    let manifest = fs::read_to_string(repository().join("pipeline/Cargo.toml")).expect("a manifest");
    assert!(
        manifest.lines().any(|line| line == "default-run = \"tally\""),
        "cargo run would not know what to run"
    );
}

/// Scenario: a file is put where it does not belong.
/// Guarantees: the root shows the parts of the house and nothing else.
#[test]
fn the_root_shows_the_house() {
    let entries = fs::read_dir(repository()).expect("the repository can be listed");
    let mut names: Vec<String> =
        entries.map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned()).collect();
    names.retain(|name| !name.starts_with('.') && name != "target");
    names.sort();
    assert_eq!(names, ROOT);
}

/// Scenario: a file grows, an end is left loose, a path of one machine slips in.
/// Guarantees: none of it stays unseen.
#[test]
fn files_are_short_finished_and_at_home_everywhere() {
    // Put together here, so that this file may name them.
    let unfinished = ["TO", "FIX", "XX", "HA"].into_iter().zip(["DO", "ME", "X", "CK"]);
    let unfinished: Vec<String> = unfinished.map(|(one, two)| format!("{one}{two}")).collect();
    let macros = ["to", "unimple"].into_iter().zip(["do!(", "mented!("]);
    let macros: Vec<String> = macros.map(|(one, two)| format!("{one}{two}")).collect();
    let machine = ["root", "work", "home"].map(|folder| format!("/{folder}/"));
    for path in files(repository()) {
        let Ok(text) = fs::read_to_string(&path) else { continue }; // not text
        let name = path.strip_prefix(repository()).expect("a file of the repository").display().to_string();
        let ending = path.extension().unwrap_or_default().to_string_lossy().into_owned();
        if ending == "rs" {
            let lines = text.lines().count();
            assert!(lines <= LINES_MAX, "{name} has {lines} lines");
        }
        if name == "Cargo.lock" || ["snap", "json", "svg"].contains(&ending.as_str()) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let at = format!("{name}:{}", number + 1);
            let words = line.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
            let loose = words.into_iter().find(|word| unfinished.iter().any(|mark| mark == word));
            assert!(loose.is_none(), "{at} leaves a loose end: {line}");
            assert!(!macros.iter().any(|mark| line.contains(mark)), "{at} leaves a loose end: {line}");
            let path =
                machine.iter().find(|folder| line.split('"').any(|part| part.trim().starts_with(*folder)));
            let path = path.or_else(|| machine.iter().find(|folder| line.contains(&format!(" {folder}"))));
            assert!(path.is_none(), "{at} names a path of one machine: {line}");
        }
    }
}

fn sources(folder: &Path) -> Vec<(PathBuf, String)> {
    let rust = files(folder).into_iter().filter(|path| path.extension().is_some_and(|ending| ending == "rs"));
    rust.map(|path| (path.clone(), fs::read_to_string(&path).expect("a source is text"))).collect()
}

/// Files that belong to the repository: nothing built, fetched or of git's own.
fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(&folder).expect("a folder can be listed") {
            let entry = entry.expect("an entry");
            let name = entry.file_name().to_string_lossy().into_owned();
            let skipped =
                ["target", ".git", ".cache", "node_modules", "__pycache__"].contains(&name.as_str());
            match entry.file_type().expect("an entry has a type") {
                kind if kind.is_dir() && !skipped => pending.push(entry.path()),
                kind if kind.is_file() => found.push(entry.path()),
                _ => {}
            }
        }
    }
    found.sort();
    found
}

fn without_comments(text: &str) -> String {
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}
