//! Dead letters that somebody published again: who, when, and where the record went.

use crate::QueryError;
use crate::dead::Letter;
use clickhouse::{Client, Row};
use serde::Serialize;
use uuid::Uuid;

/// What became of a replay.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReplayState {
    /// Asked for, and perhaps published: whoever asked has not said more.
    Requested,
    /// Kafka has it, at this partition and offset of the letter's topic.
    Published(i32, i64),
    /// Kafka did not take it.
    NotTaken,
}

/// One letter, published again or about to be.
#[derive(Clone, Copy, Debug)]
pub struct Replay<'a> {
    /// Under which id: the record bears it too.
    pub replay_id: Uuid,
    /// Which letter.
    pub letter: &'a Letter,
    /// Which attempt this is.
    pub attempt: u32,
    /// Who asked for it.
    pub requested_by: &'a str,
    /// When, microseconds since 1970 UTC.
    pub requested_us: i64,
    /// What became of it.
    pub state: ReplayState,
}

#[derive(Row, Serialize)]
struct NewRow<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    replay_id: Uuid,
    topic: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    attempt: u32,
    requested_at: i64,
    requested_by: &'a str,
    state: i8,
    published_partition: Option<i32>,
    published_offset: Option<i64>,
    version: u64,
}

impl<'a> NewRow<'a> {
    fn of(replay: &Replay<'a>) -> NewRow<'a> {
        let letter = replay.letter;
        let (state, at) = match replay.state {
            ReplayState::Requested => (1, None),
            ReplayState::Published(partition, offset) => (2, Some((partition, offset))),
            ReplayState::NotTaken => (3, None),
        };
        NewRow {
            replay_id: replay.replay_id,
            topic: &letter.topic,
            topic_id: letter.topic_id.parse().unwrap_or_default(),
            partition: letter.partition,
            offset: letter.offset,
            attempt: replay.attempt,
            requested_at: replay.requested_us,
            requested_by: replay.requested_by,
            state,
            published_partition: at.map(|(partition, _)| partition),
            published_offset: at.map(|(_, offset)| offset),
            version: u64::from(state.unsigned_abs()),
        }
    }
}

/// Writes them; a later state of one replay takes the place of an earlier one.
///
/// # Errors
/// Where ClickHouse does not take them.
pub async fn record_replays(client: &Client, replays: &[Replay<'_>]) -> Result<(), QueryError> {
    let failed = |source| QueryError::new("storing replays", source);
    let insert = client.insert::<NewRow<'_>>("dead_replays").await.map_err(failed)?;
    let mut insert = insert.with_setting("async_insert", "0");
    for replay in replays {
        insert.write(&NewRow::of(replay)).await.map_err(failed)?;
    }
    insert.end().await.map_err(failed)
}
