//! Moments: microseconds since 1970 UTC inside, RFC 3339 outside.

use crate::problem::{Code, Problem};
use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::time::{SystemTime, UNIX_EPOCH};
use utoipa::openapi::{KnownFormat, ObjectBuilder, RefOr, Schema, SchemaFormat, Type};
use utoipa::{PartialSchema, ToSchema};

/// The store's times reach from 1900 to 2299.
const FIRST_US: i64 = -2_208_988_800_000_000;
/// The last of them.
const LAST_US: i64 = 10_413_791_999_999_999;
/// The range of a figure where nothing is said: up to now.
const FIGURE_US_DEFAULT: i64 = 86_400_000_000;
/// The longest range of a figure.
pub(crate) const FIGURE_US_MAX: i64 = 366 * 86_400_000_000;

/// A moment, microseconds since 1970 UTC; written as RFC 3339 with microseconds.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Ord, PartialEq, PartialOrd)]
#[serde(transparent)]
pub(crate) struct Moment(pub(crate) i64);

impl Moment {
    /// Now, by this machine's clock.
    pub(crate) fn now() -> Moment {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Moment(i64::try_from(since.as_micros()).unwrap_or(i64::MAX))
    }

    /// As text; moments beyond the store's reach are its ends.
    pub(crate) fn text(self) -> String {
        let at = DateTime::<Utc>::from_timestamp_micros(self.0.clamp(FIRST_US, LAST_US)).unwrap_or_default();
        at.to_rfc3339_opts(SecondsFormat::Micros, true)
    }

    /// Reads RFC 3339.
    pub(crate) fn parse(name: &str, text: &str) -> Result<Moment, Problem> {
        let wrong =
            || Problem::because(Code::InvalidParameter, format_args!("{name} is not a time as in RFC 3339"));
        let at = DateTime::parse_from_rfc3339(text).map_err(|_| wrong())?;
        Ok(Moment(at.timestamp_micros().clamp(FIRST_US, LAST_US)))
    }
}

impl Serialize for Moment {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.text())
    }
}

impl PartialSchema for Moment {
    fn schema() -> RefOr<Schema> {
        let text = ObjectBuilder::new().schema_type(Type::String);
        text.format(Some(SchemaFormat::KnownFormat(KnownFormat::DateTime))).build().into()
    }
}

impl ToSchema for Moment {
    fn name() -> Cow<'static, str> {
        "Moment".into()
    }
}

/// A stretch of time, [from, to).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Range {
    pub(crate) from: Moment,
    pub(crate) to: Moment,
}

impl Range {
    /// What the parameters say; without them, all of time.
    pub(crate) fn read(from: Option<&str>, to: Option<&str>) -> Result<Range, Problem> {
        let from = from.map(|text| Moment::parse("from", text)).transpose()?.unwrap_or(Moment(FIRST_US));
        let to = to.map(|text| Moment::parse("to", text)).transpose()?.unwrap_or(Moment(LAST_US));
        if from < to {
            return Ok(Range { from, to });
        }
        Err(Problem::because(Code::InvalidParameter, "from is not before to"))
    }

    /// What the parameters say of a figure; without `to` up to now, without `from` a day.
    pub(crate) fn of_figure(from: Option<&str>, to: Option<&str>) -> Result<Range, Problem> {
        let to = to.map(|text| Moment::parse("to", text)).transpose()?.unwrap_or_else(Moment::now);
        let from = from.map(|text| Moment::parse("from", text)).transpose()?;
        let from = from.unwrap_or(Moment(to.0.saturating_sub(FIGURE_US_DEFAULT)));
        if from >= to {
            return Err(Problem::because(Code::InvalidParameter, "from is not before to"));
        }
        if to.0.saturating_sub(from.0) > FIGURE_US_MAX {
            return Err(Problem::because(Code::InvalidParameter, "a range is 366 days at most"));
        }
        Ok(Range { from, to })
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, Range};

    /// Scenario: moments with and without fractions, offsets, out of reach, and none at all.
    /// Guarantees: they are read to the microsecond, written in UTC, clamped to what the store knows; nonsense is refused.
    #[test]
    fn moments_are_read_and_written() {
        let read = |text| Moment::parse("from", text).ok();
        assert_eq!(read("1970-01-01T00:00:00Z"), Some(Moment(0)));
        assert_eq!(read("1970-01-01T01:00:00.000001+01:00"), Some(Moment(1)));
        assert_eq!(Moment(1_500_000).text(), "1970-01-01T00:00:01.500000Z");
        assert_eq!(
            read("0001-01-01T00:00:00Z").map(Moment::text).as_deref(),
            Some("1900-01-01T00:00:00.000000Z")
        );
        assert_eq!(
            read("9999-12-31T23:59:59Z").map(Moment::text).as_deref(),
            Some("2299-12-31T23:59:59.999999Z")
        );
        for wrong in ["", "yesterday", "1970-01-01", "1970-13-01T00:00:00Z", "0"] {
            assert!(read(wrong).is_none(), "{wrong}");
        }
        assert!(Range::read(Some("1970-01-02T00:00:00Z"), Some("1970-01-01T00:00:00Z")).is_err());
        assert!(Range::read(None, None).is_ok());
    }
}
