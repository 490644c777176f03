//! A panel's SQL as Grafana's ClickHouse plugin asks it.
//!
//! Our service binds parameters; the plugin has none, it has macros for the range that stands above a dashboard. What is shown is
//! converted in the store: times for Grafana's axis, credits and minor units in wholes.

use crate::panel::{Chart, Column, Panel, Unit};

/// How far data has come, as `Snapshot::as_of_us` says it to the service.
const AS_OF: &str = include_str!("../../grafana/as_of.sql");

/// The columns of a panel that its SQL gives, in order.
pub(super) fn columns(panel: &Panel) -> impl Iterator<Item = &Column> {
    let needed = |column: &&Column| {
        let drawn = &panel.picture;
        panel.chart != Chart::Time
            || column.name == drawn.x
            || column.name == drawn.series
            || drawn.y.contains(&column.name)
    };
    panel.columns.iter().filter(|column| panel.is_asked(column)).filter(needed)
}

/// The question as it stands in the dashboard.
pub(super) fn raw(panel: &Panel) -> String {
    let has_currency = panel.column("currency").is_some();
    let shown: Vec<String> = columns(panel).map(|column| shown(column, has_currency)).collect();
    let order = match panel.chart {
        Chart::Time => format!("\nORDER BY {}", panel.picture.x),
        _ => String::new(),
    };
    format!("SELECT {}\nFROM\n(\n{}\n){order}", shown.join(", "), with_macros(panel))
}

/// The panel's own SQL, with macros where the service binds.
fn with_macros(panel: &Panel) -> String {
    let least = panel.step_us_min.unwrap_or(1_000_000);
    let step = format!("greatest(toInt64($__interval_s) * 1000000, {least})");
    let as_of = format!("(\n{}\n)", AS_OF.trim_end());
    let given: [(&str, &str); 6] = [
        ("{from_us:Int64}", "toUnixTimestamp64Micro($__fromTime_ms)"),
        ("{to_us:Int64}", "toUnixTimestamp64Micro($__toTime_ms)"),
        ("{step_us:Int64}", &step),
        ("{as_of_us:Int64}", &as_of),
        ("{scope:String}", "'all'"),
        ("{subject:String}", "''"),
    ];
    given.into_iter().fold(panel.sql(), |sql, (name, value)| sql.replace(name, value))
}

/// A column as Grafana shows it, under its own name.
fn shown(column: &Column, has_currency: bool) -> String {
    let name = &column.name;
    let value = match column.unit {
        Unit::TimeUs => format!("fromUnixTimestamp64Micro(toInt64({name}))"),
        Unit::CreditsMicros => format!("toFloat64({name}) / 1e6"),
        Unit::CurrencyMinor if has_currency => {
            let digits = crate::pages::DIGITS;
            let list =
                |of: fn(&(&str, usize)) -> String| digits.iter().map(of).collect::<Vec<_>>().join(", ");
            let known = list(|(currency, _)| format!("'{currency}'"));
            let powers = list(|(_, digits)| 10_u64.pow(u32::try_from(*digits).unwrap_or(2)).to_string());
            format!("toFloat64({name}) / transform(currency, [{known}], [{powers}], 100)")
        }
        Unit::Ratio | Unit::Factor | Unit::Points | Unit::DurationUs | Unit::CurrencyMinor => {
            format!("toFloat64({name})")
        }
        Unit::Count | Unit::Records => format!("toInt64({name})"),
        Unit::Text | Unit::Verdict | Unit::Symbol => format!("toString({name})"),
    };
    format!("{value} AS {name}")
}
