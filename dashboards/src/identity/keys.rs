//! Public keys of those who may issue tokens, as JSON Web Keys.

use super::checked::Checked;
use jsonwebtoken::jwk::{
    AlgorithmParameters, EllipticCurve, Jwk, KeyAlgorithm, PublicKeyUse, ThumbprintHash,
};
use jsonwebtoken::{Algorithm, DecodingKey};
use serde_json::Value;
use std::collections::HashMap;
use thiserror::Error;

/// Keys of one set; an issuer that lists more is not one of ours.
const KEYS_MAX: usize = 64;

/// A text that is no set of keys.
#[derive(Debug, Error)]
pub enum KeyError {
    /// It is not JSON, or not a key or set of keys.
    #[error("not a JSON Web Key, nor a set of them")]
    NotKeys(#[source] serde_json::Error),
    /// No key of it can be used.
    #[error("no key for EdDSA (Ed25519), ES256 or RS256 in it")]
    NoneUsable,
    /// A secret where a public key belongs.
    #[error("it holds a private key: give the file of the public one")]
    Private,
    /// Too many.
    #[error("more than {KEYS_MAX} keys")]
    TooMany,
    /// A private key that cannot be read.
    #[error("not a private Ed25519 key as `tally token keygen` writes it")]
    NotPrivate,
    /// The key could not sign.
    #[error("the key cannot sign")]
    Unusable(#[source] jsonwebtoken::errors::Error),
}

/// One key, and the one algorithm it is for.
#[derive(Clone)]
pub(super) struct Key {
    pub(super) algorithm: Algorithm,
    pub(super) decoding: DecodingKey,
    /// What it has signed.
    pub(super) checked: Checked,
}

/// Keys by their names.
#[derive(Clone, Default)]
pub(super) struct Keys {
    by_id: HashMap<String, Key>,
}

impl Keys {
    /// Reads one key or a set (`{"keys": […]}`). Keys for other uses and algorithms are passed over.
    pub(super) fn parse(text: &str) -> Result<Keys, KeyError> {
        let value: Value = serde_json::from_str(text).map_err(KeyError::NotKeys)?;
        let list = match value.get("keys").and_then(Value::as_array) {
            Some(list) => list.clone(),
            None => vec![value],
        };
        if list.len() > KEYS_MAX {
            return Err(KeyError::TooMany);
        }
        if list.iter().any(|key| key.get("d").is_some()) {
            return Err(KeyError::Private);
        }
        let mut keys = Keys::default();
        for value in list {
            let Ok(jwk) = serde_json::from_value::<Jwk>(value) else { continue }; // of a kind unknown here
            if let Some((id, key)) = usable(&jwk) {
                keys.by_id.insert(id, key);
            }
        }
        if keys.by_id.is_empty() { Err(KeyError::NoneUsable) } else { Ok(keys) }
    }

    /// These and those.
    pub(super) fn join(&mut self, other: Keys) {
        self.by_id.extend(other.by_id);
    }

    pub(super) fn find(&self, id: &str) -> Option<&Key> {
        self.by_id.get(id)
    }

    /// The only key, where there is one.
    pub(super) fn only(&self) -> Option<&Key> {
        let mut keys = self.by_id.values();
        keys.next().filter(|_| keys.next().is_none())
    }

    pub(super) fn len(&self) -> usize {
        self.by_id.len()
    }
}

/// A key's name (its thumbprint by RFC 7638 where it has none) and what it is for.
fn usable(jwk: &Jwk) -> Option<(String, Key)> {
    let (algorithm, name) = match &jwk.algorithm {
        AlgorithmParameters::OctetKeyPair(key) if key.curve == EllipticCurve::Ed25519 => {
            (Algorithm::EdDSA, KeyAlgorithm::EdDSA)
        }
        AlgorithmParameters::EllipticCurve(key) if key.curve == EllipticCurve::P256 => {
            (Algorithm::ES256, KeyAlgorithm::ES256)
        }
        AlgorithmParameters::RSA(_) => (Algorithm::RS256, KeyAlgorithm::RS256),
        _ => return None,
    };
    let for_this = jwk.common.key_algorithm.is_none_or(|stated| stated == name);
    let signs = jwk.common.public_key_use.as_ref().is_none_or(|usage| *usage == PublicKeyUse::Signature);
    if !(for_this && signs) {
        return None;
    }
    let decoding = DecodingKey::from_jwk(jwk).ok()?;
    let id = match &jwk.common.key_id {
        Some(id) => id.clone(),
        None => jwk.thumbprint(ThumbprintHash::SHA256).ok()?,
    };
    Some((id, Key { algorithm, decoding, checked: Checked::default() }))
}
