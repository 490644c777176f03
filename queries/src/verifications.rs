//! What `tally verify` found, kept beside what it verified, so that pages can say when that was.

use crate::QueryError;
use crate::insert::acknowledged;
use crate::seal::Report;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// One run of a verification.
#[derive(Debug)]
pub struct Verification<'a> {
    /// When it was begun, microseconds since 1970 UTC.
    pub verified_us: i64,
    /// What was looked at, in a word or two: `all`, `since …`, `sample of …`.
    pub scope: &'a str,
    /// Whether Kafka's bytes were asked too.
    pub against_kafka: bool,
    /// What it found.
    pub report: &'a Report,
}

#[derive(Row, Serialize)]
struct NewRow<'a> {
    #[serde(with = "clickhouse::serde::uuid")]
    verification_id: Uuid,
    verified_at: i64,
    verdict: i8,
    scope: &'a str,
    against_kafka: bool,
    leaves: u64,
    facts: u64,
    unsealed: u64,
    findings: u64,
    signers: String,
    report: String,
}

/// Writes what a run found.
///
/// # Errors
/// Where ClickHouse does not take it.
pub async fn record_verification(client: &Client, run: &Verification<'_>) -> Result<(), QueryError> {
    let failed = |source| QueryError::new("storing a verification", source);
    let report = run.report;
    let row = NewRow {
        verification_id: Uuid::now_v7(),
        verified_at: run.verified_us,
        // the symbols of the table, in the order of exit codes
        verdict: match report.exit_code() {
            0 => 1,
            1 => 2,
            2 => 3,
            _ => 4,
        },
        scope: run.scope,
        against_kafka: run.against_kafka,
        leaves: report.leaves,
        facts: report.facts,
        unsealed: report.unsealed,
        findings: report.findings.len() as u64 + report.more,
        signers: report.signers.join(" "),
        report: serde_json::to_string(report).unwrap_or_default(),
    };
    let mut insert = acknowledged(client.insert::<NewRow<'_>>("verifications").await.map_err(failed)?);
    insert.write(&row).await.map_err(failed)?;
    insert.end().await.map_err(failed)
}

/// What the last verification of everything found, or what was found altered by any.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Row)]
pub struct LastVerification {
    /// When it was begun, microseconds since 1970 UTC.
    pub verified_us: i64,
    /// Its exit code: 0 verified, 1 tampered, 2 incomplete, 3 could not be checked.
    pub code: i64,
    /// How many findings it had.
    pub findings: u64,
}

/// The last verification of everything, and what was found altered since; `None` where there was neither.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn last_verification(client: &Client) -> Result<Option<LastVerification>, QueryError> {
    let query = client.query(include_str!("../sql/verification_latest.sql"));
    let found = query.fetch_optional::<LastVerification>().await;
    found.map_err(|source| QueryError::new("the last verification", source))
}
