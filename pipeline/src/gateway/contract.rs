//! What is asked of the credit and licence services, and what they answer: the same bodies before the gateway and behind it.
//!
//! Amounts are integers in micros (1 credit = 1,000,000), at most 10^15, which every JSON number holds exactly. Times are
//! RFC 3339. An unknown field is an error: a slip of the pen in a request for money must not be passed over.

use super::code::Code;
pub use super::endpoint::Endpoint;
use serde::{Deserialize, Serialize};
use tally_schemas::{MICROS_MAX, TEXT_BYTES_MAX, policy_tags};
use utoipa::ToSchema;

/// Bytes of an id.
pub const ID_BYTES_MAX: usize = TEXT_BYTES_MAX;
/// Bytes of an `Idempotency-Key`, of a caller and of the gateway's own.
pub const KEY_BYTES_MAX: usize = 128;
/// 10^15 micros: a thousand million credits, the bound of the contracts of events.
pub const AMOUNT_MICROS_MAX: i64 = MICROS_MAX;

/// Whether that may be an `Idempotency-Key`: 1 to [`KEY_BYTES_MAX`] characters of printable ASCII, without spaces.
pub fn is_key(text: &str) -> bool {
    (1..=KEY_BYTES_MAX).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Whom and what a call is about. These ids go into the events that tell of it.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct About {
    /// The wallet whose credits move.
    pub wallet_id: String,
    /// The policy under which the events are kept and reviewed: a symbol of the dictionary.
    #[schema(example = "GENERAL_USE")]
    pub policy_tag: String,
    /// The compute task. Required by a charge, and by a refund that lets a hold go.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub task_id: Option<String>,
    /// The buyer who runs the task.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// The creator of the template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub creator_id: Option<String>,
    /// The licence under which the template runs. Required by a check.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub license_id: Option<String>,
    /// The licensed template.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub template_id: Option<String>,
    /// The moderation case.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub case_id: Option<String>,
    /// Whom the wallet belongs to. All but customers stay out of business figures.
    #[serde(default)]
    pub audience: Audience,
}

/// Whom a wallet belongs to.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Audience {
    /// A customer.
    #[default]
    Customer,
    /// A test.
    Test,
    /// Staff.
    Staff,
    /// A canary.
    Canary,
}

/// The queue a task waits in; it sets the tolerance of its estimate.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Queue {
    /// ±10 %.
    #[default]
    Normal,
    /// ±5 %.
    Accelerated,
}

/// `POST /credits/estimate`: what would it cost?
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EstimateRequest {
    /// Whom and what it is about.
    pub about: About,
    /// The queue in which the task would wait.
    pub queue: Queue,
    /// Units of compute that the task is expected to need; 1 to 10^9.
    #[schema(minimum = 1, maximum = 1_000_000_000)]
    pub compute_units: u64,
}

/// An estimate. A charge that relies upon it names it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Estimate {
    /// Its id.
    pub estimate_id: String,
    /// The wallet it was made for.
    pub wallet_id: String,
    /// The expected cost, micros.
    pub amount_micros: i64,
    /// The queue it was made for.
    pub queue: Queue,
    /// Until when it can be relied upon.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

/// What credits are taken for.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum ChargePurpose {
    /// Set aside for a task that is about to run; they stay in the wallet.
    Hold,
    /// Taken for a task, from what is held for it first.
    Charge,
    /// Taken beyond the charge, with the buyer's consent.
    Supplement,
    /// Taken for a place in the accelerated queue.
    Acceleration,
}

/// `POST /credits/charge`: hold or take credits. Needs an `Idempotency-Key`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChargeRequest {
    /// Whom and what it is about; with `task_id`.
    pub about: About,
    /// What for.
    pub purpose: ChargePurpose,
    /// How much, micros; 1 to 10^15.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000i64)]
    pub amount_micros: i64,
    /// The estimate that is relied upon.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub estimate_id: Option<String>,
    /// The queue at acceptance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub queue: Option<Queue>,
}

/// Credits that were held or taken.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Charge {
    /// Its id.
    pub charge_id: String,
    /// The wallet they were taken from.
    pub wallet_id: String,
    /// What for.
    pub purpose: ChargePurpose,
    /// How much: what was asked, never less or more.
    pub amount_micros: i64,
    /// What the wallet holds after it, held credits among them.
    pub balance_after_micros: i64,
    /// What is still held for the task.
    pub held_micros: i64,
    /// When they moved, by the platform's clock, to the microsecond: later movements of a wallet have later times.
    #[schema(format = "date-time")]
    pub moved_at: String,
}

