//! Charts as inline SVG. Each is drawn beside a table of the same figures, so it is hidden from screen readers.
//!
//! Coordinates are display only: they are the one place where figures become floats. Form carries the meaning (a dot is a
//! share, a bar its interval, a dashed line its target); colour only repeats it.

use crate::audit::result::{JobResult, Measure, Target};
use crate::visible::html as escaped;
use std::fmt::Write;

/// Height of a row and width of the drawing, in CSS pixels.
const ROW: f64 = 26.0;
const WIDTH: f64 = 640.0;

/// Width of the column of names, and how many characters of a name fit into it.
const NAMES: f64 = 170.0;
/// Where a trend begins, beside the ends of its scale.
const TREND_LEFT: f64 = 72.0;
const NAME_CHARS_MAX: usize = 24;

/// From, to and what lies between, mapped onto the drawing from `left` to its right edge.
struct Scale {
    low: f64,
    high: f64,
    left: f64,
}

impl Scale {
    fn x(&self, value: f64) -> f64 {
        let share = (value.clamp(self.low, self.high) - self.low) / (self.high - self.low);
        self.left + share * (WIDTH - 8.0 - self.left)
    }

    /// Around everything that is shown, with a little air.
    fn around(left: f64, values: impl IntoIterator<Item = f64>) -> Self {
        let start = (f64::INFINITY, f64::NEG_INFINITY);
        let (low, high) = (values.into_iter().filter(|v| v.is_finite()))
            .fold(start, |(low, high), value| (low.min(value), high.max(value)));
        if low > high {
            return Self { low: 0.0, high: 1.0, left };
        }
        let air = ((high - low) * 0.08).max(0.002);
        let (low, high) = (if low >= 0.0 { (low - air).max(0.0) } else { low - air }, high + air);
        Self { low, high: if high - air <= 1.0 { high.min(1.0) } else { high }, left }
    }
}

#[expect(clippy::cast_precision_loss, reason = "for a drawing")]
fn value(measure: &Measure) -> Option<f64> {
    (measure.denominator > 0).then(|| measure.numerator as f64 / measure.denominator as f64)
}

#[expect(clippy::cast_precision_loss, reason = "for a drawing")]
fn target(measure: &Measure) -> Option<f64> {
    measure.target.map(|(Target::AtLeast(permille) | Target::Below(permille))| permille as f64 / 1000.0)
}

/// Whether a drawing says more than the table: there is an interval or a target, and something was measured.
pub(super) fn is_drawn(measure: &Measure) -> bool {
    value(measure).is_some() && (measure.target.is_some() || measure.bounds.is_some())
}

/// Where the drawing begins: beside the names, if there are any.
fn left(measures: &[&Measure]) -> f64 {
    if measures.iter().all(|m| m.group.is_empty()) { 8.0 } else { NAMES }
}

