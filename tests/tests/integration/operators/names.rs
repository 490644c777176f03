//! Names of metrics: what rules and dashboards name is in the code, and what the code shows is looked at by somebody.

use std::collections::BTreeSet;
use std::fs;

use tally_dashboards::grafana::{Language, dashboards};
use tally_dashboards::serve::ServiceMetrics;
use tally_pipeline::Metrics;
use tally_tests::prometheus::yaml_files;
use tally_tests::{Prometheus, repository};

/// The files that name metrics; each is the only one of its part.
const NAMED_IN: [&str; 5] = [
    "dashboards/src/feed/metrics.rs",
    "dashboards/src/serve/metrics.rs",
    "pipeline/src/cli/audit/verdicts.rs",
    "pipeline/src/gateway/metrics.rs",
    "pipeline/src/metrics.rs",
];
/// Folders in which no other file may make one.
const SOURCES: [&str; 5] = ["schemas/src", "sinks/src", "queries/src", "dashboards/src", "pipeline/src"];
/// What the client library makes metrics by.
const MAKERS: [&str; 4] = ["Opts::new(", "IntGauge::new(", "IntCounter::new(", "Histogram::with_opts("];

/// Metrics that are not there as long as nothing is wrong, in order.
pub(super) const METRICS_OF_TROUBLE: [&str; 1] = ["tally_records_passed_over_total"];

/// The names of all metrics in the code, without what a histogram adds.
pub(super) fn in_code() -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for file in NAMED_IN {
        let text = fs::read_to_string(repository().join(file)).expect("a source");
        let code = text.split("#[cfg(test)]").next().expect("a first part");
        let quoted = code.split('"').skip(1).step_by(2);
        let is_name = |text: &&str| {
            text.starts_with("tally_") && text.chars().all(|c| c.is_ascii_lowercase() || c == '_')
        };
        names.extend(quoted.filter(is_name).map(str::to_owned));
    }
    names
}

/// A metric's name without what a histogram adds.
pub(super) fn base(name: &str) -> String {
    let ending = ["_bucket", "_sum", "_count"].into_iter().find_map(|ending| name.strip_suffix(ending));
    ending.unwrap_or(name).to_owned()
}

/// The names in an expression: `tally_…` and `process_…` of metrics, `tally:…` of recorded figures.
fn names_in(expression: &str) -> BTreeSet<String> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_' && c != ':');
    let is_name = |word: &&str| ["tally_", "process_", "tally:"].iter().any(|begin| word.starts_with(begin));
    words
        .filter(is_name)
        .map(|word| if word.starts_with("tally:") { word.to_owned() } else { base(word) })
        .collect()
}

/// What rules name in their expressions, and what they record.
fn in_rules() -> (BTreeSet<String>, BTreeSet<String>) {
    let (mut used, mut recorded) = (BTreeSet::new(), BTreeSet::new());
    for (_, content) in yaml_files(&Prometheus::home().join("rules")) {
        for rule in content["groups"][0]["rules"].as_array().expect("rules") {
            used.extend(names_in(rule["expr"].as_str().expect("an expression")));
            recorded.extend(rule["record"].as_str().map(str::to_owned));
        }
    }
    (used, recorded)
}

/// What the client library shows of the process, as `tally ingest` does.
fn of_the_process() -> BTreeSet<String> {
    let text = Metrics::default().text() + &ServiceMetrics::new().text();
    let names = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    names.filter(|name| name.starts_with("process_")).map(str::to_owned).collect()
}

/// What the operators' dashboard names.
fn in_panels() -> BTreeSet<String> {
    let all = dashboards(Language::English);
    let operators = all.iter().find(|one| one.name == "operators").expect("the operators' dashboard");
    let panels = operators.json["panels"].as_array().expect("panels").iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.flat_map(|target| names_in(target["expr"].as_str().expect("an expression"))).collect()
}

/// Scenario: a metric is made, renamed or no longer shown; a rule or a panel is written.
/// Guarantees: metrics are named in one file a part; every name in a rule or a panel is in the code or recorded; every metric of the
/// code and every recorded figure is in a rule or a panel.
#[test]
fn names_are_the_same_everywhere() {
    for folder in SOURCES {
        for path in sources(&repository().join(folder)) {
            let text = fs::read_to_string(&path).expect("a source");
            let name = path.strip_prefix(repository()).expect("inside").display().to_string();
            let maker = MAKERS.into_iter().find(|maker| text.contains(maker));
            assert!(maker.is_none() || NAMED_IN.contains(&name.as_str()), "{name} makes a metric: {maker:?}");
        }
    }
    let (code, process, panels) = (in_code(), of_the_process(), in_panels());
    let (rules, recorded) = in_rules();
    assert!(code.len() > 25 && panels.len() > 25 && rules.len() > 40, "they are read");
    let known: BTreeSet<String> = [&code, &process, &recorded].into_iter().flatten().cloned().collect();
    let used: BTreeSet<String> = rules.union(&panels).cloned().collect();
    let unknown: Vec<&String> = used.difference(&known).collect();
    assert!(unknown.is_empty(), "no code shows {unknown:?}");
    let unused: Vec<&String> = code.union(&recorded).filter(|name| !used.contains(*name)).collect();
    assert!(unused.is_empty(), "no rule and no panel looks at {unused:?}");
}

fn sources(folder: &std::path::Path) -> Vec<std::path::PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            found.push(path);
        }
    }
    found
}
