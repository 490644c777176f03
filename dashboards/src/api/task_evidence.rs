//! One task held against the ledger: its receipts, facts and dead letters, and how the sealed log stands to each.

use super::answer;
use super::guard::Caller;
use super::moment::Moment;
use super::query::{Named, id};
use super::store::Api;
use super::timeline::Work;
use crate::identity::Role;
use crate::problem::{Code, Problem};
use crate::rights::{EventClass, Ids, Sight, sight};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use clickhouse::Row;
use serde::{Deserialize, Serialize};
use tally_queries::seal::{Held, Holding, Place, hold};
use tally_queries::service::{EVENT_RECEIPTS, TASK_LETTERS, TASK_RECEIPTS};
use tally_schemas::Topic;
use utoipa::ToSchema;

/// Receipts, and dead letters, of one task that are held against the log.
const RECORDS_OF_A_TASK_MAX: u32 = 200;
/// Receipts of one event that its line shows: the first, and duplicates.
const RECEIPTS_OF_AN_EVENT_MAX: u32 = 5;

/// A receipt of an event that names a task, or a fact that names it and has no receipt.
#[derive(Debug, Deserialize, Row, Serialize)]
struct Receipt {
    is_receipt: bool,
    topic: String,
    topic_id: String,
    partition: i32,
    offset: i64,
    appended_at: Moment,
    kind: String,
    event_id: String,
    digest: String,
    raw_sha256: String,
    policy_tag: String,
    facts: u64,
}

/// Where an event was taken.
#[derive(Debug, Deserialize, Row, Serialize)]
pub(crate) struct Taken {
    pub(crate) topic: String,
    pub(crate) topic_id: String,
    pub(crate) partition: i32,
    pub(crate) offset: i64,
    pub(crate) appended_at: Moment,
    pub(crate) event_id: String,
    pub(crate) digest: String,
}

/// A dead letter under a task's key.
#[derive(Debug, Deserialize, Row, Serialize)]
pub(crate) struct TaskLetter {
    topic: String,
    topic_id: String,
    partition: i32,
    offset: i64,
    appended_at: Moment,
    reason: String,
    path: String,
    sentence: String,
    bytes: u64,
    sha256: String,
    /// Whether it keeps the task from being complete no more: the rule of `tally audit completeness`.
    pub(crate) is_settled: bool,
}

/// One record of a task, and how the sealed log stands to it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskRecord {
    /// Kafka topic.
    pub(crate) topic: String,
    /// Its identity.
    pub(crate) topic_id: String,
    /// Partition.
    pub(crate) partition: i32,
    /// Offset.
    pub(crate) offset: i64,
    /// When Kafka took the record.
    pub(crate) appended_at: Moment,
    /// `ACCEPTED`, `DEAD`, or `NONE` of a fact that no receipt attests: the place is then the one that the fact claims.
    pub(crate) disposition: &'static str,
    /// The event's kind, or why it is dead; empty where the caller may not see the event.
    pub(crate) kind: String,
    /// The event; empty where it is dead, or the caller may not see it.
    pub(crate) event_id: String,
    /// SHA-256 over the content, hex; empty of a dead letter.
    pub(crate) digest: String,
    /// SHA-256 of the record's value, hex; empty where there is no receipt.
    pub(crate) raw_sha256: String,
    /// Facts of that content: 1; of a receipt whose fact is gone 0, and more than 1 where one was copied.
    pub(crate) facts: u64,
    /// Of a dead letter, whether its bytes were accepted later, or are of another topic.
    pub(crate) is_settled: bool,
    /// `sealed`, `unsealed`, `altered`, `unchecked`, or `unknown` where this service was given no seals.
    pub(crate) state: &'static str,
    /// What differs, or why it could not be looked at; the place in its tree where it is sealed.
    pub(crate) said: String,
}

/// How receipts, facts and the sealed log stand to one task.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TaskEvidence {
    /// The task.
    pub(crate) task_id: String,
    /// `verified` (all of it is sealed and as it was), `altered`, `incomplete` (not all is sealed, or it has open dead letters), `unchecked`,
    /// or `nothing` where no record names the task.
    pub(crate) verdict: &'static str,
    /// Partitions of the log that have not as many rows as were sealed, in words. One that is gone may have been of this task, which then
    /// is `unchecked`; `tally verify` says which.
    pub(crate) uneven: Vec<String>,
    /// Keys that signed the checkpoint that it was held against.
    pub(crate) signers: Vec<String>,
    /// Its records: facts without a receipt, accepted ones, dead ones, each as they came.
    pub(crate) records: Vec<TaskRecord>,
    /// Whether there are more than are here.
    pub(crate) more: bool,
}

/// Verify one task: each of its receipts, facts and dead letters against the sealed log
#[utoipa::path(get, path = "/api/v1/tasks/{task_id}/evidence", params(("task_id" = String, Path)),
    responses((status = 200, body = TaskEvidence)))]
