//! The report in a terminal: a table of the jobs, then what each rests on.

use super::number::{bounds, grouped, share, target};
use super::{Report, label, sign};
use crate::audit::result::{JobResult, Measure, Verdict, moment};
use crate::visible::visible;
use comfy_table::{CellAlignment, ColumnConstraint, ContentArrangement, Table, presets};

/// Where the text is going to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terminal {
    /// Columns; lines of tables and sentences keep within them, down to 60.
    pub columns: u16,
    /// Whether colours may be used; they never carry a meaning alone.
    pub colour: bool,
}

/// Offenders that are shown, of each job.
const OFFENDERS_MAX: usize = 10;

pub(super) fn render(report: &Report, terminal: Terminal) -> String {
    let columns = terminal.columns.max(60);
    let mut out = String::new();
    let mut table = plain(columns);
    table.set_header(["verdict", "job", "share", "of", "target", "time"]);
    for result in &report.results {
        let headline = result.measures.iter().find(|m| m.target.is_some()).or(result.measures.first());
        let pair = Measure {
            numerator: result.numerator,
            denominator: result.denominator,
            target: headline.and_then(|m| m.target),
            ..empty()
        };
        table.add_row([
            named(result.verdict),
            visible(&result.job).into_owned(),
            share(&pair),
            format!("{} / {}", count(result.numerator), count(result.denominator)),
            pair.target.map_or_else(String::new, target),
            format!("{} ms", grouped(i128::from(result.duration_ms), ',')),
        ]);
    }
    arrange(&mut table, &[2, 3, 5], 1);
    out.push_str(&coloured(&table, &report.results, terminal.colour));
    for result in &report.results {
        out.push('\n');
        job(&mut out, result, columns, terminal.colour);
    }
    let overall = report.verdict();
    let line = format!("{} · exit code {}", named(overall), report.exit_code());
    out.push_str(&format!("\noverall {}\n", paint(&line, overall, terminal.colour)));
    out
}

fn empty() -> Measure {
    Measure {
        name: String::new(),
        group: String::new(),
        numerator: 0,
        denominator: 0,
        unit: String::new(),
        bounds: None,
        bounds_by: String::new(),
        target: None,
        verdict: None,
        needed: None,
    }
}

fn job(out: &mut String, result: &JobResult, columns: u16, colour: bool) {
    let head = paint(&named(result.verdict), result.verdict, colour);
    out.push_str(&format!("{head}  {}\n", visible(&result.job)));
    wrapped(out, &result.sentence, columns, "  ");
    let window = &result.window;
    let state = format!("{:?}", window.state).to_lowercase();
    out.push_str(&format!("  {} – {}, {state}\n", moment(window.from_us), moment(window.to_us)));
    if !result.measures.is_empty() {
        out.push_str(&indented(&measures(&result.measures, columns - 2)));
    }
    let counted: Vec<String> = (result.counters.iter().filter(|(_, n)| **n != 0))
        .map(|(name, n)| format!("{} {}", visible(name), count(*n)))
        .collect();
    if !counted.is_empty() {
        wrapped(out, &format!("counted: {}", counted.join(", ")), columns, "  ");
    }
    offenders(out, result, columns);
    if !result.cross_check.agrees && !result.cross_check.by.is_empty() {
        let different: Vec<String> = (result.cross_check.differences.iter())
            .map(|d| format!("{} {} here, {} there", d.figure, count(d.before), count(d.after)))
            .collect();
        let line = format!("{} disagrees: {}", result.cross_check.by, different.join("; "));
        wrapped(out, &line, columns, "  ");
    }
    if let Some(earlier) = &result.restates {
        let line = format!("restates {}, known at {}", earlier.verdict.name(), moment(earlier.known_at_us));
        wrapped(out, &line, columns, "  ");
    }
}

fn measures(measures: &[Measure], columns: u16) -> String {
    let mut table = plain(columns);
    table.set_header(["measure", "share", "of", "interval", "target", "says"]);
    for m in measures {
        table.add_row([
            visible(&label(m)).into_owned(),
            share(m),
            format!("{} / {}", count(m.numerator), count(m.denominator)),
            bounds(m).unwrap_or_default(),
            m.target.map_or_else(String::new, target),
            m.verdict.map_or_else(String::new, named),
        ]);
    }
    arrange(&mut table, &[1, 2], 0);
    table.to_string()
}

fn offenders(out: &mut String, result: &JobResult, columns: u16) {
    if result.offenders_total == 0 {
        return;
    }
    let shown = result.offenders.len().min(OFFENDERS_MAX);
    let total = grouped(i128::from(result.offenders_total), ',');
    out.push_str(&format!("  offenders: {shown} of {total}\n"));
    for offender in result.offenders.iter().take(OFFENDERS_MAX) {
        let line = format!("{} · {} · {}", offender.id, offender.why, offender.detail);
        wrapped(out, &line, columns, "    ");
    }
}

fn plain(columns: u16) -> Table {
    let mut table = Table::new();
    table.load_preset(presets::UTF8_BORDERS_ONLY).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_width(columns);
    table
}

/// Figures stand to the right and stay whole; only the text of column `breaks` is broken to keep within the width.
fn arrange(table: &mut Table, figures: &[usize], breaks: usize) {
    for (at, column) in table.column_iter_mut().enumerate() {
        if figures.contains(&at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        if at != breaks {
            column.set_constraint(ColumnConstraint::ContentWidth);
        }
    }
}

fn named(verdict: Verdict) -> String {
    format!("{} {}", sign(verdict), verdict.name())
}

fn count(n: i64) -> String {
    grouped(i128::from(n), ',')
}

/// The verdict of a row is its first cell: the cell is painted where the row begins.
fn coloured(table: &Table, results: &[JobResult], colour: bool) -> String {
    let mut verdicts = results.iter().map(|result| result.verdict).peekable();
    let mut out = String::new();
    for line in table.lines() {
        let begins =
            verdicts.peek().is_some_and(|verdict| line.starts_with(&format!("│ {} ", named(*verdict))));
        match verdicts.next_if(|_| begins) {
            Some(verdict) => {
                out.push_str(&line.replacen(&named(verdict), &paint(&named(verdict), verdict, colour), 1))
            }
            None => out.push_str(&line),
        }
        out.push('\n');
    }
    out
}

fn paint(text: &str, verdict: Verdict, colour: bool) -> String {
    let code = match verdict {
        Verdict::Pass => "32",
        Verdict::Fail | Verdict::Error => "31",
        Verdict::Warn | Verdict::Pending | Verdict::NotEvaluated | Verdict::Insufficient => "33",
    };
    if colour { format!("\x1b[1;{code}m{text}\x1b[0m") } else { text.to_owned() }
}

fn indented(text: &str) -> String {
    text.lines().map(|line| format!("  {line}\n")).collect()
}

/// Made harmless, and broken at spaces; a word that is longer than a line is left whole, so that it can be copied.
fn wrapped(out: &mut String, text: &str, columns: u16, indent: &str) {
    let (text, mut line) = (visible(text), String::new());
    for word in text.split(' ') {
        let grown = line.chars().count() + word.chars().count() + 1 + indent.len();
        if !line.is_empty() && grown > usize::from(columns) {
            out.push_str(&format!("{indent}{line}\n"));
            line.clear();
        }
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    out.push_str(&format!("{indent}{line}\n"));
}
