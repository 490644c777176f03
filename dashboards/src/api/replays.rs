//! Dead letters looked into and published again: what can be read of one, what would become of it now, and who asked for it.
//!
//! A replay is written down before anything is published, and what became of it after: nobody publishes unseen.

use super::answer::{self, Page};
use super::dead::{Place, find};
use super::guard::Caller;
use super::moment::Moment;
use super::query::{Given, Named};
use super::store::{Api, unavailable};
use crate::letters::{Judged, LettersError};
use crate::problem::{Code, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use tally_queries::service::REPLAYS as REPLAYS_OF;
use tally_queries::{Letter, PassedOver, Replay, ReplayState, earlier_replays, is_stored, record_replays};
use tally_schemas::Reason;
use utoipa::ToSchema;
use uuid::Uuid;

/// Replays of one letter that are shown.
const REPLAYS_MAX: u32 = 100;
/// Publishing waits so long for Kafka, whether or not somebody still waits for the answer: less than after which a replay is unknown.
const PUBLISH_S_MAX: u32 = 150;
const _: () = assert!(PUBLISH_S_MAX < tally_queries::REPLAY_S_MAX);

/// One field, as the bytes have it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecodedField {
    /// Its name.
    pub(crate) name: String,
    /// What stands there; numbers are texts.
    #[schema(value_type = Object)]
    pub(crate) value: Value,
    /// Whether it is the one for which the record was refused.
    pub(crate) is_guilty: bool,
}

/// Where the reading of the bytes stopped.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct StoppedAt {
    /// The field; nested ones with dots.
    pub(crate) path: String,
    /// Bytes of the body before it.
    pub(crate) byte_offset: u64,
    /// What was found there.
    pub(crate) problem: String,
}

/// What can be read of a dead letter's value.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DecodedLetter {
    /// Fields in the order of the writer's schema, as far as they can be read.
    pub(crate) fields: Vec<DecodedField>,
    /// Where the reading stopped; null where it did not.
    pub(crate) stopped_at: Option<StoppedAt>,
    /// Bytes that were not read.
    pub(crate) trailing_bytes: u64,
    /// Why nothing can be read; null where something can.
    pub(crate) unread: Option<String>,
    /// What to do about letters of this reason.
    pub(crate) remedy: String,
}

/// The fields of a dead letter, as far as they can be read
#[utoipa::path(get, path = "/api/v1/dead-letters/{topic}/{partition}/{offset}/decoded",
    params(("topic" = String, Path), ("partition" = i32, Path), ("offset" = i64, Path)),
    responses((status = 200, body = DecodedLetter)))]
pub(super) async fn decoded(
    State(api): State<Api>,
    _: Caller,
    Named(place): Named<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let letter = find(&api, place, true).await?;
    answer::one(&headers, &decode(&api, &letter).await?)
}

/// Reads a letter that was asked for with its bytes.
pub(crate) async fn decode(api: &Api, letter: &Letter) -> Result<DecodedLetter, Problem> {
    let remedy = Reason::from_name(&letter.reason).map_or("", Reason::remedy).to_owned();
    let nothing = |unread: String| DecodedLetter {
        fields: Vec::new(),
        stopped_at: None,
        trailing_bytes: letter.bytes,
        unread: Some(unread),
        remedy: remedy.clone(),
    };
    let value = letter.value_hex.as_deref().and_then(|value| hex::decode(value).ok());
    let Some(value) = value else { return Ok(nothing("the value is null".to_owned())) };
    let explained = match api.letters().explain(&value).await {
        Ok(explained) => explained,
        Err(LettersError::Unreadable(why)) => return Ok(nothing(why)),
        Err(error) => return Err(failed(&error)),
    };
    let guilty = letter.path.split('.').next().unwrap_or_default();
    let field = |(name, value): (String, Value)| DecodedField {
        is_guilty: !guilty.is_empty() && name == guilty,
        value: if value.is_number() { Value::String(value.to_string()) } else { value },
        name,
    };
    Ok(DecodedLetter {
        fields: explained.fields.into_iter().map(field).collect(),
        stopped_at: explained.stopped_at.map(|stopped| StoppedAt {
            path: stopped.path,
            byte_offset: stopped.byte_offset as u64,
            problem: stopped.problem,
        }),
        trailing_bytes: explained.trailing_bytes as u64,
        unread: None,
        remedy,
    })
}

