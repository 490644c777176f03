//! Stretches of charts over time.

/// Stretches that charts have, microseconds: round ones, from a second to four weeks.
const STEPS_US: [i64; 15] = [
    1_000_000,
    2_000_000,
    5_000_000,
    15_000_000,
    60_000_000,
    300_000_000,
    900_000_000,
    1_800_000_000,
    3_600_000_000,
    10_800_000_000,
    21_600_000_000,
    43_200_000_000,
    86_400_000_000,
    604_800_000_000,
    2_419_200_000_000,
];
/// A chart has no more stretches than about so many: as many as can be told apart.
const STRETCHES_MAX: i64 = 96;

/// The stretch of a chart over a range of so many microseconds: the shortest round one of which the range has no more than can be
/// told apart, and none below the panel's.
pub fn step_us(range_us: i64, least_us: i64) -> i64 {
    let fits = |step: &i64| *step >= least_us && range_us <= step.saturating_mul(STRETCHES_MAX);
    STEPS_US.into_iter().find(fits).unwrap_or(STEPS_US[STEPS_US.len() - 1])
}

#[cfg(test)]
mod tests {
    use super::{STRETCHES_MAX, step_us};

    /// Scenario: ranges from a second to a year, for panels of seconds and of days.
    /// Guarantees: the picture is fine enough to show something and has not too many stretches; a panel's least is kept.
    #[test]
    fn stretches_fit_their_range() {
        let hour = 3_600_000_000;
        assert_eq!(step_us(hour, 1_000_000), 60_000_000);
        assert_eq!(step_us(24 * hour, 1_000_000), 900_000_000);
        assert_eq!(step_us(24 * hour, hour), hour);
        assert_eq!(step_us(90_000_000, 1_000_000), 1_000_000);
        assert_eq!(step_us(7 * 24 * hour, 1_000_000), 3 * hour);
        for hours in 1..24 * 366 {
            assert!(hours * hour / step_us(hours * hour, 1) <= STRETCHES_MAX);
        }
    }
}
