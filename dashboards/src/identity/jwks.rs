//! An issuer's keys over HTTP: kept, refreshed, and kept on where the issuer is down.

use super::keys::{KeyError, Keys};
use super::principal::Principal;
use super::token::{self, Expected, Wrong};
use jsonwebtoken::Header;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use thiserror::Error;
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Keys older than this are asked for again, so that one that was withdrawn ends.
const FRESH_S_MAX: u64 = 300;
/// However many tokens name unknown keys, the issuer is asked at most this often.
const PAUSE_S_MIN: u64 = 10;
/// Longest wait for the issuer.
const ANSWER_S_MAX: u64 = 3;
/// Bytes of a set of keys.
const ANSWER_BYTES_MAX: usize = 256 * 1024;

/// The issuer's keys could not be had.
#[derive(Debug, Error)]
pub(super) enum JwksError {
    #[error("the issuer's keys cannot be fetched")]
    Http(#[from] reqwest::Error),
    #[error("the issuer's keys are longer than {ANSWER_BYTES_MAX} bytes")]
    TooLong,
    #[error("the issuer's keys cannot be used")]
    Keys(#[from] KeyError),
}

/// The keys at an address.
pub(super) struct Jwks {
    url: Url,
    http: reqwest::Client,
    held: RwLock<Held>,
    /// Held while asking: one question at a time.
    asked: Mutex<Option<Instant>>,
}

#[derive(Clone, Default)]
struct Held {
    keys: Arc<Keys>,
    since: Option<Instant>,
}

impl Jwks {
    /// Nothing is asked yet.
    pub(super) fn new(url: Url) -> Result<Jwks, JwksError> {
        let http = reqwest::Client::builder()
            .timeout(Duration::from_secs(ANSWER_S_MAX))
            .redirect(reqwest::redirect::Policy::none())
            .build()?;
        Ok(Jwks { url, http, held: RwLock::default(), asked: Mutex::default() })
    }

    /// Asks before what is held grows stale, and soon again while nothing is, until `stop`.
    pub(super) fn follow(self: &Arc<Jwks>, stop: CancellationToken) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            loop {
                this.refresh().await;
                let pause = if this.is_known() { FRESH_S_MAX / 2 } else { PAUSE_S_MIN + 1 };
                tokio::select! {
                    () = stop.cancelled() => return,
                    () = tokio::time::sleep(Duration::from_secs(pause)) => {}
                }
            }
        });
    }

    /// Whether any key is known.
    pub(super) fn is_known(&self) -> bool {
        self.held().since.is_some()
    }

    /// Holds a token against the issuer's keys; `None` while none are known.
    pub(super) async fn check(
        &self,
        token: &str,
        header: &Header,
        expected: &Expected,
        now_s: i64,
    ) -> Option<Result<Principal, Wrong>> {
        let mut held = self.held();
        let stale = held.since.is_none_or(|since| since.elapsed() > Duration::from_secs(FRESH_S_MAX));
        if stale || token::key_of(&held.keys, header).is_none() {
            self.refresh().await;
            held = self.held();
        }
        held.since?;
        let Some(key) = token::key_of(&held.keys, header) else { return Some(Err(Wrong::Invalid)) };
        Some(token::check(token, key, expected, now_s))
    }

    /// Asks the issuer, unless it was asked a moment ago. What is held stays where it does not answer.
    pub(super) async fn refresh(&self) {
        let mut asked = self.asked.lock().await;
        if asked.is_some_and(|at| at.elapsed() < Duration::from_secs(PAUSE_S_MIN)) {
            return;
        }
        *asked = Some(Instant::now());
        match self.fetch().await {
            Ok(keys) => {
                tracing::info!(keys = keys.len(), "keys of the issuer");
                let held = Held { keys: Arc::new(keys), since: Some(Instant::now()) };
                *self.held.write().unwrap_or_else(PoisonError::into_inner) = held;
            }
            Err(error) => {
                tracing::warn!(error = %crate::chain(&error), known = self.is_known(), "keys of the issuer");
            }
        }
    }

    async fn fetch(&self) -> Result<Keys, JwksError> {
        let mut answer = self.http.get(self.url.clone()).send().await?.error_for_status()?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > ANSWER_BYTES_MAX {
                return Err(JwksError::TooLong);
            }
        }
        Ok(Keys::parse(&String::from_utf8_lossy(&body))?)
    }

    fn held(&self) -> Held {
        self.held.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}
