//! Pictures that need no script: bars and bounds. They are drawn with attributes alone, since the policy allows no style in markup.

use super::number::{shown, symbol};
use super::view::View;
use crate::panel::{Answer, Sense, Threshold, Unit};
use maud::{Markup, html};

/// Width of a drawing in its own units; it is stretched to the width of its place.
const WIDTH: f64 = 1_000.0;

/// Where a number stands in the drawing.
#[derive(Clone, Copy, Debug)]
struct Scale {
    low: f64,
    high: f64,
}

impl Scale {
    /// Over all numbers that are drawn: from 0 where that leaves them apart, else from a little below the least.
    fn over(numbers: &[f64], highest: Option<f64>) -> Scale {
        let least = numbers.iter().copied().fold(f64::INFINITY, f64::min);
        let most = numbers.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        if !(least.is_finite() && most.is_finite()) {
            return Scale { low: 0.0, high: 1.0 };
        }
        let room = ((most - least) * 0.2).max(most.abs() * 0.02).max(f64::MIN_POSITIVE);
        let low = if least - room < most * 0.4 { 0.0_f64.min(least) } else { least - room };
        let high = most + if low == 0.0 { most * 0.12 } else { room };
        let high = highest.map_or(high, |highest| high.min(highest.max(most)));
        Scale { low, high: if high > low { high } else { low + 1.0 } }
    }

    fn at(self, number: f64) -> f64 {
        ((number - self.low) / (self.high - self.low)).clamp(0.0, 1.0) * WIDTH
    }
}

fn number(row: &[Option<String>], at: Option<usize>) -> Option<f64> {
    row.get(at?)?.as_deref()?.parse().ok()
}

/// The name of a row, in the reader's language.
fn name(view: &View, answer: &Answer, row: &[Option<String>]) -> String {
    let at = answer.panel.column(&answer.panel.picture.x);
    let text = at.and_then(|at| row.get(at)?.as_deref()).unwrap_or_default();
    match at.and_then(|at| answer.panel.columns.get(at)).map(|column| column.unit) {
        Some(Unit::Symbol) => symbol(text, view.lang),
        _ => text.to_owned(),
    }
}

/// A point with its bounds a row, and the thresholds as lines through all rows.
pub(super) fn intervals(view: &View, answer: &Answer) -> Markup {
    let panel = answer.panel;
    let y = panel.picture.y.first().and_then(|y| panel.column(y));
    let bounds: Vec<Option<usize>> = panel.picture.bounds.iter().map(|name| panel.column(name)).collect();
    let unit = y.and_then(|y| panel.columns.get(y)).map_or(panel.unit, |column| column.unit);
    let bounds_of = |row: &[Option<String>]| -> Vec<(&Threshold, f64)> {
        panel.thresholds.iter().map(|threshold| (threshold, answer.bound(threshold, row))).collect()
    };
    let mut numbers: Vec<f64> = Vec::new();
    for row in &answer.rows {
        numbers.extend(bounds_of(row).into_iter().map(|(_, bound)| bound));
        numbers.extend(std::iter::once(y).chain(bounds.iter().copied()).filter_map(|at| number(row, at)));
    }
    if unit == Unit::Points {
        numbers.push(0.0); // no difference is where one begins to look
    }
    let scale = Scale::over(&numbers, (unit == Unit::Ratio).then_some(1.0));
    html! {
        div class="rows" aria-hidden="true" {
            @for row in &answer.rows {
                @let value = number(row, y);
                @let held = bounds_of(row);
                // by what is proven where the panel has bounds of its share, as tiles and hints say it
                @let is_over = panel.thresholds.iter().any(|threshold| answer.stands(threshold, row) == Some(false));
                @let (low, high) = (number(row, bounds.first().copied().flatten()), number(row, bounds.get(1).copied().flatten()));
                div class="row" {
                    span class="name" { (name(view, answer, row)) }
                    svg viewBox="0 0 1000 20" preserveAspectRatio="none" class="strip" {
                        line class="axis" x1="0" x2="1000" y1="10" y2="10" {}
                        @for (threshold, bound) in &held { (rule(scale, threshold.sense, *bound)) }
                        @if unit == Unit::Points { line class="threshold" x1=(place(scale.at(0.0))) x2=(place(scale.at(0.0))) y1="0" y2="20" {} }
                        @if let (Some(low), Some(high)) = (low, high) {
                            line class="reach" x1=(place(scale.at(low))) x2=(place(scale.at(high))) y1="10" y2="10" {}
                        }
                        @if let Some(value) = value {
                            line class={ "point" @if is_over { " over" } } x1=(place(scale.at(value))) x2=(place(scale.at(value))) y1="3" y2="17" {}
                        }
                    }
                    span class="value" { (shown(value.map(|value| value.to_string()).as_deref(), unit, None, view)) }
                }
            }
            div class="row ends" {
                span {}
                span class="scale" {
                    span { (shown(Some(&scale.low.to_string()), unit, None, view)) }
                    span { (shown(Some(&scale.high.to_string()), unit, None, view)) }
                }
                span {}
            }
        }
    }
}

