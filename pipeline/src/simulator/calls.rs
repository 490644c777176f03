//! Calls of the platform's interfaces: attempts, failures, retries under one idempotency key.

use super::Simulator;
use super::event::{Event, Field};
use super::life::Life;
use super::world::SECOND;
use std::sync::Arc;
use tally_schemas::Topic;

pub(super) const ESTIMATE: &str = "CREDITS_ESTIMATE";
pub(super) const CHARGE: &str = "CREDITS_CHARGE";
pub(super) const REFUND: &str = "CREDITS_REFUND";
pub(super) const CHECK: &str = "LICENSES_CHECK";

/// After so many attempts a request is given up.
pub(super) const ATTEMPTS_MAX: i64 = 3;
/// A deadline that passes takes so long.
const TIMEOUT_MS: i64 = 5_000;

/// A request under way.
#[derive(Debug)]
pub(super) struct Call {
    key: Arc<str>,
    attempt: i64,
}

/// What the caller learns.
pub(super) enum Reply {
    /// It is answered; the event that tells of it carries this.
    Answered(Answer),
    /// The attempt failed and its event is out: once more after so many microseconds.
    Again(i64),
    /// The last attempt failed and its event is out.
    GivenUp,
}

/// The call fields of an answered attempt.
pub(super) struct Answer {
    endpoint: &'static str,
    key: Arc<str>,
    attempt: i64,
    latency_ms: i64,
}

impl Answer {
    /// It did what was asked.
    pub(super) fn ok(&self, event: &mut Event) {
        self.write(event, "OK", 200);
    }

    /// It refused, correctly.
    pub(super) fn rejected(&self, event: &mut Event, status: i64, code: &'static str) {
        self.write(event, "REJECTED", status);
        event.set(Field::ErrorCode, code);
    }

    fn write(&self, event: &mut Event, outcome: &'static str, status: i64) {
        event
            .set(Field::Endpoint, self.endpoint)
            .set(Field::Outcome, outcome)
            .set(Field::HttpStatus, status)
            .set(Field::Latency, self.latency_ms)
            .set(Field::Attempt, self.attempt)
            .set(Field::IdempotencyKey, &self.key);
    }
}

impl Simulator {
    /// Makes one attempt at `endpoint` for a life; a failure is published here, an answer by the caller.
    pub(super) fn call(&mut self, life: &mut Life, endpoint: &'static str) -> Reply {
        let topic = if endpoint == CHECK { Topic::License } else { Topic::Credit };
        let mut attempted = self.event(life, topic, "ATTEMPTED");
        if topic == Topic::Credit {
            attempted.set(Field::Amount, 0);
        }
        self.attempt(&mut life.call, endpoint, attempted)
    }

    /// The same of a request that belongs to no life; `attempted` tells of a failure.
    pub(super) fn attempt(
        &mut self,
        request: &mut Option<Call>,
        endpoint: &'static str,
        attempted: Event,
    ) -> Reply {
        let call = match request.take() {
            Some(Call { key, attempt }) => Call { key, attempt: attempt + 1 },
            None => Call { key: self.id("ik-"), attempt: 1 },
        };
        let failing = if call.attempt == 1 { self.config.call_error_permille } else { 300 };
        let draw = self.rng.below(1000);
        let limited = (600..604).contains(&draw);
        if draw >= u64::from(failing) && !limited {
            let latency_ms = self.rng.around(8, 240);
            return Reply::Answered(Answer { endpoint, key: call.key, attempt: call.attempt, latency_ms });
        }
        let latency_ms = self.failed(attempted, endpoint, &call, limited);
        if call.attempt >= ATTEMPTS_MAX {
            return Reply::GivenUp;
        }
        let backoff_ms = 200 * call.attempt + self.rng.between(0, 200);
        *request = Some(call);
        Reply::Again((latency_ms + backoff_ms) * (SECOND / 1000))
    }

    /// Publishes a failed attempt; returns its latency.
    fn failed(&mut self, mut event: Event, endpoint: &'static str, call: &Call, limited: bool) -> i64 {
        let (outcome, status, code, latency_ms) = if limited {
            ("REJECTED", Some(429), "rate_limited", self.rng.between(2, 20))
        } else if self.rng.chance(300) {
            ("TIMEOUT", None, "deadline_exceeded", TIMEOUT_MS + self.rng.between(0, 50))
        } else {
            let status = self.rng.pick([500, 502, 503]);
            ("ERROR", Some(status), "upstream_unavailable", self.rng.around(20, 900))
        };
        event
            .set(Field::Endpoint, endpoint)
            .set(Field::Outcome, outcome)
            .set(Field::HttpStatus, status)
            .set(Field::ErrorCode, code)
            .set(Field::Latency, latency_ms)
            .set(Field::Attempt, call.attempt)
            .set(Field::IdempotencyKey, &call.key);
        self.accept(event);
        latency_ms
    }
}
