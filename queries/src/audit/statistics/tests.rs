use super::{Pair, Ratio, fieller, needed_for_difference, needed_for_ratio, newcombe, wilson};
use proptest::prelude::*;

fn near(ours: (f64, f64), published: (f64, f64), decimals: f64) {
    let off = |a: f64, b: f64| (a - b).abs() > 0.5 * decimals + 1e-12;
    assert!(!off(ours.0, published.0) && !off(ours.1, published.1), "{ours:?} is not {published:?}");
}

/// Scenario: the four proportions of the table of Newcombe 1998, Statistics in Medicine 17:857, method 3.
/// Guarantees: his bounds, to the four decimals he gives.
#[test]
fn wilson_as_published() {
    for (hits, of, low, high) in
        [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)]
    {
        near(wilson(hits, of).unwrap(), (low, high), 1e-4);
    }
}

/// Scenario: the figures that METRICS state for the 2 % of the interfaces.
/// Guarantees: of 2,000 attempts 27 errors prove it and 28 do not; without an error 189 attempts prove it and 188 do not.
#[test]
fn the_figures_of_the_metrics() {
    let upper = |errors, attempts| wilson(errors, attempts).unwrap().1;
    assert!(upper(27, 2_000) < 0.02 && upper(28, 2_000) > 0.02);
    assert!(upper(0, 189) < 0.02 && upper(0, 188) > 0.02);
    assert_eq!(((0..=2_000).filter(|e| upper(*e, 2_000) < 0.02)).max(), Some(27));
    assert_eq!((1..).find(|n| upper(0, *n) < 0.02), Some(189));
}

/// Scenario: the examples (a) to (h) of Newcombe 1998, Statistics in Medicine 17:873, method 10.
/// Guarantees: his bounds, to the four decimals he gives.
#[test]
fn newcombe_as_published() {
    let table: [(Pair, Pair, f64, f64); 8] = [
        ((56, 70), (48, 80), 0.0524, 0.3339),
        ((9, 10), (3, 10), 0.1705, 0.8090),
        ((6, 7), (2, 7), 0.0582, 0.8062),
        ((5, 56), (0, 29), -0.0381, 0.1926),
        ((0, 10), (0, 20), -0.1611, 0.2775),
        ((0, 10), (0, 10), -0.2775, 0.2775),
        ((10, 10), (0, 20), 0.6791, 1.0),
        ((10, 10), (0, 10), 0.6075, 1.0),
    ];
    for (a, b, low, high) in table {
        near(newcombe(a, b).unwrap(), (low, high), 1e-4);
    }
}

/// Scenario: ratios whose bounds were found apart from this code, by scipy 1.x's `brentq` on the definition
/// (p − r q)² = z² (V(p) + r² V(q)); the second pair are the two arms of the Physicians' Health Study.
/// Guarantees: the same bounds to eleven decimals.
#[test]
fn fieller_against_a_root_finder() {
    let table: [(Pair, Pair, f64, f64); 4] = [
        ((450, 1_000), (1_200, 4_000), 1.378_259_575_088, 1.628_478_075_920),
        ((104, 11_037), (189, 11_034), 0.428_689_725_111, 0.693_967_598_027),
        ((56, 70), (48, 80), 1.084_283_235_060, 1.670_572_299_033),
        ((30, 200), (60, 500), 0.796_353_539_480, 1.852_909_646_911),
    ];
    for (a, b, low, high) in table {
        let Ratio::Between(ours_low, ours_high) = fieller(a, b) else { panic!("{a:?} ÷ {b:?} is bounded") };
        near((ours_low, ours_high), (low, high), 1e-11);
    }
}

/// Scenario: nothing observed, none, all, a denominator that may well be zero, counts that are none.
/// Guarantees: no bound that is not a number; nobody is certain after a single observation.
#[test]
fn edges() {
    assert_eq!((wilson(0, 0), wilson(3, 2), wilson(-1, 2)), (None, None, None));
    assert_eq!((wilson(0, 20).unwrap().0, wilson(20, 20).unwrap().1), (0.0, 1.0));
    assert_eq!((newcombe((0, 0), (1, 2)), newcombe((1, 2), (0, 0))), (None, None));
    for (a, b) in [((5, 10), (1, 10)), ((5, 10), (0, 10)), ((1, 2), (0, 0)), ((0, 0), (1, 2))] {
        assert_eq!(fieller(a, b), Ratio::Unbounded, "{a:?} ÷ {b:?}");
    }
    let Ratio::Between(low, high) = fieller((0, 20), (300, 1_000)) else { panic!("bounded") };
    assert!(low == 0.0 && high > 0.1, "0 of 20 does not prove a ratio of 0: {high}");
    let Ratio::Between(low, high) = fieller((50, 50), (60, 60)) else { panic!("bounded") };
    assert!(low < 1.0 && high > 1.0, "all of both does not prove a ratio of 1: {low}–{high}");
}

