//! From an attempt to its event.

use super::answer::Answer;
use super::code::Code;
use super::contract::{AMOUNT_MICROS_MAX, About, Ask, ChargePurpose, Endpoint, RefundOf};
use super::moment::{micros, now_us};
use super::store::Kept;
use super::upstream::{Attempted, Heard, Outcome};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::sync::LazyLock;
use std::time::Duration;
use tally_schemas::{
    AHEAD_MICROS_MAX, Encoder, FieldError, OCCURRED_AT_MAX, OCCURRED_AT_MIN, TIME_MIN, Topic,
    frame_single_object, latest,
};
use thiserror::Error;
use uuid::Uuid;

/// Field `source` of every event of the gateway.
pub(super) const SOURCE: &str = "gateway";

/// How far ahead of now it may have happened: an hour less than the contract allows, for the clocks on the way.
const AHEAD_US_MAX: i64 = AHEAD_MICROS_MAX - 3_600_000_000;
/// The names of movements are made from the platform's ids within this namespace (UUIDv5).
const MOVEMENTS: Uuid = Uuid::from_u128(0x7a11_1e55_0b0e_5a3d_9c1f_4d6f_7665_6d74);

/// An event that its own contract refuses: a bug of ours, told with the field.
#[derive(Debug, Error)]
#[error("an event of the gateway is not what its contract says: {0}")]
pub(super) struct EventError(#[from] FieldError);

/// Who acts.
#[derive(Clone, Copy, Debug)]
pub(super) struct Actor<'a> {
    pub(super) id: &'a str,
    /// As events name it: `SERVICE`, `ADMIN`, `MODERATOR`.
    pub(super) role: &'a str,
    pub(super) trace_id: Option<&'a str>,
}

/// The attempt that an event tells of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Attempt<'a> {
    pub(super) key: &'a str,
    pub(super) number: i64,
    pub(super) ended_us: i64,
}

/// The events of an attempt: the movement of credits that it led to, if one, and the attempt itself.
///
/// A movement is named by the platform's own id of it, and its event says only what the platform says and what was asked: however
/// often it is heard of, by this gateway after a crash or by another one that its caller turned to, it is the same event, byte for
/// byte, and counts once. The attempts that led to it are events of their own.
///
/// # Errors
/// See [`EventError`].
pub(super) fn of_attempt(
    ask: &Ask,
    actor: Actor<'_>,
    attempt: Attempt<'_>,
    attempted: &Attempted,
) -> Result<Vec<Kept>, EventError> {
    let mut events = Vec::with_capacity(2);
    if let Heard::Done((answer, _)) = &attempted.heard {
        events.extend(movement(ask, actor, (attempt.key, attempt.ended_us), answer).transpose()?);
    }
    let topic = match ask {
        Ask::Check(_) => Topic::License,
        Ask::Estimate(_) | Ask::Charge(_) | Ask::Refund(_) => Topic::Credit,
    };
    let mut fields = about(ask.about(), actor, topic);
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    let kind = kind(ask, attempted);
    if topic == Topic::Credit {
        set("amount_micros", amount(ask, kind, attempted).into());
    }
    match ask {
        Ask::Estimate(ask) => _ = set("queue", word(ask.queue)),
        Ask::Charge(ask) => {
            set("queue", ask.queue.map_or(Json::Null, word));
            set("estimate_id", ask.estimate_id.clone().into());
        }
        Ask::Check(_) if kind == "CHECKED" => _ = set("check_result", check_result(attempted.code).into()),
        Ask::Refund(_) | Ask::Check(_) => {}
    }
    match &attempted.heard {
        Heard::Done((Answer::Estimate(answer), _)) => {
            _ = set("estimate_id", answer.estimate_id.clone().into())
        }
        Heard::Done((Answer::Check(answer), _)) => {
            set("quota_remaining_micros", answer.quota_remaining_micros.into());
            let until_us = micros(&answer.expires_at).filter(|us| (TIME_MIN..=OCCURRED_AT_MAX).contains(us));
            set("expires_at", until_us.into()); // one without an end, in the year 9999 say, has none in events
        }
        _ => {}
    }
    set("kind", kind.into());
    tell(&mut fields, ask.endpoint(), attempt, attempted);
    events.push(encode(topic, fields)?);
    Ok(events)
}

