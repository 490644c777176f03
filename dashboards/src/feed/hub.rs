//! The hub: one reader of the log for all, the ring that it fills, and the bells of those who wait.
//!
//! ```text
//! EventLog ─▶ follow ─▶ Ring ─▶ bells of those concerned ─▶ each Stream pulls from the ring, or replays from the log
//! ```

use super::bell::{Bell, Bells, Transport};
use super::cases::Cases;
use super::cursor::Asked;
use super::event::{Event, events_of};
use super::frame::Close;
use super::ledger::Ledger;
use super::log::{Batch, EventLog, LogError, Shape};
use super::metrics::FeedMetrics;
use super::preload::open_ring;
use super::replay::Places;
use super::ring::Ring;
use super::settings::{FeedSettings, SNAPSHOTS_AT_ONCE_MAX};
use super::sign::Signer;
use crate::identity::{Authority, Principal};
use crate::rates::Rates;
use clickhouse::Client;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};
use tally_queries::service::{ReadLimits, limited};
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// How long a connection waits for a service that has just started to have read the log.
const OPEN_SECONDS_MAX: u64 = 3;
/// How often the log is asked which partitions it has.
const SHAPE_SECONDS: u64 = 2;
/// How long the log may give nothing and answer nothing before it counts as away.
const SILENCE_SECONDS_MAX: u64 = 5;
/// How often its silence is looked at.
const SILENCE_LOOK_MS: u64 = 500;
/// Rest before the log is opened anew after it failed.
const REST_MS: u64 = 500;
/// How often it is looked whether revocations are still known.
const SIGHT_MS: u64 = 50;
/// Cases that are remembered beside those in work.
pub(super) const CASES_MAX: usize = 200_000;

/// What the feed stands on.
pub struct FeedParts {
    /// The log.
    pub log: Arc<dyn EventLog>,
    /// Who may see it.
    pub authority: Authority,
    /// What signs it.
    pub signer: Signer,
    /// The store: cases in work, snapshots, the delivery ledger.
    pub client: Client,
    /// How often one subject may ask; the API's.
    pub rates: Rates,
    /// What one question of a snapshot may cost the store.
    pub read: ReadLimits,
}

/// All that connections share.
pub(super) struct Hub {
    pub(super) log: Arc<dyn EventLog>,
    pub(super) authority: Authority,
    pub(super) signer: Signer,
    pub(super) client: Client,
    pub(super) settings: FeedSettings,
    pub(super) ledger: Ledger,
    pub(super) metrics: FeedMetrics,
    /// WebSockets that are open: nobody else waits for them.
    pub(super) sessions: TaskTracker,
    pub(super) rates: Rates,
    /// The store for snapshots: read-only, under limits.
    pub(super) reader: Client,
    /// Snapshots that may be asked for at once.
    pub(super) snapshots: Semaphore,
    /// Replays from the log that may run at once.
    pub(super) places: Arc<Places>,
    cases: RwLock<Cases>,
    /// The generation of the ring; 0 while there is none.
    opened: watch::Sender<u64>,
    /// With it the generation: places of another one mean nothing. Taken before `bells`.
    ring: RwLock<Option<(u64, Ring)>>,
    bells: Mutex<Bells>,
    /// When the log last gave something or answered.
    heard: Mutex<Instant>,
    /// That was too long ago.
    is_silent: AtomicBool,
    stop: CancellationToken,
}

impl Hub {
    /// A hub that follows nothing yet.
    pub(super) fn new(parts: FeedParts, settings: FeedSettings, stop: CancellationToken) -> Arc<Hub> {
        let FeedParts { log, authority, signer, client, rates, read } = parts;
        let metrics = FeedMetrics::default();
        Arc::new(Hub {
            ledger: Ledger::start(client.clone(), metrics.clone()),
            log,
            authority,
            signer,
            rates,
            reader: limited(&client, read),
            client,
            snapshots: Semaphore::new(SNAPSHOTS_AT_ONCE_MAX),
            sessions: TaskTracker::new(),
            places: Places::new(settings.replays_max),
            settings,
            metrics,
            cases: RwLock::default(),
            opened: watch::Sender::new(0),
            ring: RwLock::default(),
            bells: Mutex::default(),
            heard: Mutex::new(Instant::now()),
            is_silent: AtomicBool::new(false),
            stop,
        })
    }

    /// Begins to follow the log, the revocations and the keys, until `stop`; then every connection is told to go away.
    pub(super) fn start(parts: FeedParts, settings: FeedSettings, stop: CancellationToken) -> Arc<Hub> {
        parts.signer.follow();
        let hub = Hub::new(parts, settings, stop.clone());
        hub.follow_log();
        tokio::spawn(follow_revocations(hub.clone()));
        let draining = hub.clone();
        tokio::spawn(async move {
            stop.cancelled().await;
            draining.bells().close_all(Close::GoingAway);
        });
        hub
    }

