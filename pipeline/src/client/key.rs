//! The key under which a request is done once.

use crate::gateway::contract::{KEY_BYTES_MAX, is_key};
use std::fmt;
use uuid::Uuid;

/// A key that the gateway would not take.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a key has 1 to {KEY_BYTES_MAX} characters of printable ASCII, without spaces")]
pub struct NotAKey;

/// The `Idempotency-Key` of one logical request. Whoever asks again about the same charge or refund uses the same key, after a
/// restart too; a key that was used for one request is never used for another.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// A key of what the service keeps anyway, such as `task-1-charge`: then nothing more must be kept.
    ///
    /// # Errors
    /// See [`NotAKey`].
    pub fn new(key: impl Into<String>) -> Result<IdempotencyKey, NotAKey> {
        let key = key.into();
        is_key(&key).then_some(IdempotencyKey(key)).ok_or(NotAKey)
    }

    /// A key that nobody has. Keep it before it is used: whoever forgets it cannot ask again.
    pub fn fresh() -> IdempotencyKey {
        IdempotencyKey(Uuid::now_v7().to_string())
    }

    /// Its text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::{IdempotencyKey, NotAKey};

    /// Scenario: keys of every length about the bounds, with a space, beyond ASCII; two fresh ones.
    /// Guarantees: what the gateway would refuse is no key, and fresh keys are apart.
    #[test]
    fn a_key_is_what_the_gateway_takes() {
        assert!(IdempotencyKey::new("k").is_ok() && IdempotencyKey::new("k".repeat(128)).is_ok());
        for wrong in
            [String::new(), "k".repeat(129), "a key".to_owned(), "schlüssel".to_owned(), "k\n".to_owned()]
        {
            assert_eq!(IdempotencyKey::new(wrong), Err(NotAKey));
        }
        let (one, other) = (IdempotencyKey::fresh(), IdempotencyKey::fresh());
        assert!(one != other && IdempotencyKey::new(one.as_str()) == Ok(one.clone()));
    }
}
