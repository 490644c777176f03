//! Dashboards of Grafana: what is exported, held against Grafana's own types, and asked of a demo's data as Grafana asks it.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use serde_json::Value;
use tally_dashboards::grafana::{Language, dashboards};
use tally_dashboards::identity::Role;
use tally_dashboards::panel::{Chart, Panel, Unit, panels};
use tally_tests::service::Service;
use tally_tests::{ClickHouse, Database, Ended, Process, Tally, TempFolder, cache, repository};

/// One command.
const RUN: Duration = Duration::from_secs(120);
/// Ten seconds of publishing, and the last receipts, in a debug build beside other work.
const DEMO: Duration = Duration::from_secs(240);
/// The database of a demo.
const DATABASE: &str = "tally";

/// Every file below a folder, by its path in it.
fn files(folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(folder).expect("a folder can be listed") {
        let path = entry.expect("an entry").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        if path.is_dir() {
            found.extend(files(&path).into_iter().map(|(inner, text)| (format!("{name}/{inner}"), text)));
        } else {
            found.insert(name, fs::read_to_string(&path).expect("text"));
        }
    }
    found
}

/// Holds dashboards against Grafana's types, as `tests/grafana/dashboard.ts` puts them together.
fn compile(all: &[(&str, String)]) -> Ended {
    let folder = TempFolder::new("grafana");
    let at = folder.path();
    for name in ["dashboard.ts", "tsconfig.json"] {
        fs::copy(repository().join("tests/grafana").join(name), at.join(name)).expect("a file can be copied");
    }
    let modules = cache().join("grafana/node_modules");
    assert!(modules.is_dir(), "Grafana's schema is not installed: run tests/setup/install.sh (or make test)");
    std::os::unix::fs::symlink(&modules, at.join("node_modules")).expect("a link can be made");
    for (name, json) in all {
        let text =
            format!("import type {{ Checked }} from './dashboard';\nexport const it: Checked = {json};\n");
        fs::write(at.join(format!("{name}.ts")), text).expect("a file can be written");
    }
    let mut node = Command::new("node");
    node.arg("node_modules/typescript/bin/tsc").args(["-p", ".", "--preserveSymlinks"]).current_dir(at);
    Process::spawn("tsc", node, at).end_within(RUN)
}

