//! One access token (RFC 9068): its header, its signature, its claims.

use super::checked::Checked;
use super::keys::{Key, Keys};
use super::principal::{Principal, Role};
use jsonwebtoken::errors::ErrorKind;
use jsonwebtoken::{Algorithm, Header, Validation, decode, decode_header};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Longest life of a token, seconds: one that claims more is refused, whoever signed it.
pub const LIFETIME_S_MAX: i64 = 900;
/// How far the issuer's clock may be ahead of ours, seconds.
const CLOCK_AHEAD_S_MAX: i64 = 5;
/// Bytes of a token; nothing longer is looked at.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
/// Bytes of a subject and of a token's id.
pub(super) const NAME_BYTES_MAX: usize = 256;

/// Symmetric algorithms and `none` are not in the list: who can check a token must not be able to make one.
const ALGORITHMS: [Algorithm; 3] = [Algorithm::EdDSA, Algorithm::ES256, Algorithm::RS256];

/// Whom the tokens must come from and be for.
#[derive(Clone, Debug)]
pub(super) struct Expected {
    pub(super) issuer: String,
    pub(super) audience: String,
}

/// The claims that are looked at.
#[derive(Debug, Deserialize, Serialize)]
pub(super) struct Claims {
    pub(super) sub: String,
    pub(super) jti: String,
    pub(super) role: Role,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub(super) scope: String,
    pub(super) iat: i64,
    pub(super) exp: i64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) nbf: Option<i64>,
}

/// Why a token is none.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Wrong {
    /// Malformed, of another kind, badly signed, for somebody else, or outside its bounds.
    Invalid,
    /// It was good once.
    Expired,
}

/// The header, if the token could be one of ours. No signature has been looked at.
pub(super) fn header(token: &str) -> Result<Header, Wrong> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(Wrong::Invalid);
    }
    let header = decode_header(token).map_err(|_| Wrong::Invalid)?;
    let typ = header.typ.as_deref().unwrap_or_default().to_ascii_lowercase();
    let is_access_token = matches!(typ.as_str(), "at+jwt" | "application/at+jwt");
    // an extension that must be understood is not understood here
    let good = is_access_token && header.crit.is_none() && ALGORITHMS.contains(&header.alg);
    if good { Ok(header) } else { Err(Wrong::Invalid) }
}

/// The key that a header names. A token without a key's name is accepted where there is only one key.
pub(super) fn key_of<'a>(keys: &'a Keys, header: &Header) -> Option<&'a Key> {
    let key = match &header.kid {
        Some(kid) => keys.find(kid),
        None => keys.only(),
    };
    key.filter(|key| key.algorithm == header.alg)
}

/// Holds a token against its key and what is expected. `now_s` is seconds since 1970 UTC.
pub(super) fn check(token: &str, key: &Key, expected: &Expected, now_s: i64) -> Result<Principal, Wrong> {
    let name = Checked::name(token, expected);
    let known = key.checked.find(&name);
    let is_new = known.is_none();
    let claims = match known {
        Some(claims) => claims,
        None => Arc::new(signed(token, key, expected)?),
    };
    let Claims { sub, jti, role, scope, iat, exp, nbf } = claims.as_ref();
    let (iat, exp) = (*iat, *exp);
    let named = [sub, jti].into_iter().all(|name| !name.is_empty() && name.len() <= NAME_BYTES_MAX);
    let life = exp.checked_sub(iat).is_some_and(|life| (1..=LIFETIME_S_MAX).contains(&life));
    let begun = [Some(iat), *nbf].into_iter().flatten().all(|from| from <= now_s + CLOCK_AHEAD_S_MAX);
    if !(named && life && begun) {
        return Err(Wrong::Invalid);
    }
    if exp <= now_s {
        return Err(Wrong::Expired);
    }
    let principal = Principal {
        subject: sub.clone(),
        role: *role,
        scopes: scope.split_ascii_whitespace().map(str::to_owned).collect(),
        token_id: jti.clone(),
        issued_at_s: iat,
        expires_at_s: exp,
    };
    if is_new {
        key.checked.remember(name, claims, now_s);
    }
    Ok(principal)
}

/// What a token of that key says that is from and for whom it must be, at whatever time.
fn signed(token: &str, key: &Key, expected: &Expected) -> Result<Claims, Wrong> {
    let mut validation = Validation::new(key.algorithm); // that of the key: the header cannot choose
    validation.set_issuer(&[&expected.issuer]);
    validation.set_audience(&[&expected.audience]);
    validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
    validation.leeway = 0;
    validation.validate_exp = false; // `check` holds times against now
    let claims = decode::<Claims>(token, &key.decoding, &validation).map_err(|error| match error.kind() {
        ErrorKind::ExpiredSignature => Wrong::Expired,
        _ => Wrong::Invalid,
    })?;
    Ok(claims.claims)
}
