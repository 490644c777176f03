//! Shows how far a job has come: on standard error, only on a terminal, and only once it takes longer than a second.

use indicatif::{HumanCount, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::Duration;
use tally_queries::audit::progress::Progress;
use tokio::task::JoinHandle;

/// Below this nobody has begun to wonder.
const QUIET_MS: u64 = 1_000;
/// Between two looks at the handle.
const REDRAW_MS: u64 = 100;

/// What is shown, until it is dropped: then the line is cleared, so that the answer stands alone.
pub(super) struct Shown(Option<(JoinHandle<()>, ProgressBar)>);

/// Shows the handle's readings from now on; does nothing where standard error is no terminal.
pub(super) fn show(progress: &Progress) -> Shown {
    if !std::io::stderr().is_terminal() {
        return Shown(None);
    }
    let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
    let (drawn, progress) = (bar.clone(), progress.clone());
    let task = tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(QUIET_MS)).await;
        if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg} {elapsed}") {
            drawn.set_style(style);
        }
        drawn.set_draw_target(ProgressDrawTarget::stderr());
        let mut ticks = tokio::time::interval(Duration::from_millis(REDRAW_MS));
        loop {
            ticks.tick().await;
            let now = progress.read();
            let (rows, rate) = (HumanCount(now.rows), HumanCount(now.rows_per_second()));
            drawn.set_message(format!("{}  {rows} rows, {rate}/s", now.phase));
            drawn.tick();
        }
    });
    Shown(Some((task, bar)))
}

impl Drop for Shown {
    fn drop(&mut self) {
        if let Some((task, bar)) = self.0.take() {
            task.abort();
            bar.finish_and_clear();
        }
    }
}