/// The event of an attempt at a step of a task, kept beside the credits of the wallet that pays for it, or at a revocation, kept beside
/// the licence. What it led to is an event of the flow.
///
/// # Errors
/// See [`EventError`].
pub(super) fn of_act<T>(
    (endpoint, of): (Endpoint, &About),
    actor: Actor<'_>,
    attempt: Attempt<'_>,
    attempted: &Attempted<T>,
) -> Result<Kept, EventError> {
    let topic = if endpoint == Endpoint::LicensesRevoke { Topic::License } else { Topic::Credit };
    let mut fields = about(of, actor, topic);
    fields.insert("kind".to_owned(), "ATTEMPTED".into());
    if topic == Topic::Credit {
        fields.insert("amount_micros".to_owned(), 0.into());
    }
    tell(&mut fields, endpoint, attempt, attempted);
    encode(topic, fields)
}

/// The fields of a call, which every attempt has.
fn tell<T>(
    fields: &mut Map<String, Json>,
    endpoint: Endpoint,
    attempt: Attempt<'_>,
    attempted: &Attempted<T>,
) {
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    set("endpoint", endpoint.symbol().into());
    set("outcome", attempted.outcome.symbol().into());
    set("http_status", attempted.status.into());
    set("error_code", attempted.code.map(Code::name).into());
    set("latency_ms", i64::try_from(attempted.latency.as_millis()).unwrap_or(i64::MAX).into());
    set("attempt", attempt.number.into());
    set("idempotency_key", attempt.key.into());
    set("occurred_at", attempt.ended_us.into());
}

/// The event of a movement of credits; none of an answer that moved nothing.
fn movement(
    ask: &Ask,
    actor: Actor<'_>,
    (key, now_us): (&str, i64),
    answer: &Answer,
) -> Option<Result<Kept, EventError>> {
    // the trace is that of one attempt, and the same movement may be heard of in another
    let mut fields = about(ask.about(), Actor { trace_id: None, ..actor }, Topic::Credit);
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    let (id, balance, moved_at) = match (ask, answer) {
        (Ask::Charge(ask), Answer::Charge(answer)) => {
            let kind = match ask.purpose {
                ChargePurpose::Hold => "HELD",
                ChargePurpose::Charge | ChargePurpose::Acceleration => "CHARGED",
                ChargePurpose::Supplement => "SUPPLEMENT_CHARGED",
            };
            set("kind", kind.into());
            set("amount_micros", ask.amount_micros.into());
            set("queue", ask.queue.map_or(Json::Null, word));
            set("estimate_id", ask.estimate_id.clone().into());
            (&answer.charge_id, answer.balance_after_micros, &answer.moved_at)
        }
        (Ask::Refund(ask), Answer::Refund(answer)) => {
            match ask.of {
                RefundOf::Charge => {
                    set("kind", "REFUNDED".into());
                    set("refund_reason", word(ask.reason));
                }
                RefundOf::Hold => _ = set("kind", "ROLLED_BACK".into()),
            }
            set("amount_micros", ask.amount_micros.into());
            (&answer.refund_id, answer.balance_after_micros, &answer.moved_at)
        }
        _ => return None,
    };
    // ids of charges and of refunds may be counted apart, and those of wallets, too
    let name = format!("{}\0{}\0{id}", ask.endpoint().symbol(), ask.about().wallet_id);
    set("event_id", Uuid::new_v5(&MOVEMENTS, name.as_bytes()).to_string().into());
    set("balance_after_micros", Some(balance).filter(|balance| balance.abs() <= AMOUNT_MICROS_MAX).into());
    set("idempotency_key", key.into());
    // what the contract of events would refuse: when it was heard is the best that is known
    let moved_us = micros(moved_at).filter(|us| (OCCURRED_AT_MIN..=now_us + AHEAD_US_MAX).contains(us));
    set("occurred_at", moved_us.unwrap_or(now_us).into());
    Some(encode(Topic::Credit, fields))
}

fn kind(ask: &Ask, attempted: &Attempted) -> &'static str {
    match (ask, &attempted.heard) {
        (Ask::Estimate(_), Heard::Done(_)) => "ESTIMATED",
        (Ask::Charge(ask), Heard::Refused(_)) if ask.purpose == ChargePurpose::Hold => "HOLD_FAILED",
        (Ask::Check(_), Heard::Done(_)) => "CHECKED",
        // that the platform knows no such licence is no result of a check
        (Ask::Check(_), Heard::Refused(code)) if check_result(Some(*code)) != "ALLOWED" => "CHECKED",
        _ => "ATTEMPTED",
    }
}

