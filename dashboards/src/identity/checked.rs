//! Tokens whose signature was good: a caller shows the same one a thousand times, and checking a signature costs more than all else
//! that is asked of a call.
//!
//! Each key has a memory of its own, so a key that its issuer withdraws takes what it signed with it; keys that are fetched anew begin
//! with an empty one. Times and revocations are not remembered: they are looked at each time.

use super::token::{Claims, Expected};
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Tokens of one key that are remembered; one more, and those that have expired are forgotten, or all where none has: who shows a token
/// again is checked again.
const TOKENS_MAX: usize = 4_096;

/// Names a token by all its bytes, and by whom it was held against: nothing of the token itself is kept but its claims.
type Name = [u8; 32];

/// What a key's good tokens say.
#[derive(Clone, Default)]
pub(super) struct Checked(Arc<Mutex<HashMap<Name, Arc<Claims>>>>);

impl Checked {
    pub(super) fn name(token: &str, expected: &Expected) -> Name {
        let mut hash = Sha256::new();
        for text in [&expected.issuer, &expected.audience, token] {
            hash.update((text.len() as u64).to_be_bytes());
            hash.update(text);
        }
        hash.finalize().into()
    }

    pub(super) fn find(&self, name: &Name) -> Option<Arc<Claims>> {
        self.held().get(name).map(Arc::clone)
    }

    pub(super) fn remember(&self, name: Name, claims: Arc<Claims>, now_s: i64) {
        let mut held = self.held();
        if held.len() >= TOKENS_MAX {
            held.retain(|_, claims| claims.exp > now_s);
        }
        if held.len() >= TOKENS_MAX {
            held.clear();
        }
        held.insert(name, claims);
    }

    fn held(&self) -> MutexGuard<'_, HashMap<Name, Arc<Claims>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.held().len()
    }
}
