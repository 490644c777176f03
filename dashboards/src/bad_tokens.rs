//! How often access tokens that are not valid may be tried from one address.
//!
//! The table never grows: an address has a slot by a keyed hash, so that nobody can choose whose slot it shares, and two that
//! share one share a rate. That harms nobody, since a valid token is let in whatever came from its address: behind a proxy that
//! hides its clients, or in one office, no one locks another out.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Slots, 8 bytes each.
const SLOTS: u64 = 65_536;
const MINUTE_NS: u64 = 60_000_000_000;
const SECOND_NS: u64 = 1_000_000_000;

/// A rate for each address: a minute's worth at once, and then evenly.
#[derive(Debug)]
pub(crate) struct BadTokens {
    /// When all that was counted will have been forgotten, nanoseconds since `began`.
    slots: Box<[AtomicU64]>,
    hasher: RandomState,
    began: Instant,
    /// By so much one bad token moves its slot.
    each_ns: u64,
}

impl BadTokens {
    /// So many a minute from each address.
    pub(crate) fn new(per_min_max: NonZeroU32) -> BadTokens {
        BadTokens {
            slots: (0..SLOTS).map(|_| AtomicU64::new(0)).collect(),
            hasher: RandomState::new(),
            began: Instant::now(),
            each_ns: MINUTE_NS / u64::from(per_min_max.get()),
        }
    }

    /// Counts a bad token from an address; where it is one too many, the seconds after which to come again.
    pub(crate) fn count(&self, address: IpAddr) -> Result<(), u64> {
        self.count_at(address, u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX / 2))
    }

    fn count_at(&self, address: IpAddr, now_ns: u64) -> Result<(), u64> {
        let place = usize::try_from(self.hasher.hash_one(party(address)) % SLOTS);
        let Some(slot) = place.ok().and_then(|place| self.slots.get(place)) else { return Ok(()) };
        let counted = slot.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |until| {
            let next = until.max(now_ns) + self.each_ns;
            (next <= now_ns + MINUTE_NS).then_some(next)
        });
        counted.map(drop).map_err(|until| {
            let early_ns = (until + self.each_ns).saturating_sub(now_ns + MINUTE_NS);
            early_ns.div_ceil(SECOND_NS).max(1)
        })
    }
}

/// Who stands behind an address: of IPv6 a whole network of 64 bits is one customer's.
fn party(address: IpAddr) -> u64 {
    match address.to_canonical() {
        IpAddr::V4(address) => u64::from(address.to_bits()),
        IpAddr::V6(address) => u64::try_from(address.to_bits() >> 64).unwrap_or(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::{BadTokens, SECOND_NS, SLOTS};
    use std::net::{IpAddr, Ipv4Addr};
    use std::num::NonZeroU32;

    fn limit(per_min: u32) -> BadTokens {
        BadTokens::new(NonZeroU32::new(per_min).expect("more than 0"))
    }

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Scenario: one address tries thirty bad tokens at once where twenty a minute are allowed, waits as long as it is told, tries
    /// again, and comes back after an hour; others try one each meanwhile.
    /// Guarantees: twenty pass; after the wait one more does, and no second; a pause forgets everything; others are counted
    /// apart, but for the addresses of one IPv6 network, and an IPv4 address in IPv6 clothes is itself.
    #[test]
    fn each_address_has_its_own_rate() {
        let (limit, now) = (limit(20), 5 * SECOND_NS);
        let one = address("192.0.2.7");
        let passed = (0..30).filter(|_| limit.count_at(one, now).is_ok()).count();
        assert_eq!(passed, 20);
        let wait_s = limit.count_at(one, now).expect_err("one too many");
        assert_eq!(wait_s, 3); // a third of a minute's twentieth
        let later = now + wait_s * SECOND_NS;
        assert!(limit.count_at(one, later).is_ok() && limit.count_at(one, later).is_err());
        let hour = later + 3_600 * SECOND_NS;
        assert_eq!((0..30).filter(|_| limit.count_at(one, hour).is_ok()).count(), 20);
        assert!(limit.count_at(address("::ffff:192.0.2.7"), hour).is_err());

        let v6 = |low: u32| address(&format!("2001:db8:1:2::{low:x}"));
        assert_eq!((0..30).filter(|n| limit.count_at(v6(*n), hour).is_ok()).count(), 20);
        assert!(limit.count_at(address("2001:db8:1:3::1"), hour).is_ok());
    }

    /// Scenario: a million addresses try one bad token each, then one of them many.
    /// Guarantees: nothing grows, hardly anybody is refused for what others did, and the one is still bounded.
    #[test]
    fn a_flood_of_addresses_takes_no_memory() {
        let limit = limit(600);
        let refused = (0..1_000_000u32)
            .filter(|n| limit.count_at(IpAddr::V4(Ipv4Addr::from_bits(0x0a00_0000 + n)), 0).is_err());
        assert_eq!(refused.count(), 0); // about fifteen share a slot
        assert_eq!(limit.slots.len() as u64, SLOTS);
        let one = address("10.0.0.1");
        assert!((0..1_000).filter(|_| limit.count_at(one, 0).is_ok()).count() < 600);
    }
}
