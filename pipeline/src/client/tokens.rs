//! Where access tokens come from.

use async_trait::async_trait;
use secrecy::SecretString;

/// Whatever went wrong with a service's own issuer.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Which token is wanted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Want {
    /// The one that is held, if it is still good.
    Current,
    /// Another: the gateway has just refused the one before.
    Renewed,
}

/// Gives access tokens, and renews them. A closure or function of [`Want`] that returns a future is one. It is asked before each
/// attempt, so it keeps its token; it may be asked by several calls at once.
#[async_trait]
pub trait Tokens: Send + Sync {
    /// A token to show.
    ///
    /// # Errors
    /// There is none now; the call asks once more while it has time.
    async fn token(&self, want: Want) -> Result<SecretString, BoxError>;
}

#[async_trait]
impl<F, T> Tokens for F
where
    F: Fn(Want) -> T + Send + Sync,
    T: Future<Output = Result<SecretString, BoxError>> + Send,
{
    async fn token(&self, want: Want) -> Result<SecretString, BoxError> {
        self(want).await
    }
}
