//! A request that is under way: its attempts, each written down before it is sent and after it has ended.

use super::ask::{Gateway, Told, store_failed};
use super::breaker::Gate;
use super::code::{Code, Problem, Retry};
use super::contract::{Ask, KEY_BYTES_MAX};
use super::event::{self, Actor, Attempt};
use super::moment::now_us;
use super::settings::Settings;
use super::store::{Begin, End, Kept, Known, Numbers, StoreError, Then};
use super::upstream::{Attempted, Heard, With};
use bytes::Bytes;
use sha2::{Digest, Sha256};
use std::time::{Duration, Instant};
use uuid::Uuid;

/// What an attempt has at least, however late the call is.
const REST_MIN: Duration = Duration::from_millis(50);
/// The longest pause between attempts of one call, in times of the first.
const BACKOFF_TIMES_MAX: u32 = 64;
/// The longest pause between attempts that follow a request up, in times of the first.
pub(super) const FOLLOW_UP_TIMES_MAX: u32 = 100;

/// A request that this task runs. If it is dropped before its end, it is followed up.
pub(super) struct Run {
    gateway: Gateway,
    id: i64,
    ask: Ask,
    body: Bytes,
    /// Under which the platform does it once.
    key: String,
    caller: String,
    role: String,
    trace_id: Option<String>,
    /// Of the attempts begun so far.
    numbers: Numbers,
    /// The last of them is written down and has not been sent.
    begun: bool,
    /// The last of them was under way when its process, or whoever ran it, ended.
    interrupted_since_us: Option<i64>,
    /// An attempt may have reached the platform.
    maybe_done: bool,
    /// Somebody else may run it, or it is done.
    over: bool,
}

/// What an attempt led to.
enum Step {
    Over(Told),
    Again,
}

impl Run {
    /// A new request, whose first attempt is written down with it.
    pub(super) fn fresh(gateway: Gateway, (id, numbers): (i64, Numbers), begin: Begin, ask: Ask) -> Run {
        Run {
            gateway,
            id,
            ask,
            key: wire_key(&begin.caller, &begin.key),
            body: begin.body,
            caller: begin.caller,
            role: begin.role,
            trace_id: begin.trace_id,
            numbers,
            begun: true,
            interrupted_since_us: None,
            maybe_done: false,
            over: false,
        }
    }

    /// A request that was begun before.
    pub(super) fn resumed(gateway: Gateway, known: Known, ask: Ask) -> Run {
        Run {
            gateway,
            id: known.id,
            ask,
            key: wire_key(&known.caller, &known.key),
            body: known.body.into(),
            caller: known.caller,
            role: known.role,
            trace_id: known.trace_id,
            numbers: known.numbers,
            begun: false,
            interrupted_since_us: known.open_since_us,
            maybe_done: known.maybe_done || known.open_since_us.is_some(),
            over: false,
        }
    }

    /// Attempts until there is an answer, the attempts are used up, or the time is.
    pub(super) async fn through(mut self, began: Instant) -> Told {
        let settings = self.gateway.inner.settings;
        let deadline = began + settings.call;
        if let Gate::Open(wait) = self.gateway.breaker(self.ask.endpoint()).gate(Instant::now()) {
            return self.left_alone(Code::CircuitOpen, wait).await;
        }
        let mut tries = 0;
        loop {
            tries += 1;
            if let Err(error) = self.begin().await {
                return self.untold(&error);
            }
            let rest = deadline.saturating_duration_since(Instant::now()).max(REST_MIN);
            let attempted = self.attempt(settings.attempt.min(rest)).await;
            let pause = pause(settings.backoff, tries - 1, BACKOFF_TIMES_MAX);
            let pause = pause.max(attempted.retry_after.unwrap_or_default());
            let in_time = Instant::now() + pause < deadline;
            let open = self.gateway.breaker(self.ask.endpoint()).is_open(Instant::now());
            match self.ended(attempted, tries < settings.attempts_max && in_time && !open).await {
                Ok(Step::Over(told)) => return told,
                Ok(Step::Again) => tokio::time::sleep(pause).await,
                Err(error) => return self.untold(&error),
            }
        }
    }

