//! How a lane waits for what is outside of it: it is paused and says so, gives up what it holds where others need the memory, and calls for
//! an operator where nobody else can help.

use super::Lane;
use super::outside::Outside;
use super::state::Side;
use crate::clock;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tally_sinks::Retry;

/// For so long something outside may leave a lane without an answer before it counts as stalled.
const SILENCE: Duration = Duration::from_secs(30);

pub(super) const PAUSES: [Duration; 4] =
    [Duration::from_millis(100), Duration::from_millis(500), Duration::from_secs(2), Duration::from_secs(5)];

/// Between two looks at whether others need the memory.
const LOOK: Duration = Duration::from_secs(1);
/// For so long a block is kept that cannot go on, while there is memory: the ledger may not be what it was, and a start looks at it.
pub(super) const WAIT_MAX: Duration = Duration::from_secs(10);

/// So often only an operator seemed able to help before that is taken to be so, and how far apart these count, at least and at most.
const STOPS_MAX: u32 = 2;
pub(super) const STOP_PAUSE: Duration = Duration::from_secs(10);
const STOP_AGE_MAX: Duration = Duration::from_secs(60);

/// The block in hand is to be given up, and read again from Kafka.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct GivenUp;

/// Something that fails, since when and how often.
#[derive(Debug, Default)]
pub(super) struct Failing {
    since: Option<Instant>,
    tries: usize,
}

impl<O: Outside> Lane<O> {
    /// Stalls a lane that holds records, and waits before what failed is tried again. `pause`: how long, where not longer each time.
    ///
    /// `GivenUp` where they had better be read again: others have no memory for theirs, or it has failed for long.
    pub(super) async fn hold_out(
        &self,
        side: Side,
        failing: &mut Failing,
        pause: Option<Duration>,
    ) -> Result<(), GivenUp> {
        self.stall(side, true).await;
        let since = *failing.since.get_or_insert_with(clock::now);
        let pause = pause.or(PAUSES.get(failing.tries).copied()).unwrap_or(PAUSES[PAUSES.len() - 1]);
        failing.tries += 1;
        let began = clock::now();
        loop {
            let waited = clock::now().saturating_duration_since(since);
            if waited >= WAIT_MAX || waited >= LOOK && !self.inbox.budget().has_room() {
                return Err(GivenUp);
            }
            let left = pause.saturating_sub(clock::now().saturating_duration_since(began));
            if left.is_zero() {
                return Ok(());
            }
            clock::sleep(left.min(LOOK)).await;
        }
    }

    /// Waits for an answer from outside, of which `heard` counts the parts; a lane that hears nothing in a while is stalled, and says so.
    ///
    /// `GivenUp` where it `holds` records meanwhile, and others need the memory.
    pub(super) async fn answered<T>(
        &self,
        side: Side,
        holds: bool,
        what: &str,
        heard: impl Fn() -> u64,
        answer: impl Future<Output = T>,
    ) -> Result<T, GivenUp> {
        let mut answer = Box::pin(answer); // large, and waited for within others that are large
        loop {
            let before = heard();
            if let Some(answered) = clock::within(SILENCE, answer.as_mut()).await {
                return Ok(answered);
            }
            if heard() != before {
                continue;
            }
            tracing::warn!(lane = %self.partition, what, "no answer yet, waiting");
            self.stall(side, true).await;
            if holds && !self.inbox.budget().has_room() {
                return Err(GivenUp);
            }
        }
    }

    /// Counts what only an operator seems able to mend; three times before a block is stored, not far apart, and the lane waits for one.
    pub(super) fn asks_operator(&self, side: Side, class: Retry, why: impl FnOnce() -> String) {
        if class != Retry::Stop {
            return;
        }
        let mut stops = self.state.stops.lock().unwrap_or_else(PoisonError::into_inner);
        let age = stops.1.map(|at| clock::now().saturating_duration_since(at));
        if age.is_some_and(|age| age < STOP_PAUSE) {
            return;
        }
        let before = if age.is_some_and(|age| age > STOP_AGE_MAX) { 0 } else { stops.0 };
        *stops = (before + 1, Some(clock::now()));
        if stops.0 > STOPS_MAX {
            self.state.waits_for_operator(side, Some(why()));
        }
    }

    /// A block is stored: nothing outside is in the way.
    pub(super) async fn settled(&self) {
        *self.state.stops.lock().unwrap_or_else(PoisonError::into_inner) = (0, None);
        self.state.waits_for_operator(Side::Write, None);
        self.stall(Side::Write, false).await;
        self.inbox.grow();
    }

    /// A lane has started: what had it paused while it did was overtaken by that.
    pub(super) async fn fetches(&self) {
        let mut waiting = self.state.waiting.lock().await;
        if std::mem::take(&mut waiting.is_paused) {
            let inbox = self.inbox.clone();
            if let Err(error) = self.route.outside.fetch_from(&self.partition, move || inbox.expected()).await
            {
                tracing::warn!(lane = %self.partition, error, "resume");
            }
        }
    }

    /// A stalled lane is paused at the source, so that it does not take the memory of the others; it is stalled while
    /// either of its sides waits. It goes on from the offset that its inbox expects: where librdkafka would go on by
    /// itself lies one record further once it has handed out the end of the log.
    pub(super) async fn stall(&self, side: Side, waits: bool) {
        let mut waiting = self.state.waiting.lock().await; // held to the end: pauses and resumes keep their order
        waiting.sides[side as usize] = waits;
        let stalled = waiting.sides.contains(&true);
        self.state.stalled.store(stalled, Ordering::Relaxed);
        if waits {
            self.inbox.shrink();
            self.state.leave_all();
        }
        // one that is stalled and was started again is fetched, to see whether it can go on
        if stalled == waiting.is_paused || stalled != waits {
            return;
        }
        waiting.is_paused = stalled;
        let inbox = self.inbox.clone();
        let done = match stalled {
            true => self.route.outside.pause(&self.partition).await,
            false => self.route.outside.fetch_from(&self.partition, move || inbox.expected()).await,
        };
        if let Err(error) = done {
            tracing::warn!(lane = %self.partition, error, stalled, "pause or resume");
        }
    }
}
