//! Tokens of one's own, for keys that lie in a file: the demo, tests, and a first operator.

use super::keys::KeyError;
use super::principal::Role;
use super::token::LIFETIME_S_MAX;
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use ed25519_dalek::SigningKey;
use jsonwebtoken::{Algorithm, EncodingKey, Header, encode};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use uuid::Uuid;

/// What stands before the 32 bytes of an Ed25519 seed in PKCS #8 (RFC 8410, section 7).
const PKCS8_ED25519: [u8; 16] =
    [0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20];

/// Makes an Ed25519 pair: the private and the public JSON Web Key, as texts. Its name is its thumbprint (RFC 7638).
pub fn generate_key() -> (String, String) {
    let seed = SigningKey::generate(&mut rand::rngs::OsRng).to_bytes();
    let public = public_of(&seed);
    let mut private = public.clone();
    private["d"] = BASE64_URL_SAFE_NO_PAD.encode(seed).into();
    (private.to_string(), public.to_string())
}

fn public_of(seed: &[u8; 32]) -> Value {
    let x = BASE64_URL_SAFE_NO_PAD.encode(SigningKey::from_bytes(seed).verifying_key().as_bytes());
    let canonical = format!(r#"{{"crv":"Ed25519","kty":"OKP","x":"{x}"}}"#);
    let kid = BASE64_URL_SAFE_NO_PAD.encode(Sha256::digest(canonical));
    json!({ "kty": "OKP", "crv": "Ed25519", "x": x, "kid": kid, "alg": "EdDSA", "use": "sig" })
}

/// What a token shall say.
#[derive(Clone, Debug)]
pub struct TokenRequest {
    /// Claim `sub`.
    pub subject: String,
    /// Claim `role`.
    pub role: Role,
    /// Claim `scope`: words with spaces between; none where it is empty.
    pub scope: String,
    /// Seconds it lives; at most [`LIFETIME_S_MAX`].
    pub lifetime_s: i64,
}

/// Signs tokens with a private key of its own.
#[derive(Clone)]
pub struct Minter {
    key: EncodingKey,
    public: Value,
    issuer: String,
    audience: String,
}

impl std::fmt::Debug for Minter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Minter").field("issuer", &self.issuer).finish_non_exhaustive()
    }
}

impl Minter {
    /// Reads a private key as [`generate_key`] makes it.
    ///
    /// # Errors
    /// A text that is none.
    pub fn new(private: &str, issuer: &str, audience: &str) -> Result<Minter, KeyError> {
        let jwk: Value = serde_json::from_str(private).map_err(|_| KeyError::NotPrivate)?;
        let seed = jwk["d"].as_str().and_then(|d| BASE64_URL_SAFE_NO_PAD.decode(d).ok());
        let seed: [u8; 32] = seed.and_then(|seed| seed.try_into().ok()).ok_or(KeyError::NotPrivate)?;
        let public = public_of(&seed);
        if jwk["crv"] != "Ed25519" || jwk["x"] != public["x"] {
            return Err(KeyError::NotPrivate);
        }
        let key = EncodingKey::from_ed_der(&[&PKCS8_ED25519[..], &seed].concat());
        Ok(Minter { key, public, issuer: issuer.to_owned(), audience: audience.to_owned() })
    }

    /// The public key, as text.
    pub fn public(&self) -> String {
        self.public.to_string()
    }

    /// Signs a token; returns it and its id. `now_s` is seconds since 1970 UTC.
    ///
    /// # Errors
    /// Where the key cannot sign.
    pub fn mint(&self, request: &TokenRequest, now_s: i64) -> Result<(String, String), KeyError> {
        let mut header = Header::new(Algorithm::EdDSA);
        header.typ = Some("at+jwt".to_owned());
        header.kid = self.public["kid"].as_str().map(str::to_owned);
        let token_id = Uuid::now_v7().to_string();
        let claims = json!({
            "iss": self.issuer, "aud": self.audience, "client_id": "tally-token",
            "sub": request.subject, "role": request.role.name(), "scope": request.scope, "jti": token_id,
            "iat": now_s, "exp": now_s + request.lifetime_s.clamp(1, LIFETIME_S_MAX),
        });
        let token = encode(&header, &claims, &self.key).map_err(KeyError::Unusable)?;
        Ok((token, token_id))
    }
}