    /// There is no place for it among those that ask the platform.
    pub(super) async fn refused(mut self) -> Told {
        self.left_alone(Code::Overloaded, Duration::ZERO).await
    }

    /// The platform is not asked: somebody else finds out whether it is back, or too many are at it.
    async fn left_alone(&mut self, code: Code, wait: Duration) -> Told {
        let may_be_done = self.maybe_done && self.ask.endpoint().moves_money();
        let mut told = Told::code(if may_be_done { Code::UpstreamUnavailable } else { code });
        told.retry_after_s = Some(wait.as_secs().max(1));
        let mut events = self.interruption();
        if self.begun {
            // its first attempt was written down, and is not made
            events.extend(self.events(&event::refused_here(code)));
        }
        let then = self.left(self.ask.endpoint().moves_money());
        match self.end(events, then).await {
            Ok(()) => told,
            Err(error) => self.untold(&error),
        }
    }

    /// The store does not take what is to be written: what was sent before is followed up once it does.
    fn untold(&self, error: &StoreError) -> Told {
        match self.maybe_done || self.numbers.begun() > 1 {
            true => Told::code(Code::Internal),
            false => store_failed(error),
        }
    }

    /// One attempt more at a charge or refund of which nobody knows what became; a call that moves nothing is forgotten.
    pub(super) async fn once(mut self) {
        let done = if self.ask.endpoint().moves_money() { self.follow().await } else { self.forget().await };
        if let Err(error) = done {
            tracing::error!(%error, "a request could not be followed up; it is tried again");
        }
    }

    async fn follow(&mut self) -> Result<(), StoreError> {
        self.begin().await?;
        let attempted = self.attempt(self.gateway.inner.settings.attempt).await;
        self.ended(attempted, false).await.map(|_| ())
    }

    async fn forget(&mut self) -> Result<(), StoreError> {
        let events = self.interruption();
        let then = Then::Answer { status: 0, answer: Vec::new(), remember: false };
        self.end(events, then).await
    }

    /// Writes down that an attempt begins, unless it was written down with the request.
    async fn begin(&mut self) -> Result<(), StoreError> {
        if std::mem::take(&mut self.begun) {
            return Ok(());
        }
        let interruption = self.interruption();
        if !interruption.is_empty() {
            self.end(interruption, Then::Retry { maybe_done: true }).await?;
        }
        self.numbers = self.gateway.inner.store.again(self.id, now_us()).await?;
        Ok(())
    }

    /// The event of an attempt that was under way when its process ended.
    fn interruption(&mut self) -> Vec<Kept> {
        let Some(since_us) = self.interrupted_since_us.take() else { return Vec::new() };
        self.events(&event::interrupted(since_us, self.gateway.inner.settings.attempt))
    }

    async fn attempt(&mut self, deadline: Duration) -> Attempted {
        let with = With {
            key: &self.key,
            attempt: self.numbers.latest,
            trace_id: self.trace_id.as_deref(),
            deadline,
        };
        let attempted = self.gateway.inner.upstream.attempt(&self.ask, self.body.clone(), with).await;
        self.gateway.attempted(self.ask.endpoint(), &attempted);
        self.maybe_done |= matches!(attempted.heard, Heard::Unknown | Heard::Done(_));
        attempted
    }

