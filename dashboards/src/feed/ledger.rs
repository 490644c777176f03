//! The delivery ledger: who was sent, and who acknowledged, which supplement prompt, acceleration offer or moderation notice.
//!
//! Rows are gathered and written in batches by one task, again until the store takes them. What is not acknowledged yet is
//! remembered by subject and not by connection: an acknowledgement covers everything up to its cursor, whichever connection
//! brought it. What another replica or an earlier process sent is looked up in the store when a subject first acknowledges.

use super::frame::Resync;
use super::hub::now_ms;
use super::log::Shape;
use super::metrics::FeedMetrics;
use super::stream::Sending;
use crate::identity::Role;
use crate::rights::{EventClass, may_act};
use clickhouse::Client;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tally_queries::QueryError;
use tally_queries::feed::{Delivery, Resume, ResumeOutcome, store_deliveries, store_resumes, unacknowledged};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// Rows that wait for the store; beyond them rows are lost, counted and logged.
const WAITING_ROWS_MAX: usize = 100_000;
/// Rows of one INSERT.
const BATCH_ROWS_MAX: usize = 10_000;
/// How long a row waits for company.
const LINGER_MS: u64 = 300;
/// Longest rest before the store is tried again.
const RETRY_MS_MAX: u64 = 5_000;
/// Deliveries that one subject may leave unacknowledged; older ones stay unacknowledged in the ledger.
const PENDING_ROWS_MAX: usize = 1_024;
/// Subjects of whom deliveries are remembered; beyond them all are looked up in the store instead.
const PENDING_SUBJECTS_MAX: usize = 100_000;
/// How far back deliveries of others are looked for.
const LOOK_BACK_MS: i64 = 3_600_000;
/// Subjects that are remembered as looked up.
const LOOKED_UP_MAX: usize = 100_000;

enum Row {
    Delivery(Delivery, Option<i64>),
    Resume(Resume),
    /// Acknowledge what others sent this subject up to these offsets, by topic identity and partition.
    LookUp(Arc<str>, HashMap<(Uuid, i32), i64>, i64),
    /// To be told once everything before is written.
    Mark(oneshot::Sender<()>),
}

#[derive(Debug, Default)]
struct Known {
    /// By subject: the partition's place, and the delivery.
    pending: HashMap<Arc<str>, Vec<(usize, Delivery)>>,
    /// Subjects whose earlier deliveries were looked up since they last connected.
    looked_up: HashSet<Arc<str>>,
}

/// The ledger's near end.
#[derive(Debug)]
pub(super) struct Ledger {
    rows: mpsc::Sender<Row>,
    known: Mutex<Known>,
    metrics: FeedMetrics,
}

impl Ledger {
    pub(super) fn start(client: Client, metrics: FeedMetrics) -> Ledger {
        let (rows, waiting) = mpsc::channel(WAITING_ROWS_MAX);
        tokio::spawn(write(client, waiting, metrics.clone()));
        Ledger { rows, known: Mutex::default(), metrics }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, row: Row) {
        if self.rows.try_send(row).is_err() {
            self.metrics.ledger_lost(1);
            tracing::error!(
                "the delivery ledger is full: the store has not taken its rows for long; a row is lost"
            );
        }
    }

    /// Waits until everything so far is written.
    pub(super) async fn written(&self) {
        let (mark, reached) = oneshot::channel();
        if self.rows.send(Row::Mark(mark)).await.is_ok() {
            let _ = reached.await; // a writer that is gone writes nothing more
        }
    }

    /// A connection begins.
    pub(super) fn began(
        &self,
        subject: &Arc<str>,
        session: Uuid,
        accepted_ms: i64,
        resync: Option<Resync>,
        first: bool,
    ) {
        let outcome = match (resync, first) {
            (Some(_), _) => ResumeOutcome::Resync,
            (None, true) => ResumeOutcome::First,
            (None, false) => ResumeOutcome::Resumed,
        };
        self.known().looked_up.remove(subject);
        self.put(Row::Resume(Resume {
            subject: subject.to_string(),
            session,
            accepted_ms,
            recovered_ms: None,
            outcome,
        }));
    }

    /// Everything that a connection had missed was acknowledged.
    pub(super) fn recovered(&self, subject: &Arc<str>, session: Uuid, accepted_ms: i64) {
        self.put(Row::Resume(Resume {
            subject: subject.to_string(),
            session,
            accepted_ms,
            recovered_ms: Some(now_ms()),
            outcome: ResumeOutcome::Resumed,
        }));
    }

    /// These are about to be sent.
    pub(super) fn sent(
        &self,
        subject: &Arc<str>,
        role: Role,
        session: Uuid,
        shape: &Shape,
        sending: &[Sending],
    ) {
        for one in sending.iter().filter(|one| is_kept(role, one.event.class, one.event.kind)) {
            let Some(partition) = shape.partitions().get(one.event.place) else { continue };
            let delivery = Delivery {
                subject: subject.to_string(),
                session,
                event_id: one.event.event_id,
                kind: one.event.kind.to_owned(),
                topic: partition.topic.clone(),
                topic_id: partition.topic_id,
                partition: partition.number,
                offset: one.event.offset,
                appended_ms: one.event.appended_at_ms,
                sent_ms: now_ms(),
            };
            self.put(Row::Delivery(delivery.clone(), None));
            let mut known = self.known();
            if known.pending.len() >= PENDING_SUBJECTS_MAX {
                *known = Known::default();
            }
            let pending = known.pending.entry(subject.clone()).or_default();
            if pending.len() >= PENDING_ROWS_MAX {
                pending.remove(0);
            }
            pending.push((one.event.place, delivery));
        }
    }

