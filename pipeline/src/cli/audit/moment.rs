//! Moments as people write them.

use chrono::{DateTime, NaiveDate, NaiveDateTime};

/// Microseconds since 1970 UTC of `2026-11-25T10:00:00Z`, of `2026-11-25T10:00:00` and `2026-11-25 10:00` (UTC), and of
/// `2026-11-25` (its first moment, UTC).
pub(super) fn moment(text: &str) -> Result<i64, String> {
    if let Ok(at) = DateTime::parse_from_rfc3339(text) {
        return Ok(at.timestamp_micros());
    }
    for format in ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M", "%Y-%m-%d %H:%M"] {
        if let Ok(at) = NaiveDateTime::parse_from_str(text, format) {
            return Ok(at.and_utc().timestamp_micros());
        }
    }
    let day = NaiveDate::parse_from_str(text, "%Y-%m-%d").ok().and_then(|day| day.and_hms_opt(0, 0, 0));
    let day = day.ok_or(
        "expected a moment such as 2026-11-25, 2026-11-25T10:00 (both UTC) or 2026-11-25T10:00:00+01:00",
    )?;
    Ok(day.and_utc().timestamp_micros())
}

#[cfg(test)]
mod tests {
    use super::moment;

    /// Scenario: one moment written in several ways, and what is none.
    /// Guarantees: the same microsecond; UTC unless it says otherwise; no guess.
    #[test]
    fn moments() {
        let ten = 1_764_064_800_000_000; // date -u -d 2025-11-25T10:00:00Z +%s
        for text in
            ["2025-11-25T10:00:00Z", "2025-11-25T11:00:00+01:00", "2025-11-25T10:00", "2025-11-25 10:00:00"]
        {
            assert_eq!(moment(text), Ok(ten), "{text}");
        }
        assert_eq!(moment("2025-11-25"), Ok(ten - 36_000_000_000));
        for text in ["yesterday", "25.11.2025", "2025-13-01", ""] {
            assert!(moment(text).is_err(), "{text}");
        }
    }
}