    /// Writes down what an attempt led to.
    async fn ended(&mut self, attempted: Attempted, may_retry: bool) -> Result<Step, StoreError> {
        let events = self.events(&attempted);
        let remember = self.ask.endpoint().moves_money();
        let code = attempted.code.unwrap_or(Code::Internal);
        let may_retry = may_retry && code != Code::PlatformRefused; // its door is the same a moment later
        let (told, then) = match attempted.heard {
            Heard::Done((_, body)) => {
                let status = attempted.status.unwrap_or(200);
                let then = Then::Answer { status, answer: body.to_vec(), remember };
                (Told { status, body, replayed: false, retry_after_s: None }, then)
            }
            Heard::Refused(code) => {
                let remaining_micros = attempted.remaining_micros;
                let told = Told::problem(&Problem { remaining_micros, ..Problem::new(code) });
                let then = Then::Answer { status: told.status, answer: told.body.to_vec(), remember };
                (told, then)
            }
            Heard::NotDone | Heard::Unknown if may_retry => {
                self.end(events, Then::Retry { maybe_done: self.maybe_done }).await?;
                return Ok(Step::Again);
            }
            Heard::NotDone | Heard::Unknown => {
                // what an earlier attempt may have done is not undone by a later one that did nothing
                let unknown = self.maybe_done && remember && code.retry() != Retry::SameKey;
                let mut told = Told::code(if unknown { Code::UpstreamUnavailable } else { code });
                let wait = attempted.retry_after.map(|wait| wait.as_secs().max(1));
                told.retry_after_s = wait.or(told.retry_after_s);
                (told, self.left(remember))
            }
        };
        self.end(events, then).await?;
        Ok(Step::Over(told))
    }

    /// How a request goes on whose attempts are used up.
    fn left(&self, moves_money: bool) -> Then {
        if !moves_money {
            return Then::Answer { status: 0, answer: Vec::new(), remember: false };
        }
        let Settings { follow_up, attempts_max, .. } = self.gateway.inner.settings;
        let further = u32::try_from(self.numbers.begun()).unwrap_or(u32::MAX).saturating_sub(attempts_max);
        let most = follow_up * 2_u32.saturating_pow(further.min(16)).min(FOLLOW_UP_TIMES_MAX);
        let wait = most / 2 + pause(most / 2, 0, 1);
        let next_try_us = now_us().saturating_add(i64::try_from(wait.as_micros()).unwrap_or(i64::MAX));
        Then::Leave { maybe_done: self.maybe_done, next_try_us: self.maybe_done.then_some(next_try_us) }
    }

    async fn end(&mut self, events: Vec<Kept>, then: Then) -> Result<(), StoreError> {
        let over = !matches!(then, Then::Retry { .. });
        let end = End { id: self.id, events, then, now_us: now_us() };
        self.gateway.inner.store.end(end).await?;
        self.over = over;
        Ok(())
    }

    fn events(&self, attempted: &Attempted) -> Vec<Kept> {
        let actor = Actor { id: &self.caller, role: &self.role, trace_id: self.trace_id.as_deref() };
        let attempt = Attempt { key: &self.key, number: self.numbers.latest, ended_us: now_us() };
        self.gateway.events(&self.ask, actor, attempt, attempted)
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        if !self.over {
            self.gateway.inner.store.release(self.id);
        }
    }
}

/// The key that goes to the platform and into events: that of the caller, whose keys are apart from those of others. The platform takes
/// [`KEY_BYTES_MAX`]; what is longer, or a name in which the mark between the two stands, is replaced by its hash.
pub(super) fn wire_key(caller: &str, key: &str) -> String {
    let plain = caller.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':');
    let hash = |text: &str, bytes: usize| hex::encode(&Sha256::digest(text)[..bytes]);
    let short = |text: &String| text.len() <= KEY_BYTES_MAX;
    let whole = Some(format!("{caller}:{key}")).filter(|text| plain && short(text));
    // two marks: no name that stands as it is looks like a hash
    let hashed = || Some(format!(":{}:{key}", hash(caller, 16))).filter(short);
    whole.or_else(hashed).unwrap_or_else(|| format!("::{}:{}", hash(caller, 16), hash(key, 32)))
}

/// A pause drawn from zero to `first` × 2^`before`, so that callers who failed together do not come back together.
fn pause(first: Duration, before: u32, times_max: u32) -> Duration {
    let most = first * 2_u32.saturating_pow(before.min(16)).min(times_max);
    let draw = Uuid::new_v4().as_u128() & u128::from(u32::MAX);
    let nanos = most.as_nanos() * draw / u128::from(u32::MAX);
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}
