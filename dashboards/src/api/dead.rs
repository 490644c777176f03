//! Dead letters: which there are, why, and for admins what they were.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, Named, filter};
use super::store::{Api, unavailable};
use crate::problem::{Code, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::service::DEAD_LETTERS;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A dead letter, without its bytes.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(crate) struct DeadLetter {
    /// Kafka topic.
    pub(crate) topic: String,
    /// Its identity.
    pub(crate) topic_id: String,
    /// Partition.
    pub(crate) partition: i32,
    /// Offset.
    pub(crate) offset: i64,
    /// When Kafka took the record.
    pub(crate) appended_at: Moment,
    /// Why it was refused.
    pub(crate) reason: String,
    /// The guilty field; empty where none is.
    pub(crate) path: String,
    /// What was found and what was expected.
    pub(crate) sentence: String,
    /// The writer's schema.
    pub(crate) schema: String,
    /// Length of the value.
    pub(crate) bytes: u64,
    /// SHA-256 of the value, hex.
    pub(crate) sha256: String,
    /// How often it had been replayed when it came.
    pub(crate) replay_attempt: u32,
}

/// One dead letter, with what became of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeadLetterInFull {
    /// Kafka topic.
    topic: String,
    /// Its identity.
    topic_id: String,
    /// Partition.
    partition: i32,
    /// Offset.
    offset: i64,
    /// When Kafka took the record, RFC 3339.
    appended_at: String,
    /// Why it was refused.
    reason: String,
    /// The guilty field; empty where none is.
    path: String,
    /// What was found and what was expected.
    sentence: String,
    /// The writer's schema.
    schema: String,
    /// Length of the value.
    bytes: u64,
    /// SHA-256 of the value, hex.
    sha256: String,
    /// How often it had been replayed when it came.
    replay_attempt: u32,
    /// `topic id/partition/offset` of the first publication.
    first: String,
    /// What became of its replays, in words.
    replays: String,
    /// Whether its bytes were accepted later.
    is_accepted: bool,
    /// Whether it was replayed, and what was published is accepted or dead.
    is_replayed: bool,
}

/// What a dead letter was.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RawLetter {
    /// Key, hex; null where there is none.
    key_hex: Option<String>,
    /// Value, hex; null where there is none.
    value_hex: Option<String>,
    /// Headers.
    headers: Vec<RawHeader>,
}

/// One header of a record.
#[derive(Debug, Serialize, ToSchema)]
struct RawHeader {
    /// Its name.
    name: String,
    /// Its value, hex; null where there is none.
    value_hex: Option<String>,
}

/// Which dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Appended at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Appended before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Of this Kafka topic.
    #[param(min_length = 1, max_length = 256)]
    topic: Option<String>,
    /// For this reason.
    #[param(min_length = 1, max_length = 256)]
    reason: Option<String>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Dead letters, the latest first
#[utoipa::path(get, path = "/api/v1/dead-letters", params(Wanted), responses((status = 200, body = Page<DeadLetter>)))]
pub(super) async fn list(
    State(api): State<Api>,
    _: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(wanted.from.as_deref(), wanted.to.as_deref())?;
    let start = (i64::MAX, String::new(), 0, 0);
    let portion = Portion::asked("dead-letters", (wanted.cursor, wanted.limit), start)?;
    let (ms, id, partition, offset) = &portion.after;
    let query = api.ask(DEAD_LETTERS).param("topic", filter("topic", wanted.topic)?);
    let query = query.param("reason", filter("reason", wanted.reason)?);
    let query =
        query.param("from_ms", range.from.0.div_euclid(1_000)).param("to_ms", range.to.0.div_euclid(1_000));
    let query = query.param("before_ms", ms).param("before_id", id).param("before_partition", partition);
    let query = query.param("before_offset", offset).param("limit", portion.rows());
    let rows = api.rows::<DeadLetter>(DEAD_LETTERS, query).await?;
    let place = |row: &DeadLetter| {
        (row.appended_at.0.div_euclid(1_000), row.topic_id.clone(), row.partition, row.offset)
    };
    portion.answer(&headers, rows, place)
}

/// Topic, partition and offset. The topic is its identity, or its name: of topics of one name only the identity says which.
pub(super) type Place = (String, i32, i64);

/// One dead letter: reason, path, sentence, and what became of its replays
#[utoipa::path(get, path = "/api/v1/dead-letters/{topic}/{partition}/{offset}",
    params(("topic" = String, Path), ("partition" = i32, Path), ("offset" = i64, Path)),
    responses((status = 200, body = DeadLetterInFull)))]
pub(super) async fn one(
    State(api): State<Api>,
    _: Caller,
    Named(place): Named<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let letter = find(&api, place, false).await?;
    let letter = DeadLetterInFull {
        replays: letter.replay_state(),
        is_accepted: !letter.accepted_at.is_empty(),
        is_replayed: letter.is_replayed(),
        topic: letter.topic,
        topic_id: letter.topic_id,
        partition: letter.partition,
        offset: letter.offset,
        appended_at: letter.appended_at,
        reason: letter.reason,
        path: letter.path,
        sentence: letter.sentence,
        schema: letter.schema,
        bytes: letter.bytes,
        sha256: letter.sha256,
        replay_attempt: letter.replay_attempt,
        first: letter.first,
    };
    answer::one(&headers, &letter)
}

/// The bytes of a dead letter
#[utoipa::path(get, path = "/api/v1/dead-letters/{topic}/{partition}/{offset}/raw",
    params(("topic" = String, Path), ("partition" = i32, Path), ("offset" = i64, Path)),
    responses((status = 200, body = RawLetter)))]
pub(super) async fn raw(
    State(api): State<Api>,
    _: Caller,
    Named(place): Named<Place>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let letter = find(&api, place, true).await?;
    let header = |(name, value_hex)| RawHeader { name, value_hex };
    let raw = RawLetter {
        key_hex: letter.key_hex,
        value_hex: letter.value_hex,
        headers: letter.headers.into_iter().map(header).collect(),
    };
    answer::one(&headers, &raw)
}

/// The letter at that place; where the topic is named, of topics of that name the one that was appended last.
pub(super) async fn find(
    api: &Api,
    (topic, partition, offset): Place,
    payload: bool,
) -> Result<tally_queries::Letter, Problem> {
    let missing = || Problem::new(Code::NotFound);
    if partition < 0 || offset < 0 {
        return Err(missing()); // below 0 would mean any
    }
    let topic = super::query::id(topic)?;
    let at = Some((partition, offset));
    let by_name = tally_queries::Wanted { topic, at, limit: 1, payload, ..Default::default() };
    let by_id = by_name.topic.parse::<Uuid>().ok().map(|id| tally_queries::Wanted {
        topic: String::new(),
        topic_id: id.to_string(),
        ..by_name.clone()
    });
    let _place = api.place().await?;
    // a name may look like an identity
    for wanted in by_id.into_iter().chain([by_name]) {
        let letters = tally_queries::dead_letters(api.client(), &wanted).await;
        let letters = letters.map_err(|error| unavailable(&error))?;
        if let Some(letter) = letters.into_iter().next() {
            return Ok(letter);
        }
    }
    Err(missing())
}
