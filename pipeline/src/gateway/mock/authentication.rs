//! Whose calls are taken: bearer tokens, which rotate while it runs. Only their hashes are kept.

use super::super::code::{Code, Problem};
use axum::http::{HeaderMap, header};
use sha2::{Digest, Sha256};
use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};

/// The tokens that are taken now.
#[derive(Debug, Default)]
pub(super) struct Authentication {
    /// `None`: every token.
    tokens: RwLock<Option<HashSet<[u8; 32]>>>,
}

impl Authentication {
    /// From now on these tokens are taken and no others.
    pub(super) fn accept(&self, tokens: &[String]) {
        let hashes = tokens.iter().map(|token| Sha256::digest(token).into()).collect();
        *self.tokens.write().unwrap_or_else(PoisonError::into_inner) = Some(hashes);
    }

    /// Lets a request in.
    ///
    /// # Errors
    /// `token_missing`, `token_invalid`.
    pub(super) fn admit(&self, headers: &HeaderMap) -> Result<(), Problem> {
        let given = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token = given.and_then(|value| value.split_once(' ')).and_then(|(scheme, token)| {
            (scheme.eq_ignore_ascii_case("bearer") && !token.trim().is_empty()).then_some(token.trim())
        });
        let token = token.ok_or_else(|| Problem::new(Code::TokenMissing))?;
        let hash: [u8; 32] = Sha256::digest(token).into();
        let tokens = self.tokens.read().unwrap_or_else(PoisonError::into_inner);
        match tokens.as_ref().is_none_or(|tokens| tokens.contains(&hash)) {
            true => Ok(()),
            false => Err(Problem::new(Code::TokenInvalid)),
        }
    }
}
