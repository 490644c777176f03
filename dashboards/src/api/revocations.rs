//! Revoking tokens and subjects: the only thing that the API writes.

use super::answer::Page;
use super::cursor::Portion;
use super::guard::Caller;
use super::moment::Moment;
use super::query::{Asked, Given, NAME_BYTES_MAX, Part};
use super::store::{Api, unavailable};
use crate::problem::{Code, Problem};
use axum::Json;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::revocations::{Revocation, RevocationKind};
use tally_queries::service::REVOCATIONS;
use utoipa::ToSchema;

/// What is revoked.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum Kind {
    /// One token, by its id (`jti`).
    Token,
    /// Every token of a subject (`sub`), until it is lifted.
    Subject,
}

/// A revocation to be made or lifted.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRevocation {
    /// What is revoked.
    kind: Kind,
    /// The token's id or the subject.
    #[schema(min_length = 1, max_length = 256)]
    value: String,
    /// Why, for those who read the list.
    #[schema(min_length = 1, max_length = 256)]
    reason: String,
    /// Whether an earlier revocation ends.
    #[serde(default)]
    lifted: bool,
}

/// A revocation, or what lifted one.
#[derive(Debug, Deserialize, Row, Serialize, ToSchema)]
pub(super) struct StoredRevocation {
    /// `TOKEN` or `SUBJECT`.
    kind: String,
    /// The token's id or the subject.
    value: String,
    /// When.
    revoked_at: Moment,
    /// Whether it ended an earlier one.
    lifted: bool,
    /// Why.
    reason: String,
    /// Who did it.
    revoked_by: String,
}

/// What was revoked and lifted, the latest first
#[utoipa::path(get, path = "/api/v1/revocations", params(Part), responses((status = 200, body = Page<StoredRevocation>)))]
pub(super) async fn list(
    State(api): State<Api>,
    _: Caller,
    Asked(part): Asked<Part>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let start = (i64::MAX, String::new(), String::new());
    let portion = Portion::asked("revocations", (part.cursor, part.limit), start)?;
    let (us, kind, value) = &portion.after;
    let query = api.ask(REVOCATIONS).param("before_us", us).param("before_kind", kind);
    let query = query.param("before_id", value).param("limit", portion.rows());
    let rows = api.rows::<StoredRevocation>(REVOCATIONS, query).await?;
    portion.answer(&headers, rows, |row| (row.revoked_at.0, row.kind.clone(), row.value.clone()))
}

/// Revoke a token or a subject, or lift that: effective on every replica within 2 s
#[utoipa::path(post, path = "/api/v1/revocations", request_body = NewRevocation,
    responses((status = 201, body = StoredRevocation)))]
pub(super) async fn revoke(
    State(api): State<Api>,
    caller: Caller,
    Given(new): Given<NewRevocation>,
) -> Result<Response, Problem> {
    for (name, text) in [("value", &new.value), ("reason", &new.reason)] {
        if !(1..=NAME_BYTES_MAX).contains(&text.len()) {
            let bound = format_args!("{name} has 1 to {NAME_BYTES_MAX} bytes");
            return Err(Problem::because(Code::InvalidBody, bound));
        }
    }
    let revocation = Revocation {
        kind: match new.kind {
            Kind::Token => RevocationKind::Token,
            Kind::Subject => RevocationKind::Subject,
        },
        value: new.value,
        lifted: new.lifted,
        reason: new.reason,
        revoked_by: caller.principal.subject,
        revoked_us: Moment::now().0,
    };
    api.authority().revoke(&revocation).await.map_err(|error| unavailable(&error))?;
    tracing::info!(token = matches!(new.kind, Kind::Token), lifted = new.lifted, "revocation written");
    let stored = StoredRevocation {
        kind: match new.kind {
            Kind::Token => "TOKEN".to_owned(),
            Kind::Subject => "SUBJECT".to_owned(),
        },
        value: revocation.value,
        revoked_at: Moment(revocation.revoked_us),
        lifted: revocation.lifted,
        reason: revocation.reason,
        revoked_by: revocation.revoked_by,
    };
    Ok((StatusCode::CREATED, Json(stored)).into_response())
}
