//! One call from its key to its answer. Read this file first.

use super::breaker::Breaker;
use super::code::{Code, Problem};
use super::contract::{Ask, Endpoint};
use super::event::{self, Actor, Attempt, EventError};
use super::metrics::Metrics;
use super::moment::now_us;
use super::run::{Run, wire_key};
use super::settings::Settings;
use super::store::{Begin, Begun, End, Kept, Known, Store, StoreError, Then};
use super::upstream::{Attempted, Upstream};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Who calls.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Claim `sub` of the token.
    pub subject: String,
    /// As events name it: `SERVICE` or `ADMIN`.
    pub role: &'static str,
    /// Claim `scope`, split.
    pub scopes: Vec<String>,
}

/// What a caller is told.
#[derive(Clone, Debug, PartialEq)]
pub struct Told {
    /// HTTP status.
    pub status: u16,
    /// JSON: the platform's answer as it came, or a problem.
    pub body: Bytes,
    /// The answer was given before: nothing was done now.
    pub replayed: bool,
    /// Seconds after which to ask again.
    pub retry_after_s: Option<u64>,
}

impl Told {
    /// A problem.
    pub(super) fn problem(problem: &Problem) -> Told {
        let body = serde_json::to_vec(problem).unwrap_or_default();
        let retry_after_s = (problem.retry != super::code::Retry::Never).then_some(1);
        Told { status: problem.status, body: body.into(), replayed: false, retry_after_s }
    }

    pub(super) fn code(code: Code) -> Told {
        Told::problem(&Problem::new(code))
    }
}

/// The adapter. Cloning is cheap.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub(super) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(super) struct Inner {
    pub(super) store: Store,
    pub(super) upstream: Upstream,
    pub(super) settings: Settings,
    pub(super) metrics: Metrics,
    pub(super) breakers: [Breaker; 6],
    pub(super) places: Arc<Semaphore>,
}

impl Gateway {
    /// Answers a call. `key` is the caller's; a call that moves no credits needs none.
    pub async fn ask(&self, caller: &Caller, key: Option<&str>, ask: Ask, trace_id: Option<String>) -> Told {
        let began = Instant::now();
        let endpoint = ask.endpoint();
        let told = self.admitted(caller, key, (ask, trace_id), began).await;
        self.inner.metrics.told(endpoint, &told, began.elapsed());
        told
    }

    async fn admitted(
        &self,
        caller: &Caller,
        key: Option<&str>,
        (ask, trace_id): (Ask, Option<String>),
        began: Instant,
    ) -> Told {
        let endpoint = ask.endpoint();
        let key = key.filter(|_| endpoint.moves_money());
        let key = key.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let spent = self.inner.store.is_full();
        let full = self.inner.places.available_permits() == 0;
        let open = self.breaker(endpoint).is_open(Instant::now());
        let body = Bytes::from(ask.canonical());
        let begin = Begin {
            caller: caller.subject.clone(),
            key: key.clone(),
            endpoint,
            digest: digest(endpoint, &body),
            body,
            trace_id: trace_id.clone(),
            role: caller.role.to_owned(),
            now_us: now_us(),
            may_start: !spent && !full && !open,
        };
        // whoever has the key runs it: this waits, but not longer than a call may
        let waited =
            tokio::time::timeout(self.inner.settings.call, self.inner.store.begin(begin.clone())).await;
        let run = match waited.unwrap_or(Ok(Begun::Unfinished)) {
            Ok(Begun::Done { status, answer }) => {
                return Told { status, body: answer.into(), replayed: true, retry_after_s: None };
            }
            Ok(Begun::Conflict) => return Told::code(Code::IdempotencyConflict),
            Ok(Begun::Unfinished) => return Told::code(Code::UpstreamTimeout),
            Ok(Begun::Left { number, maybe_done }) => {
                let actor = Actor { id: &caller.subject, role: caller.role, trace_id: trace_id.as_deref() };
                let key = wire_key(&caller.subject, &key);
                let attempt = Attempt { key: &key, number, ended_us: now_us() };
                let told = match (spent, full) {
                    (true, _) => Told::code(Code::OutboxFull), // no call without its event
                    (_, true) => self.refuse(&ask, actor, attempt, Code::Overloaded).await,
                    _ => self.refuse(&ask, actor, attempt, Code::CircuitOpen).await,
                };
                // an earlier attempt is followed up: it is not told that nobody was asked
                return if maybe_done { Told::code(Code::UpstreamUnavailable) } else { told };
            }
            Ok(Begun::Fresh { id, numbers }) => Run::fresh(self.clone(), (id, numbers), begin, ask),
            Ok(Begun::Open(known)) => Run::resumed(self.clone(), known, ask),
            Err(error) => return store_failed(&error),
        };
        // a task of its own: a caller who goes away does not leave a charge half done
        // who is answered from the store, or waits for another, takes no place
        let place = Arc::clone(&self.inner.places).try_acquire_owned();
        let running = tokio::spawn(async move {
            match place {
                Ok(_place) => run.through(began).await,
                Err(_) => run.refused().await, // those came at the same time as whoever has the last one
            }
        });
        running.await.unwrap_or_else(|_| Told::code(Code::Internal))
    }

