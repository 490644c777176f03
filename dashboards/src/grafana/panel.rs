//! One panel of Grafana's: what it asks, how it is drawn, what it is held against.

use super::board::{Chart as MetricChart, Metric, Unit as MetricUnit};
use super::{CLICKHOUSE, DataSource, Language, PROMETHEUS, sql};
use crate::panel::{Chart, Panel, Sense, Threshold, Unit};
use serde_json::{Value, json};

const GOOD: &str = "green";
const BAD: &str = "red";

/// Where a panel stands in the grid.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) x: u64,
    pub(super) y: u64,
    pub(super) width: u64,
    pub(super) height: u64,
}

/// What is drawn: Grafana's plugin, its options, and what it wants of each field.
struct Drawing {
    plugin: &'static str,
    options: Value,
    custom: Value,
}

/// A panel of a page.
pub(super) fn of_page(panel: &Panel, id: usize, place: Place, language: Language) -> Value {
    let drawing = drawing(panel);
    let is_time = panel.chart == Chart::Time;
    let target = json!({
        "datasource": source(CLICKHOUSE), "editorType": "sql", "format": i32::from(!is_time),
        "queryType": if is_time { "timeseries" } else { "table" }, "rawSql": sql::raw(panel), "refId": "A",
    });
    let (text, question) = (language.of(&panel.title), language.of(&panel.question));
    // lines are all of one column; elsewhere a threshold is that of the column that it names, or of the first that is drawn
    let first = panel.picture.y.first().map_or("", String::as_str);
    let held = |column: &str, unit: Unit| -> Vec<(f64, Sense)> {
        let named =
            |one: &&Threshold| is_time || one.column == column || (one.column.is_empty() && column == first);
        // what rows state themselves stands in a column beside: a colour by another number would contradict it
        let fixed = panel.thresholds.iter().filter(|one| one.stated.is_empty());
        fixed.filter(named).map(|one| (one.number() * scale(unit), one.sense)).collect()
    };
    let overrides: Vec<Value> = sql::columns(panel)
        .map(|column| {
            let name = json!({ "id": "displayName", "value": language.of(&column.label) });
            let unit = json!({ "id": "unit", "value": unit(column.unit) });
            let is_line =
                is_time && panel.picture.y.contains(&column.name) && !panel.picture.series.is_empty();
            let mut properties = if is_line { vec![unit] } else { vec![name, unit] }; // lines bear the name of their series
            let steps = held(&column.name, column.unit);
            if !is_time && !steps.is_empty() {
                properties.push(json!({ "id": "thresholds", "value": thresholds(steps) }));
            }
            json!({ "matcher": { "id": "byName", "options": column.name }, "properties": properties })
        })
        .collect();
    let mut value = json!({
        "datasource": source(CLICKHOUSE),
        "description": format!("{question}\n\n{}", panel.source),
        "fieldConfig": {
            "defaults": {
                "color": { "mode": if is_time { "palette-classic" } else { "thresholds" } },
                "custom": drawing.custom,
                "thresholds": thresholds(if is_time { held(first, panel.unit) } else { Vec::new() }),
                "unit": unit(panel.unit),
            },
            "overrides": overrides,
        },
        "gridPos": grid(place), "id": id, "options": drawing.options, "targets": [target], "title": text, "type": drawing.plugin,
    });
    if let Some(step_us) = panel.step_us_min {
        value["interval"] = json!(format!("{}s", step_us / 1_000_000));
    }
    value
}

/// A panel of operators.
pub(super) fn of_operators(metric: &Metric, id: usize, place: Place, language: Language) -> Value {
    let is_lines = metric.chart == MetricChart::Lines;
    let targets = metric.queries.iter().zip('A'..='Z').map(|(query, id)| {
        json!({
            "datasource": source(PROMETHEUS), "editorMode": "code", "expr": query.expr, "format": if metric.chart == MetricChart::Table { "table" } else { "time_series" },
            "instant": !is_lines, "legendFormat": query.legend, "range": is_lines, "refId": id,
        })
    });
    let drawing = match metric.chart {
        MetricChart::Lines => lines(!metric.thresholds.is_empty()),
        MetricChart::Number => number(false),
        MetricChart::Table => table(),
    };
    let steps = metric.thresholds.iter().map(|one| (one.value, one.sense));
    let mut defaults = json!({
        "color": { "mode": if is_lines { "palette-classic" } else { "thresholds" } },
        "custom": drawing.custom, "thresholds": thresholds(steps.collect()), "unit": metric.unit.grafana(),
    });
    if metric.unit == MetricUnit::Verdict {
        let said =
            |text: &str, color: &str, index: u8| json!({ "color": color, "index": index, "text": text });
        defaults["mappings"] = json!([{ "type": "value", "options": {
            "0": said("PASS", GOOD, 0), "1": said("FAIL", BAD, 1), "2": said("undecided", "yellow", 2), "3": said("not checked", "purple", 3),
        } }]);
    }
    let mut value = json!({
        "datasource": source(PROMETHEUS), "description": language.of(&metric.question),
        "fieldConfig": { "defaults": defaults, "overrides": [] },
        "gridPos": grid(place), "id": id, "options": drawing.options, "targets": targets.collect::<Vec<_>>(),
        "title": language.of(&metric.title), "type": drawing.plugin,
    });
    if metric.chart == MetricChart::Table {
        // an instant answer has a column for the moment, which is the same in every row
        value["transformations"] =
            json!([{ "id": "organize", "options": { "excludeByName": { "Time": true } } }]);
    }
    value
}

