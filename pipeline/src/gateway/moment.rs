//! The time of day, for events and for what is written down. The route never reads it; whoever publishes must.

pub(super) use crate::simulate::now_micros as now_us;
use chrono::{DateTime, SecondsFormat, Utc};

/// RFC 3339 with microseconds.
pub(super) fn text(us: i64) -> String {
    DateTime::from_timestamp_micros(us).unwrap_or_default().to_rfc3339_opts(SecondsFormat::Micros, true)
}

/// Microseconds since 1970 UTC of an RFC 3339 text.
pub(super) fn micros(text: &str) -> Option<i64> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.with_timezone(&Utc).timestamp_micros())
}
