//! Signing: Ed25519 over the DSSE pre-authentication encoding, with a key from a folder that is looked at again and again.
//!
//! A key is a file `<seconds>.jwk` in the folder: a private JSON Web Key, and from when on it signs. All keys of the folder
//! are published at once, so a key that is laid down for later is known before its first use; an old one is known until its
//! file is taken away, which must not happen before what it signed has left the retention window.

use super::frame;
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use ed25519_dalek::{Signer as _, SigningKey};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_queries::private::{PrivateError, make_private_folder, read_private, write_private};
use thiserror::Error;

/// What the payload of an event is.
pub(super) const EVENT_TYPE: &str = "application/cloudevents+json";
/// What the payload of a snapshot is.
pub(super) const SNAPSHOT_TYPE: &str = "application/json";
/// Keys of a folder.
const KEYS_MAX: usize = 64;
/// How often the folder is looked at.
const LOOK_MS: u64 = 500;

/// A folder of keys that cannot be used.
#[derive(Debug, Error)]
pub enum SigningKeyError {
    /// A file or the folder cannot be read or written.
    #[error("{path}")]
    File {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: std::io::Error,
    },
    /// A file that others may read, or that cannot be.
    #[error(transparent)]
    Private(#[from] PrivateError),
    /// A file that holds no private Ed25519 key.
    #[error("{0} holds no private Ed25519 key: make keys with `tally feed-key`")]
    NotAKey(PathBuf),
    /// Too many.
    #[error("{0} holds more than {KEYS_MAX} keys")]
    TooMany(PathBuf),
}

#[derive(Clone)]
struct Key {
    from_s: u64,
    kid: Arc<str>,
    key: SigningKey,
}

/// Signs payloads; cheap to clone.
#[derive(Clone)]
pub struct Signer {
    keys: Arc<RwLock<Vec<Key>>>,
    folder: Arc<Path>,
}

impl std::fmt::Debug for Signer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Signer").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Signer {
    /// Reads the folder; makes it, and a first key, where there is none.
    ///
    /// # Errors
    /// See [`SigningKeyError`].
    pub fn open(folder: &Path) -> Result<Signer, SigningKeyError> {
        let file = |source| SigningKeyError::File { path: folder.to_owned(), source };
        make_private_folder(folder).map_err(file)?;
        if read(folder)?.is_empty() {
            match add_signing_key(folder, 0) {
                // another service on the same folder was quicker
                Err(SigningKeyError::File { source, .. }) if source.kind() == ErrorKind::AlreadyExists => {}
                other => drop(other?),
            }
        }
        let keys = Arc::new(RwLock::new(read(folder)?));
        Ok(Signer { keys, folder: folder.into() })
    }

    /// Looks at the folder again and again until the last clone is gone. What cannot be read then leaves the keys as they are.
    pub(super) fn follow(&self) {
        let (keys, folder) = (Arc::downgrade(&self.keys), self.folder.clone());
        tokio::spawn(async move {
            let mut silent = false;
            loop {
                tokio::time::sleep(Duration::from_millis(LOOK_MS)).await;
                let Some(keys) = keys.upgrade() else { return };
                let folder = folder.clone();
                let found = tokio::task::spawn_blocking(move || read(&folder)).await;
                match found {
                    Ok(Ok(found)) if !found.is_empty() => {
                        silent = false;
                        *keys.write().unwrap_or_else(PoisonError::into_inner) = found;
                    }
                    Ok(Err(error)) if !silent => {
                        silent = true;
                        tracing::warn!(%error, "signing keys cannot be read; those known stay in use");
                    }
                    _ => {}
                }
            }
        });
    }

    /// The name of the key in use, and the signature of a payload of that type, base64.
    pub(super) fn sign(&self, kind: &str, payload: &str) -> (Arc<str>, String) {
        let now_s = now().as_secs();
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let in_use = keys.iter().rev().find(|key| key.from_s <= now_s).or_else(|| keys.first());
        let Some(Key { kid, key, .. }) = in_use.cloned() else { return ("".into(), String::new()) };
        drop(keys);
        (kid, BASE64_STANDARD.encode(key.sign(&pre_authentication(kind, payload)).to_bytes()))
    }

