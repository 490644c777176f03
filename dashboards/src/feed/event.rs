//! One event of the log as the feed carries it: a CloudEvents 1.0 JSON text, and the ids that rights are about.

use super::cloud_event::{EventRows, place, type_name};
use super::log::{Batch, Shape};
use super::sign::Signer;
use crate::rights::{EventClass, Ids, Sight, kept_fields};
use arrow_array::cast::AsArray;
use arrow_array::{Array, RecordBatch};
use serde_json::Value;
use std::sync::{Arc, OnceLock};
use tally_schemas::Topic;
use uuid::Uuid;

/// What is asked of a row beside its text, by the contracts' names.
const ID_FIELDS: [&str; 8] =
    ["user_id", "grantee_id", "creator_id", "license_id", "task_id", "case_id", "actor_id", "event_id"];
/// Bytes of an entry beside its texts, about.
const ENTRY_BYTES: usize = 512;

/// An event, shared by all to whom it is sent.
#[derive(Debug)]
pub(super) struct Event {
    /// Its partition's place in the log's shape.
    pub(super) place: usize,
    /// Its offset there.
    pub(super) offset: i64,
    /// When it was appended, milliseconds since 1970 UTC.
    pub(super) appended_at_ms: i64,
    /// Its contract.
    pub(super) topic: Topic,
    /// Its identity.
    pub(super) event_id: Uuid,
    /// CloudEvents type, such as `task.progressed.v1`.
    pub(super) kind: &'static str,
    /// Its row in the table of rights.
    pub(super) class: EventClass,
    ids: [Box<str>; 7],
    text: Box<str>,
    full: OnceLock<Arc<str>>,
    masked: OnceLock<Arc<str>>,
}

impl Event {
    /// The ids that rights are about.
    pub(super) fn ids(&self) -> Ids<'_> {
        let [user_id, grantee_id, creator_id, license_id, ..] = &self.ids;
        Ids { user_id, grantee_id, creator_id, license_id }
    }

    /// Task, case and acting person; empty where absent.
    pub(super) fn subjects(&self) -> (&str, &str, &str) {
        let [.., task_id, case_id, actor_id] = &self.ids;
        (task_id, case_id, actor_id)
    }

    /// Whom it may concern as a buyer or a creator, each once; empty ids stand for nobody.
    pub(super) fn owners(&self) -> impl Iterator<Item = &str> {
        let [user_id, grantee_id, creator_id, ..] = &self.ids;
        let own = [user_id, grantee_id, creator_id].map(|id| &**id);
        (0..3)
            .filter(move |at| !own[..*at].contains(&own[*at]))
            .map(move |at| own[at])
            .filter(|id| !id.is_empty())
    }

    /// Bytes that it holds in memory, about; its two rendered forms counted as if they were there.
    pub(super) fn bytes(&self) -> usize {
        ENTRY_BYTES + 3 * self.text.len()
    }

    /// Bytes of its frame, about.
    pub(super) fn frame_bytes(&self) -> usize {
        self.text.len() + self.text.len() / 8 + 384
    }

    /// What follows `"cursor":…,"prev":…,` in its frame: key, signature, payload, closing brace. Made at most once for each
    /// sight, whoever is sent it.
    pub(super) fn frame_end(&self, sight: Sight, signer: &Signer) -> Option<&Arc<str>> {
        match sight {
            Sight::Full => Some(self.full.get_or_init(|| signer.frame_end(&self.text))),
            Sight::Masked => Some(self.masked.get_or_init(|| signer.frame_end(&self.masked_text()))),
            Sight::Hidden => None,
        }
    }

    /// The same event with the fields of its class's mask and no others.
    fn masked_text(&self) -> String {
        let mut event: Value = serde_json::from_str(&self.text).unwrap_or_default();
        let kept = kept_fields(self.class);
        if let Some(data) = event.get_mut("data").and_then(Value::as_object_mut) {
            data.retain(|name, _| kept.contains(&name.as_str()));
        }
        // the subject may be a wallet or a licence that the mask takes away
        let key = self.topic.key_field();
        if !kept.contains(&key)
            && let Some(event) = event.as_object_mut()
        {
            event.remove("subject");
        }
        event.to_string()
    }
}

/// The events of a batch, in order.
pub(super) fn events_of(shape: &Shape, batch: &Batch) -> Vec<Event> {
    let Some(partition) = shape.partitions().get(batch.place) else { return Vec::new() };
    let topic = partition.contract;
    let (all, places) = (EventRows::new(topic, &batch.events), ID_FIELDS.map(|name| place(topic, name)));
    let rows = batch.offsets.iter().zip(&batch.appended_at_ms).enumerate();
    let event = |(row, (offset, appended_at_ms)): (usize, (&i64, &i64))| {
        let text = |place: Option<usize>| {
            place.and_then(|place| text(&batch.events, place, row)).unwrap_or_default()
        };
        let [user, grantee, creator, license, task, case, actor, id] = places;
        let symbol = all.kind(row);
        let kind = type_name(topic, symbol);
        Event {
            place: batch.place,
            offset: *offset,
            appended_at_ms: *appended_at_ms,
            topic,
            event_id: id.and_then(|id| uuid(&batch.events, id, row)).unwrap_or_default(),
            kind,
            class: EventClass::of(topic, symbol),
            ids: [user, grantee, creator, license, task, case, actor].map(|place| text(place).into()),
            text: all.text(row, kind).into(),
            full: OnceLock::new(),
            masked: OnceLock::new(),
        }
    };
    rows.map(event).collect()
}

fn text(rows: &RecordBatch, place: usize, row: usize) -> Option<&str> {
    let texts = rows.columns().get(place)?.as_string_opt::<i32>()?;
    (!texts.is_null(row)).then(|| texts.value(row))
}

fn uuid(rows: &RecordBatch, place: usize, row: usize) -> Option<Uuid> {
    Uuid::from_slice(rows.columns().get(place)?.as_fixed_size_binary_opt()?.value(row)).ok()
}
