//! Random numbers that can be had again.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// A seeded source (splitmix64).
pub(super) struct Dice(AtomicU64);

impl Dice {
    /// The seed of `CHAOS_SEED`, or a new one, which is said.
    pub(super) fn seeded(scenario: &str) -> Self {
        let chosen = std::env::var("CHAOS_SEED").ok().and_then(|text| text.parse().ok());
        let seed = chosen.unwrap_or_else(|| {
            u64::from_be_bytes(keyferry::random::bytes().unwrap()) % 1_000_000_000
        });
        super::report(scenario, &format!("CHAOS_SEED={seed}"));
        Self(AtomicU64::new(seed))
    }

    /// A number below `sides`.
    pub(super) fn below(&self, sides: u64) -> u64 {
        let mut state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Relaxed);
        state = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        state = (state ^ (state >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (state ^ (state >> 31)) % sides
    }

    /// One of these.
    pub(super) fn one_of<'a, T>(&self, all: &'a [T]) -> &'a T {
        &all[usize::try_from(self.below(all.len() as u64)).unwrap()]
    }
}
