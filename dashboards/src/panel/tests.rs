//! Every panel's file, held against what pages, API and Grafana expect of it.

use super::{Chart, FILES, PanelError, Unit, panels, read};
use crate::panel::definition::Panel;
use crate::rights::Page;
use std::collections::HashSet;
use std::path::Path;

/// Scenario: a panel is added or changed.
/// Guarantees: every file of the folder is embedded and is a panel; ids are unique, so that API and pages find one; it stands on a page.
#[test]
fn every_file_is_a_panel() {
    read().unwrap_or_else(|error| panic!("{}", crate::chain(&error)));
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("panels");
    let files = |folder: &Path| -> Vec<_> {
        let entries =
            std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        entries.map(|entry| entry.expect("an entry").path()).collect()
    };
    let count = files(&folder).iter().flat_map(|page| files(page)).count();
    assert_eq!((FILES.len(), panels().len()), (count, count));
    let ids: HashSet<&str> = panels().iter().map(|panel| panel.id.as_str()).collect();
    assert_eq!(ids.len(), count);
    for panel in panels() {
        let page = Page::ALL.iter().find(|page| page.path() == format!("/{}", panel.page));
        let page = page.unwrap_or_else(|| panic!("{}: there is no page {}", panel.id, panel.page));
        assert!(!panel.roles.is_empty() && panel.roles.iter().all(|role| page.is_of(*role)), "{}", panel.id);
    }
}

/// Scenario: the texts and numbers of every panel.
/// Guarantees: both languages say something, and Chinese says it in Chinese; thresholds are numbers and name a column; what is drawn
/// is a number.
#[test]
fn every_panel_says_what_it_is() {
    for panel in panels() {
        let id = &panel.id;
        let labels = panel.columns.iter().map(|column| &column.label);
        let thresholds = panel.thresholds.iter().map(|threshold| &threshold.label);
        for text in [&panel.title, &panel.question].into_iter().chain(labels).chain(thresholds) {
            assert!(!text.en.trim().is_empty() && !text.zh.trim().is_empty(), "{id}");
            let is_chinese = text.zh.chars().any(|c| ('\u{4e00}'..='\u{9fff}').contains(&c));
            assert!(is_chinese || text.zh.is_ascii(), "{id}: {}", text.zh);
        }
        assert!(panel.question.en.ends_with('?') && panel.question.zh.ends_with('？'), "{id}");
        assert!(!panel.source.is_empty(), "{id}");
        for threshold in &panel.thresholds {
            assert!(threshold.number().is_finite() && !threshold.source.is_empty(), "{id}");
            let at =
                panel.held(threshold).unwrap_or_else(|| panic!("{id}: what is held against its threshold?"));
            assert!(panel.columns[at].unit.is_number(), "{id}");
        }
        for name in panel.picture.y.iter().chain(&panel.picture.bounds) {
            let at = panel.column(name).expect("parsed");
            assert!(panel.columns[at].unit.is_number(), "{id}: {name}");
        }
        let is_drawn = matches!(panel.chart, Chart::Time | Chart::Interval | Chart::Histogram | Chart::Bars);
        assert_eq!(is_drawn, !panel.picture.y.is_empty(), "{id}");
        let has_money = panel.columns.iter().any(|column| column.unit == Unit::CurrencyMinor);
        assert!(!has_money || panel.column("currency").is_some(), "{id}: money of which currency?");
    }
}

/// Scenario: the SQL of every panel, parts included.
/// Guarantees: it reads deduplicated views alone and writes nothing; it knows no clock of its own; parameters say their type; a
/// chart over time has stretches of the length that is asked for.
#[test]
fn every_question_reads_and_nothing_else() {
    const PARAMETERS: [&str; 6] =
        ["from_us:Int64", "to_us:Int64", "step_us:Int64", "as_of_us:Int64", "scope:String", "subject:String"];
    for (_, id, text) in FILES {
        assert!(
            !text.contains("abs(toUnixTimestamp64Micro(occurred_at)"),
            "{id} states METRICS' event time itself: {{{{event_us}}}}"
        );
    }
    for panel in panels() {
        let (id, own, sql) = (&panel.id, panel.sql_and_one(), panel.sql());
        // what parts read is held where they stand
        for (at, _) in own.match_indices("FROM ") {
            let table = own[at + 5..].split_whitespace().next().unwrap_or_default().trim_end_matches(')');
            let derived =
                table.starts_with('(') || table.starts_with("{{") || own.contains(&format!("{table} AS ("));
            assert!(derived || table.ends_with("_final"), "{id} reads {table}");
        }
        for word in [
            "INSERT", "ALTER", "DROP", "SETTINGS", "url(", "file(", "remote(", "now(", "now64(", "today(",
            ";", "--",
        ] {
            assert!(!own.contains(word), "{id} says {word}");
        }
        for (at, _) in sql.match_indices('{') {
            let parameter = sql[at + 1..].split('}').next().unwrap_or_default();
            assert!(PARAMETERS.contains(&parameter), "{id}: {parameter}");
        }
        // a list that ends at a limit says so: the limit is the file's `rows_max`
        let last = sql.lines().last().unwrap_or_default();
        assert_eq!(
            last.starts_with("LIMIT") && !last.contains(" BY "),
            panel.rows_max.is_some(),
            "{id}: {last}"
        );
        let has_steps = sql.contains("{step_us:Int64}");
        assert_eq!(panel.chart == Chart::Time, has_steps, "{id}");
        for column in panel.columns.iter().filter(|column| panel.is_asked(column)) {
            assert!(sql.contains(&column.name), "{id}: where does {} come from?", column.name);
        }
    }
}

/// Scenario: files with an unknown key, another name, a column that is not there, a step where there is none to have.
/// Guarantees: each is refused, and named.
#[test]
fn what_is_no_panel_is_refused() {
    let (page, id, text) = FILES[0];
    assert!(Panel::parse(page, id, text).is_ok());
    let wrong = |text: &str| Panel::parse(page, id, text).map(|panel| panel.id);
    assert!(matches!(wrong(&format!("color = 1\n{text}")), Err(PanelError::Unreadable { .. })));
    assert!(matches!(Panel::parse(page, "another", text), Err(PanelError::Wrong { .. })));
    let (page, id, text) =
        FILES.iter().find(|(_, _, text)| text.contains("step = \"second\"")).expect("a chart over time");
    for (from, to) in [
        ("step = \"second\"", "step = \"fortnight\""),
        ("step = \"second\"\n", ""),
        ("x = \"at_us\"", "x = \"nowhere\""),
    ] {
        let error = Panel::parse(page, id, &text.replacen(from, to, 1)).expect_err(to);
        assert!(error.to_string().contains(id), "{error}");
    }
}