fn rule(scale: Scale, sense: Sense, bound: f64) -> Markup {
    let at = scale.at(bound);
    let (from, wide) = match sense {
        Sense::Below | Sense::AtMost => (0.0, at),
        Sense::AtLeast => (at, WIDTH - at),
    };
    html! {
        rect class="band" x=(place(from)) width=(place(wide)) y="0" height="20" {}
        line class="threshold" x1=(place(at)) x2=(place(at)) y1="0" y2="20" {}
    }
}

/// A bar a class of sizes; those within the tolerance stand on a band. A picture for each series.
pub(super) fn histograms(view: &View, answer: &Answer) -> Markup {
    let panel = answer.panel;
    let series = panel.column(&panel.picture.series);
    let of = |row: &[Option<String>]| series.and_then(|at| row.get(at)?.clone()).unwrap_or_default();
    let mut groups: Vec<(String, Vec<&[Option<String>]>)> = Vec::new();
    for row in &answer.rows {
        let name = of(row);
        match groups.iter_mut().find(|(known, _)| *known == name) {
            Some((_, rows)) => rows.push(row),
            None => groups.push((name, vec![row])),
        }
    }
    html! {
        div class="side" {
            @for (name, rows) in &groups { div { p class="apart" { (symbol(name, view.lang)) } (histogram(view, answer, rows)) } }
        }
    }
}

/// A bar a row, in the order of the rows.
pub(super) fn bars(view: &View, answer: &Answer) -> Markup {
    let rows: Vec<&[Option<String>]> = answer.rows.iter().map(Vec::as_slice).collect();
    lengths(view, answer, ("rows", &rows))
}

fn histogram(view: &View, answer: &Answer, rows: &[&[Option<String>]]) -> Markup {
    lengths(view, answer, ("rows tight", rows))
}

/// A bar a row, the longest of which is as long as there is room; where rows say whether they are within a tolerance, so do the bars.
fn lengths(view: &View, answer: &Answer, (class, rows): (&str, &[&[Option<String>]])) -> Markup {
    let panel = answer.panel;
    let y = panel.picture.y.first().and_then(|y| panel.column(y));
    let within = panel.column("within");
    let most = rows.iter().filter_map(|row| number(row, y)).fold(1.0, f64::max);
    let scale = Scale { low: 0.0, high: most };
    html! {
        div class=(class) aria-hidden="true" {
            @for row in rows {
                @let value = number(row, y).unwrap_or(0.0);
                @let is_within = within.is_some_and(|at| row.get(at).and_then(Option::as_deref) == Some("WITHIN"));
                div class={ "row" @if is_within { " within" } } {
                    span class="name" { (name(view, answer, row)) }
                    svg viewBox="0 0 1000 20" preserveAspectRatio="none" class="strip" {
                        rect class={ "bar" @if within.is_some() && !is_within { " out" } } x="0" width=(place(scale.at(value))) y="4" height="12" {}
                    }
                    span class="value" { (shown(Some(&value.to_string()), Unit::Count, None, view)) }
                }
            }
        }
    }
}

/// A coordinate: a tenth of a unit is finer than a screen.
fn place(at: f64) -> String {
    format!("{at:.1}")
}

#[cfg(test)]
mod tests {
    use super::Scale;

    /// Scenario: shares far from 0, shares near 0, one number alone, none.
    /// Guarantees: everything that is drawn lies within the drawing, and a scale from 0 is used where it costs nothing.
    #[test]
    fn scales_hold_what_is_drawn() {
        for numbers in [&[0.95, 0.99, 0.98][..], &[0.02, 0.001], &[0.5], &[1.0, 1.0], &[0.0], &[]] {
            let scale = Scale::over(numbers, Some(1.0));
            assert!(scale.low < scale.high, "{numbers:?} {scale:?}");
            for number in numbers {
                assert!((scale.low..=scale.high).contains(number), "{number} {scale:?}");
                assert!((0.0..=super::WIDTH).contains(&scale.at(*number)));
            }
        }
        assert!(Scale::over(&[0.95, 0.99], Some(1.0)).low > 0.8);
        assert!(Scale::over(&[0.02, 0.001], None).low.abs() < f64::EPSILON);
    }
}