    /// Begins to follow the log, and to mind its silence.
    pub(super) fn follow_log(self: &Arc<Self>) {
        tokio::spawn(follow_log(self.clone()));
        tokio::spawn(mind_silence(self.clone()));
    }

    /// The log gave something, or answered.
    fn heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    /// Whether the log has given and answered nothing for longer than it may, so that nobody can know what is missing.
    pub(super) fn is_silent(&self) -> bool {
        self.is_silent.load(Ordering::Acquire)
    }

    /// Puts a ring in place; those of an earlier generation are told to begin anew, before those who wait for it come in.
    pub(super) fn open(&self, generation: u64, ring: Ring) {
        self.heard();
        {
            let mut place = self.ring_mut();
            *place = Some((generation, ring));
            self.bells().close_all(Close::InsufficientState);
        }
        self.opened.send_replace(generation);
    }

    /// The generation and the ring; nothing before the log was first read.
    pub(super) fn ring(&self) -> RwLockReadGuard<'_, Option<(u64, Ring)>> {
        self.ring.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the log to have been read, a moment after a start: whoever comes back at once need not come a second time.
    ///
    /// # Errors
    /// Where it takes longer, or the log is silent.
    pub(super) async fn until_open(&self) -> Result<(), Close> {
        let mut opened = self.opened.subscribe();
        let open = opened.wait_for(|generation| *generation > 0);
        let waited = tokio::time::timeout(Duration::from_secs(OPEN_SECONDS_MAX), open).await;
        let is_open = waited.is_ok_and(|open| open.is_ok()) && !self.is_silent();
        if is_open { Ok(()) } else { Err(Close::LogUnavailable) }
    }

    pub(super) fn cases_mut(&self) -> RwLockWriteGuard<'_, Cases> {
        self.cases.write().unwrap_or_else(PoisonError::into_inner)
    }

    fn ring_mut(&self) -> RwLockWriteGuard<'_, Option<(u64, Ring)>> {
        self.ring.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn bells(&self) -> MutexGuard<'_, Bells> {
        self.bells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which cases moderators have in work now.
    pub(super) fn cases(&self) -> RwLockReadGuard<'_, Cases> {
        self.cases.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the service is stopping.
    pub(super) fn is_stopping(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Hangs up a bell for somebody who connects, unless that subject has too many or was revoked meanwhile.
    pub(super) fn enter(self: &Arc<Self>, who: Principal, transport: Transport) -> Result<Line, Close> {
        if self.is_stopping() {
            return Err(Close::GoingAway);
        }
        let bell = Arc::new(Bell::new(who, transport));
        self.bells().hang(&bell, self.settings.connections_per_subject_max)?;
        self.metrics.entered(transport);
        let line = Line { hub: self.clone(), bell };
        // it was not among the bells when all were rung, perhaps
        match () {
            () if self.is_stopping() => Err(Close::GoingAway),
            () if self.is_silent() => Err(Close::LogUnavailable),
            () if self.authority.is_revoked(&line.bell.principal()) => Err(Close::Revoked),
            () => Ok(line),
        }
    }

    /// A subject says that everything up to a cursor was shown. False where the cursor is none of this log, or beyond its
    /// end: nobody has seen what is still to come.
    ///
    /// # Errors
    /// Where the log would have to be asked how far it has come, and does not answer.
    pub(super) async fn acknowledged(&self, subject: &Arc<str>, text: &str) -> Result<bool, Close> {
        let Ok(Asked::After(cursor)) = Asked::parse(text) else { return Ok(false) };
        let here = self.ring().as_ref().map(|(_, ring)| (ring.shape().clone(), ring.head().0.to_vec()));
        let Some((shape, head)) = here.filter(|(shape, _)| cursor.is_of(shape)) else { return Ok(false) };
        if cursor.next.iter().zip(&head).any(|(at, head)| at > head) {
            // another replica may have read further than this one
            let bounds = self.bounds(&shape).await?;
            if cursor.next.iter().zip(&bounds).any(|(at, bound)| *at > bound.high) {
                return Ok(false);
            }
        }
        self.ledger.acknowledged(subject, &shape, &cursor.next);
        self.bells().show(subject, &cursor.next);
        Ok(true)
    }

    /// Takes what was read: cases first, so that an event is judged by what was known when it came; then the ring, and under
    /// its lock the bells, so that a bell that was not rung means that nothing came.
    pub(super) fn take(&self, shape: &Shape, batch: &Batch) {
        let events: Vec<Arc<Event>> = events_of(shape, batch).into_iter().map(Arc::new).collect();
        {
            let mut cases = self.cases_mut();
            events.iter().for_each(|event| cases.take(event));
            cases.trim(CASES_MAX);
        }
        let newest_ms = events.last().map(|event| event.appended_at_ms);
        let mut ring = self.ring_mut();
        let Some((_, ring)) = ring.as_mut() else { return };
        let rung: Vec<Arc<Event>> = events.clone();
        ring.push(events, batch.place, batch.next);
        self.bells().ring(&rung);
        self.metrics.taken(newest_ms.map(|ms| now_ms() - ms), ring.len(), ring.bytes());
    }
}

