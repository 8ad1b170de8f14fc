//! The pace at which a failure that lasts is logged.

use std::time::{Duration, Instant};

/// Remembers when a failure was logged last, so that it is logged once a minute.
#[derive(Debug, Default)]
pub(super) struct LogPace(Option<Instant>);

impl LogPace {
    /// Tells whether to log it now, and remembers that it was.
    pub(super) fn is_due(&mut self, now: Instant) -> bool {
        let is_due = self.0.is_none_or(|last| now.duration_since(last) >= LOG_INTERVAL);
        if is_due {
            self.0 = Some(now);
        }
        is_due
    }

    /// The time from which on it is due again; `None` before the first.
    pub(super) fn due_at(&self) -> Option<Instant> {
        self.0.map(|last| last + LOG_INTERVAL)
    }
}

/// The interval at which a failure is logged while it lasts.
pub(super) const LOG_INTERVAL: Duration = Duration::from_mins(1);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::instant;

    #[test]
    fn a_failure_is_logged_once_a_minute() {
        let (mut pace, now) = (LogPace::default(), instant());
        assert_eq!(pace.due_at(), None);
        let due =
            [0, 1, 59, 60, 61, 120].map(|second| pace.is_due(now + Duration::from_secs(second)));
        assert_eq!(due, [true, false, false, true, false, true]);
        assert_eq!(pace.due_at(), Some(now + Duration::from_mins(3)));
    }
}
