//! How far the data has come, and nothing else: what every page and figure says of itself, each few seconds anew.

use super::snapshot::{bounds, first_and_last_event, heads, watermark};
use crate::QueryError;
use clickhouse::Client;

/// Up to which moment everything has arrived. A [`Snapshot`](super::Snapshot) says the same and much more, which takes twenty
/// questions more.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Reach {
    /// Everything that happened before has arrived, microseconds since 1970 UTC; `i64::MAX` once every topic has ended.
    pub watermark_us: i64,
    /// Event time of the last accepted event, where every topic has ended; else `None`.
    pub last_event_us: Option<i64>,
}

impl Reach {
    /// Asks ClickHouse how far it has come.
    ///
    /// # Errors
    /// Where ClickHouse does not answer.
    pub async fn take(client: &Client) -> Result<Reach, QueryError> {
        // side by side: a head that is newer than the bounds only makes its partition look further behind
        let (mut heads, bounds) = futures::try_join!(heads(client), bounds(client))?;
        for head in &mut heads {
            head.catch_up(&bounds);
        }
        let watermark_us = watermark(&heads, &bounds);
        let last_event_us = match watermark_us {
            i64::MAX => Some(first_and_last_event(client).await?.1),
            _ => None,
        };
        Ok(Reach { watermark_us, last_event_us })
    }

    /// The moment at which clocks that run on are read: the watermark, or the last event once nothing follows.
    pub fn as_of_us(self) -> i64 {
        self.last_event_us.unwrap_or(self.watermark_us)
    }

    /// Whether a window that ends there is over: nothing of it can come any more.
    pub fn is_over(self, to_us: i64, grace_us: i64) -> bool {
        self.watermark_us >= to_us.saturating_add(grace_us)
    }
}
