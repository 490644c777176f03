//! Who is let in: the one place where a token becomes a principal.

use super::jwks::Jwks;
use super::keys::{KeyError, Keys};
use super::principal::Principal;
use super::revocations::{BLIND_MS_MAX, Revocations};
use super::token::{self, Expected, Wrong};
use clickhouse::Client;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tally_queries::QueryError;
use tally_queries::revocations::{Revocation, revoke};
use thiserror::Error;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Why somebody is not let in.
#[derive(Clone, Copy, Debug, Eq, Error, PartialEq)]
pub enum Denied {
    /// There is no token.
    #[error("no access token")]
    Missing,
    /// Malformed, badly signed, of another issuer, for another audience, or outside its bounds.
    #[error("the access token is not valid here")]
    Invalid,
    /// It was good once.
    #[error("the access token has expired")]
    Expired,
    /// The token or its subject was revoked.
    #[error("the access token was revoked")]
    Revoked,
    /// The issuer's keys or the revocations cannot be had now.
    #[error("tokens cannot be checked now")]
    Unavailable,
}

/// Why tokens cannot be checked at all.
#[derive(Debug, Error)]
pub enum AuthorityError {
    /// A file of public keys.
    #[error("a token key")]
    Key(#[from] KeyError),
    /// The address of a key set.
    #[error("'{0}' is no address of keys: https, or http on loopback")]
    Address(String),
    /// Neither files nor an address.
    #[error("no key to check tokens with")]
    NoKey,
    /// The HTTP client.
    #[error("the issuer's keys: {0}")]
    Client(String),
}

/// Where the keys come from.
#[derive(Clone, Debug)]
pub enum KeySource {
    /// Texts of public JSON Web Keys, or sets of them.
    Local(Vec<String>),
    /// Address of the issuer's key set.
    Jwks(String),
}

/// Whose tokens are taken.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Claim `iss`.
    pub issuer: String,
    /// Claim `aud`.
    pub audience: String,
    /// The keys.
    pub keys: KeySource,
}

enum Source {
    Local(Keys),
    Jwks(Arc<Jwks>),
}

struct Inner {
    source: Source,
    expected: Expected,
    revocations: Arc<Revocations>,
    client: Client,
}

/// Turns tokens into principals. Cloning is cheap, and clones share what they know.
#[derive(Clone)]
pub struct Authority {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Authority {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Authority").field("expected", &self.inner.expected).finish_non_exhaustive()
    }
}

impl Authority {
    /// Begins to follow the revocations in the store behind `client`, until `stop`.
    ///
    /// # Errors
    /// Keys that are none, an address that is none, or no key at all.
    pub fn start(
        settings: Settings,
        client: Client,
        stop: CancellationToken,
    ) -> Result<Authority, AuthorityError> {
        Authority::start_blind_for(Duration::from_millis(BLIND_MS_MAX), settings, client, stop)
    }

    /// The same, for those who must go on for a while where the store is away: a revocation may then be that much later in force.
    ///
    /// # Errors
    /// As above.
    pub fn start_blind_for(
        blind: Duration,
        settings: Settings,
        client: Client,
        stop: CancellationToken,
    ) -> Result<Authority, AuthorityError> {
        let source = match settings.keys {
            KeySource::Local(texts) => {
                let mut keys = Keys::default();
                for text in &texts {
                    keys.join(Keys::parse(text)?);
                }
                if keys.len() == 0 {
                    return Err(AuthorityError::NoKey);
                }
                Source::Local(keys)
            }
            KeySource::Jwks(address) => {
                let url = address_of_keys(&address).ok_or(AuthorityError::Address(address))?;
                let jwks = Jwks::new(url).map_err(|error| AuthorityError::Client(crate::chain(&error)))?;
                let jwks = Arc::new(jwks);
                jwks.follow(stop.clone());
                Source::Jwks(jwks)
            }
        };
        let revocations = Revocations::new(client.clone(), blind);
        revocations.follow(stop);
        let expected = Expected { issuer: settings.issuer, audience: settings.audience };
        Ok(Authority { inner: Arc::new(Inner { source, expected, revocations, client }) })
    }

    /// Who a token speaks for. An empty text is no token.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn verify(&self, token: &str) -> Result<Principal, Denied> {
        if token.is_empty() {
            return Err(Denied::Missing);
        }
        let header = token::header(token).map_err(denied)?;
        let expected = &self.inner.expected;
        let principal = match &self.inner.source {
            Source::Local(keys) => {
                let key = token::key_of(keys, &header).ok_or(Denied::Invalid)?;
                token::check(token, key, expected, now_s()).map_err(denied)?
            }
            Source::Jwks(jwks) => {
                let checked = jwks.check(token, &header, expected, now_s()).await;
                checked.ok_or(Denied::Unavailable)?.map_err(denied)?
            }
        };
        if !self.inner.revocations.is_known() {
            // a moment after the start, or the store was away: ask now
            self.inner.revocations.until_known().await.map_err(|_| Denied::Unavailable)?;
        }
        if self.is_revoked(&principal) { Err(Denied::Revoked) } else { Ok(principal) }
    }

    /// Whether the principal's token or subject was revoked, as far as is known here: at most 2 s ago.
    pub fn is_revoked(&self, principal: &Principal) -> bool {
        self.inner.revocations.holds(principal)
    }

    /// Whether what was revoked is known well enough to let anybody go on.
    pub fn is_current(&self) -> bool {
        self.inner.revocations.is_known()
    }

    /// Changes whenever the set of revocations does.
    pub fn revocations(&self) -> watch::Receiver<u64> {
        self.inner.revocations.watch()
    }

    /// Writes a revocation, or what lifts one; here it is effective at once, elsewhere within 2 s.
    ///
    /// # Errors
    /// Where the store does not take it.
    pub async fn revoke(&self, revocation: &Revocation) -> Result<(), QueryError> {
        revoke(&self.inner.client, revocation).await?;
        // it is written: should the set not be readable now, the next look finds it
        if let Err(error) = self.inner.revocations.refresh().await {
            tracing::warn!(error = %crate::chain(&error), "revocations cannot be read");
        }
        Ok(())
    }

    /// What keeps tokens from being checked; `None` where nothing does.
    pub fn waiting_for(&self) -> Option<&'static str> {
        match &self.inner.source {
            Source::Jwks(jwks) if !jwks.is_known() => Some("the issuer's keys"),
            _ => (!self.inner.revocations.is_known()).then_some("the revocations in the store"),
        }
    }
}

fn denied(wrong: Wrong) -> Denied {
    match wrong {
        Wrong::Invalid => Denied::Invalid,
        Wrong::Expired => Denied::Expired,
    }
}

/// Keys come over TLS; without it only from this machine.
fn address_of_keys(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let local = match url.host()? {
        url::Host::Ipv4(address) => address.is_loopback(),
        url::Host::Ipv6(address) => address.is_loopback(),
        url::Host::Domain(name) => name == "localhost",
    };
    let plain = url.username().is_empty() && url.password().is_none();
    (plain && (url.scheme() == "https" || (url.scheme() == "http" && local))).then_some(url)
}

/// Seconds since 1970 UTC.
fn now_s() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_secs()).unwrap_or(i64::MAX)
}
