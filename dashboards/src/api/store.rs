//! What every handler works with: the store under limits, the authority, and how much at once.

use crate::identity::Authority;
use crate::letters::Letters;
use crate::panel::Answers;
use crate::problem::{Code, Problem};
use crate::rates::Rates;
use clickhouse::Client;
use clickhouse::RowOwned;
use clickhouse::RowRead;
use clickhouse::query::Query;
use std::collections::HashSet;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tally_queries::QueryError;
use tally_queries::catalog::Reach;
use tally_queries::seal::{Keys, Log};
use tally_queries::service::{Question, ReadLimits, ask, limited};
use tokio::sync::{Mutex, Semaphore};

/// How long a look at the partitions' heads is good for: figures say how far the data had come.
const REACH_MS_MAX: u64 = 2_000;
/// A place among the questions must be had within this time.
const PLACE_MS_MAX: u64 = 2_000;

/// Bounds of the service.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Requests of one subject a second, in the long run.
    pub requests_per_s_max: NonZeroU32,
    /// Requests of one subject at once, after a pause.
    pub requests_burst_max: NonZeroU32,
    /// Access tokens a minute from one address that are not valid here. More are answered with 429; valid ones never are for it.
    pub bad_tokens_per_min_max: NonZeroU32,
    /// Proxies of the operator's own that stand before the service, each of which adds an address to `x-forwarded-for`.
    pub proxies: u32,
    /// Questions to the store at once.
    pub questions_at_once_max: u32,
    /// Bytes of a body.
    pub body_bytes_max: u32,
    /// Seconds from a request's head to its answer.
    pub request_s_max: u32,
    /// What one question may cost the store.
    pub read: ReadLimits,
}

impl Limits {
    /// The rates of subjects within these bounds.
    pub fn rates(&self) -> Rates {
        Rates::new(self.requests_per_s_max, self.requests_burst_max, self.bad_tokens_per_min_max)
    }
}

/// Where seals lie, and whose signature is believed.
#[derive(Debug)]
pub struct SealSource {
    /// The log.
    pub log: Log,
    /// Public keys.
    pub keys: Keys,
}

/// What the API stands on.
#[derive(Debug)]
pub struct ApiConfig {
    /// Who is let in.
    pub authority: Authority,
    /// The store.
    pub client: Client,
    /// For proofs; without it there are none.
    pub seals: Option<SealSource>,
    /// Looks into dead letters, and publishes them again.
    pub letters: Arc<dyn Letters>,
    /// Bounds.
    pub limits: Limits,
    /// How often one subject may ask; shared with what is served beside the API.
    pub rates: Rates,
}

struct Inner {
    config: ApiConfig,
    client: Client,
    places: Semaphore,
    reach: Mutex<Option<(Instant, Reach)>>,
    live: Mutex<Option<(Instant, tally_queries::Live)>>,
    answers: Answers,
    replaying: std::sync::Mutex<HashSet<String>>,
}

/// A letter that is being published again by this process: nobody else does meanwhile.
#[derive(Debug)]
pub(super) struct Replaying {
    api: Api,
    letter: String,
}

impl Drop for Replaying {
    fn drop(&mut self) {
        self.api.replaying().remove(&self.letter);
    }
}

/// The state of the API; cloning is cheap.
#[derive(Clone)]
pub struct Api {
    inner: Arc<Inner>,
}

impl std::fmt::Debug for Api {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Api").field("limits", &self.inner.config.limits).finish_non_exhaustive()
    }
}

impl Api {
    /// Nothing is asked yet.
    pub fn new(config: ApiConfig) -> Api {
        let limits = config.limits;
        let client = limited(&config.client, limits.read);
        Api {
            inner: Arc::new(Inner {
                client,
                places: Semaphore::new(limits.questions_at_once_max as usize),
                reach: Mutex::default(),
                live: Mutex::default(),
                answers: Answers::default(),
                replaying: std::sync::Mutex::default(),
                config,
            }),
        }
    }

    /// Who is let in.
    pub fn authority(&self) -> &Authority {
        &self.inner.config.authority
    }

    /// The rates of subjects and addresses.
    pub(crate) fn rates(&self) -> &Rates {
        &self.inner.config.rates
    }

    /// Bounds.
    pub fn limits(&self) -> &Limits {
        &self.inner.config.limits
    }

    pub(super) fn seals(&self) -> Option<&SealSource> {
        self.inner.config.seals.as_ref()
    }

    fn replaying(&self) -> std::sync::MutexGuard<'_, HashSet<String>> {
        self.inner.replaying.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Takes a letter, named by its coordinates; `None` where somebody has it.
    pub(super) fn take_letter(&self, letter: String) -> Option<Replaying> {
        let is_free = self.replaying().insert(letter.clone());
        is_free.then(|| Replaying { api: self.clone(), letter })
    }

    pub(super) fn letters(&self) -> &dyn Letters {
        self.inner.config.letters.as_ref()
    }

    /// The store without the limits of questions: for the little that the service writes.
    pub(super) fn writer(&self) -> &Client {
        &self.inner.config.client
    }