    /// Follows a request up that nobody runs: one attempt.
    pub(super) async fn follow_up(&self, known: Known) {
        match Ask::read(known.endpoint, &known.body) {
            Ok(ask) => Run::resumed(self.clone(), known, ask).once().await,
            Err(error) => {
                // only another version of this program can have written it
                tracing::error!(id = known.id, %error, "a request in the store cannot be read; it is left alone");
                let then = Then::Leave { maybe_done: true, next_try_us: Some(i64::MAX) };
                let end = End { id: known.id, events: Vec::new(), then, now_us: now_us() };
                if let Err(error) = self.inner.store.end(end).await {
                    tracing::error!(%error, "a request could not be left alone");
                }
            }
        }
    }

    pub(super) fn breaker(&self, endpoint: Endpoint) -> &Breaker {
        &self.inner.breakers[endpoint as usize]
    }

    /// An attempt has ended: its breaker and its metrics are told.
    pub(super) fn attempted<T>(&self, endpoint: Endpoint, attempted: &Attempted<T>) {
        self.breaker(endpoint).record(attempted.has_failed(), Instant::now());
        self.inner.metrics.attempted(endpoint, attempted);
    }

    /// Refuses a call without asking the platform; that it came is an event all the same, under a number of its own.
    async fn refuse(&self, ask: &Ask, actor: Actor<'_>, attempt: Attempt<'_>, code: Code) -> Told {
        let events = self.events(ask, actor, attempt, &event::refused_here(code));
        match self.inner.store.keep(events).await {
            Ok(()) => Told::code(code),
            Err(error) => store_failed(&error),
        }
    }

    /// What was made of an event, if it could be: that it could not is a bug of ours, which is counted and told.
    pub(super) fn made<T>(&self, made: Result<T, EventError>) -> Option<T> {
        let lost = |error: &EventError| {
            self.inner.metrics.event_lost();
            tracing::error!(%error, "an event is lost");
        };
        made.inspect_err(lost).ok()
    }

    /// The events of an attempt.
    pub(super) fn events(
        &self,
        ask: &Ask,
        actor: Actor<'_>,
        attempt: Attempt<'_>,
        attempted: &Attempted,
    ) -> Vec<Kept> {
        self.made(event::of_attempt(ask, actor, attempt, attempted)).unwrap_or_default()
    }
}

/// What a request is, for its key: the path and the body in its one form.
fn digest(endpoint: Endpoint, body: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update(endpoint.path()).chain_update([0]).chain_update(body).finalize().into()
}

/// The store does not take it: nothing was sent that is not written.
pub(super) fn store_failed(error: &StoreError) -> Told {
    tracing::error!(%error, "a call could not be written down");
    Told::code(Code::OutboxFull)
}
