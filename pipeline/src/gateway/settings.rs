//! The bounds of the gateway.

use super::breaker::BreakerConfig;
use std::time::Duration;

/// Deadlines, retries and bounds.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// One attempt at the platform.
    pub attempt: Duration,
    /// A call, with all its attempts.
    pub call: Duration,
    /// Attempts of a call.
    pub attempts_max: u32,
    /// The longest pause after the first attempt; twice as long after each further one. The pause itself is drawn from zero to it.
    pub backoff: Duration,
    /// Calls at once.
    pub calls_at_once_max: usize,
    /// Charges and refunds whose outcome is not known are followed up after so long at first, and then more and more rarely up to a
    /// hundred times that.
    pub follow_up: Duration,
    /// Bytes of a request's body.
    pub body_bytes_max: usize,
    /// When the platform is left alone.
    pub breaker: BreakerConfig,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            attempt: Duration::from_secs(3),
            call: Duration::from_secs(10),
            attempts_max: 3,
            backoff: Duration::from_millis(50),
            calls_at_once_max: 512,
            follow_up: Duration::from_millis(500),
            body_bytes_max: 16 * 1024,
            breaker: BreakerConfig { attempts: 50, errors_permille: 500, open: Duration::from_millis(500) },
        }
    }
}
