//! The words of events: each enum is one of the contracts', symbol for symbol, which a test holds.

use serde::{Deserialize, Serialize};
use tally_schemas::policy_tags;

/// The policy under which an event is kept and reviewed; the dictionary is `policy_tags.toml`.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum PolicyTag {
    /// Ordinary use, no special policy.
    GeneralUse,
    /// Possible use of protected works.
    Copyright,
    /// Possible use of brands and marks.
    Trademark,
    /// Face, voice or likeness of a real person.
    Likeness,
    /// Personal data of identifiable people.
    Privacy,
    /// Safety of minors.
    MinorSafety,
    /// Sexual or adult content.
    AdultContent,
    /// Violence or graphic content.
    Violence,
    /// Hate or harassment of groups or people.
    HateSpeech,
    /// Self-harm or suicide.
    SelfHarm,
    /// Political persuasion or civic processes.
    Political,
    /// Health claims or medical advice.
    Medical,
    /// Investment or financial advice.
    FinancialAdvice,
    /// Deception, scams, abuse of credits.
    Fraud,
    /// Use outside the licence of a template.
    LicenseTerms,
    /// Disputes about charges and refunds.
    Billing,
}

impl PolicyTag {
    /// Its symbol, as the gateway's [`About`](super::About) has it.
    pub fn symbol(self) -> &'static str {
        &policy_tags()[self as usize].symbol // a test holds that the order is the dictionary's
    }
}

/// In which role the actor acted.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ActorRole {
    /// Licenses templates.
    Creator,
    /// Runs tasks.
    Buyer,
    /// Reviews cases.
    Moderator,
    /// Runs the platform.
    Admin,
    /// A service account.
    Service,
}

/// What happened to credits.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CreditKind {
    /// A cost was estimated. Needs `estimate_id`.
    Estimated,
    /// Credits were set aside. Needs `task_id`.
    Held,
    /// They could not be. Needs `task_id`.
    HoldFailed,
    /// Credits were taken. Needs `task_id`.
    Charged,
    /// The buyer was asked for more. Needs `task_id`.
    SupplementRequested,
    /// More was taken, with consent. Needs `task_id`.
    SupplementCharged,
    /// The buyer declined, or the time was over. Needs `task_id`.
    SupplementDeclined,
    /// Credits came back. Needs `refund_reason`.
    Refunded,
    /// What was held was let go. Needs `task_id`.
    RolledBack,
    /// Credits were bought. Needs `price_minor`, `currency` and `order_id`.
    Purchased,
    /// A call that changed nothing: rejected, failed, timed out. Needs `call`.
    Attempted,
}

/// What happened to a licence.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum LicenseKind {
    /// It was checked. Needs `check_result`.
    Checked,
    /// It was granted. Needs `grantee_id` and `quota_remaining_micros`.
    Granted,
    /// It was taken back.
    Revoked,
    /// Its time was over.
    Expired,
    /// Its quota is another. Needs `quota_remaining_micros`.
    QuotaChanged,
    /// A check that got no answer. Needs `call`.
    Attempted,
}

/// The answer of a licence check.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CheckResult {
    /// The licence stands.
    Allowed,
    /// It was granted to somebody else, or taken back.
    Denied,
    /// Its time is over.
    Expired,
    /// Less quota is left than is needed.
    QuotaExhausted,
}

/// The step of a moderation case.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ModerationKind {
    /// Somebody reported something.
    Reported,
    /// It waits for a moderator. Needs `sla_due_at`.
    Queued,
    /// A moderator looks at it.
    ReviewStarted,
    /// A moderator has decided. Needs `decision`.
    Decided,
    /// The decision is contested.
    Appealed,
    /// It went to somebody else.
    Escalated,
    /// It is over.
    Closed,
}

/// How an attempt at a call ended.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum CallOutcome {
    /// Answered as asked.
    Ok,
    /// A correct refusal.
    Rejected,
    /// 5xx, or a broken connection.
    Error,
    /// No answer by the deadline.
    Timeout,
}
