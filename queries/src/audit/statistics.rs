//! Confidence bounds at 95 %, for display and for verdicts; what is counted stays in integers.

/// The 97.5th percentile of the normal distribution.
const Z: f64 = 1.959_963_984_540_054;

/// Wilson's score interval for a proportion; `None` without observations.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn wilson(hits: i64, of: i64) -> Option<(f64, f64)> {
    if of <= 0 {
        return None;
    }
    let (n, p, z2) = (of as f64, hits as f64 / of as f64, Z * Z);
    let middle = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt() / (1.0 + z2 / n);
    Some(((middle - half).max(0.0), (middle + half).min(1.0)))
}

/// Newcombe's hybrid score interval for the difference of two independent proportions, each as (hits, of): Wilson's
/// intervals of both put together (Newcombe 1998, Statistics in Medicine 17:873, method 10).
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn newcombe(a: (i64, i64), b: (i64, i64)) -> Option<(f64, f64)> {
    let ((low_a, high_a), (low_b, high_b)) = (wilson(a.0, a.1)?, wilson(b.0, b.1)?);
    let (p, q) = (a.0 as f64 / a.1 as f64, b.0 as f64 / b.1 as f64);
    let low = p - q - ((p - low_a).powi(2) + (high_b - q).powi(2)).sqrt();
    let high = p - q + ((high_a - p).powi(2) + (q - low_b).powi(2)).sqrt();
    Some((low.max(-1.0), high.min(1.0)))
}

/// An interval for a ratio.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Ratio {
    /// From, to.
    Between(f64, f64),
    /// The denominator is not told apart from nothing: every ratio is possible.
    Unbounded,
}

/// Fieller's interval for the ratio of two independent proportions, with the binomial variance p(1-p)/n of each:
/// the ratios r for which |p - r q| is at most z standard errors.
#[expect(clippy::cast_precision_loss, reason = "counts far below 2^53")]
pub(super) fn fieller(a: (i64, i64), b: (i64, i64)) -> Ratio {
    if a.1 <= 0 || b.1 <= 0 {
        return Ratio::Unbounded;
    }
    let of = |(hits, of): (i64, i64)| (hits as f64 / of as f64, of as f64);
    let ((p, n), (q, m)) = (of(a), of(b));
    let (v, w) = (p * (1.0 - p) / n, q * (1.0 - q) / m);
    let (square, product, constant) = (q * q - Z * Z * w, p * q, p * p - Z * Z * v);
    let root = product * product - square * constant;
    if square <= 0.0 || root < 0.0 {
        return Ratio::Unbounded;
    }
    Ratio::Between(((product - root.sqrt()) / square).max(0.0), (product + root.sqrt()) / square)
}
