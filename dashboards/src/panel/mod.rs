//! Panels as data: one file a panel under `panels/<page>/`, embedded at build time.
//!
//! ```text
//! panels/<page>/<id>.toml ─▶ Panel ─▶ SQL over parts of queries ─▶ Answer ─▶ API (JSON, CSV), pages, Grafana
//! ```
//! A panel says what it asks and for whom, what its numbers are, and what they are held against. Rules that stand in METRICS are
//! parts of `queries` (`{{attempts}}`), so that a panel states none of its own.

mod answer;
mod definition;
mod memory;
mod step;
#[cfg(test)]
mod tests;

pub(crate) use answer::{Answer, Asked, Window, ask, ask_all};
pub use definition::{Chart, Column, Panel, PanelError, Picture, Sense, Text, Threshold, Unit};
pub(crate) use memory::Answers;
pub use step::step_us;

use std::sync::LazyLock;

/// `(page, id, text)` of each file.
const FILES: &[(&str, &str, &str)] = include!(concat!(env!("OUT_DIR"), "/panels.rs"));

#[expect(clippy::expect_used, reason = "the files are constants, and a test reads them")]
static PANELS: LazyLock<Vec<Panel>> = LazyLock::new(|| read().expect("a constant"));

/// Reads all files.
///
/// # Errors
/// The first file that is no panel.
fn read() -> Result<Vec<Panel>, PanelError> {
    FILES.iter().map(|(page, id, text)| Panel::parse(page, id, text)).collect()
}

/// Every panel, by page and id.
///
/// # Panics
/// Never: the files are constants, and a test reads them.
pub fn panels() -> &'static [Panel] {
    &PANELS
}

/// The panel of that id.
pub fn panel(id: &str) -> Option<&'static Panel> {
    panels().iter().find(|panel| panel.id == id)
}