fn failed(error: &LettersError) -> Problem {
    tracing::warn!(error = %crate::chain(error), "a dead letter could not be looked into");
    match error {
        LettersError::Unreadable(why) => Problem::because(Code::Conflict, why),
        LettersError::Unavailable(_) | LettersError::NotTaken(_) | LettersError::Unacknowledged(_) => {
            Problem::because(Code::LogUnavailable, error).retry_after(1)
        }
    }
}

/// Somebody published a letter again.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(crate) struct StoredReplay {
    /// Under which id; the record bears it among its headers.
    pub(crate) replay_id: String,
    /// Which attempt it was.
    pub(crate) attempt: u32,
    /// When it was asked for.
    pub(crate) requested_at: Moment,
    /// Who asked.
    pub(crate) requested_by: String,
    /// `REQUESTED` (whoever asked has not said more), `PUBLISHED` or `NOT_TAKEN`.
    pub(crate) state: String,
    /// Where it was published; null where it was not.
    pub(crate) published_partition: Option<i32>,
    /// Where it was published; null where it was not.
    pub(crate) published_offset: Option<i64>,
}

/// Who published a dead letter again, the latest first
#[utoipa::path(get, path = "/api/v1/dead-letters/{topic}/{partition}/{offset}/replays",
    params(("topic" = String, Path), ("partition" = i32, Path), ("offset" = i64, Path)),
    responses((status = 200, body = Page<StoredReplay>)))]
pub(super) async fn list(
    State(api): State<Api>,
    _: Caller,
    Named(place): Named<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let letter = find(&api, place, false).await?;
    answer::one(&headers, &Page { items: replays(&api, &letter).await?, next: None })
}

/// The replays of a letter, the latest first.
pub(crate) async fn replays(api: &Api, letter: &Letter) -> Result<Vec<StoredReplay>, Problem> {
    let query = api.ask(REPLAYS_OF).param("topic_id", &letter.topic_id);
    let query = query.param("partition", letter.partition).param("offset", letter.offset);
    api.rows::<StoredReplay>(REPLAYS_OF, query.param("limit", REPLAYS_MAX)).await
}

/// What is to be done with a letter.
#[derive(Clone, Copy, Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewReplay {
    /// Publish it; without it nothing is sent.
    #[serde(default)]
    pub(crate) execute: bool,
    /// Also if it was replayed already.
    #[serde(default)]
    pub(crate) again: bool,
    /// Also if it was asked for and nobody wrote down what became of it.
    #[serde(default)]
    pub(crate) if_unknown: bool,
}

/// One header of a record.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RecordHeader {
    /// Its name.
    pub(crate) name: String,
    /// Its value, hex; null where there is none.
    pub(crate) value_hex: Option<String>,
}

