//! The operators' dashboard as data: `grafana/operators.toml`.

use crate::panel::{Sense, Text};
use serde::Deserialize;
use std::sync::LazyLock;

const FILE: &str = include_str!("../../grafana/operators.toml");

#[expect(clippy::expect_used, reason = "the file is a constant, and a test reads it")]
static OPERATORS: LazyLock<Board> = LazyLock::new(|| toml::from_str(FILE).expect("a constant"));

/// The operators' dashboard.
pub(super) fn operators() -> &'static Board {
    &OPERATORS
}

/// Rows of panels.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Board {
    pub(super) rows: Vec<Row>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    pub(super) title: Text,
    pub(super) panels: Vec<Metric>,
}

/// A panel over Prometheus.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Metric {
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "names a panel in its file, for people; a test holds it unique")
    )]
    pub(super) id: String,
    pub(super) title: Text,
    pub(super) question: Text,
    pub(super) unit: Unit,
    pub(super) chart: Chart,
    /// Of 24 columns.
    pub(super) width: u64,
    pub(super) queries: Vec<Query>,
    #[serde(default)]
    pub(super) thresholds: Vec<Threshold>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    pub(super) expr: String,
    /// Name of a line, with labels in double braces.
    pub(super) legend: String,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Threshold {
    pub(super) value: f64,
    pub(super) sense: Sense,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Chart {
    Lines,
    Number,
    Table,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "snake_case")]
pub(super) enum Unit {
    Count,
    Records,
    RecordsPerSecond,
    PerSecond,
    Bytes,
    BytesPerSecond,
    Seconds,
    Ratio,
    /// Milliseconds since 1970.
    TimeMs,
    /// 0 PASS, 1 FAIL, 2 undecided, 3 could not be checked.
    Verdict,
}

impl Unit {
    /// As Grafana names it.
    pub(super) const fn grafana(self) -> &'static str {
        match self {
            Unit::Count | Unit::Records | Unit::Verdict => "short",
            Unit::RecordsPerSecond => "suffix: records/s",
            Unit::PerSecond => "suffix: /s",
            Unit::Bytes => "bytes",
            Unit::BytesPerSecond => "binBps",
            Unit::Seconds => "s",
            Unit::Ratio => "percentunit",
            Unit::TimeMs => "dateTimeFromNow",
        }
    }
}