/// Credits that were estimated; of a hold that failed those that were asked for. What moved stands in the movement's event.
fn amount(ask: &Ask, kind: &str, attempted: &Attempted) -> i64 {
    match (ask, &attempted.heard) {
        (_, Heard::Done((Answer::Estimate(answer), _))) => answer.amount_micros,
        (Ask::Charge(ask), _) if kind == "HOLD_FAILED" => ask.amount_micros,
        _ => 0,
    }
}

fn check_result(code: Option<Code>) -> &'static str {
    match code {
        Some(Code::LicenseExpired) => "EXPIRED",
        Some(Code::LicenseQuotaExhausted) => "QUOTA_EXHAUSTED",
        Some(Code::LicenseDenied | Code::LicenseRevoked) => "DENIED",
        _ => "ALLOWED",
    }
}

/// The fields that every event of the gateway has, and those of its subject.
pub(super) fn about(about: &About, actor: Actor<'_>, topic: Topic) -> Map<String, Json> {
    let mut fields = Map::new();
    let mut set = |name: &str, value: Json| fields.insert(name.to_owned(), value);
    set("event_id", Uuid::now_v7().to_string().into());
    set("source", SOURCE.into());
    set("policy_tag", about.policy_tag.clone().into());
    set("actor_id", actor.id.into());
    set("actor_role", actor.role.into());
    set("trace_id", actor.trace_id.into());
    set("wallet_id", about.wallet_id.clone().into());
    set("task_id", about.task_id.clone().into());
    set("user_id", about.user_id.clone().into());
    set("creator_id", about.creator_id.clone().into());
    set("license_id", about.license_id.clone().into());
    set("template_id", about.template_id.clone().into());
    set("case_id", about.case_id.clone().into());
    if matches!(topic, Topic::Credit | Topic::Task) {
        set("audience", word(about.audience));
    }
    fields
}

/// A symbol as events write it.
pub(super) fn word(symbol: impl Serialize) -> Json {
    serde_json::to_value(symbol).unwrap_or_default()
}

/// Encodes the fields of an event and takes its key from them. What a topic's contract does not know and is null is left out.
///
/// # Errors
/// See [`EventError`].
pub(super) fn encode(topic: Topic, fields: Map<String, Json>) -> Result<Kept, EventError> {
    static ENCODERS: LazyLock<Vec<(Topic, Encoder<'static>)>> = LazyLock::new(|| {
        let encoder = |topic| Encoder::new(latest(topic)).ok().map(|encoder| (topic, encoder));
        Topic::ALL.into_iter().filter_map(encoder).collect() // a test encodes an event of each
    });
    let key = match topic {
        Topic::Credit => "wallet_id",
        Topic::License => "license_id",
        Topic::Task => "task_id",
        Topic::Moderation => "case_id",
    };
    let key = fields.get(key).and_then(Json::as_str).unwrap_or_default().to_owned();
    let none = || FieldError { path: String::new(), problem: format!("{topic} cannot be encoded") };
    let (_, encoder) = ENCODERS.iter().find(|(of, _)| *of == topic).ok_or_else(none)?;
    let body = encoder.encode(&Json::Object(fields))?;
    Ok(Kept { contract: topic, key, value: frame_single_object(encoder.contract(), &body) })
}

/// An attempt that was under way when its process ended, which nobody saw longer than `longest`.
pub(super) fn interrupted<T>(since_us: i64, longest: Duration) -> Attempted<T> {
    let lasted = u64::try_from(now_us().saturating_sub(since_us)).unwrap_or(0);
    Attempted {
        outcome: Outcome::Error,
        status: None,
        code: Some(Code::AdapterStopped),
        latency: Duration::from_micros(lasted).min(longest),
        retry_after: None,
        remaining_micros: None,
        heard: Heard::Unknown,
    }
}

/// An attempt that the gateway refused by itself: the platform was not asked.
pub(super) fn refused_here(code: Code) -> Attempted {
    Attempted {
        outcome: if code == Code::Overloaded { Outcome::Rejected } else { Outcome::Error },
        status: Some(code.status().as_u16()),
        code: Some(code),
        latency: Duration::ZERO,
        retry_after: None,
        remaining_micros: None,
        heard: Heard::NotDone,
    }
}