/// Scenario: the dashboards are exported twice, and in Chinese.
/// Guarantees: the bytes are the same each time and are those of the files that this version carries; what differs between languages
/// is text for people alone; and no SQL is left with a parameter that nobody binds.
#[test]
fn what_is_exported_is_the_same_each_time() {
    let export = |language: &str| {
        let folder = TempFolder::new("export");
        let out = folder.path().to_str().expect("paths in tests are text");
        Tally::spawn(&["dashboards", "export", "--out", out, "--language", language], &[])
            .expect_success(RUN);
        files(folder.path())
    };
    let english = export("en");
    assert_eq!(english, export("en"));
    for dashboard in dashboards(Language::English) {
        let text = &english[&format!("grafana/{}.json", dashboard.name)];
        assert_eq!(serde_json::from_str::<Value>(text).expect("JSON"), dashboard.json);
        assert!(!text.contains(":Int64}") && !text.contains(":String}"), "{} binds nothing", dashboard.name);
    }
    let home = repository().join("dashboards/prometheus");
    let prometheus: BTreeMap<String, String> =
        files(&home).into_iter().filter(|(name, _)| !name.starts_with("tests/")).collect();
    let exported = english.iter().filter_map(|(name, text)| Some((name.strip_prefix("prometheus/")?, text)));
    assert!(
        exported.eq(prometheus.iter().map(|(name, text)| (name.as_str(), text))),
        "the rules are exported"
    );
    let chinese = export("zh");
    assert!(english.keys().eq(chinese.keys()));
    let questions = |files: &BTreeMap<String, String>| {
        let lines = files.values().flat_map(|text| text.lines()).map(str::trim);
        lines
            .filter(|line| line.starts_with("\"rawSql\"") || line.starts_with("\"expr\""))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(questions(&english), questions(&chinese));
    assert_ne!(english["grafana/operators.json"], chinese["grafana/operators.json"]);
}

/// Scenario: Grafana's types read every exported dashboard; then the same with single words and numbers changed.
/// Guarantees: every name and value is one that Grafana knows, down to options of panels; each change is found, so the check can fail.
#[test]
fn dashboards_are_what_grafana_takes() {
    let all = dashboards(Language::English);
    let names: Vec<String> = all.iter().map(|one| one.name.clone()).collect();
    let texts: Vec<(&str, String)> =
        names.iter().map(String::as_str).zip(all.iter().map(|one| one.json.to_string())).collect();
    let ended = compile(&texts);
    assert!(ended.status.success(), "{}", ended.stdout);

    let operators = &texts.iter().find(|(name, _)| *name == "operators").expect("the operators' dashboard").1;
    let changes = [
        ("\"drawStyle\":\"line\"", "\"drawStyle\":\"lines\""),
        ("\"cellHeight\"", "\"cellHeigth\""),
        ("\"colorMode\":\"value\"", "\"colorMode\":\"vaule\""),
        ("\"graphTooltip\":1", "\"graphTooltip\":7"),
        ("\"refresh\":\"30s\"", "\"refresh\":30"),
        ("\"h\":8", "\"h\":\"8\""),
        ("\"type\":\"timeseries\"", "\"type\":\"graph\""),
        ("\"mode\":\"palette-classic\"", "\"mode\":\"palette\""),
    ];
    let changed: Vec<(String, String)> = changes
        .iter()
        .enumerate()
        .map(|(number, (from, to))| {
            assert!(operators.contains(from), "{from} is there to be changed");
            (format!("changed{number}"), operators.replacen(from, to, 1))
        })
        .collect();
    let ended =
        compile(&changed.iter().map(|(name, text)| (name.as_str(), text.clone())).collect::<Vec<_>>());
    for ((name, _), (from, to)) in changed.iter().zip(changes) {
        assert!(
            ended.stdout.contains(&format!("{name}.ts(")),
            "nothing finds {from} as {to}\n{}",
            ended.stdout
        );
    }
}

/// Over which range panels are asked, and in which stretches; seconds.
#[derive(Clone, Copy)]
struct Asked {
    from: i64,
    to: i64,
    step: i64,
}

impl Asked {
    /// What Grafana's ClickHouse plugin makes of its macros, by its documentation.
    fn rendered(self, sql: &str) -> String {
        let of_milli = |seconds: i64| format!("fromUnixTimestamp64Milli({})", seconds * 1000);
        let sql =
            sql.replace("$__fromTime_ms", &of_milli(self.from)).replace("$__toTime_ms", &of_milli(self.to));
        let sql = sql.replace("$__interval_s", &self.step.to_string());
        assert!(!sql.contains("$__"), "a macro that is not documented: {sql}");
        sql
    }
}

/// A cell that two ways of asking can be compared by: numbers as numbers.
fn cell(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    text.parse::<f64>().map_or(text, |number| format!("{number:.6}"))
}

/// What is shown in Grafana of a value of our API.
fn converted(value: &Value, unit: Unit, currency: Option<&str>) -> String {
    let number = || value.as_str().and_then(|text| text.parse::<f64>().ok());
    let by = match (unit, currency) {
        (Unit::CreditsMicros, _) => 1e6,
        (Unit::CurrencyMinor, Some("JPY")) => 1.0,
        (Unit::CurrencyMinor, Some(_)) => 100.0,
        (Unit::TimeUs, _) => 1e6,
        _ => return cell(value),
    };
    number().map_or_else(|| cell(value), |number| format!("{:.6}", number / by))
}

/// The rows of a panel by our API, as Grafana shows those columns that it asks for; sorted.
fn by_api(service: &Service, panel: &Panel, asked: Asked, columns: &[String]) -> Vec<Vec<String>> {
    let at = |seconds: i64| tally_queries::audit::result::moment(seconds * 1_000_000);
    let step = if panel.chart == Chart::Time { format!("&step={}", asked.step) } else { String::new() };
    let path = format!("/api/v1/panels/{}?from={}&to={}{step}", panel.id, at(asked.from), at(asked.to));
    // whoever sees the rows of all, as Grafana does, if somebody may
    let sees_all = panel.roles.iter().find(|role| [Role::Admin, Role::Moderator].contains(role));
    let answer = service.get(&path, &service.token(*sees_all.unwrap_or(&panel.roles[0]), "somebody"));
    assert_eq!(answer.status, 200, "{path}: {}", answer.body);
    let answer = answer.json();
    let currency = panel.column("currency");
    let rows = answer["rows"].as_array().expect("rows").iter().map(|row| {
        let named = currency.and_then(|at| row[at].as_str());
        let one = |name: &String| {
            let at = panel.column(name).unwrap_or_else(|| panic!("{} has a column {name}", panel.id));
            converted(&row[at], panel.columns[at].unit, named)
        };
        columns.iter().map(one).collect::<Vec<_>>()
    });
    let mut rows: Vec<Vec<String>> = rows.collect();
    rows.sort();
    rows
}

/// Names of columns and sorted rows of a panel's question as it stands in the dashboard.
fn by_grafana(database: &Database<'_>, sql: &str, asked: Asked) -> (Vec<String>, Vec<Vec<String>>) {
    let sql = format!(
        "SELECT * FROM ({}) FORMAT JSONCompact SETTINGS date_time_output_format = 'unix_timestamp'",
        asked.rendered(sql)
    );
    let answer: Value = serde_json::from_str(&database.query(&sql)).expect("JSON");
    let columns = answer["meta"].as_array().expect("columns").iter();
    let columns = columns.map(|column| column["name"].as_str().expect("a name").to_owned()).collect();
    let row = |row: &Value| row.as_array().expect("a row").iter().map(cell).collect::<Vec<_>>();
    let mut rows: Vec<Vec<String>> = answer["data"].as_array().expect("rows").iter().map(row).collect();
    rows.sort();
    (columns, rows)
}

/// Scenario: every panel is asked of a demo's data over its last quarter of an hour and over its whole past, by our API as a
/// page asks it, and as Grafana renders what was exported.
/// Guarantees: every question is understood; both ways have the same rows; most panels have some.
#[test]
fn every_panel_answers_alike_on_our_pages_and_in_grafana() {
    let folder = TempFolder::new("shown");
    let data = folder.path().to_str().expect("paths in tests are text");
    Tally::spawn(&["demo", "--seconds", "10", "--data", data], &[]).expect_success(DEMO);
    let store = ClickHouse::start(folder.path());
    let database = store.open(DATABASE);
    let service = Service::start(&database, &[]);
    let last: i64 = database
        .query("SELECT toUnixTimestamp(max(appended_at)) + 1 FROM audit_log")
        .trim()
        .parse()
        .expect("seconds");
    let ranges =
        [(900, 60), (80 * 86_400, 86_400)].map(|(back, step)| Asked { from: last - back, to: last, step });

    let mut exported = BTreeMap::new();
    for dashboard in dashboards(Language::English) {
        for panel in dashboard.json["panels"].as_array().expect("panels") {
            if let Some(sql) = panel["targets"][0]["rawSql"].as_str() {
                exported.insert(
                    (dashboard.name.clone(), panel["title"].as_str().expect("a title").to_owned()),
                    sql.to_owned(),
                );
            }
        }
    }
    let (mut in_grafana, mut with_rows) = (0, 0);
    for panel in panels() {
        let sql = exported.get(&(panel.page.clone(), panel.title.en.clone()));
        in_grafana += usize::from(sql.is_some());
        for asked in ranges {
            let Some(sql) = sql else {
                by_api(&service, panel, asked, &[]);
                continue;
            };
            let (columns, theirs) = by_grafana(&database, sql, asked);
            let ours = by_api(&service, panel, asked, &columns);
            assert_eq!(ours, theirs, "{} from {} in stretches of {} s", panel.id, asked.from, asked.step);
            with_rows += usize::from(!ours.is_empty());
        }
    }
    assert_eq!(in_grafana, exported.len(), "a title stands for one panel of a page");
    assert!(with_rows > in_grafana, "{with_rows} of {} answers have rows", 2 * in_grafana);
}
