//! From an attempt to its event.

use super::answer::Answer;
use super::code::Code;
use super::contract::{About, Ask, ChargePurpose, RefundOf};
use super::moment::micros;
use super::store::Kept;
use super::upstream::{Attempted, Heard, Outcome};
use serde::Serialize;
use serde_json::{Map, Value as Json};
use std::sync::LazyLock;
use tally_schemas::{Encoder, FieldError, Topic, frame_single_object, latest};
use thiserror::Error;
use uuid::Uuid;

/// Field `source` of every event of the gateway.
pub(super) const SOURCE: &str = "gateway";

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

/// The event of an attempt: what it did if it did something, else that it was made.
///
/// # Errors
/// See [`EventError`].
pub(super) fn of_attempt(
    ask: &Ask,
    actor: Actor<'_>,
    attempt: Attempt<'_>,
    attempted: &Attempted,
) -> Result<Kept, EventError> {
    let topic = match ask {
        Ask::Check(_) => Topic::License,
        Ask::Estimate(_) | Ask::Charge(_) | Ask::Refund(_) => Topic::Credit,
    };
    let mut fields = about(ask.about(), actor, topic);
    let mut occurred_us = attempt.ended_us;
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
        Ask::Refund(ask) if kind == "REFUNDED" => _ = set("refund_reason", word(ask.reason)),
        Ask::Check(_) if kind == "CHECKED" => _ = set("check_result", check_result(attempted.code).into()),
        Ask::Refund(_) | Ask::Check(_) => {}
    }
    if let Heard::Done(answer, _) = &attempted.heard {
        match answer {
            Answer::Estimate(answer) => _ = set("estimate_id", answer.estimate_id.clone().into()),
            Answer::Charge(answer) => {
                set("balance_after_micros", answer.balance_after_micros.into());
                occurred_us = micros(&answer.moved_at).unwrap_or(occurred_us);
            }
            Answer::Refund(answer) => {
                set("balance_after_micros", answer.balance_after_micros.into());
                occurred_us = micros(&answer.moved_at).unwrap_or(occurred_us);
            }
            Answer::Check(answer) => {
                set("quota_remaining_micros", answer.quota_remaining_micros.into());
                set("expires_at", answer.expires_at.clone().into());
            }
        }
    }
    set("kind", kind.into());
    set("endpoint", ask.endpoint().symbol().into());
    set("outcome", attempted.outcome.symbol().into());
    set("http_status", attempted.status.into());
    set("error_code", attempted.code.map(Code::name).into());
    set("latency_ms", i64::try_from(attempted.latency.as_millis()).unwrap_or(i64::MAX).into());
    set("attempt", attempt.number.into());
    set("idempotency_key", attempt.key.into());
    set("occurred_at", occurred_us.into());
    encode(topic, fields)
}

fn kind(ask: &Ask, attempted: &Attempted) -> &'static str {
    match (ask, &attempted.heard) {
        (Ask::Estimate(_), Heard::Done(..)) => "ESTIMATED",
        (Ask::Charge(ask), Heard::Done(..)) => match ask.purpose {
            ChargePurpose::Hold => "HELD",
            ChargePurpose::Charge | ChargePurpose::Acceleration => "CHARGED",
            ChargePurpose::Supplement => "SUPPLEMENT_CHARGED",
        },
        (Ask::Charge(ask), Heard::Refused(_)) if ask.purpose == ChargePurpose::Hold => "HOLD_FAILED",
        (Ask::Refund(ask), Heard::Done(..)) => match ask.of {
            RefundOf::Charge => "REFUNDED",
            RefundOf::Hold => "ROLLED_BACK",
        },
        (Ask::Check(_), Heard::Done(..)) => "CHECKED",
        // that the platform knows no such licence is no result of a check
        (Ask::Check(_), Heard::Refused(code)) if check_result(Some(*code)) != "ALLOWED" => "CHECKED",
        _ => "ATTEMPTED",
    }
}

/// Credits that moved, were held or were estimated; of a hold that failed those that were asked for; else none.
fn amount(ask: &Ask, kind: &str, attempted: &Attempted) -> i64 {
    match (ask, &attempted.heard) {
        (_, Heard::Done(Answer::Estimate(answer), _)) => answer.amount_micros,
        (Ask::Charge(ask), _) if kind != "ATTEMPTED" => ask.amount_micros,
        (Ask::Refund(ask), _) if kind != "ATTEMPTED" => ask.amount_micros,
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

/// An attempt that the gateway refused by itself: the platform was not asked.
pub(super) fn refused_here(code: Code) -> Attempted {
    Attempted {
        outcome: if code == Code::Overloaded { Outcome::Rejected } else { Outcome::Error },
        status: Some(code.status().as_u16()),
        code: Some(code),
        latency: std::time::Duration::ZERO,
        retry_after: None,
        heard: Heard::NotDone,
    }
}
