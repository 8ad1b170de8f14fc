//! Rate limits.
//!
//! Owns the counting of requests per minute, promises an answer without waiting, and must never
//! know whose requests it counts.

use std::num::NonZeroU32;
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};

/// A number of requests per minute, of which a minute's worth may come at once.
#[derive(Debug)]
pub struct Rate {
    per_minute: u32,
    limiter: DefaultDirectRateLimiter,
    clock: DefaultClock,
}

/// Too many requests; the next is welcome after this time.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("too many requests; the next one in {0:?}")]
pub struct Exceeded(pub Duration);

impl Rate {
    /// At most `per_minute`; `None` for zero, which means no limit.
    #[must_use]
    pub fn per_minute(per_minute: u32) -> Option<Self> {
        let quota = Quota::per_minute(NonZeroU32::new(per_minute)?);
        Some(Self {
            per_minute,
            limiter: RateLimiter::direct(quota),
            clock: DefaultClock::default(),
        })
    }

    /// Whether this is the limit in force, so that a reload need not begin to count anew.
    #[must_use]
    pub fn is_per_minute(&self, per_minute: u32) -> bool {
        self.per_minute == per_minute
    }

    /// Counts one request.
    ///
    /// # Errors
    /// [`Exceeded`] says how long to wait.
    pub fn take(&self) -> Result<(), Exceeded> {
        self.limiter.check().map_err(|until| Exceeded(until.wait_time_from(self.clock.now())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minutes_worth_may_come_at_once_and_then_it_is_too_many() {
        let rate = Rate::per_minute(3).unwrap();
        assert_eq!([rate.take(), rate.take(), rate.take()], [Ok(()), Ok(()), Ok(())]);
        let Exceeded(wait) = rate.take().unwrap_err();
        assert!(wait > Duration::from_secs(15) && wait <= Duration::from_secs(20), "{wait:?}");
        assert!(Rate::per_minute(0).is_none());
    }
}