    /// The end of an event's frame around a payload.
    pub(super) fn frame_end(&self, payload: &str) -> Arc<str> {
        let (kid, sig) = self.sign(EVENT_TYPE, payload);
        frame::event_end(&kid, &sig, payload)
    }

    /// The public keys as a JSON Web Key Set.
    pub(super) fn key_set(&self) -> Value {
        let keys = self.keys.read().unwrap_or_else(PoisonError::into_inner);
        let all: Vec<Value> = keys.iter().map(|key| public(&key.key)).collect();
        json!({ "keys": all })
    }
}

/// DSSE's pre-authentication encoding: what is signed of a payload of that type.
fn pre_authentication(kind: &str, payload: &str) -> Vec<u8> {
    format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len()).into_bytes()
}

/// Lays a new key into the folder that signs from `after_s` seconds from now on; returns its name. Services that share the
/// folder publish it within a second, so give them and their clients' caches more than that.
///
/// # Errors
/// See [`SigningKeyError`].
pub fn add_signing_key(folder: &Path, after_s: u64) -> Result<String, SigningKeyError> {
    let mut hash = Sha256::new();
    (0..4).for_each(|_| hash.update(uuid::Uuid::new_v4().as_bytes())); // 488 random bits of the system's
    let key = SigningKey::from_bytes(&hash.finalize().into());
    let mut jwk = public(&key);
    jwk["d"] = BASE64_URL_SAFE_NO_PAD.encode(key.to_bytes()).into();
    let path = folder.join(format!("{}.jwk", now().as_secs() + after_s));
    let failed = |source| SigningKeyError::File { path: path.clone(), source };
    make_private_folder(folder).map_err(failed)?;
    let hidden = folder.join(format!(".{}", uuid::Uuid::new_v4()));
    write_private(&hidden, &format!("{jwk}\n")).map_err(failed)?;
    // a link is never half there, and never takes another key's place
    let linked = std::fs::hard_link(&hidden, &path);
    std::fs::remove_file(&hidden).map_err(failed)?;
    linked.map_err(failed)?;
    Ok(thumbprint(&key))
}

fn read(folder: &Path) -> Result<Vec<Key>, SigningKeyError> {
    let failed = |path: &Path, source| SigningKeyError::File { path: path.to_owned(), source };
    let mut keys = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|error| failed(folder, error))? {
        let path = entry.map_err(|error| failed(folder, error))?.path();
        let stem = path.file_stem().and_then(|stem| stem.to_str()).and_then(|stem| stem.parse().ok());
        let (Some(from_s), Some("jwk")) = (stem, path.extension().and_then(|e| e.to_str())) else { continue };
        let text = read_private(&path)?;
        let key = parse(&text).ok_or_else(|| SigningKeyError::NotAKey(path.clone()))?;
        keys.push(Key { from_s, kid: thumbprint(&key).into(), key });
    }
    keys.sort_by_key(|key| key.from_s);
    if keys.len() > KEYS_MAX { Err(SigningKeyError::TooMany(folder.to_owned())) } else { Ok(keys) }
}

fn parse(text: &str) -> Option<SigningKey> {
    let jwk: Value = serde_json::from_str(text).ok()?;
    let seed = BASE64_URL_SAFE_NO_PAD.decode(jwk.get("d")?.as_str()?).ok()?;
    let key = SigningKey::from_bytes(&seed.try_into().ok()?);
    let is_whole = jwk.get("crv")? == "Ed25519" && jwk.get("x")? == &public(&key)["x"];
    is_whole.then_some(key)
}

fn public(key: &SigningKey) -> Value {
    let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": thumbprint(key), "alg": "EdDSA", "use": "sig" })
}

/// RFC 7638: SHA-256 of the required members in their order.
fn thumbprint(key: &SigningKey) -> String {
    let x = BASE64_URL_SAFE_NO_PAD.encode(key.verifying_key().as_bytes());
    BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#)))
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