/// Why credits come back.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundReason {
    /// More was charged than it cost.
    Overcharge,
    /// The task failed.
    TaskFailed,
    /// A favour.
    Goodwill,
    /// A flow went back.
    Rollback,
}

/// What comes back.
#[derive(Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum RefundOf {
    /// Credits that were taken.
    #[default]
    Charge,
    /// Credits that are held: they are let go.
    Hold,
}

/// `POST /credits/refund`: give credits back or let a hold go. Needs an `Idempotency-Key`.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefundRequest {
    /// Whom and what it is about.
    pub about: About,
    /// What comes back.
    #[serde(default)]
    pub of: RefundOf,
    /// How much, micros; 1 to 10^15.
    #[schema(minimum = 1, maximum = 1_000_000_000_000_000i64)]
    pub amount_micros: i64,
    /// Why.
    pub reason: RefundReason,
}

/// Credits that came back.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct Refund {
    /// Its id.
    pub refund_id: String,
    /// The wallet they came back to.
    pub wallet_id: String,
    /// What came back.
    pub of: RefundOf,
    /// How much: what was asked, never less or more.
    pub amount_micros: i64,
    /// What the wallet holds after it, held credits among them.
    pub balance_after_micros: i64,
    /// What is still held for the task.
    pub held_micros: i64,
    /// When they moved, by the platform's clock, to the microsecond: later movements of a wallet have later times.
    #[schema(format = "date-time")]
    pub moved_at: String,
}

/// `POST /licenses/check`: may this user run this template?
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LicenseCheckRequest {
    /// Whom and what it is about; with `license_id` and `user_id`.
    pub about: About,
    /// Compute quota that the task would use up, micros; 0 to 10^15.
    #[serde(default)]
    #[schema(minimum = 0, maximum = 1_000_000_000_000_000i64)]
    pub needed_micros: i64,
}

/// The licence stands. That it does not is a problem: expired, revoked, used up, or another's.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize, ToSchema)]
pub struct LicenseCheck {
    /// The licence.
    pub license_id: String,
    /// What is left of its compute quota, micros.
    pub quota_remaining_micros: i64,
    /// Until when it stands.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

/// A request of one of the calls.
#[derive(Clone, Debug, PartialEq)]
pub enum Ask {
    /// `/credits/estimate`
    Estimate(EstimateRequest),
    /// `/credits/charge`
    Charge(ChargeRequest),
    /// `/credits/refund`
    Refund(RefundRequest),
    /// `/licenses/check`
    Check(LicenseCheckRequest),
}

/// Why a body is none: a code, and a sentence with the field's path and never its value.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{detail}")]
pub struct Malformed {
    /// `invalid_request`.
    pub code: Code,
    /// Which field, and what it must be.
    pub detail: String,
}

impl Ask {
    /// Reads a body and holds every field against its bounds.
    ///
    /// # Errors
    /// See [`Malformed`]: the first thing that is wrong.
    pub fn read(endpoint: Endpoint, body: &[u8]) -> Result<Ask, Malformed> {
        let ask = match endpoint {
            Endpoint::CreditsEstimate => Ask::Estimate(parse(body)?),
            Endpoint::CreditsCharge => Ask::Charge(parse(body)?),
            Endpoint::CreditsRefund => Ask::Refund(parse(body)?),
            Endpoint::LicensesCheck => Ask::Check(parse(body)?),
            Endpoint::TasksTransitions | Endpoint::LicensesRevoke => {
                return Err(malformed("only flows of the gateway ask for that"));
            }
        };
        ask.check()?;
        Ok(ask)
    }

    /// Which call it is.
    pub fn endpoint(&self) -> Endpoint {
        match self {
            Ask::Estimate(_) => Endpoint::CreditsEstimate,
            Ask::Charge(_) => Endpoint::CreditsCharge,
            Ask::Refund(_) => Endpoint::CreditsRefund,
            Ask::Check(_) => Endpoint::LicensesCheck,
        }
    }

    /// Whom and what it is about.
    pub fn about(&self) -> &About {
        match self {
            Ask::Estimate(ask) => &ask.about,
            Ask::Charge(ask) => &ask.about,
            Ask::Refund(ask) => &ask.about,
            Ask::Check(ask) => &ask.about,
        }
    }