/// What would become of a letter, and what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Replayed {
    /// `accepted`, `duplicate` (its event is stored already) or `dead`.
    pub(crate) would_be: &'static str,
    /// The event; null where it would die.
    pub(crate) event_id: Option<Uuid>,
    /// Why it would die; null where it would not.
    pub(crate) reason: Option<String>,
    /// The guilty field.
    pub(crate) path: Option<String>,
    /// Why it would die, for people.
    pub(crate) sentence: Option<String>,
    /// Why it is not published unless `again` is said; null where nothing speaks against it.
    pub(crate) passed_over: Option<String>,
    /// Whether it was asked for, and nobody wrote down what became of it: Kafka may have it or not. `if_unknown` publishes it.
    pub(crate) is_unknown: bool,
    #[serde(skip)]
    over: Option<PassedOver>,
    /// The topic of the record.
    pub(crate) topic: String,
    /// Its key, hex; null where there is none.
    pub(crate) key_hex: Option<String>,
    /// Its value, hex; null where there is none.
    pub(crate) value_hex: Option<String>,
    /// Its headers, its lineage among them.
    pub(crate) headers: Vec<RecordHeader>,
    /// Which attempt it is.
    pub(crate) attempt: u32,
    /// Under which id it was, or would be, published: each time another.
    pub(crate) replay_id: Uuid,
    /// `topic/partition/offset` of the new record; null where nothing was sent.
    pub(crate) published_at: Option<String>,
}

/// Judge a dead letter by what is known today, and with `execute` publish it again
#[utoipa::path(post, path = "/api/v1/dead-letters/{topic}/{partition}/{offset}/replay", request_body = NewReplay,
    params(("topic" = String, Path), ("partition" = i32, Path), ("offset" = i64, Path)),
    responses((status = 200, body = Replayed)))]
pub(super) async fn replay(
    State(api): State<Api>,
    caller: Caller,
    Named(place): Named<Place>,
    Given(wanted): Given<NewReplay>,
) -> Result<Response, Problem> {
    let letter = find(&api, place, true).await?;
    Ok(Json(once_more(&api, &caller, &letter, wanted).await?).into_response())
}

/// Judges a letter that was asked for with its bytes, and publishes it if that is wanted and nothing speaks against it.
///
/// What is published goes on if whoever asked has gone away: the row that says what became of it is written all the same.
pub(crate) async fn once_more(
    api: &Api,
    caller: &Caller,
    letter: &Letter,
    wanted: NewReplay,
) -> Result<Replayed, Problem> {
    let replay_id = Uuid::now_v7();
    if !wanted.execute {
        return would(api, letter, replay_id).await;
    }
    let against = |why: &str| Err(Problem::because(Code::Conflict, why));
    if !api.letters().publishes() {
        return against("this service was not told that it may publish: tally serve --replays");
    }
    let place = format!("{}/{}/{}", letter.topic_id, letter.partition, letter.offset);
    let Some(taken) = api.take_letter(place) else {
        return against("somebody publishes it just now: see who in the list of its replays");
    };
    let replayed = would(api, letter, replay_id).await?;
    if replayed.would_be == "dead" {
        return against("it would die again: see the dry run");
    }
    match &replayed.over {
        None => {}
        Some(PassedOver::OnItsWay(_)) => {
            return against("it was asked for a moment ago, and may be on its way");
        }
        Some(PassedOver::Unknown(_)) if wanted.again || wanted.if_unknown => {}
        Some(_) if wanted.again => {}
        Some(_) => return against("it was replayed already: see the dry run, and say again"),
    }
    let (apart, letter, by) = (api.clone(), letter.clone(), caller.principal.subject.clone());
    let publishing = tokio::spawn(async move {
        let published = publish(&apart, &letter, &by, replayed).await;
        drop(taken);
        published
    });
    let answer_within = Duration::from_secs(u64::from(api.limits().request_s_max)) / 2;
    match tokio::time::timeout(answer_within, publishing).await {
        Ok(Ok(published)) => published,
        Ok(Err(_)) => Err(Problem::new(Code::Internal)),
        Err(_) => Err(Problem::because(
            Code::LogUnavailable,
            "Kafka has not said yet whether it took the record: it will stand in the list of the letter's replays",
        )),
    }
}

