//! A frame of the feed as a client reads it: borrowed where its text needs no unescaping.

use serde::Deserialize;
use std::borrow::Cow;

/// One frame; fields that its `op` does not have are absent.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Frame<'a> {
    #[serde(borrow)]
    pub(in crate::cli) op: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(in crate::cli) cursor: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(in crate::cli) prev: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(in crate::cli) kid: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(in crate::cli) sig: Cow<'a, str>,
    #[serde(borrow, default)]
    pub(in crate::cli) payload: Cow<'a, str>,
    #[serde(default)]
    pub(in crate::cli) recovered: Option<bool>,
    #[serde(default)]
    pub(in crate::cli) heartbeat_ms: Option<u64>,
    #[serde(default)]
    pub(in crate::cli) code: Option<u16>,
    #[serde(default)]
    pub(in crate::cli) after_ms: Option<u64>,
}

/// The id of an event: the contract's payloads are read as text first, since a bench reads tens of thousands a second.
pub(in crate::cli) fn id_of(payload: &str) -> Option<&str> {
    let (_, rest) = payload.split_once(r#""id":""#)?;
    rest.split_once('"').map(|(id, _)| id)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Scenario: an event whose data has ids of other kinds.
    /// Guarantees: the event's own id is read, whether or not the JSON needed unescaping.
    #[test]
    fn the_events_own_id_is_read() {
        let payload = serde_json::json!({ "specversion": "1.0", "id": "e-1", "data": { "task_id": "t-1", "event_id": "no" } });
        let text =
            serde_json::json!({ "op": "event", "cursor": "c", "prev": "b", "payload": payload.to_string() })
                .to_string();
        let frame: Frame<'_> = serde_json::from_str(&text).expect("a frame");
        assert_eq!(id_of(&frame.payload), Some("e-1"));
        assert_eq!((&*frame.op, &*frame.cursor, &*frame.prev, frame.recovered), ("event", "c", "b", None));
    }
}