/// Scenario: 340 of 1,000 against 1,200 of 4,000, where 1.08 times as many are wanted: the factor 4.286167701983535 was
/// computed apart, in Python, from the documented formula; then cases that need none and that none could help.
/// Guarantees: 3,287 more; at that size the interval excludes the target, at one per cent less it does not.
#[test]
fn wallets_needed_for_the_ratio() {
    let (launch, baseline) = ((340, 1_000), (1_200, 4_000));
    assert_eq!(needed_for_ratio(launch, baseline, 1_080), Some(3_287));
    let at = |n: i64| fieller((n * 34 / 100, n), (n * 4 * 3 / 10, n * 4));
    let excludes = |ratio| matches!(ratio, Ratio::Between(low, _) if low > 1.08);
    assert!(excludes(at(4_300)) && !excludes(at(4_250)));
    assert_eq!(needed_for_ratio((450, 1_000), baseline, 1_080), Some(0));
    assert_eq!(needed_for_ratio((324, 1_000), (300, 1_000), 1_000), Some(2_862 - 1_000));
    assert_eq!(needed_for_ratio((5, 10), (5, 10), 1_000), None, "exactly at the target");
    assert_eq!(needed_for_ratio((5, 10), (0, 10), 1_080), None);
    assert_eq!(needed_for_ratio((0, 0), (1, 10), 1_080), None);
}

/// Scenario: 340 of 1,000 against 300 of 1,000, where any rise at all is to be shown; and one that is shown already.
/// Guarantees: at that size Newcombe's interval excludes 0, at one step of 50 below it does not.
#[test]
fn wallets_needed_for_the_difference() {
    let more = needed_for_difference((340, 1_000), (300, 1_000), 0).unwrap();
    let low = |n: i64| newcombe((n * 34 / 100, n), (n * 30 / 100, n)).unwrap().0;
    let enough = (1_000 + more + 49) / 50 * 50; // where 34 % and 30 % are whole wallets
    assert!(low(enough) > 0.0 && low(enough - 50) <= 0.0, "{more}");
    assert_eq!(needed_for_difference((56, 70), (48, 80), 0), Some(0));
    assert_eq!(needed_for_difference((5, 10), (5, 10), 0), None);
    assert_eq!(needed_for_difference((5, 10), (0, 0), 0), None);
}

fn pair() -> impl Strategy<Value = Pair> {
    (1_i64..1_000_000).prop_flat_map(|of| (0..=of).prop_map(move |hits| (hits, of)))
}

#[expect(clippy::cast_precision_loss, reason = "small")]
fn share((hits, of): Pair) -> f64 {
    hits as f64 / of as f64
}

proptest! {
    /// Scenario: any proportion.
    /// Guarantees: the bounds lie in 0..=1, hold the share between them and mirror those of the complement.
    #[test]
    fn wilson_holds((hits, of) in pair()) {
        let (low, high) = wilson(hits, of).unwrap();
        let p = share((hits, of));
        prop_assert!(0.0 <= low && low <= p && p <= high && high <= 1.0 && low < high);
        let (low_of_misses, high_of_misses) = wilson(of - hits, of).unwrap();
        prop_assert!((low + high_of_misses - 1.0).abs() < 1e-12 && (high + low_of_misses - 1.0).abs() < 1e-12);
    }

    /// Scenario: any two proportions.
    /// Guarantees: the bounds lie in −1..=1, hold the difference, and change sign when the two change places or sides.
    #[test]
    fn newcombe_holds(a in pair(), b in pair()) {
        let (low, high) = newcombe(a, b).unwrap();
        let d = share(a) - share(b);
        prop_assert!(-1.0 <= low && low <= d && d <= high && high <= 1.0);
        let other = newcombe(b, a).unwrap();
        prop_assert!((low + other.1).abs() < 1e-12 && (high + other.0).abs() < 1e-12);
        let complement = newcombe((b.1 - b.0, b.1), (a.1 - a.0, a.1)).unwrap();
        prop_assert!((low - complement.0).abs() < 1e-9 && (high - complement.1).abs() < 1e-9);
    }

    /// Scenario: any two proportions.
    /// Guarantees: a bounded ratio is finite and not negative, and holds the observed one.
    #[test]
    fn fieller_holds(a in pair(), b in pair()) {
        if let Ratio::Between(low, high) = fieller(a, b) {
            let r = share(a) / share(b);
            prop_assert!(0.0 <= low && low <= r * (1.0 + 1e-9) && r <= high * (1.0 + 1e-9) && high.is_finite());
        }
    }
}
