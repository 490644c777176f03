//! What the audit rests on: how offsets tile, what jobs said over time, who broke a rule and where to look, and what was verified.

use super::answer::{self, Page};
use super::audit::AuditResult;
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::{Moment, Range};
use super::query::{Asked, Named};
use super::store::Api;
use crate::problem::{Code, Problem};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::audit::result::JobResult;
use tally_queries::service::{RESULT, TILING, VERDICTS, VERIFICATIONS};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// Partitions that are shown.
const PARTITIONS_MAX: u32 = 1_000;
/// Results of one job that are shown beside each other.
const VERDICTS_OF_A_JOB_MAX: u32 = 48;

/// How receipts and gaps tile one partition.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(crate) struct Tiling {
    /// Kafka topic.
    pub(crate) topic: String,
    /// Its identity.
    pub(crate) topic_id: String,
    /// Partition.
    pub(crate) partition: i32,
    /// First offset that must be accounted for.
    pub(crate) first: i64,
    /// The offset after the last that was taken.
    pub(crate) next: i64,
    /// What the broker had when it was last looked at; null where nobody looked.
    pub(crate) high_watermark: Option<i64>,
    /// Offsets with a receipt.
    pub(crate) receipts: u64,
    /// Of these, accepted.
    pub(crate) accepted: u64,
    /// Of these, dead letters.
    pub(crate) dead: u64,
    /// Offsets that hold no record.
    pub(crate) absent: i64,
    /// Of these, deleted before they were read: lost.
    pub(crate) expired: i64,
    /// Offsets between `first` and `next` of which nothing is known.
    pub(crate) holes: i64,
    /// Offsets that are accounted for twice.
    pub(crate) overlaps: i64,
    /// Offsets from `next` to the high watermark.
    pub(crate) untaken: i64,
    /// Whether the topic is gone.
    pub(crate) ended: bool,
    /// When the broker was last looked at; null where nobody looked.
    pub(crate) seen_at: Option<Moment>,
}

/// How receipts and gaps tile each partition
#[utoipa::path(get, path = "/api/v1/audit/tiling", responses((status = 200, body = Page<Tiling>)))]
pub(super) async fn tiling(
    State(api): State<Api>,
    _: Caller,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    answer::page(&headers, &Page { items: tiles(&api).await?, next: None })
}

/// How every partition is tiled, by topic and number.
pub(crate) async fn tiles(api: &Api) -> Result<Vec<Tiling>, Problem> {
    api.rows::<Tiling>(TILING, api.ask(TILING).param("limit", PARTITIONS_MAX)).await
}

/// From when to when something was known.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Known {
    /// Known at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Known before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
}

/// What each job said last, and before: at most 48 results of one job, the latest first
#[utoipa::path(get, path = "/api/v1/audit/verdicts", params(Known), responses((status = 200, body = Page<AuditResult>)))]
pub(super) async fn verdicts(
    State(api): State<Api>,
    _: Caller,
    Asked(known): Asked<Known>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(known.from.as_deref(), known.to.as_deref())?;
    answer::page(&headers, &Page { items: said(&api, range).await?, next: None })
}

/// Results known in a range by job, the latest of each first.
pub(crate) async fn said(api: &Api, range: Range) -> Result<Vec<AuditResult>, Problem> {
    let query = api.ask(VERDICTS).param("from_us", range.from.0).param("to_us", range.to.0);
    let query = query.param("each", VERDICTS_OF_A_JOB_MAX).param("limit", super::query::PAGE_ROWS_MAX);
    api.rows::<AuditResult>(VERDICTS, query).await
}

/// Who broke a rule.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BrokenBy {
    /// A task, a wallet, a case, an event, or `topic id/partition/offset`.
    pub(crate) id: String,
    /// Which rule.
    pub(crate) why: String,
    /// A sentence for people.
    pub(crate) detail: String,
    /// What it is: `task`, `wallet`, `case`, `event`, `record`, or empty where there is nothing behind it.
    pub(crate) is: &'static str,
    /// The page behind it; null where there is none.
    pub(crate) page: Option<String>,
}

#[derive(Deserialize, Row)]
struct Report {
    report: String,
}

/// The first offenders of a result, each with the page behind it
#[utoipa::path(get, path = "/api/v1/audit/results/{result_id}/offenders", params(("result_id" = Uuid, Path)),
    responses((status = 200, body = Page<BrokenBy>)))]
pub(super) async fn offenders(
    State(api): State<Api>,
    _: Caller,
    Named(result_id): Named<Uuid>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let result = report(&api, result_id).await?;
    answer::one(&headers, &Page { items: broken_by(&result), next: None })
}