    /// A subject says that everything up to these offsets was shown.
    pub(super) fn acknowledged(&self, subject: &Arc<str>, shape: &Shape, shown: &[i64]) {
        let now = now_ms();
        let (acknowledged, is_first) = {
            let mut known = self.known();
            let covers =
                |(place, one): &mut (usize, Delivery)| shown.get(*place).is_some_and(|at| one.offset < *at);
            let acknowledged: Vec<Delivery> = match known.pending.get_mut(subject) {
                Some(pending) => pending.extract_if(.., covers).map(|(_, one)| one).collect(),
                None => Vec::new(),
            };
            if known.pending.get(subject).is_some_and(Vec::is_empty) {
                known.pending.remove(subject);
            }
            if known.looked_up.len() >= LOOKED_UP_MAX {
                known.looked_up.clear();
            }
            (acknowledged, known.looked_up.insert(subject.clone()))
        };
        acknowledged.into_iter().for_each(|one| self.put(Row::Delivery(one, Some(now))));
        if is_first {
            let places = shape.partitions().iter().zip(shown);
            let by_partition = places.map(|(one, at)| ((one.topic_id, one.number), *at)).collect();
            self.put(Row::LookUp(subject.clone(), by_partition, now));
        }
    }
}

/// Whether the audit counts the delivery: prompts and offers to those who may answer them, moderation to whom it concerns.
fn is_kept(role: Role, class: EventClass, kind: &str) -> bool {
    let is_prompt = matches!(
        kind,
        "credit.supplement_requested.v1" | "task.supplement_required.v1" | "task.acceleration_offered.v1"
    );
    match class {
        EventClass::ModerationNotice | EventClass::ModerationOutcome => {
            may_act(role, class) || matches!(role, Role::Buyer | Role::Creator)
        }
        _ => is_prompt && may_act(role, class),
    }
}

/// Writes what comes, in batches, until the hub is gone.
async fn write(client: Client, mut waiting: mpsc::Receiver<Row>, metrics: FeedMetrics) {
    let mut rows = Vec::new();
    while waiting.recv_many(&mut rows, BATCH_ROWS_MAX).await > 0 {
        tokio::time::sleep(Duration::from_millis(LINGER_MS)).await;
        while let Some(room) = BATCH_ROWS_MAX.checked_sub(rows.len()).filter(|room| *room > 0)
            && !waiting.is_empty()
        {
            waiting.recv_many(&mut rows, room).await;
        }
        let (mut gathered, mut marks) = (Gathered::default(), Vec::new());
        for row in rows.drain(..) {
            match row {
                Row::Delivery(one, acked_at) => gathered.deliveries.push((one, acked_at)),
                Row::Resume(one) => gathered.resumes.push(one),
                Row::LookUp(subject, shown, at) => gathered.look_ups.push((subject, shown, at)),
                Row::Mark(mark) => marks.push(mark),
            }
        }
        gathered.store(&client, &metrics).await;
        for mark in marks {
            let _ = mark.send(()); // who waited may be gone
        }
    }
}

/// Rows on their way to the store.
#[derive(Default)]
struct Gathered {
    deliveries: Vec<(Delivery, Option<i64>)>,
    resumes: Vec<Resume>,
    look_ups: Vec<LookUp>,
}

impl Gathered {
    /// Tries until the store has taken all of them.
    async fn store(mut self, client: &Client, metrics: &FeedMetrics) {
        let mut rest_ms = 100;
        while let Err(error) = self.attempt(client).await {
            metrics.ledger_retried();
            if rest_ms == 100 {
                tracing::warn!(error = %crate::chain(&error), "the delivery ledger cannot be written; trying again");
            }
            tokio::time::sleep(Duration::from_millis(rest_ms)).await;
            rest_ms = (rest_ms * 2).min(RETRY_MS_MAX);
        }
    }

    async fn attempt(&mut self, client: &Client) -> Result<(), QueryError> {
        if !self.deliveries.is_empty() {
            store_deliveries(client, &self.deliveries).await?;
            self.deliveries.clear();
        }
        if !self.resumes.is_empty() {
            store_resumes(client, &self.resumes).await?;
            self.resumes.clear();
        }
        if !self.look_ups.is_empty() {
            look_up(client, &self.look_ups).await?;
        }
        Ok(())
    }
}

type LookUp = (Arc<str>, HashMap<(Uuid, i32), i64>, i64);

/// Acknowledges what other connections of these subjects were sent. A row that was acknowledged meanwhile is acknowledged once
/// more, a moment later or earlier: the ledger keeps one.
async fn look_up(client: &Client, look_ups: &[LookUp]) -> Result<(), QueryError> {
    let subjects: Vec<String> = look_ups.iter().map(|(subject, ..)| subject.to_string()).collect();
    let found = unacknowledged(client, &subjects, now_ms() - LOOK_BACK_MS).await?;
    let acknowledged = found.into_iter().filter_map(|one| {
        let covers = |(subject, shown, _): &&LookUp| {
            **subject == *one.subject
                && shown.get(&(one.topic_id, one.partition)).is_some_and(|at| one.offset < *at)
        };
        let at = look_ups.iter().find(covers).map(|(.., at)| *at)?;
        Some((one, Some(at)))
    });
    let acknowledged: Vec<(Delivery, Option<i64>)> = acknowledged.collect();
    if acknowledged.is_empty() { Ok(()) } else { store_deliveries(client, &acknowledged).await }
}
