//! Every error that the gateway answers: a stable code, what causes it, what to do, and whether to ask again.

use axum::http::StatusCode;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

macro_rules! codes {
    ($($variant:ident $name:literal $status:ident $retry:ident $title:literal $cause:literal $remedy:literal;)*) => {
        /// What went wrong, for programs; codes are never renamed.
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, ToSchema)]
        pub enum Code {
            $(#[doc = $cause] #[serde(rename = $name)] $variant,)*
        }

        impl Code {
            /// Every code, in the order of the document.
            pub const ALL: &'static [Code] = &[$(Code::$variant),*];

            /// Its name in problems, events and metrics.
            pub const fn name(self) -> &'static str {
                match self { $(Code::$variant => $name),* }
            }

            /// Its HTTP status.
            pub const fn status(self) -> StatusCode {
                match self { $(Code::$variant => StatusCode::$status),* }
            }

            /// Whether to ask again.
            pub const fn retry(self) -> Retry {
                match self { $(Code::$variant => Retry::$retry),* }
            }

            /// In a few words, the same for every occurrence.
            pub const fn title(self) -> &'static str {
                match self { $(Code::$variant => $title),* }
            }

            /// What leads to it.
            pub const fn cause(self) -> &'static str {
                match self { $(Code::$variant => $cause),* }
            }

            /// What to do.
            pub const fn remedy(self) -> &'static str {
                match self { $(Code::$variant => $remedy),* }
            }
        }
    };
}

/// Whether the same request may be sent again.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum Retry {
    /// It would be answered the same: change the request, or what it depends on, first.
    Never,
    /// After the time in `Retry-After`; a charge or refund under its key.
    Later,
    /// It may have been done. Ask again under the same `Idempotency-Key`, and only under it, until there is an answer.
    SameKey,
}

