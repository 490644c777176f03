//! What a run of the bench says: a table for people, JSON for machines, a plot for a page.

use super::contenders::Turn;
use super::gauge::median;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;
use tally_tests::cache;

/// Width of the plot's bars, pixels.
const BAR_PX: f64 = 420.0;
/// Height of one line of the plot, pixels.
const LINE_PX: usize = 26;

/// One contender's figures over all rounds.
#[derive(Debug)]
pub(super) struct Figures {
    name: String,
    turns: Vec<Turn>,
}

impl Figures {
    pub(super) fn new(name: &str) -> Figures {
        Figures { name: name.to_owned(), turns: Vec::new() }
    }

    pub(super) fn push(&mut self, turn: Turn) {
        self.turns.push(turn);
    }

    fn of(&self, figure: impl Fn(&Turn) -> Option<f64>) -> Option<f64> {
        let all: Vec<f64> = self.turns.iter().filter_map(figure).collect();
        (!all.is_empty()).then(|| median(all))
    }

    /// Median of the events a second.
    pub(super) fn rate(&self) -> f64 {
        self.of(|turn| Some(events(turn) / turn.seconds.max(0.001))).unwrap_or(0.0)
    }

    fn cpu(&self) -> Option<f64> {
        self.of(|turn| Some(turn.cpu? / events(turn) * 1e6))
    }

    fn store_cpu(&self) -> Option<f64> {
        self.of(|turn| Some(turn.store_cpu? / events(turn) * 1e6))
    }

    fn peak_mib(&self) -> Option<f64> {
        self.of(|turn| Some(mib(turn.peak_bytes?)))
    }

    fn store_peak_mib(&self) -> Option<f64> {
        self.of(|turn| Some(mib(turn.store_peak_bytes?)))
    }

    fn parts(&self) -> f64 {
        self.of(|turn| Some(f64::from(u32::try_from(turn.parts).unwrap_or(u32::MAX)))).unwrap_or(0.0)
    }

    /// In how many rounds it was stopped before it had drained the backlog.
    fn stopped(&self) -> usize {
        self.turns.iter().filter(|turn| turn.stopped).count()
    }

    fn json(&self, first: f64) -> Value {
        json!({
            "name": self.name, "events_per_second": self.rate(), "ratio": self.rate() / first,
            "cpu_seconds_per_million": self.cpu(), "clickhouse_cpu_seconds_per_million": self.store_cpu(),
            "peak_mib": self.peak_mib(), "clickhouse_peak_mib": self.store_peak_mib(), "parts": self.parts(),
            "stopped_rounds": self.stopped(),
            "rounds": self.turns.iter().map(|turn| events(turn) / turn.seconds.max(0.001)).collect::<Vec<_>>(),
        })
    }
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn events(turn: &Turn) -> f64 {
    turn.events.max(1) as f64
}

#[expect(clippy::cast_precision_loss, reason = "figures for people")]
fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

/// The figures as a table; the first line is what the others are held against.
pub(super) fn table(title: &str, all: &[Figures]) -> String {
    let first = all.first().map_or(1.0, Figures::rate);
    let mut text = format!(
        "{title}\n  {:<36}{:>10}{:>8}{:>9}{:>12}{:>10}{:>12}{:>7}\n",
        "", "events/s", "ratio", "CPU s/M", "store CPU", "peak MiB", "store MiB", "parts"
    );
    for one in all {
        let number =
            |value: Option<f64>, places: usize| value.map_or("–".to_owned(), |v| format!("{v:.places$}"));
        let stopped = match one.stopped() {
            0 => String::new(),
            rounds => format!("  stopped before the end in {rounds} of {} rounds", one.turns.len()),
        };
        let _ = writeln!(
            text,
            "  {:<36}{:>10.0}{:>8.2}{:>9}{:>12}{:>10}{:>12}{:>7.0}{}",
            one.name,
            one.rate(),
            one.rate() / first,
            number(one.cpu(), 2),
            number(one.store_cpu(), 2),
            number(one.peak_mib(), 0),
            number(one.store_peak_mib(), 0),
            one.parts(),
            stopped,
        );
    }
    text
}

/// The same for machines.
pub(super) fn json(title: &str, all: &[Figures]) -> Value {
    let first = all.first().map_or(1.0, Figures::rate);
    json!({ "title": title, "contenders": all.iter().map(|one| one.json(first)).collect::<Vec<_>>() })
}

/// Events a second as bars, one a contender.
pub(super) fn plot(title: &str, all: &[Figures]) -> String {
    let most = all.iter().map(Figures::rate).fold(1.0, f64::max);
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="840" height="{}" font-family="sans-serif" font-size="13">
<title>{title}</title><text x="8" y="20" font-weight="bold">{title}</text>
"#,
        (all.len() + 2) * LINE_PX
    );
    for (line, one) in all.iter().enumerate() {
        let (y, width) = ((line + 1) * LINE_PX, one.rate() / most * BAR_PX);
        let colour = if line == 0 { "#1f6feb" } else { "#8c959f" };
        let (bar, text) = (y + 4, y + 18);
        let _ = writeln!(
            svg,
            r#"<text x="8" y="{text}">{}</text><rect x="260" y="{bar}" width="{width:.0}" height="18" fill="{colour}"/><text x="{:.0}" y="{text}">{:.0} events/s</text>"#,
            one.name,
            268.0 + width,
            one.rate()
        );
    }
    svg.push_str("</svg>\n");
    svg
}

/// Keeps a file of the bench: in `TALLY_BENCH_OUT`, else in `.cache/bench`. Returns where it lies.
pub(super) fn keep(name: &str, text: &str) -> PathBuf {
    let folder = std::env::var_os("TALLY_BENCH_OUT").map_or_else(|| cache().join("bench"), PathBuf::from);
    fs::create_dir_all(&folder).expect("a folder for the bench's files");
    let path = folder.join(name);
    fs::write(&path, text).expect("a file of the bench");
    path
}