/// Writes down who asks, publishes, and writes down what became of it.
async fn publish(api: &Api, letter: &Letter, by: &str, mut replayed: Replayed) -> Result<Replayed, Problem> {
    let replay_id = replayed.replay_id;
    let asked = Replay {
        replay_id,
        letter,
        attempt: replayed.attempt,
        requested_by: by,
        requested_us: Moment::now().0,
        state: ReplayState::Requested,
    };
    let write = async |state| {
        let row = Replay { state, ..asked };
        record_replays(api.writer(), &[row]).await.map_err(|error| unavailable(&error))
    };
    write(ReplayState::Requested).await?;
    // a process beside this one may have written at the same moment: whoever reads the other's row steps back, and perhaps both do
    let earlier = earlier_replays(api.writer(), letter).await.map_err(|error| unavailable(&error));
    let others =
        earlier.map(|all| all.into_iter().filter(|one| one.replay_id != replay_id.to_string()).collect());
    let over = others.map(|others: Vec<_>| PassedOver::of(letter, &others, Moment::now().0));
    if !matches!(&over, Ok(over) if *over == replayed.over) {
        _ = write(ReplayState::NotTaken).await;
        over?;
        return Err(Problem::because(Code::Conflict, "somebody else asked for it at the same moment"));
    }
    let wait = Duration::from_secs(u64::from(PUBLISH_S_MAX));
    let published = tokio::time::timeout(wait, api.letters().publish(letter, replay_id)).await;
    let published = published.unwrap_or_else(|late| Err(LettersError::Unacknowledged(Box::new(late))));
    match published {
        Ok((partition, offset)) => {
            tracing::info!(replay = %replay_id, partition, offset, "a dead letter was published again");
            replayed.published_at = Some(format!("{}/{partition}/{offset}", letter.topic));
            // it is published, whatever the store says of it now; the row of before says who asked
            _ = write(ReplayState::Published(partition, offset)).await;
            Ok(replayed)
        }
        Err(error) => {
            // where Kafka may have it the row stays as it is, and becomes an unknown one
            if !matches!(error, LettersError::Unacknowledged(_)) {
                _ = write(ReplayState::NotTaken).await;
            }
            Err(failed(&error))
        }
    }
}

/// The dry run.
async fn would(api: &Api, letter: &Letter, replay_id: Uuid) -> Result<Replayed, Problem> {
    let judged = api.letters().judge(letter).await.map_err(|error| failed(&error))?;
    let record = api.letters().record(letter, replay_id).map_err(|error| failed(&error))?;
    let header =
        |(name, value): (String, Option<Vec<u8>>)| RecordHeader { name, value_hex: value.map(hex::encode) };
    let over = passed_over(api, letter).await?;
    let mut replayed = Replayed {
        would_be: "dead",
        event_id: None,
        reason: None,
        path: None,
        sentence: None,
        passed_over: over.as_ref().map(PassedOver::why),
        is_unknown: matches!(over, Some(PassedOver::Unknown(_))),
        over,
        topic: record.topic,
        key_hex: record.key.map(hex::encode),
        value_hex: record.value.map(hex::encode),
        headers: record.headers.into_iter().map(header).collect(),
        attempt: record.attempt,
        replay_id,
        published_at: None,
    };
    match judged {
        Judged::Dead { reason, path, sentence } => {
            replayed.reason = Some(reason);
            replayed.path = Some(path);
            replayed.sentence = Some(sentence);
        }
        Judged::Event { event_id, digest } => {
            let _place = api.place().await?;
            let stored = is_stored(api.client(), &event_id.to_string(), &digest).await;
            let stored = stored.map_err(|error| unavailable(&error))?;
            replayed.would_be = if stored { "duplicate" } else { "accepted" };
            replayed.event_id = Some(event_id);
        }
    }
    Ok(replayed)
}

/// Why a letter should not be published once more: it was, and became an event or a letter of its own, or is on its way.
async fn passed_over(api: &Api, letter: &Letter) -> Result<Option<PassedOver>, Problem> {
    let _place = api.place().await?;
    let earlier = earlier_replays(api.client(), letter).await.map_err(|error| unavailable(&error))?;
    Ok(PassedOver::of(letter, &earlier, Moment::now().0))
}
