//! Confidence bounds at 95 %, for display and for verdicts; what is counted stays in integers.
//!
//! A proportion is a pair (hits, of) with `0 <= hits <= of`; anything else has no bounds. All intervals are two-sided.
//! None has a continuity correction: METRICS state figures (at most 27 errors of 2,000, at least 189 attempts) that
//! only the uncorrected score interval yields.

#[cfg(test)]
mod tests;

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Hits and trials.
pub type Pair = (i64, i64);

/// Wilson's score interval for a proportion (Wilson 1927; Newcombe 1998, Statistics in Medicine 17:857, method 3):
/// the shares p for which |hits/of − p| is at most z √(p(1−p)/of). `None` without observations.
pub fn wilson(hits: i64, of: i64) -> Option<(f64, f64)> {
    let share = Share::of((hits, of))?;
    let (low, high) = share.wilson(1.0);
    // exactly, where rounding would leave a trace
    Some((if hits == 0 { 0.0 } else { low }, if hits == of { 1.0 } else { high }))
}

/// Newcombe's hybrid score interval for a − b of two independent proportions: Wilson's intervals of both put together
/// (Newcombe 1998, Statistics in Medicine 17:873, method 10). `None` where one has no observations.
pub fn newcombe(a: Pair, b: Pair) -> Option<(f64, f64)> {
    Some(difference(Share::of(a)?, Share::of(b)?, 1.0))
}

/// An interval for a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ratio {
    /// From, to; both finite.
    Between(f64, f64),
    /// The denominator is not told apart from zero: no ratio, however great, can be excluded.
    Unbounded,
}

/// Fieller's interval for a / b of two independent proportions (Fieller 1954, JRSS B 16:175): the ratios r for which
/// |p − r q| is at most z √(V(p) + r² V(q)).
///
/// V is the binomial variance p(1−p)/n. Where none or all are hits that would be 0 and claim certainty; there V is taken
/// at (hits + ½) / (n + 1) instead. The interval is never below 0.
pub fn fieller(a: Pair, b: Pair) -> Ratio {
    let (Some(a), Some(b)) = (Share::of(a), Share::of(b)) else { return Ratio::Unbounded };
    let square = b.p * b.p - Z * Z * b.variance;
    if square <= 0.0 {
        return Ratio::Unbounded;
    }
    let product = a.p * b.p;
    let root = (product * product - square * (a.p * a.p - Z * Z * a.variance)).max(0.0).sqrt();
    Ratio::Between(((product - root) / square).max(0.0), (product + root) / square)
}

/// How many more observations `a` needs until [`fieller`] excludes `permille` / 1000, if both bases grow in proportion and
/// the observed rates stay: with T = p − r q, `a` must grow by the factor z² (V(p) + r² V(q)) / T², and by at least
/// z² V(q) / q², below which nothing can be excluded. 0 if it does so already; `None` where no number would do: no
/// observations, a baseline of zero, or rates that stand exactly at the target.
pub fn needed_for_ratio(a: Pair, b: Pair, permille: i64) -> Option<i64> {
    let (a, b) = (Share::of(a)?, Share::of(b)?);
    if b.p <= 0.0 {
        return None;
    }
    let ratio = per_mille(permille);
    let distance = a.p - ratio * b.p;
    let excludes = Z * Z * (a.variance + ratio * ratio * b.variance) / (distance * distance);
    growth(a, excludes.max(Z * Z * b.variance / (b.p * b.p)))
}

/// How many more observations `a` needs until [`newcombe`] excludes `permille` / 1000 as the difference a − b, if both bases
/// grow in proportion and the observed rates stay. The factor has no closed form: it is found by bisection to one part in
/// 10⁹. 0 if it does so already; `None` where no number would do.
pub fn needed_for_difference(a: Pair, b: Pair, permille: i64) -> Option<i64> {
    let (a, b) = (Share::of(a)?, Share::of(b)?);
    let target = per_mille(permille);
    let excluded = |factor| {
        let (low, high) = difference(a, b, factor);
        target < low || high < target
    };
    if excluded(1.0) {
        return Some(0);
    }
    let (mut low, mut high) = (1.0, 2.0);
    while !excluded(high) {
        (low, high) = (high, high * 2.0);
        if high > 1e12 {
            return None;
        }
    }
    while high - low > 1e-9 * high {
        let middle = f64::midpoint(low, high);
        if excluded(middle) { high = middle } else { low = middle }
    }
    growth(a, high)
}

/// A proportion, its number of observations and its variance.
#[derive(Clone, Copy)]
struct Share {
    p: f64,
    n: f64,
    variance: f64,
}

impl Share {
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
    fn of((hits, of): Pair) -> Option<Self> {
        if of <= 0 || !(0..=of).contains(&hits) {
            return None;
        }
        let (x, n) = (hits as f64, of as f64);
        let v = if hits == 0 || hits == of { (x + 0.5) / (n + 1.0) } else { x / n };
        Some(Self { p: x / n, n, variance: v * (1.0 - v) / n })
    }

    /// Wilson's interval, as if there were `factor` times as many observations.
    fn wilson(self, factor: f64) -> (f64, f64) {
        let (p, n, z2) = (self.p, self.n * factor, Z * Z);
        let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
        let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
        ((middle - half).clamp(0.0, p), (middle + half).clamp(p, 1.0))
    }
}

fn difference(a: Share, b: Share, factor: f64) -> (f64, f64) {
    let ((low_a, high_a), (low_b, high_b)) = (a.wilson(factor), b.wilson(factor));
    let low = a.p - b.p - (a.p - low_a).hypot(high_b - b.p);
    let high = a.p - b.p + (high_a - a.p).hypot(b.p - low_b);
    (low.max(-1.0), high.min(1.0))
}

#[expect(clippy::cast_precision_loss, reason = "per mille of a target")]
fn per_mille(permille: i64) -> f64 {
    permille as f64 / 1000.0
}

/// How many more than it has, for `factor` times as many.
#[expect(clippy::cast_possible_truncation, reason = "held below 10^15")]
fn growth(share: Share, factor: f64) -> Option<i64> {
    let wanted = (share.n * factor).ceil();
    (wanted < 1e15).then(|| (wanted - share.n).max(0.0) as i64) // not a number and infinity end here, too
}