pub(super) async fn task(
    State(api): State<Api>,
    caller: Caller,
    Named(task_id): Named<String>,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let evidence = evidence(&api, &caller, &id(task_id)?).await?;
    if evidence.records.is_empty() {
        return Err(Problem::new(Code::NotFound));
    }
    answer::one(&headers, &evidence)
}

/// Facts that name a task and have no receipt, then receipts that name it, as they came: of each up to the bound and one.
async fn receipts(api: &Api, task_id: &str) -> Result<Vec<Receipt>, Problem> {
    let query = api.ask(TASK_RECEIPTS).param("task_id", task_id);
    api.rows::<Receipt>(TASK_RECEIPTS, query.param("limit", RECORDS_OF_A_TASK_MAX + 1)).await
}

/// Receipts of these events of a task, the earliest of each first.
pub(crate) async fn taken(api: &Api, task_id: &str, event_ids: &[&str]) -> Result<Vec<Taken>, Problem> {
    let query = api.ask(EVENT_RECEIPTS).param("task_id", task_id).param("event_ids", event_ids);
    api.rows::<Taken>(EVENT_RECEIPTS, query.param("each", RECEIPTS_OF_AN_EVENT_MAX)).await
}

/// Dead letters under a task's key, as they came, up to the bound and one.
pub(crate) async fn letters(api: &Api, task_id: &str) -> Result<Vec<TaskLetter>, Problem> {
    let query = api.ask(TASK_LETTERS).param("task_id", task_id);
    api.rows::<TaskLetter>(TASK_LETTERS, query.param("limit", RECORDS_OF_A_TASK_MAX + 1)).await
}

/// Holds everything that is known of a task against the sealed log.
pub(crate) async fn evidence(api: &Api, caller: &Caller, task_id: &str) -> Result<TaskEvidence, Problem> {
    let (receipts, letters) = (receipts(api, task_id).await?, letters(api, task_id).await?);
    let bound = RECORDS_OF_A_TASK_MAX as usize;
    let more = receipts.len() > bound || letters.len() > bound;
    let work = Work::of(api, caller).await?;
    let accepted = receipts.into_iter().take(bound).map(|receipt| accepted(caller, &work, task_id, receipt));
    let dead = letters.into_iter().take(bound).map(dead);
    let mut records: Vec<TaskRecord> = accepted.chain(dead).collect();
    let (mut signers, mut uneven) = (Vec::new(), Vec::new());
    if let Some(held) = held(api, &records).await? {
        for (record, holding) in records.iter_mut().zip(held.holdings) {
            (record.state, record.said) = stands(record, holding);
        }
        (signers, uneven) = (held.signers, held.uneven);
    }
    let verdict = verdict(&records, &uneven, more);
    Ok(TaskEvidence { task_id: task_id.to_owned(), verdict, uneven, signers, records, more })
}

/// What the newest checkpoint says; `None` where this service was given no seals.
async fn held(api: &Api, records: &[TaskRecord]) -> Result<Option<Held>, Problem> {
    let Some(seals) = api.seals() else { return Ok(None) };
    let place = |record: &TaskRecord| Place {
        topic_id: record.topic_id.parse().unwrap_or_default(),
        partition: record.partition,
        offset: record.offset,
    };
    let places: Vec<Place> = records.iter().map(place).collect();
    let _place = api.place().await?;
    let held = hold(api.client(), &seals.log, &seals.keys, &places).await.map_err(|error| {
        tracing::warn!(error = %crate::chain(&error), "the sealed log cannot be read");
        Problem::because(Code::Conflict, "the sealed log cannot be read or is not signed: ask tally verify")
    })?;
    let unsealed = || Held {
        signers: Vec::new(),
        leaves: 0,
        holdings: vec![Holding::Unsealed; places.len()],
        uneven: Vec::new(),
    };
    Ok(Some(held.unwrap_or_else(unsealed)))
}

/// What the log says of a record. Facts come before their receipts: one without is on its way where nothing is sealed yet, and nowhere else.
fn stands(record: &TaskRecord, holding: Holding) -> (&'static str, String) {
    match (record.disposition, holding) {
        ("NONE", Holding::Unsealed) => ("unsealed", "no receipt yet".to_owned()),
        ("NONE", _) => ("altered", "no receipt attests this fact".to_owned()),
        (_, holding @ (Holding::Sealed { .. } | Holding::Unsealed)) if record.facts > 1 => {
            let (_, place) = words(holding);
            ("altered", format!("its fact is there {} times; {place}", record.facts))
        }
        (_, holding) => words(holding),
    }
}

fn words(holding: Holding) -> (&'static str, String) {
    match holding {
        Holding::Sealed { index, leaf } => ("sealed", format!("leaf {index}, {leaf}")),
        Holding::Unsealed => ("unsealed", String::new()),
        Holding::Altered { what } => ("altered", what),
        Holding::Unchecked { what } => ("unchecked", what),
    }
}

