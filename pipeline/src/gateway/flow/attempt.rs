//! An attempt at an act for which there is no call: a step of a task, or a revocation. As with the calls, nothing is sent that is not
//! written before, and the attempt's event is written with what follows from it.

use super::acts::{CALLER, Tried, revoked, stepped};
use super::life::Flow;
use super::machine::{self, Act};
use super::runner::Flows;
use crate::gateway::breaker::Gate;
use crate::gateway::contract::{About, Ask, Endpoint};
use crate::gateway::event::{self, Actor, Attempt};
use crate::gateway::moment::now_us;
use crate::gateway::platform::{RevokeRequest, TransitionRequest};
use crate::gateway::run::wire_key;
use crate::gateway::store::{Kept, StoreError};
use crate::gateway::upstream::{Attempted, Heard, With};
use bytes::Bytes;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// How an act comes to the platform.
#[derive(Debug)]
pub(super) enum Way {
    /// Through one of the four calls.
    Call(Ask),
    /// Past them.
    Post(Posted),
}

impl Way {
    pub(super) fn of(act: Act) -> Way {
        match act {
            Act::Ask(ask) => Way::Call(ask),
            Act::Step(about, step) => Way::Post(Posted::Step(TransitionRequest { about, step, queue: None })),
            Act::Revoke(asked) => Way::Post(Posted::Revoke(asked)),
        }
    }
}

/// What is asked of the platform.
#[derive(Debug)]
pub(super) enum Posted {
    Step(TransitionRequest),
    Revoke(RevokeRequest),
}

impl Posted {
    fn endpoint(&self) -> Endpoint {
        match self {
            Posted::Step(_) => Endpoint::TasksTransitions,
            Posted::Revoke(_) => Endpoint::LicensesRevoke,
        }
    }

    fn about(&self) -> &About {
        match self {
            Posted::Step(asked) => &asked.about,
            Posted::Revoke(asked) => &asked.about,
        }
    }

    fn body(&self) -> Bytes {
        let body = match self {
            Posted::Step(asked) => serde_json::to_vec(asked),
            Posted::Revoke(asked) => serde_json::to_vec(asked),
        };
        Bytes::from(body.unwrap_or_default()) // texts: nothing there can fail
    }

    fn read(&self, body: &[u8]) -> Option<machine::Heard> {
        match self {
            Posted::Step(asked) => stepped(asked, body),
            Posted::Revoke(asked) => revoked(asked, body),
        }
    }
}

/// How an attempt ended, and the events that are to be written with what follows from it.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) tried: Tried,
    pub(super) events: Vec<Kept>,
}

/// Makes one attempt, unless the platform is to be left alone; nothing where somebody has moved the flow on meanwhile.
///
/// # Errors
/// Where it cannot be written down: then nothing is sent.
pub(super) async fn attempt(
    flows: &Flows,
    flow: &mut Flow,
    posted: &Posted,
) -> Result<Option<Ended>, StoreError> {
    let (gateway, endpoint) = (flows.gateway(), posted.endpoint());
    let inner = &gateway.inner;
    let not_sent = |wait| Ok(Some(Ended { tried: Tried::Again(wait), events: Vec::new() }));
    if inner.store.is_full() {
        return not_sent(Duration::ZERO); // no attempt without its event
    }
    let Ok(_place) = Arc::clone(&inner.places).try_acquire_owned() else { return not_sent(Duration::ZERO) };
    if let Gate::Open(wait) = gateway.breaker(endpoint).gate(Instant::now()) {
        return not_sent(wait); // no attempt: nobody has asked for anything
    }
    let key = wire_key(CALLER, &flow.key());
    let mut events = Vec::new();
    let now_us = now_us();
    if let Some((number, since_us)) = flow.interrupted() {
        let stopped = event::interrupted::<()>(since_us, inner.settings.attempt);
        events.extend(told(flows, flow, posted, (&key, number), &stopped));
    }
    let number = flow.send(now_us);
    if !flows.keep(flow, events, now_us).await? {
        return Ok(None);
    }
    let with = With {
        key: &key,
        attempt: number,
        trace_id: flow.trace_id.as_deref(),
        deadline: inner.settings.attempt,
    };
    let read = |body: Bytes| posted.read(&body);
    let attempted = inner.upstream.send(endpoint, posted.body(), with, read).await;
    gateway.attempted(endpoint, &attempted);
    let events = told(flows, flow, posted, (&key, number), &attempted).into_iter().collect();
    flow.sent();
    let wait = attempted.retry_after.unwrap_or_default();
    let tried = match attempted.heard {
        Heard::Done(heard) => Tried::Heard(heard),
        Heard::Refused(code) => Tried::Heard(machine::Heard::Refused(code)),
        Heard::NotDone | Heard::Unknown => Tried::Again(wait),
    };
    Ok(Some(Ended { tried, events }))
}

/// The event of an attempt.
fn told<T>(
    flows: &Flows,
    flow: &Flow,
    posted: &Posted,
    (key, number): (&str, i64),
    attempted: &Attempted<T>,
) -> Option<Kept> {
    let actor = Actor { id: CALLER, role: "SERVICE", trace_id: flow.trace_id.as_deref() };
    let attempt = Attempt { key, number, ended_us: now_us() };
    let event = event::of_act((posted.endpoint(), posted.about()), actor, attempt, attempted);
    flows.gateway().made(event)
}
