//! Numbers as people read them, without ever rounding onto the other side of a target.
//!
//! A share is written with two decimals, from its integer pair, half away from zero. Where that text would equal the target,
//! 0 % or 100 % while the pair does not, or would stand on the other side of it, decimals are added until it does not:
//! 1,999 of 100,000 is `1.999 %` against a target of 2 %, never `2.00 %`. Bounds are written outwards (the lower one down, the
//! upper one up), so that an interval is never shown narrower than it is, with decimals added likewise.

use crate::audit::result::{Measure, Target};

/// Decimals of a percentage, unless more are needed.
const DECIMALS: u32 = 2;
/// Decimals where adding more ends.
const DECIMALS_MAX: u32 = 12;

/// An integer with `separator` between groups of three digits.
pub(super) fn grouped(number: i128, separator: char) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::from(if number < 0 { "−" } else { "" });
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// Target in per mille, if there is one.
fn permille(target: Option<Target>) -> Option<i64> {
    target.map(|(Target::AtLeast(permille) | Target::Below(permille))| permille)
}

/// `≥ 95.0 %`, `< 2.0 %`.
pub(super) fn target(target: Target) -> String {
    let (sign, permille) = match target {
        Target::AtLeast(permille) => ("≥", permille),
        Target::Below(permille) => ("<", permille),
    };
    format!("{sign} {} %", fixed(i128::from(permille), 1))
}

/// The share of a measure in per cent, exactly enough; `–` where there is nothing to divide by.
pub(super) fn share(measure: &Measure) -> String {
    let (n, d) = (i128::from(measure.numerator), i128::from(measure.denominator));
    if d <= 0 {
        return "–".to_owned();
    }
    let marks = [Some(0), Some(1000), permille(measure.target)];
    let text = |decimals: u32| {
        let scaled = n * 10_i128.pow(decimals + 2);
        let half = if n < 0 { -d } else { d };
        (2 * scaled + half) / (2 * d)
    };
    let honest = |decimals: &u32| {
        let shown = text(*decimals);
        marks.iter().flatten().all(|mark| {
            let mark = i128::from(*mark);
            (n * 1000).cmp(&(mark * d)) == shown.cmp(&scaled_mark(mark, *decimals))
        })
    };
    let decimals = (DECIMALS..=DECIMALS_MAX).find(honest).unwrap_or(DECIMALS_MAX);
    format!("{} %", fixed(text(decimals), decimals))
}

/// Lower and upper bound in per cent, rounded outwards: `94.81 – 97.20 %`.
#[expect(clippy::cast_possible_truncation, reason = "held to 10^15 before")]
pub(super) fn bounds(measure: &Measure) -> Option<String> {
    let (low, high) = measure.bounds?;
    if !(low.is_finite() && high.is_finite()) || low.abs().max(high.abs()) > 1e6 {
        return Some("unbounded".to_owned());
    }
    let scale = |decimals: u32| 10_f64.powi(decimals.cast_signed() + 2);
    // a bound that is a decimal number itself is not pushed outwards by its binary representation
    let nudge = 1e-9;
    let shown = |decimals: u32| {
        let (low, high) = (low * scale(decimals), high * scale(decimals));
        ((low + nudge).floor() as i128, (high - nudge).ceil() as i128)
    };
    let mark = permille(measure.target).map(i128::from);
    #[expect(clippy::cast_precision_loss, reason = "per mille of a target")]
    let honest = |decimals: &u32| {
        let Some(mark) = mark else { return true };
        let (shown_low, shown_high) = shown(*decimals);
        let (at, text) = (mark as f64 / 1000.0, scaled_mark(mark, *decimals));
        (low > at) == (shown_low > text) && (high < at) == (shown_high < text)
    };
    let decimals = (DECIMALS..=6).find(honest).unwrap_or(6);
    let (low, high) = shown(decimals);
    Some(format!("{} – {} %", fixed(low, decimals), fixed(high, decimals)))
}

/// A mark in per mille, in units of a percentage with that many decimals (at least one).
fn scaled_mark(permille: i128, decimals: u32) -> i128 {
    permille * 10_i128.pow(decimals - 1)
}

/// `12345` with 2 decimals is `123.45`.
fn fixed(value: i128, decimals: u32) -> String {
    let (unit, sign) = (10_u128.pow(decimals), if value < 0 { "−" } else { "" });
    let (whole, rest) = (value.unsigned_abs() / unit, value.unsigned_abs() % unit);
    format!("{sign}{whole}.{rest:0width$}", width = decimals as usize)
}

#[cfg(test)]
mod tests {
    use super::{bounds, grouped, share, target};
    use crate::audit::result::{Measure, Target};

    fn measure(numerator: i64, denominator: i64, target: Option<Target>) -> Measure {
        Measure {
            name: String::new(),
            group: String::new(),
            numerator,
            denominator,
            unit: String::new(),
            bounds: None,
            bounds_by: String::new(),
            target,
            verdict: None,
            needed: None,
        }
    }

    /// Scenario: shares that stand a hair beside their target, beside nothing and beside all.
    /// Guarantees: the text stands on the same side as the pair; two decimals where that is enough.
    #[test]
    fn shares_never_cross_a_target() {
        let two = Some(Target::Below(20));
        let cases = [
            (1, 3, None, "33.33 %"),
            (2, 100, two, "2.00 %"),
            (1_999, 100_000, two, "1.999 %"),
            (19_999_999, 1_000_000_000, two, "1.9999999 %"),
            (2_001, 100_000, two, "2.001 %"),
            (94_999, 100_000, Some(Target::AtLeast(950)), "94.999 %"),
            (999_999, 1_000_000, None, "99.9999 %"),
            (1, 1_000_000, None, "0.0001 %"),
            (0, 7, None, "0.00 %"),
            (7, 7, None, "100.00 %"),
            (-1, 8, None, "−12.50 %"),
            (0, 0, two, "–"),
            (i64::MAX - 1, i64::MAX, None, "100.000000000000 %"),
        ];
        for (n, d, target, text) in cases {
            assert_eq!(share(&measure(n, d, target)), text, "{n}/{d}");
        }
    }

    /// Scenario: an upper bound just below the target, and others without a target, with no end, and none.
    /// Guarantees: bounds are rounded outwards, but never onto a target they do not reach.
    #[test]
    fn bounds_point_outwards() {
        let with =
            |low, high, target| bounds(&Measure { bounds: Some((low, high)), ..measure(1, 2, target) });
        assert_eq!(with(0.009_294_5, 0.019_570_8, None).as_deref(), Some("0.92 – 1.96 %"));
        let near = with(0.01, 0.019_999_1, Some(Target::Below(20)));
        assert_eq!(near.as_deref(), Some("1.00000 – 1.99991 %"));
        assert_eq!(with(0.5, 0.95, None).as_deref(), Some("50.00 – 95.00 %"));
        assert_eq!(with(0.5, f64::INFINITY, None).as_deref(), Some("unbounded"));
        assert_eq!(bounds(&measure(1, 2, None)), None);
    }

    /// Scenario: integers of every length.
    /// Guarantees: groups of three, the sign kept.
    #[test]
    fn groups() {
        assert_eq!(grouped(999, ','), "999");
        assert_eq!(grouped(-1_234_567, ','), "−1,234,567");
        assert_eq!(target(Target::AtLeast(1_080)), "≥ 108.0 %");
    }
}
