//! The events of the four topics, field for field as the newest contracts have them.
//!
//! An event's id and time are set when it is made and never after: to publish it again, whatever happened the first time, is to
//! publish *the same* event, which counts once. Who must publish across restarts keeps the event (it is JSON by serde, and reads
//! back) until it is published.
//!
//! Fields are public and optional where the contract has them so; what a kind needs beyond them is said at the kind, and
//! [`Publisher`](super::Publisher) refuses an event without it and names the field.

pub use super::symbols::{
    ActorRole, CallOutcome, CheckResult, CreditKind, LicenseKind, ModerationKind, PolicyTag,
};
pub use crate::gateway::contract::{Audience, Endpoint, Queue, RefundReason};
pub use crate::gateway::flow::{Decision, RiskLevel};
pub use crate::gateway::platform::TaskStep as TaskKind;
pub use head::{Author, Call, Head, Subject};
pub use moment::Moment;

use serde::{Deserialize, Serialize};
use tally_schemas::Topic;
use uuid::Uuid;

mod head;
mod moment;
#[cfg(test)]
mod tests;

/// An event of one of the four topics. Only this module has them.
pub trait Event: Serialize + Send + Sync + sealed::Sealed {
    /// Its contract.
    const TOPIC: Topic;

    /// What every event carries.
    fn head(&self) -> &Head;

    /// Whom and what it is about.
    fn subject(&self) -> &Subject;

    /// The Kafka key: the id of the wallet, licence, task or case. `None` where somebody took it out.
    fn key(&self) -> Option<&str> {
        let subject = self.subject();
        let id = match Self::TOPIC {
            Topic::Credit => &subject.wallet_id,
            Topic::License => &subject.license_id,
            Topic::Task => &subject.task_id,
            Topic::Moderation => &subject.case_id,
        };
        id.as_deref().filter(|id| !id.is_empty())
    }
}

mod sealed {
    pub trait Sealed {}
}

/// A movement of credits: topic `credit-events`, keyed by wallet.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct CreditEvent {
    #[serde(flatten)]
    head: Head,
    /// Whom and what it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What happened.
    pub kind: CreditKind,
    /// Credits in micros: 1 credit = 1,000,000. 0 to 10^15; the kind gives the direction.
    pub amount_micros: i64,
    /// The estimate made (ESTIMATED) or relied upon (CHARGED).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_id: Option<String>,
    /// Queue at acceptance; it sets the tolerance of the estimate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
    /// Why credits came back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refund_reason: Option<RefundReason>,
    /// Money in minor units of the currency: paid on PURCHASED, given back for `order_id` on REFUNDED. 0 to 10^15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub price_minor: Option<i64>,
    /// ISO 4217 code, three capital letters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub currency: Option<String>,
    /// The order; equal on the parts of a split order.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub order_id: Option<String>,
    /// True where the buyer of the credits is not the holder of the wallet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub gift: Option<bool>,
    /// Balance of the wallet after this event as its service states it, micros. -10^15 to 10^15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub balance_after_micros: Option<i64>,
    /// The call it stems from.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// Equal on all events of one logical request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
    /// Whom the wallet belongs to.
    pub audience: Audience,
}

/// A check or a change of a licence: topic `license-events`, keyed by licence.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct LicenseEvent {
    #[serde(flatten)]
    head: Head,
    /// Whom and what it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// What happened.
    pub kind: LicenseKind,
    /// What a check answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check_result: Option<CheckResult>,
    /// To whom it is granted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub grantee_id: Option<String>,
    /// Compute quota left, micros. 0 to 10^15.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quota_remaining_micros: Option<i64>,
    /// When the licence ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expires_at: Option<Moment>,
    /// The call it stems from.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub call: Option<Call>,
    /// Equal on all events of one logical request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub idempotency_key: Option<String>,
}

/// A step of a task: topic `task-events`, keyed by task.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct TaskEvent {
    #[serde(flatten)]
    head: Head,
    /// Whom and what it is about. SUBMITTED needs `user_id` and `template_id`.
    #[serde(flatten)]
    pub subject: Subject,
    /// The step.
    pub kind: TaskKind,
    /// The queue after it.
    pub queue: Queue,
    /// Share done, 0 to 1000. PROGRESSED needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub progress_permille: Option<i32>,
    /// Rises by one with each event of the task, from 1 at SUBMITTED.
    pub state_version: i64,
    /// Why it failed. FAILED needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error_code: Option<String>,
    /// Whom the task belongs to.
    pub audience: Audience,
}