/// Whose row it is; the table has the whole name.
fn name(measure: &Measure, middle: f64) -> String {
    let mut text: String = measure.group.chars().take(NAME_CHARS_MAX).collect();
    if text.len() < measure.group.len() {
        text.push('…');
    }
    format!(r#"<text x="0" y="{}">{}</text>"#, middle + 4.0, escaped(&text))
}

/// Shares with interval and target, a row each in the order given; all on one scale.
pub(super) fn shares(measures: &[&Measure]) -> String {
    let every = measures.iter().flat_map(|m| {
        [value(m), target(m), m.bounds.map(|b| b.0), m.bounds.map(|b| b.1)].into_iter().flatten()
    });
    let left = left(measures);
    let scale = Scale::around(left, every);
    let mut marks = String::new();
    let mut y = 4.0;
    for m in measures {
        let Some(share) = value(m) else { continue };
        let middle = y + ROW / 2.0;
        let _ = write!(
            marks,
            r#"{}<line class="axis" x1="{left}" x2="{:.1}" y1="{middle}" y2="{middle}"/>"#,
            name(m, middle),
            WIDTH - 8.0
        );
        if let Some((low, high)) = m.bounds.filter(|(low, high)| low.is_finite() && high.is_finite()) {
            let (x, end) = (scale.x(low), scale.x(high));
            let (top, width) = (middle - 4.0, (end - x).max(2.0));
            let _ = write!(
                marks,
                r#"<rect class="interval" x="{x:.1}" y="{top}" width="{width:.1}" height="8" rx="4"/>"#
            );
        }
        if let Some(at) = target(m) {
            let (x, top, bottom) = (scale.x(at), y + 3.0, y + ROW - 3.0);
            let _ =
                write!(marks, r#"<line class="target" x1="{x:.1}" x2="{x:.1}" y1="{top}" y2="{bottom}"/>"#);
        }
        let _ = write!(marks, r#"<circle class="share" cx="{:.1}" cy="{middle}" r="4.5"/>"#, scale.x(share));
        y += ROW;
    }
    let (low, high, base) = (scale.low * 100.0, scale.high * 100.0, y + 12.0);
    let _ = write!(
        marks,
        r#"<text x="{left}" y="{base}">{low:.2} %</text><text x="{:.1}" y="{base}" text-anchor="end">{high:.2} %</text>"#,
        WIDTH - 8.0
    );
    svg(&marks, y + 18.0)
}

/// How much of each partition or topic is accounted for: a full bar is all of it, what is missing is hatched.
pub(super) fn tiling(measures: &[&Measure]) -> String {
    let mut marks = String::from(
        r#"<defs><pattern id="missing" width="6" height="6" patternUnits="userSpaceOnUse" patternTransform="rotate(45)"><rect class="hatch" width="3" height="6"/></pattern></defs>"#,
    );
    let left = left(measures);
    let mut y = 4.0;
    for m in measures {
        let Some(covered) = value(m) else { continue };
        let (all, top, height) = (WIDTH - 8.0 - left, y + 6.0, ROW - 12.0);
        // whatever is missing stays visible, however little it is of the whole
        let width = if m.numerator == m.denominator { all } else { (covered * all).min(all - 3.0).max(0.0) };
        marks.push_str(&name(m, y + ROW / 2.0));
        if width < all {
            let _ =
                write!(marks, r#"<rect class="gap" x="{left}" y="{top}" width="{all}" height="{height}"/>"#);
        }
        let _ = write!(
            marks,
            r#"<rect class="covered" x="{left}" y="{top}" width="{width:.1}" height="{height}"/>"#
        );
        y += ROW;
    }
    svg(&marks, y + 2.0)
}

/// The headline's share over time, oldest first; `None` with fewer than two that have one.
#[expect(clippy::cast_precision_loss, reason = "for a drawing")]
pub(super) fn trend(results: &[&JobResult]) -> Option<String> {
    let shares: Vec<f64> = (results.iter().filter(|r| r.denominator > 0))
        .map(|r| r.numerator as f64 / r.denominator as f64)
        .collect();
    if shares.len() < 2 {
        return None;
    }
    let aim = results.last().and_then(|r| r.measures.iter().find_map(target));
    let scale = Scale::around(TREND_LEFT, shares.iter().copied().chain(aim));
    let y = |share: f64| 104.0 - (share - scale.low) / (scale.high - scale.low) * 96.0;
    let x = |i: usize| TREND_LEFT + i as f64 / (shares.len() - 1) as f64 * (WIDTH - 12.0 - TREND_LEFT);
    let points: Vec<String> =
        shares.iter().enumerate().map(|(i, share)| format!("{:.1},{:.1}", x(i), y(*share))).collect();
    let mut marks = String::new();
    let _ = write!(
        marks,
        r#"<text x="0" y="14">{:.2} %</text><text x="0" y="108">{:.2} %</text>"#,
        scale.high * 100.0,
        scale.low * 100.0
    );
    if let Some(aim) = aim {
        let at = y(aim);
        let _ = write!(
            marks,
            r#"<line class="target" x1="{TREND_LEFT}" x2="{:.1}" y1="{at:.1}" y2="{at:.1}"/>"#,
            WIDTH - 8.0
        );
    }
    let _ = write!(marks, r#"<polyline class="line" points="{}"/>"#, points.join(" "));
    for (i, share) in shares.iter().enumerate() {
        let _ = write!(marks, r#"<circle class="share" cx="{:.1}" cy="{:.1}" r="3.5"/>"#, x(i), y(*share));
    }
    Some(svg(&marks, 112.0))
}

fn svg(marks: &str, height: f64) -> String {
    format!(r#"<svg viewBox="0 0 {WIDTH} {height}" aria-hidden="true" focusable="false">{marks}</svg>"#)
}
