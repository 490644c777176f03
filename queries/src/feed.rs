//! What the realtime feed asks of the store, and the ledger that it keeps there: who was sent what, and who acknowledged it.

use crate::QueryError;
use crate::insert::written;
use clickhouse::{Client, Row};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// A case whose review has begun and not ended, and the last event of it that the store has.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct CaseInWork {
    /// The case.
    pub case_id: String,
    /// Topic identity of its last event.
    #[serde(with = "clickhouse::serde::uuid", rename = "last_topic_id")]
    pub topic_id: Uuid,
    /// Partition of its last event.
    #[serde(rename = "last_partition")]
    pub partition: i32,
    /// Offset of its last event.
    #[serde(rename = "last_offset")]
    pub offset: i64,
    /// Who reviews it.
    pub moderator: String,
    /// The task it is about, or empty.
    #[serde(rename = "last_task_id")]
    pub task_id: String,
    /// The licence it is about, or empty.
    #[serde(rename = "last_license_id")]
    pub license_id: String,
}

/// Every case in work.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn cases_in_work(client: &Client) -> Result<Vec<CaseInWork>, QueryError> {
    let question = client.query(include_str!("../sql/feed/cases_in_work.sql"));
    question.fetch_all().await.map_err(|source| QueryError::new("cases in work", source))
}

/// How far the store has come in one partition.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct Position {
    /// Topic identity.
    #[serde(with = "clickhouse::serde::uuid")]
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Every event below this offset is stored.
    pub next: i64,
}

/// How far the store has come in the partitions of these topics; nothing of a partition that was never read.
///
/// # Errors
/// Where ClickHouse does not answer.
pub async fn positions(client: &Client, topic_ids: &[Uuid]) -> Result<Vec<Position>, QueryError> {
    let ids: Vec<String> = topic_ids.iter().map(Uuid::to_string).collect();
    let question = client.query(include_str!("../sql/feed/positions.sql")).param("topic_ids", ids);
    question.fetch_all().await.map_err(|source| QueryError::new("positions of the store", source))
}

/// Which tasks are wanted.
#[derive(Clone, Copy, Debug)]
pub enum TaskScope<'a> {
    /// Those that this buyer runs.
    Buyer(&'a str),
    /// Those that run under licences to this creator's templates.
    Creator(&'a str),
    /// These.
    Tasks(&'a [String]),
    /// All.
    All,
}

/// The latest event of one task. Absent texts are empty.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct TaskNow {
    /// The event.
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    /// When it happened, microseconds since 1970 UTC.
    pub occurred_us: i64,
    /// The publishing service.
    pub source: String,
    /// Policy tag.
    pub tag: String,
    /// Who acted.
    pub actor_id: String,
    /// In which role.
    pub role: String,
    /// The task.
    pub task_id: String,
    /// Wallet.
    pub wallet_id: String,
    /// Buyer.
    pub user_id: String,
    /// Creator of the template.
    pub creator_id: String,
    /// Licence.
    pub license_id: String,
    /// Template.
    pub template_id: String,
    /// Case.
    pub case_id: String,
    /// What happened.
    pub kind_name: String,
    /// The queue.
    pub queue_name: String,
    /// Share done, 0 to 1000.
    pub progress_permille: Option<i32>,
    /// Counts the task's events.
    pub state_version: i64,
    /// Why it failed.
    pub error_code: String,
    /// How many tasks there are in the same scope, beyond the limit too.
    pub total: u64,
}

/// The latest event of each task, newest first, at most `limit`.
///
/// # Errors
/// Where ClickHouse does not answer in time.
pub async fn tasks_now(
    client: &Client,
    scope: TaskScope<'_>,
    limit: u64,
) -> Result<Vec<TaskNow>, QueryError> {
    let (name, subject, task_ids): (_, _, &[String]) = match scope {
        TaskScope::Buyer(subject) => ("buyer", subject, &[]),
        TaskScope::Creator(subject) => ("creator", subject, &[]),
        TaskScope::Tasks(ids) => ("tasks", "", ids),
        TaskScope::All => ("all", "", &[]),
    };
    let question = bounded(client.query(include_str!("../sql/feed/tasks.sql")));
    let question = question.param("scope", name).param("subject", subject).param("task_ids", task_ids);
    let rows = question.param("limit", limit).fetch_all().await;
    rows.map_err(|source| QueryError::new("tasks", source))
}

/// A supplement that waits for its buyer.
#[derive(Clone, Debug, Deserialize, Row)]
pub struct OpenSupplement {
    /// The task that stands still until then.
    pub task_id: String,
    /// The event that asked.
    #[serde(with = "clickhouse::serde::uuid", rename = "last_event_id")]
    pub event_id: Uuid,
    /// How much, micros of a credit.
    pub micros: i64,
    /// From which wallet.
    #[serde(rename = "last_wallet_id")]
    pub wallet_id: String,
    /// When it was asked, microseconds since 1970 UTC.
    pub occurred_us: i64,
}

/// The open supplements of these tasks.
///
/// # Errors
/// Where ClickHouse does not answer in time.
pub async fn open_supplements(
    client: &Client,
    task_ids: &[String],
) -> Result<Vec<OpenSupplement>, QueryError> {
    let question = bounded(client.query(include_str!("../sql/feed/supplements.sql")));
    let rows = question.param("task_ids", task_ids).fetch_all().await;
    rows.map_err(|source| QueryError::new("open supplements", source))
}

/// How long a question of the feed may take.
const SECONDS_MAX: u32 = 10;

fn bounded(question: clickhouse::query::Query) -> clickhouse::query::Query {
    question.with_setting("max_execution_time", SECONDS_MAX.to_string())
}

/// One event that somebody was sent, and when they acknowledged it.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq, Row)]
pub struct Delivery {
    /// To whom.
    pub subject: String,
    /// Over which connection.
    #[serde(with = "clickhouse::serde::uuid")]
    pub session: Uuid,
    /// The event.
    #[serde(with = "clickhouse::serde::uuid")]
    pub event_id: Uuid,
    /// Its type, such as `task.acceleration_offered.v1`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Kafka topic.
    pub topic: String,
    /// Its identity.
    #[serde(with = "clickhouse::serde::uuid")]
    pub topic_id: Uuid,
    /// Partition.
    pub partition: i32,
    /// Offset.
    pub offset: i64,
    /// When it was appended, milliseconds since 1970 UTC.
    pub appended_ms: i64,
    /// When it was sent, milliseconds since 1970 UTC.
    pub sent_ms: i64,
}

#[derive(Row, Serialize)]
struct DeliveryRow<'a> {
    subject: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    session: Uuid,
    #[serde(with = "clickhouse::serde::uuid")]
    event_id: Uuid,
    r#type: &'a str,
    topic: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    topic_id: Uuid,
    partition: i32,
    offset: i64,
    appended_at: i64,
    sent_at: i64,
    acked_at: Option<i64>,
    version: u64,
}

