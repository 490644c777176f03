//! What was said before: results in `job_results`, restated and never overwritten.

use super::result::{Difference, JobResult, Restatement, Verdict};
use crate::QueryError;
use crate::insert::acknowledged;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use thiserror::Error;
use uuid::Uuid;

/// Why history could not be read or written.
#[derive(Debug, Error)]
pub enum HistoryError {
    /// ClickHouse did not answer.
    #[error(transparent)]
    Query(#[from] QueryError),
    /// A result that was stored is not one that this program understands.
    #[error("result {id} of job_results cannot be read: it was written by another version, or altered")]
    Unreadable {
        /// Its id.
        id: Uuid,
        /// Where it breaks.
        #[source]
        source: serde_json::Error,
    },
}

#[derive(Row, Serialize)]
struct NewRow<'a> {
    job: &'a str,
    window_from: i64,
    window_to: i64,
    known_at: i64,
    #[serde(with = "clickhouse::serde::uuid")]
    result_id: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    restates: Uuid,
    verdict: i8,
    sentence: &'a str,
    numerator: i64,
    denominator: i64,
    report: String,
}

#[derive(Row, Deserialize)]
struct StoredRow {
    #[serde(with = "clickhouse::serde::uuid")]
    id: Uuid,
    report: String,
}

/// Which results are wanted.
#[derive(Clone, Debug, Default)]
pub struct Wanted {
    /// Of this job; empty for all.
    pub job: String,
    /// Known at that moment or before, microseconds since 1970 UTC; `None` for now.
    pub as_known_at_us: Option<i64>,
    /// At most so many, the latest.
    pub limit: u64,
}

/// Stores a result. If an earlier one for the same job and window said something else, this one restates it and says how
/// they differ; if it said the same, nothing new is known and nothing is stored. That a window could not be checked is
/// stored, too: what was said of it before does not stand any more. Where not even that can be stored, the result says so
/// as it is.
///
/// # Errors
/// Where ClickHouse does not answer, or the earlier result cannot be read, and the result is one that was computed.
pub async fn record(client: &Client, result: JobResult) -> Result<JobResult, HistoryError> {
    if result.verdict != Verdict::Error {
        return store(client, result).await;
    }
    // what kept the job from checking may keep this from being stored: that is said of the job, not instead of it
    let stored = store(client, result.clone()).await;
    Ok(stored.unwrap_or_else(|error| {
        tracing::warn!(job = result.job, %error, "that it could not be checked is not in the history");
        result
    }))
}

async fn store(client: &Client, mut result: JobResult) -> Result<JobResult, HistoryError> {
    let earlier = latest(client, &result).await?;
    if let Some(earlier) = &earlier {
        if same(earlier, &result) {
            result.restates.clone_from(&earlier.restates);
            result.result_id = earlier.result_id;
            return Ok(result);
        }
        result.restates = Some(Restatement {
            result_id: earlier.result_id,
            known_at_us: earlier.known_at_us,
            verdict: earlier.verdict,
            differences: differences(earlier, &result),
        });
    }
    insert(client, &result).await?;
    Ok(result)
}

/// Results, the latest first.
///
/// # Errors
/// Where ClickHouse does not answer, or a result cannot be read.
pub async fn history(client: &Client, wanted: &Wanted) -> Result<Vec<JobResult>, HistoryError> {
    let question = client.query(include_str!("../../sql/history.sql"));
    let question = question.param("job", &wanted.job).param("limit", wanted.limit);
    let question = question.param("known_us", wanted.as_known_at_us.unwrap_or(i64::MAX));
    let rows: Vec<StoredRow> =
        question.fetch_all().await.map_err(|source| QueryError::new("history", source))?;
    rows.into_iter().map(read).collect()
}

/// Beginnings of the windows of that length which a job has judged, microseconds since 1970 UTC; without those that it could not
/// check when it tried last.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn windows_judged(
    client: &Client,
    job: &str,
    length_us: i64,
) -> Result<BTreeSet<i64>, HistoryError> {
    let question = client.query(include_str!("../../sql/history_windows.sql"));
    let starts = question.param("job", job).param("length_us", length_us).fetch_all::<i64>().await;
    Ok(starts.map_err(|source| QueryError::new("windows judged", source))?.into_iter().collect())
}

async fn latest(client: &Client, result: &JobResult) -> Result<Option<JobResult>, HistoryError> {
    let question = client.query(include_str!("../../sql/history_latest.sql")).param("job", &result.job);
    let question = question.param("from_us", result.window.from_us).param("to_us", result.window.to_us);
    let row: Option<StoredRow> =
        question.fetch_optional().await.map_err(|source| QueryError::new("earlier result", source))?;
    row.map(read).transpose()
}

async fn insert(client: &Client, result: &JobResult) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::Query(QueryError::new("storing a result", source));
    let nobody = Uuid::nil();
    let row = NewRow {
        job: &result.job,
        window_from: stored_us(result.window.from_us),
        window_to: stored_us(result.window.to_us),
        known_at: result.known_at_us,
        result_id: result.result_id,
        restates: result.restates.as_ref().map_or(nobody, |earlier| earlier.result_id),
        verdict: result.verdict as i8 + 1,
        sentence: &result.sentence,
        numerator: result.numerator,
        denominator: result.denominator,
        report: serde_json::to_string(result)
            .map_err(|source| HistoryError::Unreadable { id: result.result_id, source })?,
    };
    let mut insert = acknowledged(client.insert::<NewRow<'_>>("job_results").await.map_err(failed)?);
    insert.write(&row).await.map_err(failed)?;
    insert.end().await.map_err(failed)
}

/// DateTime64(6) reaches from 1900 to 2299.
fn stored_us(us: i64) -> i64 {
    us.clamp(-2_208_988_800_000_000, 10_413_791_999_999_999)
}

fn read(row: StoredRow) -> Result<JobResult, HistoryError> {
    let id = row.id;
    serde_json::from_str(&row.report).map_err(|source| HistoryError::Unreadable { id, source })
}

/// Whether two results say the same of the same.
fn same(a: &JobResult, b: &JobResult) -> bool {
    a.verdict == b.verdict
        && a.settings == b.settings
        && a.counters == b.counters
        && (a.numerator, a.denominator) == (b.numerator, b.denominator)
        && a.offenders == b.offenders
}

/// Every counter, and every target, that is not what it was. What could not be checked has counted nothing, so nothing differs from it.
fn differences(before: &JobResult, now: &JobResult) -> Vec<Difference> {
    let counted = !before.counters.is_empty() && !now.counters.is_empty();
    let counters = counted.then(|| Difference::between(&before.counters, &now.counters));
    counters.into_iter().flatten().chain(Difference::between(&before.settings, &now.settings)).collect()
}
