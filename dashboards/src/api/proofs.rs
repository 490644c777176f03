//! Seals, and proofs that an event was taken.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, Named};
use super::store::Api;
use super::timeline::Work;
use crate::problem::{Code, Problem};
use crate::rights::{EventClass, Ids, Sight, sight};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::seal::prove;
use tally_queries::service::{EVENT, SEALS};
use tally_schemas::Topic;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// A signed checkpoint.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(super) struct Seal {
    /// The log's name.
    origin: String,
    /// Leaves of all partitions.
    leaves: u64,
    /// Root over the partitions' heads, hex.
    root: String,
    /// Who signed.
    key_name: String,
    /// When it was written.
    sealed_at: Moment,
    /// The signed note.
    checkpoint: String,
    /// The heads that it signs, a line each.
    heads: String,
}

/// Which seals.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Written at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Written before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Signed checkpoints, the latest first
#[utoipa::path(get, path = "/api/v1/seals", params(Wanted), responses((status = 200, body = Page<Seal>)))]
pub(super) async fn seals(
    State(api): State<Api>,
    _: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(wanted.from.as_deref(), wanted.to.as_deref())?;
    let portion = Portion::asked("seals", (wanted.cursor, wanted.limit), (i64::MAX, String::new()))?;
    let (us, root) = &portion.after;
    let query = api.ask(SEALS).param("from_us", range.from.0).param("to_us", range.to.0);
    let query = query.param("before_us", us).param("before_id", root).param("limit", portion.rows());
    let rows = api.rows::<Seal>(SEALS, query).await?;
    portion.answer(&headers, rows, |row| (row.sealed_at.0, row.root.clone()))
}

#[derive(Deserialize, Row)]
struct Fact {
    contract: String,
    kind: String,
    user_id: String,
    grantee_id: String,
    creator_id: String,
    license_id: String,
    task_id: String,
    case_id: String,
}

/// A proof that an event was taken, to be checked offline: a proof holds the whole event, so it is for whoever sees all of it
#[utoipa::path(get, path = "/api/v1/proofs/{event_id}", params(("event_id" = Uuid, Path)),
    responses((status = 200, body = Object)))]
pub(super) async fn proof(
    State(api): State<Api>,
    caller: Caller,
    Named(event_id): Named<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let missing = |why: &str| Problem::because(Code::NotFound, why);
    let seals = api.seals().ok_or_else(|| missing("this service was given no seals"))?;
    let query = api.ask(EVENT).param("event_id", event_id.to_string());
    let facts = api.rows::<Fact>(EVENT, query).await?;
    let work = Work::of(&api, &caller).await?;
    // several where contents conflict: then the proof holds them all
    if facts.is_empty() || !facts.iter().all(|fact| sees_all(&caller, &work, fact)) {
        return Err(Problem::new(Code::NotFound));
    }
    let _place = api.place().await?;
    let proof = prove(api.client(), &seals.log, &seals.keys, event_id).await.map_err(|error| {
        tracing::warn!(error = %crate::chain(&error), "a proof cannot be made");
        Problem::because(Code::NotFound, "what was sealed cannot be read or does not match: ask tally verify")
    })?;
    let proof = proof.ok_or_else(|| missing("the event is not sealed yet"))?;
    answer::one(&headers, &proof)
}

fn sees_all(caller: &Caller, work: &Work, fact: &Fact) -> bool {
    let topic = Topic::ALL.into_iter().find(|topic| topic.name() == fact.contract);
    let class = topic.map_or(EventClass::Call, |topic| EventClass::of(topic, &fact.kind));
    let ids = Ids {
        user_id: &fact.user_id,
        grantee_id: &fact.grantee_id,
        creator_id: &fact.creator_id,
        license_id: &fact.license_id,
    };
    let in_work = work.holds(class, &fact.task_id, &fact.license_id, &fact.case_id);
    sight(caller.principal.role, class, caller.relation(ids, in_work)) == Sight::Full
}
