//! What is written, held against what it is made from.

use super::panel::thresholds;
use super::{Language, board, dashboards};
use crate::panel::Sense;
use serde_json::{Value, json};
use std::collections::BTreeSet;

fn cells(panel: &Value) -> BTreeSet<(u64, u64)> {
    let of = |name: &str| panel["gridPos"][name].as_u64().unwrap_or_default();
    let columns = of("x")..of("x") + of("w");
    columns.flat_map(|x| (of("y")..of("y") + of("h")).map(move |y| (x, y))).collect()
}

/// Scenario: all dashboards, in both languages.
/// Guarantees: ids are unique, no two panels overlap, none leaves the grid, and each has a title and says what it answers.
#[test]
fn panels_have_their_own_place() {
    for dashboard in [Language::English, Language::Chinese].into_iter().flat_map(dashboards) {
        let panels = dashboard.json["panels"].as_array().cloned().unwrap_or_default();
        assert!(!panels.is_empty(), "{}", dashboard.name);
        let (mut taken, mut ids) = (BTreeSet::new(), BTreeSet::new());
        for panel in &panels {
            assert!(ids.insert(panel["id"].as_u64()), "{}: {panel}", dashboard.name);
            assert!(!panel["title"].as_str().unwrap_or_default().is_empty(), "{panel}");
            assert!(
                panel["type"] == "row" || panel["description"].as_str().unwrap_or_default().len() > 6,
                "{panel}"
            );
            for cell in cells(panel) {
                assert!(
                    cell.0 < 24 && taken.insert(cell),
                    "{}: {cell:?} of {}",
                    dashboard.name,
                    panel["title"]
                );
            }
        }
    }
}

/// Scenario: thresholds of each sense, and two at once.
/// Guarantees: what lies on the good side of all is green, everything else red.
#[test]
fn thresholds_become_colours() {
    let steps = |held: &[(f64, Sense)]| {
        let all = thresholds(held.to_vec());
        let steps = all["steps"].as_array().cloned().unwrap_or_default();
        steps.into_iter().map(|step| (step["value"].clone(), step["color"].clone())).collect::<Vec<_>>()
    };
    assert_eq!(steps(&[]), [(json!(null), json!("green"))]);
    assert_eq!(steps(&[(0.02, Sense::Below)]), [(json!(null), json!("green")), (json!(0.02), json!("red"))]);
    assert_eq!(
        steps(&[(0.95, Sense::AtLeast)]),
        [(json!(null), json!("red")), (json!(0.95), json!("green"))]
    );
    let band = [(1.1, Sense::AtMost), (0.9, Sense::AtLeast)];
    let expected = [(json!(null), json!("red")), (json!(0.9), json!("green")), (json!(1.1), json!("red"))];
    assert_eq!(steps(&band), expected);
}

/// Scenario: the operators' file.
/// Guarantees: it is read, ids are unique, rows fit the grid, and each query has another name for its lines.
#[test]
fn the_operators_file_is_whole() {
    let panels = board::operators().rows.iter().flat_map(|row| &row.panels);
    let mut ids = BTreeSet::new();
    for panel in panels {
        assert!(ids.insert(&panel.id), "{} twice", panel.id);
        assert!(panel.width <= 24 && !panel.queries.is_empty(), "{}", panel.id);
        let legends: BTreeSet<&String> = panel.queries.iter().map(|query| &query.legend).collect();
        assert_eq!(legends.len(), panel.queries.len(), "{}", panel.id);
    }
    assert!(ids.len() > 20);
}
