//! The one source of chance: a seeded generator whose stream is the same on every platform.
//!
//! PCG-64 (MCG) is defined bit by bit; the draws below use integers only, so that neither the width of a
//! pointer nor the rounding of a float can change a history.

use rand_pcg::Pcg64Mcg;
use rand_pcg::rand_core::{RngCore, SeedableRng};
use uuid::Uuid;

#[derive(Clone, Debug)]
pub(super) struct Rng(Pcg64Mcg);

impl Rng {
    pub(super) fn new(seed: u64) -> Rng {
        Rng(Pcg64Mcg::seed_from_u64(seed))
    }

    pub(super) fn bits(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in 0..n; 0 for n = 0.
    pub(super) fn below(&mut self, n: u64) -> u64 {
        let high = (u128::from(self.bits()) * u128::from(n)) >> 64;
        u64::try_from(high).unwrap_or(0)
    }

    /// A number in low..=high; `low` where the range is empty.
    pub(super) fn between(&mut self, low: i64, high: i64) -> i64 {
        let width = u64::try_from(high.saturating_sub(low)).unwrap_or(0);
        low.saturating_add_unsigned(self.below(width.saturating_add(1)))
    }

    /// The sum of two draws: a triangle over low..=high with its peak in the middle.
    pub(super) fn around(&mut self, low: i64, high: i64) -> i64 {
        let half = (high - low) / 2;
        low + self.between(0, half) + self.between(0, high - low - half)
    }

    /// True `permille` times out of a thousand.
    pub(super) fn chance(&mut self, permille: u32) -> bool {
        self.below(1000) < u64::from(permille)
    }

    /// One of `items`; the first item's place stands in for an empty slice's, which no caller has.
    pub(super) fn pick<T: Copy, const N: usize>(&mut self, items: [T; N]) -> T {
        const { assert!(N > 0) };
        items[usize::try_from(self.below(N as u64)).unwrap_or(0)]
    }

    pub(super) fn bytes16(&mut self) -> [u8; 16] {
        ((u128::from(self.bits()) << 64) | u128::from(self.bits())).to_be_bytes()
    }

    /// A UUID in the layout of version 7 at the simulated time.
    pub(super) fn uuid(&mut self, at_micros: i64) -> Uuid {
        let mut bytes = self.bytes16();
        let millis = (at_micros / 1000).max(0).to_be_bytes();
        bytes[..6].copy_from_slice(&millis[2..]);
        bytes[6] = 0x70 | (bytes[6] & 0x0f);
        bytes[8] = 0x80 | (bytes[8] & 0x3f);
        Uuid::from_bytes(bytes)
    }
}
