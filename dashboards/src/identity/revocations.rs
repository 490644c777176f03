//! What was revoked, as every replica reads it from the store again and again.

use super::principal::Principal;
use super::token::LIFETIME_S_MAX;
use clickhouse::Client;
use std::collections::HashSet;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};
use tally_queries::QueryError;
use tally_queries::revocations::{Mark, Revoked, revocations};
use thiserror::Error;
use tokio::sync::{Mutex, watch};
use tokio_util::sync::CancellationToken;

/// How often the store is asked: a revocation must be effective within 2 s on every replica.
pub(super) const POLL_MS: u64 = 400;
/// Without an answer for so long nobody is let in and every stream ends: what was revoked meanwhile is not known, and must be
/// effective within 2 s.
pub(super) const BLIND_MS_MAX: u64 = 1_800;
/// Longest wait for one answer.
const ANSWER_MS_MAX: u64 = 1_000;

/// The set could not be read.
#[derive(Debug, Error)]
pub(super) enum Unread {
    #[error(transparent)]
    Query(#[from] QueryError),
    #[error("no answer within {ANSWER_MS_MAX} ms")]
    Late,
}

/// The set as it is known here.
pub(super) struct Revocations {
    client: Client,
    blind: Duration,
    known: RwLock<Known>,
    changed: watch::Sender<u64>,
    /// Held while asking, so that an older answer never follows a newer one.
    asking: Mutex<()>,
}

#[derive(Default)]
struct Known {
    mark: Option<Mark>,
    tokens: HashSet<String>,
    subjects: HashSet<String>,
    seen: Option<Instant>,
}

impl Revocations {
    /// Without an answer for longer than `blind` nobody is let in.
    pub(super) fn new(client: Client, blind: Duration) -> Arc<Revocations> {
        let changed = watch::Sender::new(0);
        Arc::new(Revocations { client, blind, known: RwLock::default(), changed, asking: Mutex::default() })
    }

    /// Asks again and again until `stop`.
    pub(super) fn follow(self: &Arc<Revocations>, stop: CancellationToken) {
        let this = Arc::clone(self);
        tokio::spawn(async move {
            let mut pause = tokio::time::interval(Duration::from_millis(POLL_MS));
            pause.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            let mut silent = false;
            loop {
                tokio::select! { () = stop.cancelled() => return, _ = pause.tick() => {} }
                match this.refresh().await {
                    Ok(()) => silent = false,
                    Err(error) => {
                        if !silent {
                            tracing::warn!(error = %crate::chain(&error), "revocations cannot be read");
                        }
                        silent = true;
                        if matches!(error, Unread::Late) {
                            pause.reset_immediately(); // it was waited for long enough
                        }
                    }
                }
            }
        });
    }

    /// Reads the set; whoever waits for changes hears of one.
    pub(super) async fn refresh(&self) -> Result<(), Unread> {
        let _one_at_a_time = self.asking.lock().await;
        self.ask().await
    }

    /// Waits until the set is known, no longer than for one answer, however many wait.
    pub(super) async fn until_known(&self) -> Result<(), Unread> {
        let known = async {
            let _one_at_a_time = self.asking.lock().await;
            if self.is_known() { Ok(()) } else { self.ask().await }
        };
        let answer = tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), known).await;
        answer.map_err(|_| Unread::Late)?
    }

    async fn ask(&self) -> Result<(), Unread> {
        let begun = Instant::now();
        let mark = self.read().mark.clone();
        let asked = revocations(&self.client, mark.as_ref(), LIFETIME_S_MAX);
        let fresh = match tokio::time::timeout(Duration::from_millis(ANSWER_MS_MAX), asked).await {
            Ok(answer) => answer?,
            Err(_) => return Err(Unread::Late),
        };
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.seen = Some(begun);
        let Some((mark, revoked)) = fresh else { return Ok(()) };
        let of = |token: bool| {
            let mine = revoked.iter().filter(move |one| one.is_token() == token);
            mine.map(Revoked::value).map(str::to_owned).collect::<HashSet<_>>()
        };
        let (tokens, subjects) = (of(true), of(false));
        let same = known.mark.is_some() && (&known.tokens, &known.subjects) == (&tokens, &subjects);
        (known.mark, known.tokens, known.subjects) = (Some(mark), tokens, subjects);
        drop(known);
        if !same {
            self.changed.send_modify(|version| *version += 1);
        }
        Ok(())
    }

    /// Whether the set is known well enough to let somebody in.
    pub(super) fn is_known(&self) -> bool {
        self.read().seen.is_some_and(|seen| seen.elapsed() <= self.blind)
    }

    pub(super) fn holds(&self, principal: &Principal) -> bool {
        let known = self.read();
        known.tokens.contains(&principal.token_id) || known.subjects.contains(&principal.subject)
    }

    pub(super) fn watch(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    fn read(&self) -> std::sync::RwLockReadGuard<'_, Known> {
        self.known.read().unwrap_or_else(PoisonError::into_inner)
    }
}
