//! What audit jobs said: verdicts, the latest first, and one result whole.

use super::answer::{self, Page};
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, Named, filter};
use super::store::Api;
use crate::problem::{Code, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tally_queries::service::{RESULT, RESULTS};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// What a job said about a window.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(crate) struct AuditResult {
    /// Its id.
    pub(crate) result_id: String,
    /// Which job.
    pub(crate) job: String,
    /// The window from this moment,
    pub(crate) window_from: Moment,
    /// up to this one, which is not in it.
    pub(crate) window_to: Moment,
    /// Since when it is known.
    pub(crate) known_at: Moment,
    /// The earlier result that it restates; null where there is none.
    pub(crate) restates: Option<String>,
    /// `PASS`, `FAIL`, `WARN`, `PENDING`, `NOT_EVALUATED`, `INSUFFICIENT` or `ERROR`.
    pub(crate) verdict: String,
    /// For people.
    pub(crate) sentence: String,
    /// Of the share that was judged, as text.
    pub(crate) numerator: String,
    /// Of the share that was judged, as text.
    pub(crate) denominator: String,
}

/// Which results.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Known at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Known before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Of this job.
    #[param(min_length = 1, max_length = 256)]
    job: Option<String>,
    /// With this verdict.
    #[param(min_length = 1, max_length = 256)]
    verdict: Option<String>,
    /// Without what a later result restates.
    latest: Option<bool>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// Results of audit jobs with their history, the latest first
#[utoipa::path(get, path = "/api/v1/audit/results", params(Wanted), responses((status = 200, body = Page<AuditResult>)))]
pub(super) async fn results(
    State(api): State<Api>,
    _: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(wanted.from.as_deref(), wanted.to.as_deref())?;
    let portion = Portion::asked("results", (wanted.cursor, wanted.limit), (i64::MAX, String::new()))?;
    let (us, id) = &portion.after;
    let query = api.ask(RESULTS).param("job", filter("job", wanted.job)?);
    let query = query.param("verdict", filter("verdict", wanted.verdict)?);
    let query = query.param("latest", wanted.latest.unwrap_or(false));
    let query = query.param("from_us", range.from.0).param("to_us", range.to.0);
    let query = query.param("before_us", us).param("before_id", id).param("limit", portion.rows());
    let rows = api.rows::<AuditResult>(RESULTS, query).await?;
    portion.answer(&headers, rows, |row| (row.known_at.0, row.result_id.clone()))
}

#[derive(Deserialize, Row)]
struct Report {
    report: String,
}

/// One result whole, as `tally audit --format json` prints it
#[utoipa::path(get, path = "/api/v1/audit/results/{result_id}", params(("result_id" = Uuid, Path)),
    responses((status = 200, body = Object)))]
pub(super) async fn result(
    State(api): State<Api>,
    _: Caller,
    Named(result_id): Named<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let query = api.ask(RESULT).param("result_id", result_id.to_string());
    let report = api.rows::<Report>(RESULT, query).await?.pop();
    let report = report.ok_or_else(|| Problem::new(Code::NotFound))?.report;
    let report: Value = serde_json::from_str(&report).map_err(|_| Problem::new(Code::Internal))?;
    answer::one(&headers, &report)
}
