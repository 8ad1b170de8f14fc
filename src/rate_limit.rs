//! Limits of request rates, and of memory that many holders share.
//!
//! Owns the counting of requests per minute and of bytes that are held, promises an answer without
//! waiting, and must never know the owner of a request or a byte.

mod memory;

use std::fmt;
use std::hash::Hash;
use std::num::NonZeroU32;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, DefaultKeyedRateLimiter, Quota};

pub use self::memory::{MemoryBudget, MemoryShare};

/// A number of requests per minute, of which a minute's worth may come at once.
#[derive(Debug)]
pub struct RateLimiter {
    per_minute: u32,
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

/// A number of requests per minute for each key, of which a minute's worth may come at once.
pub struct KeyedRateLimiter<K: Clone + Eq + Hash> {
    per_minute: u32,
    limiter: DefaultKeyedRateLimiter<K>,
    taken: AtomicU32,
    clock: DefaultClock,
}

/// Too many requests. The next one is allowed after this time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many requests; the next one in {0:?}")]
pub struct RateExceeded(pub Duration);

impl RateLimiter {
    /// A limit of `per_minute` requests; `None` for zero, which means no limit.
    pub fn per_minute(per_minute: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute)?);
        Some(Self {
            per_minute,
            limiter: governor::RateLimiter::direct(quota),
            clock: DefaultClock::default(),
        })
    }

    /// Tells whether this is the limit already, so that a reload can keep the counts.
    pub fn is_per_minute(&self, per_minute: u32) -> bool {
        self.per_minute == per_minute
    }

    /// Counts one request.
    pub fn take(&self) -> Result<(), RateExceeded> {
        self.limiter.check().map_err(|until| RateExceeded(until.wait_time_from(self.clock.now())))
    }
}

impl<K: Clone + Eq + Hash> KeyedRateLimiter<K> {
    /// A limit of `per_minute` requests for each key; `None` for zero, which means no limit.
    pub fn per_minute(per_minute: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute)?);
        let limiter = governor::RateLimiter::keyed(quota);
        Some(Self { per_minute, limiter, taken: AtomicU32::new(0), clock: DefaultClock::default() })
    }

    /// Tells whether this is the limit already, so that a reload can keep the counts.
    pub fn is_per_minute(&self, per_minute: u32) -> bool {
        self.per_minute == per_minute
    }

    /// Counts one request of `key`.
    pub fn take(&self, key: &K) -> Result<(), RateExceeded> {
        // Keys that have used nothing of their minute need not be remembered.
        if self.taken.fetch_add(1, Relaxed) % CLEANUP_INTERVAL == CLEANUP_INTERVAL - 1 {
            self.limiter.retain_recent();
        }
        self.limiter
            .check_key(key)
            .map_err(|until| RateExceeded(until.wait_time_from(self.clock.now())))
    }
}

impl<K: Clone + Eq + Hash> fmt::Debug for KeyedRateLimiter<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedRateLimiter")
            .field("per_minute", &self.per_minute)
            .finish_non_exhaustive()
    }
}

/// The number of requests after which keys with their full rate are dropped.
const CLEANUP_INTERVAL: u32 = 4096;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_it_is_too_many() {
        let rate = RateLimiter::per_minute(3).unwrap();
        assert_eq!([rate.take(), rate.take(), rate.take()], [Ok(()), Ok(()), Ok(())]);
        let RateExceeded(wait) = rate.take().unwrap_err();
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
        assert!(RateLimiter::per_minute(0).is_none());
    }

    #[test]
    fn each_key_has_a_minute_of_its_own() {
        let rates = KeyedRateLimiter::per_minute(1).unwrap();
        assert_eq!([rates.take(&'a'), rates.take(&'b')], [Ok(()), Ok(())]);
        assert!(rates.take(&'a').is_err());
        assert!(rates.is_per_minute(1));
    }
}
