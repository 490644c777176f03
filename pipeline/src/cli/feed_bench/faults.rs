//! What goes wrong on purpose, when, and for whom.

use super::memory::{Around, Memory};
use super::proxy::{Fate, Proxy};
use super::service::Service;
use super::subscriber::{STALL, Shared, Subscriber};
use anyhow::Context;
use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant};
use tally_pipeline::simulate::now_micros;
use tally_queries::revocations::{Revocation, RevocationKind, revoke};
use tokio::sync::Mutex;
use tokio_util::sync::CancellationToken;

/// A kind of fault.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, clap::ValueEnum)]
pub(super) enum Fault {
    /// A connection is reset.
    Cut,
    /// A connection's bytes go nowhere, and nobody is told.
    Swallow,
    /// A reader stops reading.
    Stall,
    /// The service gets SIGKILL and is started again.
    Kill,
    /// A new signing key is laid down and comes into use.
    Roll,
    /// A subject is revoked.
    Revoke,
}

impl Fault {
    pub(super) const ALL: [Fault; 6] =
        [Fault::Cut, Fault::Swallow, Fault::Stall, Fault::Kill, Fault::Roll, Fault::Revoke];

    /// What the report calls the time from it until all is there.
    pub(super) fn name(self) -> &'static str {
        match self {
            Fault::Cut => "cut",
            Fault::Swallow => "swallow",
            Fault::Stall => "stall",
            Fault::Kill => "kill",
            Fault::Roll => "roll",
            Fault::Revoke => "revoke",
        }
    }

    /// After which part of the run it strikes, percent, for those that strike once or a few times.
    fn strikes_at_percent(self) -> &'static [u64] {
        match self {
            Fault::Roll => &[15],
            Fault::Stall => &[10, 55],
            Fault::Kill => &[45],
            Fault::Revoke => &[80],
            Fault::Cut | Fault::Swallow => &[],
        }
    }
}

/// One connection is swallowed so often.
const SWALLOW_EVERY: Duration = Duration::from_secs(2);
/// No cut and no swallowing in the last part of the run, so that what they began can be seen to end.
const QUIET: Duration = Duration::from_secs(5);
/// How long a killed service stays away.
const DOWN: Duration = Duration::from_secs(1);
/// Draws until one is found that is connected.
const DRAWS_MAX: usize = 64;

/// The faults of one run.
pub(super) struct Faults {
    pub(super) which: Vec<Fault>,
    pub(super) seconds: u64,
    /// How many connections are cut.
    pub(super) cuts: u64,
    pub(super) seed: u64,
    /// How many readers stall at once.
    pub(super) stalled: usize,
    pub(super) subscribers: Vec<Arc<Subscriber>>,
    /// Subscribers that are there to be revoked.
    pub(super) revocable: Vec<Arc<Subscriber>>,
    pub(super) shared: Arc<Shared>,
    pub(super) proxy: Option<Proxy>,
    pub(super) service: Arc<Mutex<Service>>,
    /// Where revocations are kept.
    pub(super) store: Option<clickhouse::Client>,
    /// When readers began to stall.
    pub(super) stalls: std::sync::Mutex<Vec<Instant>>,
    /// Slow readers that processes let go which were killed later.
    pub(super) slow_closes: AtomicU64,
    /// How often each struck.
    pub(super) struck: [AtomicU64; Fault::ALL.len()],
}

impl Faults {
    fn has(&self, fault: Fault) -> bool {
        self.which.contains(&fault)
    }

