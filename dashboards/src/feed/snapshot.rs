//! The state, for whoever cannot resume: the tasks somebody may see as the store has them, and the cursor behind which the
//! stream goes on. The cursor is taken *before* the state, and from how far the store has come, not the log: so whatever the
//! state lacks follows on the stream. Of very many tasks it has the latest, and says so.

use super::admission;
use super::cloud_event::rfc3339;
use super::cursor;
use super::document::FeedSnapshot;
use super::frame::Close;
use super::hub::{Hub, now_ms};
use super::log::Shape;
use super::refusal::Refusal;
use super::settings::{SNAPSHOT_TASKS_MAX, SNAPSHOT_TURN_MS_MAX};
use super::sign::SNAPSHOT_TYPE;
use crate::identity::{Principal, Role};
use crate::rights::{EventClass, Ids, Relation, Route, Sight, kept_fields, sight};
use axum::extract::State;
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tally_queries::QueryError;
use tally_queries::feed::{OpenSupplement, TaskNow, TaskScope, open_supplements, positions, tasks_now};
use tokio::sync::SemaphorePermit;
use tokio::time::timeout;
use uuid::Uuid;

/// The state, and the cursor behind which the stream goes on
///
/// For whoever cannot resume, or begins: the tasks that the token's subject may see, at most 200, the latest.
#[utoipa::path(get, path = "/feed/snapshot", operation_id = "feed_snapshot", tag = "feed",
    responses((status = 200, body = FeedSnapshot)))]
pub(super) async fn snapshot(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Result<Response, Refusal> {
    let who = admission::listener(&hub, &headers, Route::FeedSnapshot).await?;
    hub.until_open().await?;
    let shape = hub.ring().as_ref().map(|(_, ring)| ring.shape().clone());
    let shape = shape.ok_or(Refusal::Closed(Close::LogUnavailable))?;
    let failed = |error: QueryError| {
        tracing::warn!(error = %crate::chain(&error), "a snapshot");
        Refusal::Store
    };
    let _turn = turn(&hub).await?;
    let cursor = stored(&hub, &shape).await?;
    let Tasks { shown, complete, total } = tasks_of(&hub, &who).await.map_err(failed)?;
    let as_of = rfc3339(now_ms() * 1000);
    let payload = json!({ "as_of": as_of, "complete": complete, "total": total, "tasks": shown }).to_string();
    let (kid, sig) = hub.signer.sign(SNAPSHOT_TYPE, &payload);
    let answer = json!({ "cursor": &*cursor, "kid": &*kid, "sig": sig, "payload": payload });
    let kind = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    Ok((kind, answer.to_string()).into_response())
}

/// Waits for a turn among those who ask the store, not for long.
pub(super) async fn turn(hub: &Hub) -> Result<SemaphorePermit<'_>, Refusal> {
    match timeout(Duration::from_millis(SNAPSHOT_TURN_MS_MAX), hub.snapshots.acquire()).await {
        Ok(Ok(turn)) => Ok(turn),
        Ok(Err(_)) | Err(_) => Err(Refusal::Closed(Close::Overloaded)),
    }
}

/// The position up to which everything is in the store.
async fn stored(hub: &Hub, shape: &Arc<Shape>) -> Result<Arc<str>, Refusal> {
    let mut ids: Vec<Uuid> = shape.partitions().iter().map(|one| one.topic_id).collect();
    ids.dedup();
    let found = positions(&hub.reader, &ids).await.map_err(|error| {
        tracing::warn!(error = %crate::chain(&error), "positions of the store");
        Refusal::Store
    })?;
    let found: HashMap<(Uuid, i32), i64> =
        found.into_iter().map(|one| ((one.topic_id, one.partition), one.next)).collect();
    let bounds = hub.bounds(shape).await?;
    let places = shape.partitions().iter().zip(bounds);
    let next = places.map(|(one, bound)| {
        // what was never stored begins at what is still retained
        found.get(&(one.topic_id, one.number)).copied().unwrap_or(0).clamp(bound.low, bound.high)
    });
    Ok(cursor::encode(shape, &next.collect::<Vec<_>>()))
}

/// The latest tasks that somebody may see, and of how many.
struct Tasks {
    shown: Vec<Value>,
    complete: bool,
    total: u64,
}