/// A connection's place among the bells; it leaves when this is dropped.
pub(super) struct Line {
    pub(super) hub: Arc<Hub>,
    pub(super) bell: Arc<Bell>,
}

impl Drop for Line {
    fn drop(&mut self) {
        self.hub.bells().take_down(&self.bell);
        self.hub.metrics.left(self.bell.transport());
    }
}

async fn follow_revocations(hub: Arc<Hub>) {
    let authority = &hub.authority;
    let mut changes = authority.revocations();
    let mut look = tokio::time::interval(Duration::from_millis(SIGHT_MS));
    let mut was_current = false;
    loop {
        tokio::select! {
            () = hub.stop.cancelled() => return,
            changed = changes.changed() => match changed {
                Ok(()) => hub.bells().close_where(Close::Revoked, |who| authority.is_revoked(who)),
                Err(_) => return,
            },
            _ = look.tick() => {
                // what was revoked meanwhile is not known: nobody may go on on what was known before
                let is_current = authority.is_current();
                if !is_current {
                    hub.bells().close_all(Close::LogUnavailable);
                }
                if was_current && !is_current {
                    tracing::warn!("what is revoked is not known any more; every stream is closed");
                }
                was_current = is_current;
            }
        }
    }
}

/// While the log is silent the service is not ready, its lag grows, and nobody is left to believe that nothing happens.
async fn mind_silence(hub: Arc<Hub>) {
    let mut look = tokio::time::interval(Duration::from_millis(SILENCE_LOOK_MS));
    loop {
        tokio::select! {
            () = hub.stop.cancelled() => return,
            _ = look.tick() => {}
        }
        if hub.ring().is_none() {
            continue; // not open: nobody is in
        }
        let silence = hub.heard.lock().unwrap_or_else(PoisonError::into_inner).elapsed();
        let is_silent = silence > Duration::from_secs(SILENCE_SECONDS_MAX);
        let was_silent = hub.is_silent.swap(is_silent, Ordering::AcqRel);
        if is_silent {
            hub.metrics.silent(silence);
        }
        match (was_silent, is_silent) {
            (false, true) => {
                tracing::warn!("the log is silent; every stream is closed until it answers");
                hub.bells().close_all(Close::LogUnavailable);
            }
            (true, false) => {
                tracing::info!("the log answers again");
                hub.metrics.silent(Duration::ZERO);
            }
            _ => {}
        }
    }
}

async fn follow_log(hub: Arc<Hub>) {
    let mut generation = 0;
    let mut said = None;
    loop {
        let ended = tokio::select! {
            () = hub.stop.cancelled() => return,
            ended = follow(&hub, &mut generation) => ended,
        };
        match ended {
            Ok(()) => tracing::warn!("the log has other partitions than before; every stream begins anew"),
            Err(LogError::Evicted) => {
                tracing::warn!("retention took what was still to be read; every stream begins anew");
                hub.ring_mut().take();
                hub.opened.send_replace(0); // whoever comes meanwhile waits
            }
            Err(LogError::Unavailable(error)) => {
                let now = crate::chain(error.as_ref());
                if said.as_ref() != Some(&now) {
                    tracing::warn!(error = %now, "the log cannot be followed; trying again");
                }
                said = Some(now);
            }
        }
        tokio::time::sleep(Duration::from_millis(REST_MS)).await;
    }
}

/// Follows the log until it fails or turns out to be another one. A ring of the same log is gone on with.
async fn follow(hub: &Arc<Hub>, generation: &mut u64) -> Result<(), LogError> {
    let shape = Arc::new(hub.log.shape().await?);
    let goes_on = hub
        .ring()
        .as_ref()
        .filter(|(_, ring)| ring.shape() == &shape)
        .map(|(_, ring)| ring.head().0.to_vec());
    let mut reader = match goes_on {
        Some(from) => hub.log.read(&shape, &from).await?,
        None => {
            *generation += 1;
            open_ring(hub, &shape, *generation).await?
        }
    };
    let mut asked = Box::pin(shape_later(hub));
    loop {
        tokio::select! {
            batch = reader.next() => {
                let batch = batch?;
                hub.heard();
                hub.take(&shape, &batch);
            }
            now = &mut asked => {
                match now {
                    Ok(now) if now != *shape => return Ok(()),
                    Ok(_) => hub.heard(),
                    Err(_) => {} // its silence says the same
                }
                asked = Box::pin(shape_later(hub));
            }
        }
    }
}

/// Which partitions the log has in a while.
async fn shape_later(hub: &Hub) -> Result<Shape, LogError> {
    tokio::time::sleep(Duration::from_secs(SHAPE_SECONDS)).await;
    hub.log.shape().await
}

/// Milliseconds since 1970 UTC.
pub(super) fn now_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}
