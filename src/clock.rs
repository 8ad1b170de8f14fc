//! The time, as an argument.
//!
//! Owns every reading of a clock, promises that tests can set it, and must never know what the
//! time is for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use tokio::sync::watch;

/// Wall-clock time; the system's, or one that a test moves by hand.
#[derive(Clone, Debug, Default)]
pub struct Clock {
    set_by_hand: Option<Arc<FixedTime>>,
}

/// A time that stands still until it is moved.
#[derive(Debug)]
struct FixedTime {
    seconds: watch::Sender<i64>,
    /// The time at first, and the reading of the monotonic clock that goes with it.
    start: (i64, Instant),
}

impl Clock {
    /// The system's clock.
    pub fn system() -> Self {
        Self::default()
    }

    /// A clock that stands still at `seconds` after the Unix epoch until it is moved.
    pub fn fixed(seconds: i64) -> Self {
        let time = FixedTime { seconds: watch::Sender::new(seconds), start: (seconds, instant()) };
        Self { set_by_hand: Some(Arc::new(time)) }
    }

    /// Moves a fixed clock forward by whole seconds; the system's clock is left alone.
    pub fn advance(&self, seconds: i64) {
        if let Some(clock) = &self.set_by_hand {
            clock.seconds.send_modify(|now| *now = now.saturating_add(seconds));
        }
    }

    /// The time now, in UTC.
    pub fn now(&self) -> Timestamp {
        match &self.set_by_hand {
            Some(clock) => timestamp(*clock.seconds.borrow()),
            None => system_time(),
        }
    }

    /// Waits until it is `time`, by a fixed clock until it has been moved there. The system's clock
    /// may be set meanwhile, so that it is read again now and then.
    pub async fn sleep_until(&self, time: Timestamp) {
        if let Some(clock) = &self.set_by_hand {
            let mut moves = clock.seconds.subscribe();
            // The sender is this clock's own.
            drop(moves.wait_for(|now| timestamp(*now) >= time).await);
            return;
        }
        while let Ok(left) = Duration::try_from(time.duration_since(self.now()))
            && !left.is_zero()
        {
            tokio::time::sleep(left.min(REREAD_INTERVAL)).await;
        }
    }

    /// A reading of the monotonic clock, which is moved along with a fixed clock.
    #[must_use]
    pub fn instant(&self) -> Instant {
        match &self.set_by_hand {
            Some(clock) => {
                let (start, origin) = clock.start;
                let moved = clock.seconds.borrow().saturating_sub(start);
                origin + Duration::from_secs(u64::try_from(moved).unwrap_or_default())
            }
            None => instant(),
        }
    }
}

fn timestamp(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap_or(Timestamp::MAX)
}

/// A reading of the monotonic clock, for durations and deadlines.
#[expect(clippy::disallowed_methods, reason = "the one place that asks the time")]
pub fn instant() -> Instant {
    Instant::now()
}

#[expect(clippy::disallowed_methods, reason = "the one place that asks the time")]
fn system_time() -> Timestamp {
    Timestamp::now()
}

/// The interval at which the system's clock is read while its time is waited for.
const REREAD_INTERVAL: Duration = Duration::from_secs(30);