    fn count(&self, fault: Fault) {
        self.struck[fault as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// How often a fault has struck.
    pub(super) fn times(&self, fault: Fault) -> u64 {
        self.struck[fault as usize].load(Ordering::Relaxed)
    }

    /// What the service's memory did while readers stalled, where it rose the most.
    pub(super) fn stalled_bytes(&self, memory: &Memory) -> Option<Around> {
        let stalls = self.stalls.lock().unwrap_or_else(PoisonError::into_inner);
        let around = stalls.iter().filter_map(|from| memory.around(*from, *from + STALL));
        around.max_by_key(|around| around.peak.saturating_sub(around.before))
    }

    /// Strikes until the run is over.
    pub(super) async fn run(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        let once = async {
            let mut plan: Vec<(u64, Fault)> = Vec::new();
            for fault in self.which.iter().copied() {
                plan.extend(fault.strikes_at_percent().iter().map(|percent| (*percent, fault)));
            }
            plan.sort_unstable();
            let began = tokio::time::Instant::now();
            for (percent, fault) in plan {
                let at = began + Duration::from_millis(self.seconds * percent * 10);
                tokio::select! { () = tokio::time::sleep_until(at) => {}, () = stop.cancelled() => return Ok(()) }
                self.strike_once(fault).await?;
            }
            anyhow::Ok(())
        };
        tokio::try_join!(once, self.cut_on(stop), self.swallow_on(stop))?;
        Ok(())
    }

    async fn cut_on(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        if !self.has(Fault::Cut) || self.cuts == 0 {
            return Ok(());
        }
        let time = Duration::from_secs(self.seconds).saturating_sub(QUIET);
        let every = (time / u32::try_from(self.cuts).unwrap_or(u32::MAX)).max(Duration::from_micros(100));
        let mut ticks = tokio::time::interval(every); // late ones follow at once
        let mut random = Pcg64Mcg::seed_from_u64(self.seed);
        while self.times(Fault::Cut) < self.cuts {
            tokio::select! { _ = ticks.tick() => {}, () = stop.cancelled() => break }
            self.break_one(Fault::Cut, Fate::Cut, &mut random);
        }
        Ok(())
    }

    async fn swallow_on(&self, stop: &CancellationToken) -> anyhow::Result<()> {
        if !self.has(Fault::Swallow) {
            return Ok(());
        }
        let ends = tokio::time::Instant::now() + Duration::from_secs(self.seconds).saturating_sub(QUIET);
        let mut ticks = tokio::time::interval_at(tokio::time::Instant::now() + SWALLOW_EVERY, SWALLOW_EVERY);
        let mut random = Pcg64Mcg::seed_from_u64(self.seed ^ 1);
        while tokio::time::Instant::now() < ends {
            tokio::select! { _ = ticks.tick() => {}, () = stop.cancelled() => break }
            self.break_one(Fault::Swallow, Fate::Swallow, &mut random);
        }
        Ok(())
    }

    /// Breaks the connection of one that is connected and has recovered from its last fault, if it is met soon.
    fn break_one(&self, fault: Fault, fate: Fate, random: &mut Pcg64Mcg) {
        let Some(proxy) = &self.proxy else { return };
        for _ in 0..DRAWS_MAX {
            let drawn = (u128::from(random.next_u64()) * self.subscribers.len() as u128) >> 64;
            let Some(one) = usize::try_from(drawn).ok().and_then(|at| self.subscribers.get(at)) else {
                return;
            };
            let port = one.port.load(Ordering::Relaxed);
            let now = self.shared.publication.now_ns();
            if port != 0 && one.is_well() && proxy.decide(port, fate) {
                one.strike(fault, now);
                return self.count(fault);
            }
        }
    }

    async fn strike_once(&self, fault: Fault) -> anyhow::Result<()> {
        tracing::info!(fault = fault.name(), "a fault strikes");
        match fault {
            Fault::Stall => {
                self.stalls.lock().unwrap_or_else(PoisonError::into_inner).push(Instant::now());
                // of each transport: they stand alternately
                for one in self.subscribers.iter().take(self.stalled) {
                    one.stall.notify_one();
                    self.count(fault);
                }
            }
            Fault::Kill => {
                let mut service = self.service.lock().await;
                self.slow_closes.fetch_add(service.slow_closes().await.unwrap_or(0), Ordering::Relaxed);
                service.kill().await?;
                tokio::time::sleep(DOWN).await;
                let back = self.shared.publication.now_ns(); // measured from the start of the new process on
                for one in &self.subscribers {
                    one.strike(fault, back);
                }
                service.start().await?;
                self.count(fault);
            }
            Fault::Roll => {
                self.service.lock().await.roll_key()?;
                tokio::time::sleep(Duration::from_secs(1)).await;
                self.shared.signatures.refresh().await?;
                self.count(fault);
            }
            Fault::Revoke => {
                for one in &self.revocable {
                    let revocation = Revocation {
                        kind: RevocationKind::Subject,
                        value: one.subject.clone(),
                        lifted: false,
                        reason: "feed-bench".to_owned(),
                        revoked_by: "feed-bench".to_owned(),
                        revoked_us: now_micros(),
                    };
                    let store = self.store.as_ref().context("revoking needs the store: give --clickhouse")?;
                    revoke(store, &revocation).await?;
                    one.revoked_at_ns.store(self.shared.publication.now_ns(), Ordering::Relaxed);
                    self.count(fault);
                }
            }
            Fault::Cut | Fault::Swallow => {}
        }
        Ok(())
    }
}
