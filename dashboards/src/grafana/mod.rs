//! Grafana dashboards: one for each page, over ClickHouse, from the same panels; and one for operators, over Prometheus.
//!
//! ```text
//! panels/<page>/<id>.toml ─▶ Panel ─▶ `sql` (macros for the range) ─┐
//! grafana/operators.toml ─▶ Board ────────────────────────────────── ┴─▶ `panel` ─▶ `dashboard` ─▶ JSON
//! ```
//! What is written is a pure function of these files: the same version writes the same bytes, so that a repository of dashboards
//! shows what an upgrade changed.

mod board;
mod dashboard;
mod panel;
mod sql;
#[cfg(test)]
mod tests;

use crate::identity::Role;
use crate::panel::{Panel, Text, panels};
use serde_json::Value;

/// The plugin that asks ClickHouse, and the variable of each dashboard that chooses which.
const CLICKHOUSE: DataSource = DataSource { plugin: "grafana-clickhouse-datasource", variable: "clickhouse" };
/// The same of Prometheus.
const PROMETHEUS: DataSource = DataSource { plugin: "prometheus", variable: "prometheus" };
/// Columns of Grafana's grid.
const COLUMNS: u64 = 24;

/// In which language titles are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Chinese.
    Chinese,
}

impl Language {
    fn of(self, text: &Text) -> &str {
        match self {
            Language::English => &text.en,
            Language::Chinese => &text.zh,
        }
    }
}

/// One dashboard.
#[derive(Clone, Debug)]
pub struct Dashboard {
    /// Of its file, without `.json`.
    pub name: String,
    /// What Grafana reads.
    pub json: Value,
}

#[derive(Clone, Copy, Debug)]
struct DataSource {
    plugin: &'static str,
    variable: &'static str,
}

/// Every dashboard: those of the pages in order of their names, then the operators'.
///
/// # Panics
/// Never: what they are made from is a constant, and a test makes them.
pub fn dashboards(language: Language) -> Vec<Dashboard> {
    let seen = || panels().iter().filter(|panel| is_for_all(panel));
    let mut pages: Vec<&str> = seen().map(|panel| panel.page.as_str()).collect();
    pages.sort_unstable();
    pages.dedup();
    let of = |page: &str| seen().filter(|panel| panel.page == page).collect::<Vec<&Panel>>();
    let mut all: Vec<Dashboard> =
        pages.into_iter().map(|page| dashboard::of_page(page, &of(page), language)).collect();
    all.push(dashboard::of_operators(board::operators(), language));
    all
}

/// Whether a panel shows the rows of all. Grafana knows no buyer and no creator, so it cannot show each their own.
fn is_for_all(panel: &Panel) -> bool {
    panel.roles.iter().any(|role| matches!(role, Role::Admin | Role::Moderator))
}
