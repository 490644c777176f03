//! Leaves the platform alone for a while where too large a part of its latest answers were errors. One breaker an endpoint.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// When a breaker opens, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct BreakerConfig {
    /// Latest attempts that are looked at.
    pub attempts: usize,
    /// So many of them in a thousand are errors: it opens.
    pub errors_permille: u32,
    /// It opens for so long at first; twice as long after each probe that fails, up to 32 times.
    pub open: Duration,
}

/// What a breaker says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Gate {
    /// Ask.
    Closed,
    /// Ask: this is the one probe that finds out whether the platform is back.
    Probe,
    /// Do not ask before so long.
    Open(Duration),
}

/// The breaker of one endpoint.
#[derive(Debug)]
pub(super) struct Breaker {
    config: BreakerConfig,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The latest attempts: was it an error?
    latest: VecDeque<bool>,
    errors: usize,
    opened: Option<Opened>,
}

#[derive(Clone, Copy, Debug)]
struct Opened {
    until: Instant,
    lasts: Duration,
    /// Until when the probe that is under way may take; another goes then.
    probe: Option<Instant>,
}

/// The longest it stays open, in times of the first.
const LONGEST: u32 = 32;

impl Breaker {
    pub(super) fn new(config: BreakerConfig) -> Breaker {
        Breaker { config, state: Mutex::default() }
    }

    /// Whether to ask the platform at `now`.
    pub(super) fn gate(&self, now: Instant) -> Gate {
        let mut state = self.state();
        let Some(opened) = &mut state.opened else { return Gate::Closed };
        let waits_for = opened.probe.unwrap_or(opened.until);
        if now < waits_for {
            return Gate::Open(waits_for - now);
        }
        opened.probe = Some(now + opened.lasts);
        Gate::Probe
    }

    /// What it says, without taking the place of the probe.
    pub(super) fn is_open(&self, now: Instant) -> bool {
        self.state().opened.is_some_and(|opened| now < opened.probe.unwrap_or(opened.until))
    }

    /// An attempt has ended.
    pub(super) fn record(&self, error: bool, now: Instant) {
        let mut state = self.state();
        if let Some(opened) = state.opened {
            // attempts that began before it opened say nothing of now, unless they are answered in order
            if !error {
                *state = State::default();
            } else if opened.probe.is_some() {
                let lasts = (opened.lasts * 2).min(self.config.open * LONGEST);
                state.opened = Some(Opened { until: now + lasts, lasts, probe: None });
            }
            return;
        }
        state.latest.push_back(error);
        state.errors += usize::from(error);
        if state.latest.len() > self.config.attempts && state.latest.pop_front() == Some(true) {
            state.errors -= 1;
        }
        let full = state.latest.len() >= self.config.attempts;
        let share = state.errors as u64 * 1_000;
        if full && share >= u64::from(self.config.errors_permille) * state.latest.len() as u64 {
            let lasts = self.config.open;
            let opened = Some(Opened { until: now + lasts, lasts, probe: None });
            *state = State { opened, ..State::default() };
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::{Breaker, BreakerConfig, Gate};
    use std::time::{Duration, Instant};

    const OPEN: Duration = Duration::from_millis(100);

    fn breaker() -> Breaker {
        Breaker::new(BreakerConfig { attempts: 10, errors_permille: 500, open: OPEN })
    }

    /// Scenario: errors, but too few; then half of ten.
    /// Guarantees: it opens at its share of a full window and not before.
    #[test]
    fn it_opens_at_its_share_of_a_full_window() {
        let (breaker, now) = (breaker(), Instant::now());
        for _ in 0..4 {
            breaker.record(true, now);
            assert_eq!(breaker.gate(now), Gate::Closed);
        }
        (0..5).for_each(|_| breaker.record(false, now));
        assert_eq!(breaker.gate(now), Gate::Closed, "nine attempts are no window");
        breaker.record(true, now);
        assert_eq!(breaker.gate(now), Gate::Open(OPEN));
        assert!(breaker.is_open(now));
    }

    /// Scenario: it is open; its time passes; the probe fails, then one succeeds; another probe never ends.
    /// Guarantees: one asks, all others wait; a failure doubles the time, a success closes it; a lost probe is replaced.
    #[test]
    fn one_probe_decides() {
        let (breaker, start) = (breaker(), Instant::now());
        (0..10).for_each(|_| breaker.record(true, start));
        let later = start + OPEN;
        assert_eq!(breaker.gate(later), Gate::Probe);
        assert_eq!(breaker.gate(later), Gate::Open(OPEN), "the probe is under way");
        breaker.record(true, later);
        assert_eq!(breaker.gate(later + OPEN), Gate::Open(OPEN), "twice as long");
        let lost = later + 2 * OPEN;
        assert_eq!(breaker.gate(lost), Gate::Probe);
        assert_eq!(breaker.gate(lost + 2 * OPEN), Gate::Probe, "the one before was not heard of again");
        breaker.record(false, lost + 2 * OPEN);
        assert_eq!(breaker.gate(lost + 2 * OPEN), Gate::Closed);
    }
}