codes! {
    InvalidRequest "invalid_request" BAD_REQUEST Never "the request is not valid"
        "A field is missing, unknown or out of its bounds; the detail names it."
        "Mend the request; openapi.json has its shape.";
    IdempotencyKeyMissing "idempotency_key_missing" BAD_REQUEST Never "no Idempotency-Key"
        "A charge or a refund came without the header, or with one that is empty, longer than 128 bytes or not printable ASCII."
        "Choose a key for each logical request, a UUID for example, and keep it on every retry.";
    IdempotencyConflict "idempotency_conflict" CONFLICT Never "the key was used for another request"
        "The same caller has sent the same Idempotency-Key with another body or to another path."
        "One key for one request: look for the bug that shares keys, then choose a new key.";
    TokenMissing "token_missing" UNAUTHORIZED Never "no access token"
        "There is no Authorization: Bearer header."
        "Send the access token of the service account.";
    TokenInvalid "token_invalid" UNAUTHORIZED Never "the access token is not valid here"
        "It is badly signed, of another issuer, for another audience, expired or revoked."
        "Get another token from the issuer.";
    ScopeMissing "scope_missing" FORBIDDEN Never "the token lacks the scope"
        "The token's scope claim does not hold the scope of this path, or its role is not service or admin."
        "Ask the issuer for a token with the scope that the document names for the path.";
    NotFound "not_found" NOT_FOUND Never "there is no such thing"
        "No such path, or no such flow of this caller."
        "Look at the address.";
    MethodNotAllowed "method_not_allowed" METHOD_NOT_ALLOWED Never "the method is not allowed here"
        "The path is known, the method is not."
        "Calls and commands are POST; a flow is looked at by GET.";
    TooLarge "too_large" PAYLOAD_TOO_LARGE Never "the body is too long"
        "More bytes than body_bytes_max."
        "Requests have a few hundred bytes: look at what is sent.";
    UnsupportedMediaType "unsupported_media_type" UNSUPPORTED_MEDIA_TYPE Never "the body is not JSON"
        "The Content-Type is not application/json."
        "Send application/json.";
    InsufficientBalance "insufficient_balance" PAYMENT_REQUIRED Never "the wallet does not hold enough"
        "Less is free in the wallet than was asked for."
        "Let the buyer top up, then ask again under a new key.";
    HoldFailed "hold_failed" PAYMENT_REQUIRED Never "the credits cannot be held"
        "Less is free in the wallet than the hold, or the wallet takes no holds now."
        "Let the buyer top up or choose the normal queue, then ask again under a new key.";
    WalletUnknown "wallet_unknown" NOT_FOUND Never "there is no such wallet"
        "The platform knows no wallet of that id."
        "Look at wallet_id.";
    WalletFrozen "wallet_frozen" FORBIDDEN Never "the wallet is frozen"
        "Moderation or billing has frozen the wallet."
        "Nothing can be taken until it is let free; refunds still come back.";
    EstimateUnknown "estimate_unknown" NOT_FOUND Never "there is no such estimate"
        "The platform knows no estimate of that id for that wallet."
        "Ask for an estimate first.";
    EstimateExpired "estimate_expired" CONFLICT Never "the estimate has expired"
        "Its expires_at has passed: prices may have changed."
        "Ask for a new estimate, show it to the buyer, then ask again under a new key.";
    RefundExceedsCharge "refund_exceeds_charge" CONFLICT Never "more than was charged or is held"
        "The task's charges less its refunds, or its hold, are smaller than the amount."
        "Look at what was charged; give back no more.";
    LicenseUnknown "license_unknown" NOT_FOUND Never "there is no such licence"
        "The platform knows no licence of that id."
        "Look at license_id.";
    LicenseDenied "license_denied" FORBIDDEN Never "the licence is another's"
        "The licence was not granted to this user, or not for this template."
        "Ask the creator for a licence.";
    LicenseExpired "license_expired" FORBIDDEN Never "the licence has expired"
        "Its time is over."
        "Ask the creator to grant it anew.";
    LicenseRevoked "license_revoked" FORBIDDEN Never "the licence was revoked"
        "A creator or a moderator has revoked it."
        "Nothing runs under it any more; running tasks are paused and refunded.";
    LicenseQuotaExhausted "license_quota_exhausted" FORBIDDEN Never "the licence's quota is used up"
        "Less compute quota is left than the task needs."
        "Ask the creator to raise it.";
    FlowConflict "flow_conflict" CONFLICT Never "the flow is not at that step"
        "The command is none of those that the flow's state takes; the detail names state and commands."
        "Read the flow, then send a command that its state takes.";
    HoldExpired "hold_expired" CONFLICT Never "the hold has run out"
        "The time of a flow's hold passed, and nobody settled, failed or cancelled its task: the credits were let go."
        "Begin another flow under a new key; name a longer hold_s where tasks take longer.";
    PlatformRefused "platform_refused" UNPROCESSABLE_ENTITY Never "the platform has refused it"
        "The platform refused it at its door (the gateway's rights, the form of the request), or by a code that this gateway does not know. Nothing was moved."
        "Look at the platform's log under the trace id, mend the cause there, then ask again under the same key.";
    RateLimited "rate_limited" TOO_MANY_REQUESTS Later "the platform takes no more just now"
        "The platform answered 429, and no attempt before may have been done."
        "Wait as Retry-After says.";
    Overloaded "overloaded" SERVICE_UNAVAILABLE Later "too many calls at once"
        "As many calls as calls_at_once_max are under way. The platform was not asked."
        "Wait as Retry-After says; raise the bound if the platform bears more.";
    CircuitOpen "circuit_open" SERVICE_UNAVAILABLE Later "the platform is left alone for a while"
        "Too large a part of its latest answers were errors. The platform was not asked."
        "Wait as Retry-After says; look at the platform.";
    OutboxFull "outbox_full" SERVICE_UNAVAILABLE Later "events cannot be kept"
        "Kafka was away for so long that outbox_events_max wait, or the disk takes no more. The platform was not asked: no call without its event."
        "Bring Kafka back, or raise the bound.";
    IdentityUnavailable "identity_unavailable" SERVICE_UNAVAILABLE Later "access tokens cannot be checked now"
        "The issuer's keys or the revocations cannot be had."
        "Wait; look at the issuer and at ClickHouse.";
    UpstreamUnavailable "upstream_unavailable" BAD_GATEWAY SameKey "the platform does not answer in order"
        "Every attempt ended in 5xx or a broken connection."
        "Ask again under the same key: a charge or refund is followed up here meanwhile, and is done once or not at all.";
    UpstreamTimeout "upstream_timeout" GATEWAY_TIMEOUT SameKey "the platform did not answer in time"
        "No attempt was answered by the deadline."
        "Ask again under the same key: a charge or refund is followed up here meanwhile, and is done once or not at all.";
    UpstreamInvalid "upstream_invalid" BAD_GATEWAY SameKey "the platform's answer is not what the contract says"
        "A 2xx whose body is not JSON, lacks a field, or speaks of another wallet or amount; or a 4xx that is no problem of the platform, such as a proxy's page."
        "Tell the platform's team; ask again under the same key.";
    AdapterStopped "adapter_stopped" SERVICE_UNAVAILABLE SameKey "the gateway stopped during the call"
        "The process ended while an attempt was under way."
        "Ask again under the same key.";
    Internal "internal" INTERNAL_SERVER_ERROR SameKey "something went wrong here"
        "It is our fault; the log has the request id."
        "Ask again under the same key.";
}

impl Code {
    /// The code of that name.
    pub fn of_name(name: &str) -> Option<Code> {
        Code::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Whether it is a correct refusal of the platform: final, and nothing was moved.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Code::InsufficientBalance
                | Code::HoldFailed
                | Code::WalletUnknown
                | Code::WalletFrozen
                | Code::EstimateUnknown
                | Code::EstimateExpired
                | Code::RefundExceedsCharge
                | Code::LicenseUnknown
                | Code::LicenseDenied
                | Code::LicenseExpired
                | Code::LicenseRevoked
                | Code::LicenseQuotaExhausted
        )
    }
}

/// What stands before the code in the `type` of a problem.
pub const PROBLEM: &str = "urn:tally:problem:";

/// A problem document (RFC 9457), as it is sent before the gateway and behind it.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
pub struct Problem {
    /// `urn:tally:problem:` and the code.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same for every occurrence of the code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// For programs.
    pub code: Code,
    /// Whether to ask again.
    pub retry: Retry,
    /// What is wrong with this request, where there is more to say. Never a value.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Of `refund_exceeds_charge`: what can still come back of what was asked for, micros.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remaining_micros: Option<i64>,
}

impl Problem {
    /// Of a code, without more to say.
    pub fn new(code: Code) -> Problem {
        Problem {
            kind: format!("{PROBLEM}{}", code.name()),
            title: code.title().to_owned(),
            status: code.status().as_u16(),
            code,
            retry: code.retry(),
            detail: None,
            remaining_micros: None,
        }
    }

    /// With what is wrong with this request.
    pub fn because(code: Code, detail: impl Into<String>) -> Problem {
        Problem { detail: Some(detail.into()), ..Problem::new(code) }
    }
}
