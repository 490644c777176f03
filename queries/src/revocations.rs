//! Revoked tokens and subjects: the table that every replica of the service follows.

use crate::QueryError;
use crate::insert::acknowledged;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};

/// What is revoked.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum RevocationKind {
    /// One token, by its id (`jti`).
    Token,
    /// Every token of a subject (`sub`), those issued later too, until it is lifted.
    Subject,
}

/// One revocation, or what lifts one.
#[derive(Clone, Debug)]
pub struct Revocation {
    /// What is revoked.
    pub kind: RevocationKind,
    /// The token's id or the subject.
    pub value: String,
    /// Whether an earlier revocation ends.
    pub lifted: bool,
    /// Why.
    pub reason: String,
    /// Who did it.
    pub revoked_by: String,
    /// When, microseconds since 1970 UTC.
    pub revoked_us: i64,
}

#[derive(Row, Serialize)]
struct NewRow<'a> {
    kind: i8,
    value: &'a str,
    revoked_at: i64,
    lifted: bool,
    reason: &'a str,
    revoked_by: &'a str,
}

/// What is revoked now.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct Revoked {
    kind: i8,
    value: String,
}

impl Revoked {
    /// Whether it is a token; else a subject.
    pub fn is_token(&self) -> bool {
        self.kind == number(RevocationKind::Token)
    }

    /// The token's id or the subject.
    pub fn value(&self) -> &str {
        &self.value
    }
}

/// A state of the table, to see cheaply whether it is another.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Row)]
pub struct Mark {
    rows: u64,
    hash: u64,
}

fn number(kind: RevocationKind) -> i8 {
    match kind {
        RevocationKind::Token => 1,
        RevocationKind::Subject => 2,
    }
}

/// Everything that is revoked, with the mark of the table; `None` where the table is as at `known`. Tokens revoked longer ago
/// than `token_s` seconds, the longest life of one, are left out.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn revocations(
    client: &Client,
    known: Option<&Mark>,
    token_s: i64,
) -> Result<Option<(Mark, Vec<Revoked>)>, QueryError> {
    let failed = |source| QueryError::new("revocations", source);
    let mark = client.query(include_str!("../sql/revocations_mark.sql")).fetch_one::<Mark>();
    let mark = mark.await.map_err(failed)?;
    if known == Some(&mark) {
        return Ok(None);
    }
    let question = client.query(include_str!("../sql/revocations.sql")).param("token_s", 2 * token_s);
    Ok(Some((mark, question.fetch_all().await.map_err(failed)?)))
}

/// Writes a revocation, or what lifts one.
///
/// # Errors
/// Where ClickHouse does not take it.
pub async fn revoke(client: &Client, revocation: &Revocation) -> Result<(), QueryError> {
    let failed = |source| QueryError::new("storing a revocation", source);
    let row = NewRow {
        kind: number(revocation.kind),
        value: &revocation.value,
        revoked_at: revocation.revoked_us,
        lifted: revocation.lifted,
        reason: &revocation.reason,
        revoked_by: &revocation.revoked_by,
    };
    let mut insert = acknowledged(client.insert::<NewRow<'_>>("revocations").await.map_err(failed)?);
    insert.write(&row).await.map_err(failed)?;
    insert.end().await.map_err(failed)
}