/// A step of a case: topic `moderation-events`, keyed by case.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
pub struct ModerationEvent {
    #[serde(flatten)]
    head: Head,
    /// Whom and what it is about.
    #[serde(flatten)]
    pub subject: Subject,
    /// The step.
    pub kind: ModerationKind,
    /// Risk of the case after it.
    pub risk_level: RiskLevel,
    /// What was decided.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub decision: Option<Decision>,
    /// By when a decision is due: the report's time plus the SLA of the policy tag.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sla_due_at: Option<Moment>,
}

impl CreditEvent {
    /// Of now, about the wallet's `amount_micros`.
    pub fn new(
        kind: CreditKind,
        wallet_id: impl Into<String>,
        amount_micros: i64,
        policy_tag: PolicyTag,
        author: &Author,
    ) -> CreditEvent {
        CreditEvent {
            head: Head::now(policy_tag, author),
            subject: Subject { wallet_id: Some(wallet_id.into()), ..Subject::default() },
            kind,
            amount_micros,
            estimate_id: None,
            queue: None,
            refund_reason: None,
            price_minor: None,
            currency: None,
            order_id: None,
            gift: None,
            balance_after_micros: None,
            call: None,
            idempotency_key: None,
            audience: Audience::Customer,
        }
    }
}

impl LicenseEvent {
    /// Of now, about the licence.
    pub fn new(
        kind: LicenseKind,
        license_id: impl Into<String>,
        policy_tag: PolicyTag,
        author: &Author,
    ) -> LicenseEvent {
        LicenseEvent {
            head: Head::now(policy_tag, author),
            subject: Subject { license_id: Some(license_id.into()), ..Subject::default() },
            kind,
            check_result: None,
            grantee_id: None,
            quota_remaining_micros: None,
            expires_at: None,
            call: None,
            idempotency_key: None,
        }
    }
}

impl TaskEvent {
    /// Of now: the task is in `queue` after it, and this is the task's event number `state_version`.
    pub fn new(
        kind: TaskKind,
        task_id: impl Into<String>,
        (queue, state_version): (Queue, i64),
        policy_tag: PolicyTag,
        author: &Author,
    ) -> TaskEvent {
        TaskEvent {
            head: Head::now(policy_tag, author),
            subject: Subject { task_id: Some(task_id.into()), ..Subject::default() },
            kind,
            queue,
            progress_permille: None,
            state_version,
            error_code: None,
            audience: Audience::Customer,
        }
    }
}

impl ModerationEvent {
    /// Of now, about the case.
    pub fn new(
        kind: ModerationKind,
        case_id: impl Into<String>,
        risk_level: RiskLevel,
        policy_tag: PolicyTag,
        author: &Author,
    ) -> ModerationEvent {
        ModerationEvent {
            head: Head::now(policy_tag, author),
            subject: Subject { case_id: Some(case_id.into()), ..Subject::default() },
            kind,
            risk_level,
            decision: None,
            sla_due_at: None,
        }
    }
}

macro_rules! events {
    ($($event:ident $topic:ident,)*) => {$(
        impl sealed::Sealed for $event {}

        impl Event for $event {
            const TOPIC: Topic = Topic::$topic;

            fn head(&self) -> &Head {
                &self.head
            }

            fn subject(&self) -> &Subject {
                &self.subject
            }
        }

        impl $event {
            /// Identity of the event, UUIDv7: the same however often it is published.
            pub fn event_id(&self) -> Uuid {
                self.head.event_id
            }

            /// The same event, which happened earlier than it was made. Not after it was published: other content under one id is
            /// a conflict, and is reported.
            pub fn happened_at(mut self, occurred_at: Moment) -> $event {
                self.head.occurred_at = occurred_at;
                self
            }
        }
    )*};
}

events! {
    CreditEvent Credit,
    LicenseEvent License,
    TaskEvent Task,
    ModerationEvent Moderation,
}
