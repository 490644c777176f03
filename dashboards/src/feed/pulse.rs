//! The clock of one stream: heartbeats, the end of its token, the end of its age.

use super::frame::Close;
use super::settings::{HEARTBEAT_MS, REAUTH_BEFORE_S};
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// What is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Due {
    Heartbeat,
    /// Ask for another token; this one ends then, microseconds since 1970 UTC.
    Reauth(i64),
    End(Close),
}

/// When what is due.
#[derive(Clone, Debug)]
pub(super) struct Pulse {
    heartbeat: Duration,
    beat_at: Instant,
    age_at: Instant,
    reauth_at: Option<Instant>,
    expires_at: Instant,
    expires_at_s: i64,
}

impl Pulse {
    /// A clock of a stream whose token ends at `expires_at_s`, seconds since 1970 UTC.
    pub(super) fn new(heartbeat_ms: Option<u64>, max_age_s: u64, expires_at_s: i64) -> Pulse {
        let now = Instant::now();
        let mut pulse = Pulse {
            heartbeat: Duration::ZERO,
            beat_at: now,
            age_at: now + Duration::from_secs(max_age_s),
            reauth_at: None,
            expires_at: now,
            expires_at_s,
        };
        pulse.pace(heartbeat_ms.unwrap_or(*HEARTBEAT_MS.start()));
        pulse.beaten();
        pulse.renew(expires_at_s);
        pulse
    }

    /// Milliseconds between heartbeats.
    pub(super) fn heartbeat_ms(&self) -> u64 {
        u64::try_from(self.heartbeat.as_millis()).unwrap_or(u64::MAX)
    }

    /// Another pace, within its bounds. A heartbeat answers it at once: whoever asks wants to know whether the line lives.
    pub(super) fn pace(&mut self, heartbeat_ms: u64) {
        self.heartbeat =
            Duration::from_millis(heartbeat_ms.clamp(*HEARTBEAT_MS.start(), *HEARTBEAT_MS.end()));
        self.beat_at = Instant::now();
    }

    /// Another token.
    pub(super) fn renew(&mut self, expires_at_s: i64) {
        let left = |at_s: i64| {
            let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            Duration::from_secs(u64::try_from(at_s).unwrap_or(0)).saturating_sub(now)
        };
        self.expires_at_s = expires_at_s;
        self.expires_at = Instant::now() + left(expires_at_s);
        self.reauth_at = Some(Instant::now() + left(expires_at_s - REAUTH_BEFORE_S));
    }

    /// Something was sent, which says as much as a heartbeat.
    pub(super) fn beaten(&mut self) {
        self.beat_at = Instant::now() + self.heartbeat;
    }

    /// When something is due next.
    pub(super) fn next(&self) -> Instant {
        let soonest = self.beat_at.min(self.age_at).min(self.expires_at);
        self.reauth_at.map_or(soonest, |at| at.min(soonest))
    }

    /// What is due now.
    pub(super) fn due(&mut self) -> Option<Due> {
        let now = Instant::now();
        if now >= self.expires_at {
            return Some(Due::End(Close::TokenExpired));
        }
        if now >= self.age_at {
            return Some(Due::End(Close::MaxAge));
        }
        if self.reauth_at.is_some_and(|at| now >= at) {
            self.reauth_at = None;
            return Some(Due::Reauth(self.expires_at_s.saturating_mul(1_000_000)));
        }
        (now >= self.beat_at).then(|| {
            self.beaten();
            Due::Heartbeat
        })
    }
}

/// The age at which one connection ends: `max_age_s`, a fifth more or less, so that not all end at once.
pub(super) fn max_age_s(max_age_s: u64, session: uuid::Uuid) -> u64 {
    let spread = u64::from(session.as_bytes().last().copied().unwrap_or(0)); // random in every version of UUID in use
    max_age_s * 4 / 5 + max_age_s * 2 / 5 * spread / 255
}
