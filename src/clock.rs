//! The time, as an argument.
//!
//! Owns every reading of a clock, promises that tests can set it, and must never know what the
//! time is for.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use jiff::Timestamp;

/// Wall-clock time; the system's, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    set_by_hand: Option<Arc<AtomicI64>>,
}

impl Clock {
    /// The system's clock.
    #[must_use]
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `seconds` after the Unix epoch until it is moved.
    #[must_use]
    pub fn fixed(seconds: i64) -> Self {
        Self { set_by_hand: Some(Arc::new(AtomicI64::new(seconds))) }
    }

    /// Moves a fixed clock forward by whole seconds; the system's clock is left alone.
    pub fn advance(&self, seconds: i64) {
        if let Some(clock) = &self.set_by_hand {
            clock.fetch_add(seconds, Ordering::Relaxed);
        }
    }

    /// The time now, in UTC.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.set_by_hand {
            Some(clock) => {
                Timestamp::from_second(clock.load(Ordering::Relaxed)).unwrap_or(Timestamp::MAX)
            }
            None => system_time(),
        }
    }
}

/// A reading of the monotonic clock, for durations and deadlines.
#[must_use]
#[expect(clippy::disallowed_methods, reason = "the one place that asks the time")]
pub fn instant() -> std::time::Instant {
    std::time::Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the time")]
fn system_time() -> Timestamp {
    Timestamp::now()
}
