//! The script of what goes wrong. Every draw is a hash of the seed, the key (or the body, where there is none) and the attempt,
//! so that the same run is the same run, in whatever order its requests come.

use super::call::Call;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::time::Duration;

/// A share of everything.
pub const WHOLE_PERMILLE: u32 = 1_000;
/// The longest latency, milliseconds.
pub const LATENCY_MS_MAX: u32 = 60_000;

/// What goes wrong, on which paths.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Script {
    /// Another seed, other draws.
    pub seed: u64,
    /// Whether every call is answered with 503 until this is switched off.
    pub unavailable: bool,
    /// On every path that `paths` does not name.
    pub all: Faults,
    /// On these paths, in place of `all`.
    pub paths: BTreeMap<String, Faults>,
}

/// What goes wrong on a path: shares in permille. Of one request at most one thing goes wrong, so their sum is at most 1000;
/// latency and `duplicate` come on top.
#[derive(Clone, Debug, Default, Deserialize, PartialEq, Serialize)]
#[serde(deny_unknown_fields, default)]
pub struct Faults {
    /// The shortest time from request to answer, milliseconds.
    pub latency_min_ms: u32,
    /// The longest, milliseconds; at most 60000.
    pub latency_max_ms: u32,
    /// 500 or 503, and nothing was done.
    pub error: u32,
    /// It was done, then 500 or 503.
    pub error_after: u32,
    /// Never answered, and nothing was done.
    pub hang_before: u32,
    /// It was done, and is never answered.
    pub hang_after: u32,
    /// The connection ends without an answer, and nothing was done.
    pub reset_before: u32,
    /// It was done, then the connection ends without an answer.
    pub reset_after: u32,
    /// It was done; the 2xx has a body that is not JSON, lacks a field, or speaks of another wallet or amount. A refusal stays.
    pub wrong_body: u32,
    /// 429 with `Retry-After`, and nothing was done.
    pub rate_limited: u32,
    /// 403 as at a door that looks at rights before keys, and nothing was done.
    pub denied: u32,
    /// 409 with `retry: same_key`, as where another request under the key is under way, and nothing was done.
    pub under_way: u32,
    /// Seconds in the `Retry-After` of 429 and 503.
    pub retry_after_s: u32,
    /// The request is executed twice, as a repeated delivery would be.
    pub duplicate: u32,
}

/// Why a script cannot be played.
#[derive(Debug, thiserror::Error)]
pub enum ScriptError {
    /// The shares of a path exceed the whole.
    #[error("the shares of {0} are more than 1000 permille")]
    Shares(String),
    /// The latencies of a path are no range.
    #[error("the latencies of {0} must be latency_min_ms <= latency_max_ms <= 60000")]
    Latency(String),
    /// A path that is none of the six calls.
    #[error("there is no path {0}")]
    Path(String),
}

/// One thing that goes wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Error,
    ErrorAfter,
    HangBefore,
    HangAfter,
    ResetBefore,
    ResetAfter,
    WrongBody,
    RateLimited,
    Denied,
    UnderWay,
}

/// What was drawn for a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Drawn {
    pub(super) latency: Duration,
    pub(super) fault: Option<Fault>,
    pub(super) duplicate: bool,
    pub(super) unavailable: bool,
    pub(super) retry_after_s: u32,
    /// Chooses among the ways in which the fault can show.
    pub(super) way: u64,
}

impl Fault {
    const ALL: [Fault; 10] = [
        Fault::Error,
        Fault::ErrorAfter,
        Fault::HangBefore,
        Fault::HangAfter,
        Fault::ResetBefore,
        Fault::ResetAfter,
        Fault::WrongBody,
        Fault::RateLimited,
        Fault::Denied,
        Fault::UnderWay,
    ];

    /// Its name in scripts and receipts.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Fault::Error => "error",
            Fault::ErrorAfter => "error_after",
            Fault::HangBefore => "hang_before",
            Fault::HangAfter => "hang_after",
            Fault::ResetBefore => "reset_before",
            Fault::ResetAfter => "reset_after",
            Fault::WrongBody => "wrong_body",
            Fault::RateLimited => "rate_limited",
            Fault::Denied => "denied",
            Fault::UnderWay => "under_way",
        }
    }

    /// Whether it strikes before anything is done.
    pub(super) const fn is_before(self) -> bool {
        !matches!(self, Fault::ErrorAfter | Fault::HangAfter | Fault::ResetAfter | Fault::WrongBody)
    }
}

impl Faults {
    fn share(&self, fault: Fault) -> u32 {
        match fault {
            Fault::Error => self.error,
            Fault::ErrorAfter => self.error_after,
            Fault::HangBefore => self.hang_before,
            Fault::HangAfter => self.hang_after,
            Fault::ResetBefore => self.reset_before,
            Fault::ResetAfter => self.reset_after,
            Fault::WrongBody => self.wrong_body,
            Fault::RateLimited => self.rate_limited,
            Fault::Denied => self.denied,
            Fault::UnderWay => self.under_way,
        }
    }

