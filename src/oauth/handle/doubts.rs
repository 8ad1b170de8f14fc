//! Refused tokens: which 401 of an origin is taken at its word, and which has tokens refreshed.

use std::time::{Duration, Instant};

/// Tokens that follow on refused ones. Refused too, they are no reason for a refresh.
#[derive(Clone, Copy, Debug)]
pub(super) struct DoubtedTokens {
    pub(super) generation: i64,
    pub(super) until: Instant,
    pub(super) doubt: Doubt,
}

/// The reason why an origin's 401 to tokens is taken at its word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Doubt {
    /// It has refused those before, and these may be got because of that.
    Awaited,
    /// The provider was asked for these because of that.
    AskedFor,
    /// It has refused a request that was sent again with these.
    Refused,
}

/// The refreshes of late for which the provider was asked because an origin refused tokens.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct CausedRefreshes {
    /// The set of tokens that the last one brought.
    pub(super) generation: i64,
    /// The times of the last two, the later one first.
    at: [Option<Instant>; 2],
}

impl CausedRefreshes {
    pub(super) fn note(&mut self, generation: i64, now: Instant) {
        let [last, _before] = self.at;
        *self = Self { generation, at: [Some(now), last] };
    }

    /// The number of those since `BELIEVE_401_FOR`.
    pub(super) fn count(&self, now: Instant) -> usize {
        self.at.iter().flatten().filter(|at| **at + BELIEVE_401_FOR > now).count()
    }
}

/// The time for which an origin's 401 to tokens is taken at its word, once these are doubted.
pub(super) const BELIEVE_401_FOR: Duration = Duration::from_secs(30);
