//! Licences: who may use which template, how much is left, how checks were answered.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::Moment;
use super::query::{Asked, Named, Part, id};
use super::store::Api;
use super::timeline::{self, About, Event, Work};
use crate::problem::{Code, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::service::LICENSES;
use utoipa::ToSchema;

/// A licence as its latest events leave it.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(super) struct License {
    /// Its id.
    license_id: String,
    /// `GRANTED`, `REVOKED` or `EXPIRED`.
    state: String,
    /// For which template.
    template_id: String,
    /// Who owns that.
    creator_id: String,
    /// Who may use it.
    grantee_id: String,
    /// When it was granted; null where that is not known.
    granted_at: Option<Moment>,
    /// When its latest event happened.
    changed_at: Moment,
    /// When it ends; null where it does not.
    expires_at: Option<Moment>,
    /// Micros of a credit that are left, as text; null where no event says.
    quota_remaining_micros: Option<String>,
    /// Checks that were answered with yes.
    checks_allowed: u64,
    /// Checks that were not.
    checks_refused: u64,
}

/// One licence, and what happened to it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct LicenseTimeline {
    /// As its latest events leave it.
    license: License,
    /// Events about it, the earliest first, as far as the caller may see them.
    events: Vec<Event>,
    /// Give it as `cursor` for the events that follow; null at the end.
    next: Option<String>,
}

/// Licences by id
#[utoipa::path(get, path = "/api/v1/licenses", params(Part), responses((status = 200, body = Page<License>)))]
pub(super) async fn list(
    State(api): State<Api>,
    caller: Caller,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let portion = Portion::asked("licenses", (part.cursor, part.limit), String::new())?;
    let licenses = find(&api, &caller, "", (&portion.after, portion.rows())).await?;
    portion.answer(&headers, licenses, |license| license.license_id.clone())
}

/// One licence with its events
#[utoipa::path(get, path = "/api/v1/licenses/{license_id}", params(("license_id" = String, Path), Part),
    responses((status = 200, body = LicenseTimeline)))]
pub(super) async fn one(
    State(api): State<Api>,
    caller: Caller,
    Named(license_id): Named<String>,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let license_id = id(license_id)?;
    let license = find(&api, &caller, &license_id, ("", 1)).await?.pop();
    let license = license.ok_or_else(|| Problem::new(Code::NotFound))?;
    let events = timeline::page(&api, &caller, (About::License, &license_id), part).await?;
    answer::one(&headers, &LicenseTimeline { license, events: events.items, next: events.next })
}

async fn find(
    api: &Api,
    caller: &Caller,
    license_id: &str,
    (after, limit): (&str, u32),
) -> Result<Vec<License>, Problem> {
    let work = Work::of(api, caller).await?;
    let query = api.ask(LICENSES).param("scope", caller.scope()).param("subject", &caller.principal.subject);
    let query = query.param("work", work.licences()).param("license_id", license_id);
    api.rows(LICENSES, query.param("after_id", after).param("limit", limit)).await
}