    pub(crate) fn client(&self) -> &Client {
        &self.inner.client
    }

    /// Counts a request of a subject.
    pub(crate) fn admit(&self, subject: &String) -> Result<(), Problem> {
        let early = |wait_s| Problem::new(Code::RateLimited).retry_after(wait_s);
        self.inner.config.rates.admit(subject).map_err(early)
    }

    /// A named question under the limits, ready for its parameters.
    pub(crate) fn ask(&self, question: Question) -> Query {
        ask(self.client(), question)
    }

    /// Runs a question: one of so many at once.
    pub(crate) async fn rows<T: RowOwned + RowRead>(
        &self,
        question: Question,
        query: Query,
    ) -> Result<Vec<T>, Problem> {
        let _place = self.place().await?;
        query.fetch_all::<T>().await.map_err(|error| refused(question.name, &error))
    }

    /// What panels said a moment ago.
    pub(crate) fn answers(&self) -> &Answers {
        &self.inner.answers
    }

    /// SQL of a panel under the limits, ready for its parameters.
    pub(crate) fn text(&self, sql: &str) -> Query {
        self.client().query(sql)
    }

    /// Runs a question of panels: one of so many at once. The answer is JSON, rows as lists.
    pub(crate) async fn bytes(&self, name: &str, query: Query) -> Result<Vec<u8>, Unanswered> {
        let _place = self.place().await.map_err(|problem| Unanswered { problem, is_refused: false })?;
        let failed = |error| {
            let is_refused = matches!(&error, clickhouse::error::Error::BadResponse(text) if !TOO_LONG.iter().any(|code| text.contains(code)));
            Unanswered { problem: refused(name, &error), is_refused }
        };
        let mut cursor = query.fetch_bytes("JSONCompact").map_err(failed)?;
        Ok(cursor.collect().await.map_err(failed)?.to_vec())
    }

    /// Waits for a place among the questions.
    pub(crate) async fn place(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Problem> {
        let place = tokio::time::timeout(Duration::from_millis(PLACE_MS_MAX), self.inner.places.acquire());
        match place.await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) | Err(_) => Err(Problem::new(Code::Overloaded).retry_after(1)),
        }
    }

    /// How far the data has come.
    pub(crate) async fn reach(&self) -> Result<Reach, Problem> {
        let mut last = self.inner.reach.lock().await;
        if let Some((at, reach)) = last.as_ref()
            && at.elapsed() < Duration::from_millis(REACH_MS_MAX)
        {
            return Ok(*reach);
        }
        let _place = self.place().await?;
        let reach = Reach::take(self.client()).await.map_err(|error| unavailable(&error))?;
        *last = Some((Instant::now(), reach));
        Ok(reach)
    }

    /// The ledger's counts; however many look, the store is asked once in `fresh`.
    pub(super) async fn live(&self, fresh: Duration) -> Result<tally_queries::Live, Problem> {
        let mut last = self.inner.live.lock().await;
        if let Some((at, live)) = last.as_ref()
            && at.elapsed() < fresh
        {
            return Ok(live.clone());
        }
        let _place = self.place().await?;
        let counts = tally_queries::live(self.client()).await.map_err(|error| unavailable(&error))?;
        *last = Some((Instant::now(), counts.clone()));
        Ok(counts)
    }
}

/// The store did not answer a question of another module.
pub(super) fn unavailable(error: &QueryError) -> Problem {
    tracing::warn!(error = %crate::chain(error), "the store did not answer");
    Problem::new(Code::StoreUnavailable).retry_after(1)
}

/// Why a question has no answer.
#[derive(Debug)]
pub(crate) struct Unanswered {
    /// As it is told.
    pub(crate) problem: Problem,
    /// Whether the store would not answer this question, and may answer others: it does not know what is asked for, or that takes more
    /// memory than it may. Not whether it was too slow, or could not be reached.
    pub(crate) is_refused: bool,
}

impl From<Unanswered> for Problem {
    fn from(unanswered: Unanswered) -> Problem {
        unanswered.problem
    }
}

/// What ClickHouse says of a question that takes too long.
const TOO_LONG: [&str; 2] = ["Code: 159", "Code: 160"];
/// ClickHouse breaks a question off with these: too long (159, 160), too many rows (158, 396), too much memory (241, 307).
const TOO_EXPENSIVE: [&str; 6] =
    ["Code: 159", "Code: 160", "Code: 158", "Code: 396", "Code: 241", "Code: 307"];

fn refused(question: &str, error: &clickhouse::error::Error) -> Problem {
    tracing::warn!(question, error = %crate::chain(error), "the store did not answer");
    match error {
        clickhouse::error::Error::BadResponse(text)
            if TOO_EXPENSIVE.iter().any(|code| text.contains(code)) =>
        {
            Problem::because(Code::TooExpensive, "ask for a shorter time or for less at once")
        }
        clickhouse::error::Error::BadResponse(_)
        | clickhouse::error::Error::Network(_)
        | clickhouse::error::Error::TimedOut => Problem::new(Code::StoreUnavailable).retry_after(1),
        _ => Problem::new(Code::Internal),
    }
}