/// The reference of a data source that a variable of the dashboard chooses.
pub(super) fn source(of: DataSource) -> Value {
    json!({ "type": of.plugin, "uid": format!("${{{}}}", of.variable) })
}

pub(super) fn grid(place: Place) -> Value {
    json!({ "h": place.height, "w": place.width, "x": place.x, "y": place.y })
}

fn drawing(panel: &Panel) -> Drawing {
    match panel.chart {
        Chart::Time => {
            let mut drawn = lines(!panel.thresholds.is_empty());
            if panel.picture.zero {
                drawn.custom["drawStyle"] = json!("bars"); // a stretch without a row is 0, and no line leads over it
                drawn.custom["fillOpacity"] = json!(60);
            }
            drawn
        }
        Chart::Number => number(true),
        Chart::Bars | Chart::Histogram => bars(&panel.picture.x),
        Chart::Table | Chart::Interval => table(),
    }
}

fn lines(has_thresholds: bool) -> Drawing {
    let options = json!({
        "legend": { "calcs": ["lastNotNull"], "displayMode": "table", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "multi", "sort": "desc" },
    });
    let custom = json!({
        "drawStyle": "line", "fillOpacity": 8, "lineInterpolation": "linear", "lineWidth": 1, "showPoints": "auto", "spanNulls": false,
        "thresholdsStyle": { "mode": if has_thresholds { "line" } else { "off" } },
    });
    Drawing { plugin: "timeseries", options, custom }
}

fn bars(x: &str) -> Drawing {
    let options = json!({
        "barWidth": 0.9, "fullHighlight": false, "groupWidth": 0.8, "orientation": "auto", "showValue": "auto", "stacking": "none",
        "legend": { "calcs": [], "displayMode": "list", "placement": "bottom", "showLegend": true },
        "tooltip": { "mode": "multi", "sort": "none" }, "xField": x, "xTickLabelMaxLength": 24, "xTickLabelRotation": 0,
    });
    Drawing { plugin: "barchart", options, custom: json!({ "fillOpacity": 80, "lineWidth": 1 }) }
}

/// Numbers: each row of an answer, or the last value of each series.
fn number(rows: bool) -> Drawing {
    let options = json!({
        "colorMode": "value", "graphMode": "none", "justifyMode": "auto", "orientation": "auto", "percentChangeColorMode": "standard",
        "reduceOptions": { "calcs": ["lastNotNull"], "fields": "", "values": rows }, "showPercentChange": false, "textMode": "auto",
        "wideLayout": true,
    });
    Drawing { plugin: "stat", options, custom: json!({}) }
}

fn table() -> Drawing {
    let options = json!({ "cellHeight": "sm", "frameIndex": 0, "showHeader": true });
    Drawing {
        plugin: "table",
        options,
        custom: json!({ "align": "auto", "cellOptions": { "type": "auto" }, "inspect": false }),
    }
}

/// Grafana colours a number by the last step at or below it, so each stretch between two thresholds gets the colour of what lies in it.
/// A bound that belongs to the good side is coloured as what lies beyond it: the grid of colours cannot say otherwise.
pub(super) fn thresholds(held: Vec<(f64, Sense)>) -> Value {
    let mut bounds: Vec<f64> = held.iter().map(|(value, _)| *value).collect();
    bounds.sort_by(f64::total_cmp);
    bounds.dedup();
    let colour = |inside: f64| {
        let is_good = |(value, sense): &(f64, Sense)| match sense {
            Sense::Below | Sense::AtMost => inside < *value,
            Sense::AtLeast => inside > *value,
        };
        if held.iter().all(is_good) { GOOD } else { BAD }
    };
    let first = bounds.first().map_or(GOOD, |first| colour(first - 1.0));
    let mut steps = vec![json!({ "color": first, "value": null })];
    for (at, bound) in bounds.iter().enumerate() {
        let inside = bounds.get(at + 1).map_or(bound + 1.0, |next| f64::midpoint(*bound, *next));
        steps.push(json!({ "color": colour(inside), "value": bound }));
    }
    json!({ "mode": "absolute", "steps": steps })
}

/// As Grafana names it.
const fn unit(unit: Unit) -> &'static str {
    match unit {
        Unit::Count | Unit::Records => "short",
        Unit::Ratio => "percentunit",
        Unit::Factor => "suffix:×",
        Unit::Points => "percentunit",
        Unit::CreditsMicros => "suffix: credits",
        Unit::CurrencyMinor => "none",
        Unit::DurationUs => "µs",
        Unit::TimeUs => "dateTimeAsIso",
        Unit::Text | Unit::Verdict | Unit::Symbol => "string",
    }
}

/// What a number of a panel is multiplied by where it is shown; see `sql`.
fn scale(unit: Unit) -> f64 {
    if unit == Unit::CreditsMicros { 1e-6 } else { 1.0 }
}