/// What the records say together. Only sealed ones, each with its fact, make a yes.
fn verdict(records: &[TaskRecord], uneven: &[String], more: bool) -> &'static str {
    let any = |state: &str| records.iter().any(|record| record.state == state);
    let is_dead = |record: &TaskRecord| record.disposition == "DEAD";
    let is_open = |record: &TaskRecord| is_dead(record) && !record.is_settled;
    match () {
        () if records.is_empty() => "nothing",
        () if any("altered") => "altered",
        () if records.iter().any(|record| !is_dead(record) && record.facts != 1) => "altered",
        () if any("unchecked") || any("unknown") || !uneven.is_empty() => "unchecked",
        () if more || any("unsealed") || records.iter().any(is_open) => "incomplete",
        () => "verified",
    }
}

fn accepted(caller: &Caller, work: &Work, task_id: &str, receipt: Receipt) -> TaskRecord {
    let topic = Topic::ALL.into_iter().find(|topic| receipt.topic.ends_with(topic.name()));
    let class = topic.map_or(EventClass::Call, |topic| EventClass::of(topic, &receipt.kind));
    let role = caller.principal.role;
    let relation = caller.relation(Ids::default(), work.holds(class, task_id, "", ""));
    // of an event that is hidden from them, others hear that it was taken, and no more
    let sees = role == Role::Admin || sight(role, class, relation) != Sight::Hidden;
    TaskRecord {
        topic: receipt.topic,
        topic_id: receipt.topic_id,
        partition: receipt.partition,
        offset: receipt.offset,
        appended_at: receipt.appended_at,
        disposition: if receipt.is_receipt { "ACCEPTED" } else { "NONE" },
        kind: if sees { receipt.kind } else { String::new() },
        event_id: if sees { receipt.event_id } else { String::new() },
        digest: receipt.digest,
        raw_sha256: receipt.raw_sha256,
        facts: receipt.facts,
        is_settled: false,
        state: "unknown",
        said: String::new(),
    }
}

fn dead(letter: TaskLetter) -> TaskRecord {
    TaskRecord {
        topic: letter.topic,
        topic_id: letter.topic_id,
        partition: letter.partition,
        offset: letter.offset,
        appended_at: letter.appended_at,
        disposition: "DEAD",
        kind: letter.reason,
        event_id: String::new(),
        digest: String::new(),
        raw_sha256: letter.sha256,
        facts: 0,
        is_settled: letter.is_settled,
        state: "unknown",
        said: letter.sentence,
    }
}

#[cfg(test)]
mod tests {
    use super::{Moment, TaskRecord, verdict};

    fn record(disposition: &'static str, facts: u64, is_settled: bool, state: &'static str) -> TaskRecord {
        TaskRecord {
            topic: String::new(),
            topic_id: String::new(),
            partition: 0,
            offset: 0,
            appended_at: Moment(0),
            disposition,
            kind: String::new(),
            event_id: String::new(),
            digest: String::new(),
            raw_sha256: String::new(),
            facts,
            is_settled,
            state,
            said: String::new(),
        }
    }

    /// Scenario: an accepted, sealed record, alone and beside each thing that may be wrong with a task.
    /// Guarantees: a yes only where every record is sealed with one fact, every dead letter is settled, no partition lacks rows, and
    /// nothing was left out; what was altered is said first.
    #[test]
    fn only_what_is_whole_is_verified() {
        let said = |more: Option<TaskRecord>, uneven: &[String], is_cut| {
            let records: Vec<TaskRecord> =
                [record("ACCEPTED", 1, false, "sealed")].into_iter().chain(more).collect();
            verdict(&records, uneven, is_cut)
        };
        let beside = |record| said(Some(record), &[], false);
        assert_eq!(verdict(&[], &[], false), "nothing");
        assert_eq!(said(None, &[], false), "verified");
        assert_eq!(said(None, &[], true), "incomplete");
        assert_eq!(said(None, &["a partition".to_owned()], false), "unchecked");
        assert_eq!(beside(record("ACCEPTED", 0, false, "sealed")), "altered");
        assert_eq!(beside(record("ACCEPTED", 2, false, "sealed")), "altered");
        assert_eq!(beside(record("NONE", 1, false, "altered")), "altered");
        assert_eq!(beside(record("NONE", 1, false, "unsealed")), "incomplete");
        assert_eq!(beside(record("ACCEPTED", 1, false, "unknown")), "unchecked");
        assert_eq!(beside(record("DEAD", 0, false, "sealed")), "incomplete");
        assert_eq!(beside(record("DEAD", 0, true, "sealed")), "verified");
        assert_eq!(beside(record("DEAD", 0, true, "unsealed")), "incomplete");
    }
}