    fn check(&self, path: &str) -> Result<(), ScriptError> {
        let shares = Fault::ALL.into_iter().map(|fault| u64::from(self.share(fault))).sum::<u64>();
        if shares > u64::from(WHOLE_PERMILLE) || self.duplicate > WHOLE_PERMILLE {
            return Err(ScriptError::Shares(path.to_owned()));
        }
        let in_order = self.latency_min_ms <= self.latency_max_ms && self.latency_max_ms <= LATENCY_MS_MAX;
        in_order.then_some(()).ok_or_else(|| ScriptError::Latency(path.to_owned()))
    }
}

impl Script {
    /// Whether it can be played.
    ///
    /// # Errors
    /// See [`ScriptError`]: the first thing that is wrong.
    pub fn check(&self) -> Result<(), ScriptError> {
        self.all.check("all")?;
        self.paths.iter().try_for_each(|(path, faults)| match Call::of_path(path) {
            Some(_) => faults.check(path),
            None => Err(ScriptError::Path(path.clone())),
        })
    }

    /// What happens to a request: `subject` is its key, or its body where it has none.
    pub(super) fn draw(&self, call: Call, subject: &[u8], attempt: &str) -> Drawn {
        let faults = self.paths.get(call.path()).unwrap_or(&self.all);
        let hash = |what: &str| self.hash(what, call.path(), subject, attempt);
        let mut rest = hash("fault") % u64::from(WHOLE_PERMILLE);
        let fault = Fault::ALL.into_iter().find(|fault| {
            let share = u64::from(faults.share(*fault));
            let is_it = rest < share;
            rest = rest.saturating_sub(share);
            is_it
        });
        let range = u64::from(faults.latency_max_ms.saturating_sub(faults.latency_min_ms)) * 1_000 + 1;
        let latency_us = u64::from(faults.latency_min_ms) * 1_000 + hash("latency") % range;
        Drawn {
            latency: Duration::from_micros(latency_us),
            fault,
            duplicate: hash("duplicate") % u64::from(WHOLE_PERMILLE) < u64::from(faults.duplicate),
            unavailable: self.unavailable,
            retry_after_s: faults.retry_after_s,
            way: hash("way"),
        }
    }

    fn hash(&self, what: &str, path: &str, subject: &[u8], attempt: &str) -> u64 {
        let mut hash = Sha256::new();
        hash.update(self.seed.to_be_bytes());
        for part in [what.as_bytes(), path.as_bytes(), subject, attempt.as_bytes()] {
            hash.update((part.len() as u64).to_be_bytes()); // so that no two splits hash alike
            hash.update(part);
        }
        let digest: [u8; 32] = hash.finalize().into();
        digest.iter().take(8).fold(0, |number, byte| number << 8 | u64::from(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::{Fault, Faults, Script};
    use crate::gateway::contract::Endpoint;
    use crate::gateway::mock::call::Call;

    const CHARGE: Call = Call::Asked(Endpoint::CreditsCharge);

    /// Scenario: 20,000 requests are drawn for, each thing that goes wrong having its own share.
    /// Guarantees: each comes as often as its share says, within four standard deviations; again the same for the same seed,
    /// otherwise for another seed or attempt.
    #[test]
    fn draws_have_their_shares_and_are_the_same_again() {
        let faults =
            Faults { error: 50, reset_after: 100, wrong_body: 20, duplicate: 300, ..Faults::default() };
        let script = Script { seed: 7, all: faults, ..Script::default() };
        let draws = |script: &Script, attempt: &str| {
            let one = |n: u32| script.draw(CHARGE, format!("key-{n}").as_bytes(), attempt);
            (0..20_000).map(one).collect::<Vec<_>>()
        };
        let drawn = draws(&script, "1");
        for (fault, share) in [
            (Fault::Error, 0.05_f64),
            (Fault::ResetAfter, 0.1),
            (Fault::WrongBody, 0.02),
            (Fault::HangAfter, 0.0),
        ] {
            let count = drawn.iter().filter(|drawn| drawn.fault == Some(fault)).count();
            let (expected, spread) = (20_000.0 * share, (20_000.0 * share * (1.0 - share)).sqrt());
            let off = (f64::from(u32::try_from(count).expect("few")) - expected).abs();
            assert!(off <= 4.0 * spread, "{}: {count} instead of {expected}", fault.name());
        }
        let twice = drawn.iter().filter(|drawn| drawn.duplicate).count();
        assert!((5_700..6_300).contains(&twice), "{twice}");
        assert_eq!(drawn, draws(&script, "1"));
        assert_ne!(drawn, draws(&script, "2"));
        assert_ne!(drawn, draws(&Script { seed: 8, ..script }, "1"));
    }

    /// Scenario: scripts with too large shares, latencies the wrong way round, and a path that does not exist.
    /// Guarantees: each is refused, and the whole share is allowed.
    #[test]
    fn a_script_that_cannot_be_played_is_refused() {
        let of = |all: Faults| Script { all, ..Script::default() };
        assert!(of(Faults { error: 1_000, ..Faults::default() }).check().is_ok());
        assert!(of(Faults { error: 600, hang_before: 401, ..Faults::default() }).check().is_err());
        assert!(of(Faults { duplicate: 1_001, ..Faults::default() }).check().is_err());
        assert!(of(Faults { latency_min_ms: 2, latency_max_ms: 1, ..Faults::default() }).check().is_err());
        let elsewhere = [("/credits".to_owned(), Faults::default())].into();
        assert!(Script { paths: elsewhere, ..Script::default() }.check().is_err());
    }
}