async fn tasks_of(hub: &Hub, who: &Principal) -> Result<Tasks, QueryError> {
    let in_work: Vec<String> = hub.cases().tasks_of(&who.subject);
    let scope = match who.role {
        Role::Buyer => TaskScope::Buyer(&who.subject),
        Role::Creator => TaskScope::Creator(&who.subject),
        Role::Moderator => TaskScope::Tasks(&in_work),
        Role::Admin => TaskScope::All,
        Role::Service => return Ok(Tasks { shown: Vec::new(), complete: true, total: 0 }),
    };
    let tasks = tasks_now(&hub.reader, scope, SNAPSHOT_TASKS_MAX).await?;
    let total = tasks.first().map_or(0, |task| task.total);
    let complete = tasks.len() as u64 >= total;
    let ids: Vec<String> = tasks.iter().map(|task| task.task_id.clone()).collect();
    let open: HashMap<String, OpenSupplement> = match ids.is_empty() {
        true => HashMap::new(),
        false => open_supplements(&hub.reader, &ids)
            .await?
            .into_iter()
            .map(|one| (one.task_id.clone(), one))
            .collect(),
    };
    let shown = |task: &TaskNow| {
        let ids = Ids {
            user_id: &task.user_id,
            grantee_id: "",
            creator_id: &task.creator_id,
            license_id: &task.license_id,
        };
        let relation = Relation::of(&who.subject, ids, in_work.contains(&task.task_id));
        let seen = |class| sight(who.role, class, relation);
        let mut fields = masked(fields(task), seen(EventClass::TaskState), EventClass::TaskState)?;
        let supplement = open.get(&task.task_id).map(supplement);
        let supplement =
            supplement.and_then(|s| masked(s, seen(EventClass::Supplement), EventClass::Supplement));
        fields.insert("supplement".to_owned(), supplement.map_or(Value::Null, Value::Object));
        Some(Value::Object(fields))
    };
    Ok(Tasks { shown: tasks.iter().filter_map(shown).collect(), complete, total })
}

/// What is left of fields for that sight; nothing of hidden ones.
fn masked(mut fields: Map<String, Value>, sight: Sight, class: EventClass) -> Option<Map<String, Value>> {
    match sight {
        Sight::Hidden => return None,
        Sight::Full => {}
        Sight::Masked => fields.retain(|name, _| kept_fields(class).contains(&name.as_str())),
    }
    Some(fields)
}

/// The fields of a task by the contract's names, as on the stream; absent ones left out.
fn fields(task: &TaskNow) -> Map<String, Value> {
    let texts = [
        ("source", &task.source),
        ("policy_tag", &task.tag),
        ("actor_id", &task.actor_id),
        ("actor_role", &task.role),
        ("task_id", &task.task_id),
        ("wallet_id", &task.wallet_id),
        ("user_id", &task.user_id),
        ("creator_id", &task.creator_id),
        ("license_id", &task.license_id),
        ("template_id", &task.template_id),
        ("case_id", &task.case_id),
        ("kind", &task.kind_name),
        ("queue", &task.queue_name),
        ("error_code", &task.error_code),
    ];
    let present = texts.into_iter().filter(|(_, text)| !text.is_empty());
    let mut fields: Map<String, Value> =
        present.map(|(name, text)| (name.to_owned(), text.as_str().into())).collect();
    fields.insert("event_id".to_owned(), task.event_id.to_string().into());
    fields.insert("occurred_at".to_owned(), rfc3339(task.occurred_us).into());
    fields.insert("state_version".to_owned(), task.state_version.into());
    if let Some(progress) = task.progress_permille {
        fields.insert("progress_permille".to_owned(), progress.into());
    }
    fields
}

fn supplement(open: &OpenSupplement) -> Map<String, Value> {
    let fields = [
        ("event_id", open.event_id.to_string()),
        ("occurred_at", rfc3339(open.occurred_us)),
        ("kind", "SUPPLEMENT_REQUESTED".to_owned()),
        ("task_id", open.task_id.clone()),
        ("wallet_id", open.wallet_id.clone()),
        ("amount_micros", open.micros.to_string()),
    ];
    fields.into_iter().map(|(name, text)| (name.to_owned(), text.into())).collect()
}