    /// The body in its one form: equal requests have equal bytes, whatever their spaces and the order of their fields.
    pub fn canonical(&self) -> Vec<u8> {
        let body = match self {
            Ask::Estimate(ask) => serde_json::to_vec(ask),
            Ask::Charge(ask) => serde_json::to_vec(ask),
            Ask::Refund(ask) => serde_json::to_vec(ask),
            Ask::Check(ask) => serde_json::to_vec(ask),
        };
        body.unwrap_or_default() // texts and numbers: nothing there can fail
    }

    fn check(&self) -> Result<(), Malformed> {
        self.about().check()?;
        match self {
            Ask::Estimate(ask) => within("compute_units", ask.compute_units, 1, 1_000_000_000),
            Ask::Charge(ask) => {
                required("about.task_id", ask.about.task_id.as_ref())?;
                id("estimate_id", ask.estimate_id.as_deref())?;
                within("amount_micros", ask.amount_micros, 1, AMOUNT_MICROS_MAX)
            }
            Ask::Refund(ask) => {
                if ask.of == RefundOf::Hold {
                    required("about.task_id", ask.about.task_id.as_ref())?;
                }
                within("amount_micros", ask.amount_micros, 1, AMOUNT_MICROS_MAX)
            }
            Ask::Check(ask) => {
                required("about.license_id", ask.about.license_id.as_ref())?;
                required("about.user_id", ask.about.user_id.as_ref())?;
                within("needed_micros", ask.needed_micros, 0, AMOUNT_MICROS_MAX)
            }
        }
    }
}

impl About {
    /// Holds its ids and its tag against their bounds.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn check(&self) -> Result<(), Malformed> {
        id("about.wallet_id", Some(&self.wallet_id))?;
        let optional = [
            ("about.task_id", &self.task_id),
            ("about.user_id", &self.user_id),
            ("about.creator_id", &self.creator_id),
            ("about.license_id", &self.license_id),
            ("about.template_id", &self.template_id),
            ("about.case_id", &self.case_id),
        ];
        for (path, value) in optional {
            id(path, value.as_deref())?;
        }
        match policy_tags().iter().any(|tag| tag.symbol == self.policy_tag) {
            true => Ok(()),
            false => Err(malformed("about.policy_tag is no symbol of the dictionary of policy tags")),
        }
    }
}

/// Reads a body of one type; what is wrong is told with its path.
///
/// # Errors
/// See [`Malformed`].
pub fn parse<T: serde::de::DeserializeOwned>(body: &[u8]) -> Result<T, Malformed> {
    let mut reader = serde_json::Deserializer::from_slice(body);
    let read: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let (path, problem) = (error.path().to_string(), error.into_inner());
        let at = format!("line {} column {}", problem.line(), problem.column());
        match problem.classify() {
            serde_json::error::Category::Data if path != "." => {
                malformed(format!("{path} ({at}) is not what the contract says; see openapi.json"))
            }
            serde_json::error::Category::Data => malformed(field_error(&problem, &at)),
            _ => malformed(format!("the body is not JSON: {at}")),
        }
    })?;
    reader.end().map_err(|_| malformed("the body goes on after its JSON value"))?;
    Ok(read)
}

/// What serde says of a field that is missing or unknown names fields only; of anything else it would quote values.
fn field_error(problem: &serde_json::Error, at: &str) -> String {
    let text = problem.to_string();
    let names_fields = text.starts_with("missing field") || text.starts_with("unknown field");
    let known = text.split(", expected").next().filter(|_| names_fields).unwrap_or_default();
    match known.is_empty() || known.len() > ID_BYTES_MAX {
        true => format!("the body ({at}) is not what the contract says; see openapi.json"),
        false => format!("{known} ({at})"),
    }
}

pub(super) fn malformed(detail: impl Into<String>) -> Malformed {
    Malformed { code: Code::InvalidRequest, detail: detail.into() }
}

pub(super) fn required(path: &str, value: Option<&String>) -> Result<(), Malformed> {
    value.map(|_| ()).ok_or_else(|| malformed(format!("{path} is required here")))
}

pub(super) fn id(path: &str, value: Option<&str>) -> Result<(), Malformed> {
    let good = value.is_none_or(|value| {
        !value.is_empty() && value.len() <= ID_BYTES_MAX && !value.chars().any(char::is_control)
    });
    good.then_some(()).ok_or_else(|| malformed(format!("{path} must have 1 to {ID_BYTES_MAX} bytes of text")))
}

pub(super) fn within<T: PartialOrd + std::fmt::Display>(
    path: &str,
    value: T,
    min: T,
    max: T,
) -> Result<(), Malformed> {
    let good = value >= min && value <= max;
    good.then_some(()).ok_or_else(|| malformed(format!("{path} must be from {min} to {max}")))
}
