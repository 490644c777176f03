//! The ledger now, and who was sent what.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, filter};
use super::store::Api;
use crate::problem::Problem;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tally_queries::service::DELIVERIES;
use utoipa::{IntoParams, ToSchema};

/// However many look, the store is asked this often.
const FRESH_MS: u64 = 900;

/// The ledger's counts at one moment.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Live {
    /// By topic.
    topics: Vec<LiveTopic>,
    /// Dead letters by topic and reason, most first.
    reasons: Vec<LiveReason>,
    /// The latest dead letters.
    letters: Vec<LiveLetter>,
}

/// One topic's counts.
#[derive(Debug, Serialize, ToSchema)]
struct LiveTopic {
    /// Kafka topic.
    topic: String,
    /// Accepted records.
    accepted: u64,
    /// Dead letters.
    dead: u64,
    /// Accepted records whose event was accepted before.
    duplicates: i64,
    /// Records whose Kafka timestamp lies in the last ten seconds.
    last_ten_seconds: u64,
    /// Newest Kafka timestamp, milliseconds since 1970 UTC.
    newest_ms: i64,
}

/// Dead letters of one topic and reason.
#[derive(Debug, Serialize, ToSchema)]
struct LiveReason {
    /// Kafka topic.
    topic: String,
    /// Why.
    reason: String,
    /// How many.
    letters: u64,
}

/// One dead letter, without its bytes.
#[derive(Debug, Serialize, ToSchema)]
struct LiveLetter {
    /// Kafka topic.
    topic: String,
    /// Partition.
    partition: i32,
    /// Offset.
    offset: i64,
    /// Why.
    reason: String,
    /// Which field.
    path: String,
    /// A sentence for people.
    sentence: String,
    /// Kafka timestamp, milliseconds since 1970 UTC.
    appended_ms: i64,
}

impl From<tally_queries::Live> for Live {
    fn from(live: tally_queries::Live) -> Live {
        let topic = |t: tally_queries::LiveTopic| LiveTopic {
            topic: t.topic,
            accepted: t.accepted,
            dead: t.dead,
            duplicates: t.duplicates,
            last_ten_seconds: t.last_ten_seconds,
            newest_ms: t.newest_ms,
        };
        let reason = |r: tally_queries::LiveReason| LiveReason {
            topic: r.topic,
            reason: r.reason,
            letters: r.letters,
        };
        let letter = |l: tally_queries::LiveLetter| LiveLetter {
            topic: l.topic,
            partition: l.partition,
            offset: l.offset,
            reason: l.reason,
            path: l.path,
            sentence: l.sentence,
            appended_ms: l.appended_ms,
        };
        Live {
            topics: live.topics.into_iter().map(topic).collect(),
            reasons: live.reasons.into_iter().map(reason).collect(),
            letters: live.letters.into_iter().map(letter).collect(),
        }
    }
}

/// What the ledger holds now
#[utoipa::path(get, path = "/api/v1/live", responses((status = 200, body = Live)))]
pub(super) async fn live(State(api): State<Api>, _: Caller, headers: HeaderMap) -> Result<Response, Problem> {
    let live = api.live(Duration::from_millis(FRESH_MS)).await?;
    answer::one(&headers, &Live::from(live))
}

/// One event that was sent to one subject over the feed.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(super) struct Delivery {
    /// To whom.
    subject: String,
    /// Over which session.
    session: String,
    /// Which event.
    event_id: String,
    /// Its type, such as `credit.supplement_requested.v1`.
    #[serde(rename = "type")]
    kind: String,
    /// Kafka topic.
    topic: String,
    /// Partition.
    partition: i32,
    /// Offset.
    offset: i64,
    /// When Kafka took it.
    appended_at: Moment,
    /// When it was sent.
    sent_at: Moment,
    /// When it was acknowledged; null while it is not.
    acked_at: Option<Moment>,
}

/// Which deliveries.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Sent at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Sent before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// To this subject.
    #[param(min_length = 1, max_length = 256)]
    subject: Option<String>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// The delivery ledger of the feed, the latest first
#[utoipa::path(get, path = "/api/v1/deliveries", params(Wanted), responses((status = 200, body = Page<Delivery>)))]
pub(super) async fn deliveries(
    State(api): State<Api>,
    _: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(wanted.from.as_deref(), wanted.to.as_deref())?;
    let start = (i64::MAX, String::new(), String::new());
    let portion = Portion::asked("deliveries", (wanted.cursor, wanted.limit), start)?;
    let (ms, session, id) = &portion.after;
    let query = api.ask(DELIVERIES).param("subject", filter("subject", wanted.subject)?);
    let query =
        query.param("from_ms", range.from.0.div_euclid(1_000)).param("to_ms", range.to.0.div_euclid(1_000));
    let query = query.param("before_ms", ms).param("before_session", session).param("before_id", id);
    let rows = api.rows::<Delivery>(DELIVERIES, query.param("limit", portion.rows())).await?;
    let place = |row: &Delivery| (row.sent_at.0.div_euclid(1_000), row.session.clone(), row.event_id.clone());
    portion.answer(&headers, rows, place)
}
