//! Dead letters that somebody published again: who, when, and where the record went.

use crate::QueryError;
use crate::dead::Letter;
use crate::insert::acknowledged;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// Whoever asked for a replay has by now either written down what became of it, or never will: publishing waits less than this for Kafka.
pub const REPLAY_S_MAX: u32 = 180;
/// Replays of one letter that are looked at, the latest.
const EARLIER_MAX: u32 = 100;

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

/// An earlier replay of a letter, as it is stored.
#[derive(Clone, Debug, Default, Deserialize, Row)]
pub struct Earlier {
    /// Under which id.
    pub replay_id: String,
    /// Which attempt it was.
    pub attempt: u32,
    /// When it was asked for, microseconds since 1970 UTC.
    pub requested_at: i64,
    /// Who asked.
    pub requested_by: String,
    /// `REQUESTED`, `PUBLISHED` or `NOT_TAKEN`.
    pub state: String,
    /// Where it was published, if it was.
    pub published_partition: Option<i32>,
    /// Where it was published, if it was.
    pub published_offset: Option<i64>,
}

/// Why a letter is not published once more.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum PassedOver {
    /// Somebody asked for it a moment ago, and it may be on its way: nobody publishes it beside them.
    OnItsWay(String),
    /// It was published, in words; once more only where somebody wants just that.
    Replayed(String),
    /// Somebody asked for it, and nobody wrote down what became of it: Kafka may have it or not.
    Unknown(String),
}

impl PassedOver {
    /// The one rule, for the command and for the page: what is known of a letter's replays, the latest first, at `now_us`.
    pub fn of(letter: &Letter, earlier: &[Earlier], now_us: i64) -> Option<PassedOver> {
        let said = |one: &Earlier| format!("asked for by {} under {}", one.requested_by, one.replay_id);
        let is_open = |one: &&Earlier| one.state == "REQUESTED";
        let is_new =
            |one: &&Earlier| now_us.saturating_sub(one.requested_at) < i64::from(REPLAY_S_MAX) * 1_000_000;
        if let Some(one) = earlier.iter().filter(is_open).find(is_new) {
            return Some(PassedOver::OnItsWay(said(one)));
        }
        if letter.is_replayed() {
            return Some(PassedOver::Replayed(letter.replay_state()));
        }
        if let Some(one) = earlier.iter().find(|one| one.state == "PUBLISHED") {
            return Some(PassedOver::Replayed(said(one)));
        }
        earlier.iter().find(is_open).map(|one| PassedOver::Unknown(said(one)))
    }

    /// In words.
    pub fn why(&self) -> String {
        match self {
            PassedOver::OnItsWay(said) => format!("{said} a moment ago: it may be on its way"),
            PassedOver::Replayed(said) => said.clone(),
            PassedOver::Unknown(said) => format!("{said}, and nobody wrote down what became of it"),
        }
    }
}

/// The latest replays of a letter, the latest first.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn earlier_replays(client: &Client, letter: &Letter) -> Result<Vec<Earlier>, QueryError> {
    let question = client.query(include_str!("../sql/api/replays.sql")).param("topic_id", &letter.topic_id);
    let question = question.param("partition", letter.partition).param("offset", letter.offset);
    let earlier = question.param("limit", EARLIER_MAX).fetch_all().await;
    earlier.map_err(|source| QueryError::new("replays of a dead letter", source))
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
    let mut insert = acknowledged(client.insert::<NewRow<'_>>("dead_replays").await.map_err(failed)?);
    for replay in replays {
        insert.write(&NewRow::of(replay)).await.map_err(failed)?;
    }
    insert.end().await.map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::{Earlier, PassedOver};
    use crate::dead::Letter;

    const NOW_US: i64 = 1_000_000_000_000;

    fn letter(accepted_at: &[(i32, i64)]) -> Letter {
        let text = String::new;
        Letter {
            topic: text(),
            topic_id: text(),
            partition: 0,
            offset: 0,
            appended_at: text(),
            reason: text(),
            path: text(),
            sentence: text(),
            schema: text(),
            bytes: 0,
            sha256: text(),
            replay_id: text(),
            replay_attempt: 0,
            first: text(),
            accepted_at: accepted_at.to_vec(),
            dead_again: Vec::new(),
            key_hex: None,
            value_hex: None,
            headers: Vec::new(),
        }
    }

    fn earlier(state: &str, seconds_ago: i64) -> Earlier {
        Earlier {
            replay_id: "r".to_owned(),
            attempt: 1,
            requested_at: NOW_US - seconds_ago * 1_000_000,
            requested_by: "olga".to_owned(),
            state: state.to_owned(),
            published_partition: None,
            published_offset: None,
        }
    }

    /// Scenario: letters with no replay, with one in each state, asked for just now, three minutes ago and long ago, and with several.
    /// Guarantees: nothing speaks against the first replay, or against one after Kafka took none; what was asked for in the last three
    /// minutes may be on its way, also where another was published or accepted; older it is unknown, unless the letter is settled.
    #[test]
    fn what_speaks_against_a_replay() {
        let of = |accepted: &[(i32, i64)], all: &[Earlier]| {
            PassedOver::of(&letter(accepted), all, NOW_US).map(|over| match over {
                PassedOver::OnItsWay(_) => "on its way",
                PassedOver::Replayed(_) => "replayed",
                PassedOver::Unknown(_) => "unknown",
            })
        };
        assert_eq!(of(&[], &[]), None);
        assert_eq!(of(&[], &[earlier("NOT_TAKEN", 1)]), None);
        assert_eq!(of(&[], &[earlier("REQUESTED", 179)]), Some("on its way"));
        assert_eq!(of(&[], &[earlier("REQUESTED", 180)]), Some("unknown"));
        assert_eq!(of(&[], &[earlier("REQUESTED", -5)]), Some("on its way"));
        assert_eq!(of(&[], &[earlier("PUBLISHED", 1)]), Some("replayed"));
        assert_eq!(of(&[(0, 1)], &[]), Some("replayed"));
        assert_eq!(of(&[(0, 1)], &[earlier("REQUESTED", 1)]), Some("on its way"));
        assert_eq!(of(&[(0, 1)], &[earlier("REQUESTED", 999)]), Some("replayed"));
        assert_eq!(of(&[], &[earlier("NOT_TAKEN", 1), earlier("REQUESTED", 999)]), Some("unknown"));
        assert_eq!(of(&[], &[earlier("PUBLISHED", 1), earlier("REQUESTED", 2)]), Some("on its way"));
    }
}
