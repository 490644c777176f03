//! What is asked of the platform: the four calls, which callers reach, and the acts of flows, which they do not.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// What is asked of the platform: the path and the symbol that events give it.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, PartialEq, Serialize, ToSchema)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Endpoint {
    /// `POST /credits/estimate`
    CreditsEstimate,
    /// `POST /credits/charge`
    CreditsCharge,
    /// `POST /credits/refund`
    CreditsRefund,
    /// `POST /licenses/check`
    LicensesCheck,
    /// `POST /tasks/transitions`: an act of a flow, no call.
    TasksTransitions,
    /// `POST /licenses/revoke`: an act of a flow, no call.
    LicensesRevoke,
}

impl Endpoint {
    /// The calls, which callers reach through the gateway.
    pub const CALLS: [Endpoint; 4] = [
        Endpoint::CreditsEstimate,
        Endpoint::CreditsCharge,
        Endpoint::CreditsRefund,
        Endpoint::LicensesCheck,
    ];
    /// All of it, in the order of the symbols of events.
    pub const ALL: [Endpoint; 6] = [
        Endpoint::CreditsEstimate,
        Endpoint::CreditsCharge,
        Endpoint::CreditsRefund,
        Endpoint::LicensesCheck,
        Endpoint::TasksTransitions,
        Endpoint::LicensesRevoke,
    ];

    /// Its path behind the gateway; of a call also before it.
    pub const fn path(self) -> &'static str {
        match self {
            Endpoint::CreditsEstimate => "/credits/estimate",
            Endpoint::CreditsCharge => "/credits/charge",
            Endpoint::CreditsRefund => "/credits/refund",
            Endpoint::LicensesCheck => "/licenses/check",
            Endpoint::TasksTransitions => "/tasks/transitions",
            Endpoint::LicensesRevoke => "/licenses/revoke",
        }
    }

    /// Its symbol in events, metrics and the store.
    pub const fn symbol(self) -> &'static str {
        match self {
            Endpoint::CreditsEstimate => "CREDITS_ESTIMATE",
            Endpoint::CreditsCharge => "CREDITS_CHARGE",
            Endpoint::CreditsRefund => "CREDITS_REFUND",
            Endpoint::LicensesCheck => "LICENSES_CHECK",
            Endpoint::TasksTransitions => "TASKS_TRANSITIONS",
            Endpoint::LicensesRevoke => "LICENSES_REVOKE",
        }
    }

    /// That of the symbol.
    pub fn of_symbol(symbol: &str) -> Option<Endpoint> {
        Endpoint::ALL.into_iter().find(|endpoint| endpoint.symbol() == symbol)
    }

    /// Whether it moves credits: then it has a key, and what became of it is never left open.
    pub const fn moves_money(self) -> bool {
        matches!(self, Endpoint::CreditsCharge | Endpoint::CreditsRefund)
    }

    /// The scope that a caller's token must have; none where callers do not reach it.
    pub const fn scope(self) -> Option<&'static str> {
        match self {
            Endpoint::CreditsEstimate => Some("credits:estimate"),
            Endpoint::CreditsCharge => Some("credits:charge"),
            Endpoint::CreditsRefund => Some("credits:refund"),
            Endpoint::LicensesCheck => Some("licenses:check"),
            Endpoint::TasksTransitions | Endpoint::LicensesRevoke => None,
        }
    }
}
