//! A time of an event.

use crate::simulate::now_micros;
use chrono::DateTime;
use serde::{Deserialize, Deserializer, Serialize, de};

/// Microseconds since 1970 UTC. It is written as that number, and read from it or from RFC 3339 text.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd, Serialize)]
pub struct Moment(i64);

impl Moment {
    /// By this machine's clock.
    pub fn now() -> Moment {
        Moment(now_micros())
    }

    /// Of microseconds since 1970 UTC.
    pub const fn of_micros(micros: i64) -> Moment {
        Moment(micros)
    }

    /// Microseconds since 1970 UTC.
    pub const fn micros(self) -> i64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for Moment {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Moment, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Micros(i64),
            Text(String),
        }
        match Written::deserialize(deserializer)? {
            Written::Micros(micros) => Ok(Moment(micros)),
            Written::Text(text) => DateTime::parse_from_rfc3339(&text)
                .map(|time| Moment(time.timestamp_micros()))
                .map_err(|_| de::Error::custom("expected microseconds since 1970 UTC or RFC 3339 text")),
        }
    }
}
