//! The silence of the store: since when it has not answered.

use std::time::{Duration, Instant};

use crate::store;

/// The time when the store last answered.
#[derive(Debug)]
pub(super) struct LastHeard {
    at: Instant,
    /// Tells whether it has been silent since, which is said once.
    silent: bool,
}

impl LastHeard {
    pub(super) fn new(at: Instant) -> Self {
        Self { at, silent: false }
    }

    pub(super) fn at(&self) -> Instant {
        self.at
    }

    /// Notes it, and gives for how long the store has been silent. A silence is logged once, and
    /// so is its end.
    pub(super) fn note(&mut self, heard: Result<(), store::Error>, now: Instant) -> Duration {
        let Err(error) = heard else {
            if std::mem::take(&mut self.silent) {
                tracing::info!("the store can be read again");
            }
            self.at = now;
            return Duration::ZERO;
        };
        if !std::mem::replace(&mut self.silent, true) {
            let error = &error as &dyn std::error::Error;
            tracing::error!(
                error,
                "the store can't be read: requests go on with what was read last, for at most store.max_staleness"
            );
        }
        // However short, it is a silence.
        now.duration_since(self.at).max(Duration::from_millis(1))
    }
}
