//! Who a token speaks for.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// What somebody is to the platform; the column of the table of rights.
#[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, Ord, PartialEq, PartialOrd, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Owns templates and grants licences.
    Creator,
    /// Runs tasks.
    Buyer,
    /// Reviews cases.
    Moderator,
    /// Operates the platform.
    Admin,
    /// A service of the platform, or who develops one.
    Service,
}

impl Role {
    /// Every role, in the order of the table.
    pub const ALL: [Role; 5] = [Role::Creator, Role::Buyer, Role::Moderator, Role::Admin, Role::Service];

    /// As it stands in tokens, logs and documents.
    pub const fn name(self) -> &'static str {
        match self {
            Role::Creator => "creator",
            Role::Buyer => "buyer",
            Role::Moderator => "moderator",
            Role::Admin => "admin",
            Role::Service => "service",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(text: &str) -> Result<Role, String> {
        let found = Role::ALL.into_iter().find(|role| role.name() == text);
        found.ok_or_else(|| "expected creator, buyer, moderator, admin or service".to_owned())
    }
}

/// Who asks, for as long as the token lives.
///
/// The subject is the `user_id` of a buyer's events, the `creator_id` of a creator's, the `actor_id` of a moderator's reviews.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Principal {
    /// Claim `sub`; never empty, since an absent id is an empty text in the store.
    pub subject: String,
    /// Claim `role`.
    pub role: Role,
    /// Claim `scope` (RFC 8693), split: what the token may be used for beside its role. Calls of the gateway need one each.
    pub scopes: Vec<String>,
    /// Claim `jti`.
    pub token_id: String,
    /// Claim `iat`, seconds since 1970 UTC.
    pub issued_at_s: i64,
    /// Claim `exp`, seconds since 1970 UTC.
    pub expires_at_s: i64,
}
