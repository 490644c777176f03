//! What routes answer, for pages: the same handlers, behind the same table of rights, as JSON values.

use super::guard::Caller;
use super::query::{Asked, Named, Part};
use super::store::Api;
use super::{cases, dead, evidence, replays, task_evidence, tasks};
use crate::identity::Principal;
use crate::problem::{Code, Problem};
use crate::rights::{Access, Route, access};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use serde::de::DeserializeOwned;
use serde_json::Value;
use uuid::Uuid;

/// Bytes of an answer that becomes a page.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// The principal at that route, if the role has it.
pub(crate) fn caller(principal: &Principal, route: Route) -> Result<Caller, Problem> {
    match access(principal.role, route) {
        Access::None => Err(Problem::new(Code::Forbidden)),
        access => Ok(Caller { principal: principal.clone(), access }),
    }
}

async fn value(answer: Result<Response, Problem>) -> Result<Value, Problem> {
    let bytes = axum::body::to_bytes(answer?.into_body(), ANSWER_BYTES_MAX).await;
    let bytes = bytes.map_err(|_| Problem::new(Code::Internal))?;
    serde_json::from_slice(&bytes).map_err(|_| Problem::new(Code::Internal))
}

/// Parameters as a query string would give them.
fn wanted<T: DeserializeOwned>(fields: Value) -> Result<Asked<T>, Problem> {
    let refused = |_| Problem::because(Code::InvalidParameter, "the address is not what this page takes");
    Ok(Asked(serde_json::from_value(fields).map_err(refused)?))
}

fn whole() -> Asked<Part> {
    Asked(Part { cursor: None, limit: Some(super::query::PAGE_ROWS_MAX) })
}

/// `GET /api/v1/tasks/{task_id}`.
pub(crate) async fn task(api: &Api, who: &Principal, task_id: &str) -> Result<Value, Problem> {
    let caller = caller(who, Route::Task)?;
    value(tasks::one(State(api.clone()), caller, Named(task_id.to_owned()), whole(), HeaderMap::new()).await)
        .await
}

/// `GET /api/v1/tasks`.
pub(crate) async fn tasks(api: &Api, who: &Principal, filters: Value) -> Result<Value, Problem> {
    let asked = wanted(filters)?;
    value(tasks::list(State(api.clone()), caller(who, Route::Tasks)?, asked, HeaderMap::new()).await).await
}

/// `GET /api/v1/tasks/{task_id}/evidence`.
pub(crate) async fn task_evidence(api: &Api, who: &Principal, task_id: &str) -> Result<Value, Problem> {
    let caller = caller(who, Route::TaskEvidence)?;
    let evidence = task_evidence::evidence(api, &caller, task_id).await?;
    serde_json::to_value(evidence).map_err(|_| Problem::new(Code::Internal))
}

/// `GET /api/v1/moderation/cases/{case_id}`.
pub(crate) async fn case(api: &Api, who: &Principal, case_id: &str) -> Result<Value, Problem> {
    let caller = caller(who, Route::Case)?;
    value(cases::one(State(api.clone()), caller, Named(case_id.to_owned()), whole(), HeaderMap::new()).await)
        .await
}

/// `GET /api/v1/moderation/cases`: those that are open, those due first before the others.
pub(crate) async fn open_cases(api: &Api, who: &Principal, filters: Value) -> Result<Value, Problem> {
    let asked = wanted(filters)?;
    value(cases::list(State(api.clone()), caller(who, Route::Cases)?, asked, HeaderMap::new()).await).await
}

/// `GET /api/v1/dead-letters`.
pub(crate) async fn dead_letters(api: &Api, who: &Principal, filters: Value) -> Result<Value, Problem> {
    let asked = wanted(filters)?;
    value(dead::list(State(api.clone()), caller(who, Route::DeadLetters)?, asked, HeaderMap::new()).await)
        .await
}

/// `GET /api/v1/dead-letters/{topic}/{partition}/{offset}`.
pub(crate) async fn dead_letter(api: &Api, who: &Principal, place: dead::Place) -> Result<Value, Problem> {
    let caller = caller(who, Route::DeadLetter)?;
    value(dead::one(State(api.clone()), caller, Named(place), HeaderMap::new()).await).await
}

/// `GET /api/v1/dead-letters/{topic}/{partition}/{offset}/raw`.
pub(crate) async fn dead_bytes(api: &Api, who: &Principal, place: dead::Place) -> Result<Value, Problem> {
    let caller = caller(who, Route::DeadLetterRaw)?;
    value(dead::raw(State(api.clone()), caller, Named(place), HeaderMap::new()).await).await
}

/// `GET /api/v1/dead-letters/{topic}/{partition}/{offset}/decoded`.
pub(crate) async fn dead_fields(api: &Api, who: &Principal, place: dead::Place) -> Result<Value, Problem> {
    let caller = caller(who, Route::DeadLetterDecoded)?;
    value(replays::decoded(State(api.clone()), caller, Named(place), HeaderMap::new()).await).await
}

/// `GET /api/v1/dead-letters/{topic}/{partition}/{offset}/replays`.
pub(crate) async fn dead_replays(api: &Api, who: &Principal, place: dead::Place) -> Result<Value, Problem> {
    let caller = caller(who, Route::DeadLetterReplays)?;
    value(replays::list(State(api.clone()), caller, Named(place), HeaderMap::new()).await).await
}

/// `POST /api/v1/dead-letters/{topic}/{partition}/{offset}/replay`.
pub(crate) async fn replay(
    api: &Api,
    who: &Principal,
    place: dead::Place,
    wanted: replays::NewReplay,
) -> Result<Value, Problem> {
    let caller = caller(who, Route::DeadLetterReplay)?;
    let letter = dead::find(api, place, true).await?;
    let replayed = replays::once_more(api, &caller, &letter, wanted).await?;
    serde_json::to_value(replayed).map_err(|_| Problem::new(Code::Internal))
}

/// A result whole, with the pages behind its offenders: `GET /api/v1/audit/results/{result_id}` and `…/offenders`.
pub(crate) async fn result(api: &Api, who: &Principal, result_id: Uuid) -> Result<(Value, Value), Problem> {
    caller(who, Route::Offenders)?;
    let result = evidence::report(api, result_id).await?;
    let offenders = evidence::broken_by(&result);
    let both =
        serde_json::to_value(&result).and_then(|result| Ok((result, serde_json::to_value(offenders)?)));
    both.map_err(|_| Problem::new(Code::Internal))
}