/// A result whole; one that this version cannot read is nobody's.
pub(crate) async fn report(api: &Api, result_id: Uuid) -> Result<JobResult, Problem> {
    let query = api.ask(RESULT).param("result_id", result_id.to_string());
    let row = api.rows::<Report>(RESULT, query).await?.pop().ok_or_else(|| Problem::new(Code::NotFound))?;
    let unreadable = |_| Problem::because(Code::NotFound, "the result was written by another version");
    serde_json::from_str(&row.report).map_err(unreadable)
}

/// The offenders that a result names.
pub(crate) fn broken_by(result: &JobResult) -> Vec<BrokenBy> {
    let each = result.offenders.iter().map(|offender| {
        let (is, page) = behind(result, &offender.id, &offender.why);
        BrokenBy {
            id: offender.id.clone(),
            why: offender.why.clone(),
            detail: offender.detail.clone(),
            is,
            page,
        }
    });
    each.collect()
}

/// What an offender is by the job that names it, and its page.
fn behind(result: &JobResult, id: &str, why: &str) -> (&'static str, Option<String>) {
    match (result.job.as_str(), why) {
        ("completeness", "buckets_differing") => ("", None),
        ("completeness" | "accuracy", _) => ("task", Some(format!("/task/{}", segment(id)))),
        ("sla", _) => ("case", Some(format!("/case/{}", segment(id)))),
        ("balances", _) => ("wallet", None),
        ("stability", _) => ("event", None),
        ("offsets", "both_ways" | "letter_without_receipt") => ("record", letter_page(id)),
        ("offsets", _) => ("record", None),
        _ => ("", None),
    }
}

/// The page of the dead letter at `topic id/partition/offset`.
fn letter_page(id: &str) -> Option<String> {
    let (topic_id, place) = id.split_once('/')?;
    topic_id.parse::<Uuid>().ok().map(|topic_id| format!("/dead/{topic_id}/{place}"))
}

/// Text as one segment of a path.
pub(crate) fn segment(text: &str) -> String {
    let kept = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.~:".contains(byte);
    let each = text.bytes().map(|byte| match kept(&byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    each.collect()
}

/// What `tally verify` found.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(crate) struct StoredVerification {
    /// Its id.
    pub(crate) verification_id: String,
    /// When it was begun.
    pub(crate) verified_at: Moment,
    /// `VERIFIED`, `TAMPERED`, `INCOMPLETE` or `UNCHECKED`.
    pub(crate) verdict: String,
    /// What was looked at: `all`, `since …`, `sample of …`.
    pub(crate) scope: String,
    /// Whether Kafka's bytes were asked too.
    pub(crate) against_kafka: bool,
    /// Leaves that stand in a signed tree.
    pub(crate) leaves: u64,
    /// Facts whose content was digested again.
    pub(crate) facts: u64,
    /// Rows beyond the checkpoint.
    pub(crate) unsealed: u64,
    /// Things that are not as they should be.
    pub(crate) findings: u64,
    /// Keys that had signed.
    pub(crate) signers: String,
}

/// Which verifications.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub(super) struct Wanted {
    /// Begun at or after, RFC 3339.
    #[param(format = DateTime)]
    from: Option<String>,
    /// Begun before, RFC 3339.
    #[param(format = DateTime)]
    to: Option<String>,
    /// Where the page before ended: its `next`.
    #[param(max_length = 2048)]
    cursor: Option<String>,
    /// Rows of a page.
    #[param(minimum = 1, maximum = 1000, default = 100)]
    limit: Option<u32>,
}

/// What `tally verify` found, the latest first; none where it never ran
#[utoipa::path(get, path = "/api/v1/audit/verifications", params(Wanted),
    responses((status = 200, body = Page<StoredVerification>)))]
pub(super) async fn verifications(
    State(api): State<Api>,
    _: Caller,
    Asked(wanted): Asked<Wanted>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let range = Range::read(wanted.from.as_deref(), wanted.to.as_deref())?;
    let start = (i64::MAX, String::new());
    let portion = Portion::asked("verifications", (wanted.cursor, wanted.limit), start)?;
    let rows = verified(&api, range, &portion.after, portion.rows()).await?;
    portion.answer(&headers, rows, |row| (row.verified_at.0, row.verification_id.clone()))
}

/// Verifications before a place, the latest first.
pub(crate) async fn verified(
    api: &Api,
    range: Range,
    (us, id): &(i64, String),
    rows: u32,
) -> Result<Vec<StoredVerification>, Problem> {
    let query = api.ask(VERIFICATIONS).param("from_us", range.from.0).param("to_us", range.to.0);
    let query = query.param("before_us", us).param("before_id", id).param("limit", rows);
    api.rows::<StoredVerification>(VERIFICATIONS, query).await
}
