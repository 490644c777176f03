//! How often one subject may ask, whatever it asks; and how often one address may come with tokens that are none.

use crate::bad_tokens::BadTokens;
use governor::clock::{Clock, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Requests between two clearings of subjects that have long been quiet.
const REQUESTS_A_CLEARING: u32 = 4_096;

/// The rates of all subjects; clones share them, so that API and feed together have one bound.
#[derive(Clone, Debug)]
pub struct Rates {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    limiter: DefaultKeyedRateLimiter<String>,
    requests: AtomicU32,
    bad_tokens: BadTokens,
}

impl Rates {
    /// So many requests a second of each subject in the long run, and so many at once after a pause; so many bad tokens a
    /// minute from each address.
    pub fn new(per_s_max: NonZeroU32, burst_max: NonZeroU32, bad_tokens_per_min_max: NonZeroU32) -> Rates {
        let limiter = RateLimiter::keyed(Quota::per_second(per_s_max).allow_burst(burst_max));
        let bad_tokens = BadTokens::new(bad_tokens_per_min_max);
        Rates { inner: Arc::new(Inner { limiter, requests: AtomicU32::new(0), bad_tokens }) }
    }

    /// Counts a token that is not valid; where it is one too many from that address, the seconds after which to come again.
    pub(crate) fn bad_token(&self, client: IpAddr) -> Result<(), u64> {
        self.inner.bad_tokens.count(client)
    }

    /// Counts a request of a subject; where it is one too many, the seconds after which to come again.
    pub(crate) fn admit(&self, subject: &String) -> Result<(), u64> {
        if self.inner.requests.fetch_add(1, Ordering::Relaxed).is_multiple_of(REQUESTS_A_CLEARING) {
            self.inner.limiter.retain_recent();
        }
        self.inner.limiter.check_key(subject).map_err(|early| {
            let wait = early.wait_time_from(DefaultClock::default().now());
            wait.as_secs() + 1
        })
    }
}
