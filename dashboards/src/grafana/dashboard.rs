//! A dashboard: its panels in a grid, the variable that chooses a data source, the range above it.

use super::board::Board;
use super::panel::{self, Place};
use super::{CLICKHOUSE, COLUMNS, Dashboard, DataSource, Language, PROMETHEUS};
use crate::panel::{Chart, Panel};
use serde_json::{Value, json};

/// Of Grafana's dashboards; later versions read earlier ones.
const SCHEMA_VERSION: u32 = 39;
/// Height of a panel of operators, in the grid's units.
const METRIC_HEIGHT: u64 = 8;

/// A page's dashboard: first numbers, then what is drawn, then tables, each in order of their ids.
pub(super) fn of_page(page: &str, panels: &[&Panel], language: Language) -> Dashboard {
    let mut ordered: Vec<&Panel> = panels.to_vec();
    ordered.sort_by_key(|panel| (size(panel), panel.id.as_str()));
    let (mut x, mut y, mut below) = (0, 0, 0);
    let mut drawn = Vec::new();
    for (panel, id) in ordered.into_iter().zip(1..) {
        let (height, width) = size(panel);
        if x + width > COLUMNS || height != below {
            (x, y) = (0, y + below);
        }
        below = height;
        drawn.push(panel::of_page(panel, id, Place { x, y, width, height }, language));
        x += width;
    }
    let range = ("now-24h", "now", "1m");
    assemble(page, drawn, CLICKHOUSE, range)
}

/// The operators' dashboard: rows of panels.
pub(super) fn of_operators(board: &Board, language: Language) -> Dashboard {
    let (mut y, mut id) = (0, 0);
    let mut drawn = Vec::new();
    for row in &board.rows {
        id += 1;
        let place = Place { x: 0, y, width: COLUMNS, height: 1 };
        drawn.push(json!({
            "collapsed": false, "gridPos": panel::grid(place), "id": id, "panels": [], "title": language.of(&row.title), "type": "row",
        }));
        y += 1;
        let mut x = 0;
        for metric in &row.panels {
            id += 1;
            if x + metric.width > COLUMNS {
                (x, y) = (0, y + METRIC_HEIGHT);
            }
            let place = Place { x, y, width: metric.width, height: METRIC_HEIGHT };
            drawn.push(panel::of_operators(metric, id, place, language));
            x += metric.width;
        }
        y += METRIC_HEIGHT;
    }
    assemble("operators", drawn, PROMETHEUS, ("now-3h", "now", "30s"))
}

fn assemble(
    name: &str,
    panels: Vec<Value>,
    source: DataSource,
    (from, to, refresh): (&str, &str, &str),
) -> Dashboard {
    let variable = json!({
        "hide": 0, "includeAll": false, "label": "Data source", "multi": false, "name": source.variable, "options": [],
        "query": source.plugin, "refresh": 1, "regex": "", "skipUrlSync": false, "type": "datasource",
    });
    let json = json!({
        "annotations": { "list": [] }, "editable": true, "fiscalYearStartMonth": 0, "graphTooltip": 1, "links": [], "panels": panels,
        "refresh": refresh, "schemaVersion": SCHEMA_VERSION, "tags": ["tally"], "templating": { "list": [variable] },
        "time": { "from": from, "to": to }, "timepicker": {}, "timezone": "utc", "title": format!("Tally: {name}"),
        "uid": format!("tally-{name}"), "weekStart": "monday",
    });
    Dashboard { name: name.to_owned(), json }
}

/// Height and width, in the grid's units.
const fn size(panel: &Panel) -> (u64, u64) {
    match panel.chart {
        Chart::Number => (5, 12),
        Chart::Time | Chart::Bars | Chart::Histogram => (9, 12),
        Chart::Interval | Chart::Table => (10, 24),
    }
}
