//! Checks events against the keys that the service publishes, by code of our own: not by what signed them.

use super::frame::Frame;
use anyhow::Context;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signature, VerifyingKey};
use std::collections::{HashMap, HashSet};
use std::sync::{PoisonError, RwLock};

/// Media type under which events are signed.
const TYPE: &str = "application/cloudevents+json";

/// The service's public keys.
pub(in crate::cli) struct Signatures {
    url: String,
    keys: RwLock<HashMap<String, VerifyingKey>>,
    /// Keys whose signatures were found good.
    used: RwLock<HashSet<String>>,
}

impl Signatures {
    /// Of the service at that address; no key is known yet.
    pub(in crate::cli) fn of(service: &str) -> Signatures {
        Signatures {
            url: format!("{service}/.well-known/jwks.json"),
            keys: RwLock::default(),
            used: RwLock::default(),
        }
    }

    /// Fetches the keys; those that are known stay known. Returns how many are published now.
    pub(in crate::cli) async fn refresh(&self) -> anyhow::Result<usize> {
        let answer =
            reqwest::Client::builder().no_proxy().build()?.get(&self.url).send().await?.error_for_status()?;
        let set: serde_json::Value = answer.json().await?;
        let published = set["keys"].as_array().context("the JWKS lists no keys")?;
        let mut keys = self.keys.write().unwrap_or_else(PoisonError::into_inner);
        for key in published {
            let (Some(kid), Some(x)) = (key["kid"].as_str(), key["x"].as_str()) else { continue };
            let raw: [u8; 32] = BASE64_URL_SAFE_NO_PAD
                .decode(x)?
                .try_into()
                .map_err(|_| anyhow::anyhow!("a key is not 32 bytes long"))?;
            keys.insert(kid.to_owned(), VerifyingKey::from_bytes(&raw)?);
        }
        Ok(published.len())
    }

    /// Whether that key is known.
    pub(in crate::cli) fn knows(&self, kid: &str) -> bool {
        self.keys.read().unwrap_or_else(PoisonError::into_inner).contains_key(kid)
    }

    /// How many keys have signed something that was found good.
    pub(in crate::cli) fn used(&self) -> usize {
        self.used.read().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// Whether the payload was signed by the key that the frame names; an unknown one has signed nothing.
    pub(in crate::cli) fn verify(&self, frame: &Frame<'_>) -> bool {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let signature =
            BASE64_STANDARD.decode(&*frame.sig).ok().and_then(|raw| Signature::from_slice(&raw).ok());
        let (Some(key), Some(signature)) = (keys.get(&*frame.kid), signature) else { return false };
        let message = format!("DSSEv1 {} {TYPE} {} {}", TYPE.len(), frame.payload.len(), frame.payload);
        let good = key.verify_strict(message.as_bytes(), &signature).is_ok();
        if good && !self.used.read().unwrap_or_else(PoisonError::into_inner).contains(&*frame.kid) {
            self.used.write().unwrap_or_else(PoisonError::into_inner).insert(frame.kid.to_string());
        }
        good
    }
}