/// Stores deliveries, each with the moment of its acknowledgement, milliseconds since 1970 UTC, if there was one.
///
/// # Errors
/// Where ClickHouse does not take them; then none or all are stored, and storing them again changes nothing.
pub async fn store_deliveries(client: &Client, rows: &[(Delivery, Option<i64>)]) -> Result<(), QueryError> {
    let failed = |source| QueryError::new("storing deliveries", source);
    let mut insert = written(client.insert::<DeliveryRow<'_>>("feed_deliveries").await.map_err(failed)?);
    for (one, acked_at) in rows {
        let row = DeliveryRow {
            subject: &one.subject,
            session: one.session,
            event_id: one.event_id,
            r#type: &one.kind,
            topic: &one.topic,
            topic_id: one.topic_id,
            partition: one.partition,
            offset: one.offset,
            appended_at: one.appended_ms,
            sent_at: one.sent_ms,
            acked_at: *acked_at,
            version: if acked_at.is_some() { 2 } else { 1 },
        };
        insert.write(&row).await.map_err(failed)?;
    }
    insert.end().await.map_err(failed)
}

/// What these subjects were sent since a moment, milliseconds since 1970 UTC, and have not acknowledged.
///
/// # Errors
/// Where ClickHouse does not answer in time.
pub async fn unacknowledged(
    client: &Client,
    subjects: &[String],
    since_ms: i64,
) -> Result<Vec<Delivery>, QueryError> {
    let question = bounded(client.query(include_str!("../sql/feed/unacknowledged.sql")));
    let rows = question.param("subjects", subjects).param("since_ms", since_ms).fetch_all().await;
    rows.map_err(|source| QueryError::new("unacknowledged deliveries", source))
}

/// How a connection began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResumeOutcome {
    /// It is a first one.
    First,
    /// Everything missed follows.
    Resumed,
    /// It could not be resumed.
    Resync,
}

/// One connection's beginning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resume {
    /// Whose.
    pub subject: String,
    /// The connection.
    pub session: Uuid,
    /// When it was accepted, milliseconds since 1970 UTC.
    pub accepted_ms: i64,
    /// When everything missed had been acknowledged, milliseconds since 1970 UTC.
    pub recovered_ms: Option<i64>,
    /// How it began.
    pub outcome: ResumeOutcome,
}

#[derive(Row, Serialize)]
struct ResumeRow<'a> {
    subject: &'a str,
    #[serde(with = "clickhouse::serde::uuid")]
    session: Uuid,
    accepted_at: i64,
    recovered_at: Option<i64>,
    outcome: i8,
    version: u64,
}

/// Stores how connections began.
///
/// # Errors
/// As [`store_deliveries`].
pub async fn store_resumes(client: &Client, rows: &[Resume]) -> Result<(), QueryError> {
    let failed = |source| QueryError::new("storing resumes", source);
    let mut insert = written(client.insert::<ResumeRow<'_>>("feed_resumes").await.map_err(failed)?);
    for one in rows {
        let row = ResumeRow {
            subject: &one.subject,
            session: one.session,
            accepted_at: one.accepted_ms,
            recovered_at: one.recovered_ms,
            outcome: match one.outcome {
                ResumeOutcome::First => 1,
                ResumeOutcome::Resumed => 2,
                ResumeOutcome::Resync => 3,
            },
            version: if one.recovered_ms.is_some() { 2 } else { 1 },
        };
        insert.write(&row).await.map_err(failed)?;
    }
    insert.end().await.map_err(failed)
}
