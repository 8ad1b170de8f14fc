//! The last use of a connection, as a few atomics that each request updates.

use std::sync::Arc;
use std::sync::atomic::{
    AtomicBool, AtomicI64, AtomicU16, AtomicU32, AtomicU64, Ordering::Relaxed,
};

use jiff::Timestamp;
use parking_lot::Mutex;

use super::history::History;

/// The use of a connection since this process knows it. Updates take no lock: of two requests that
/// end together at midnight, one may not be counted.
#[derive(Debug)]
pub struct ConnectionUsage {
    /// The history of its integration.
    pub(super) history: Arc<History>,
    /// The last use in seconds since the Unix epoch; 0 for none.
    last: AtomicI64,
    /// The status of the last answer.
    status: AtomicU16,
    /// Tells whether that answer was a refusal, not the origin's.
    refused: AtomicBool,
    /// The code of the last refusal.
    code: Mutex<&'static str>,
    /// The day that `today` counts, in days since the Unix epoch.
    day: AtomicI64,
    today: AtomicU32,
    /// The echoes of the credential that were masked.
    echoes: AtomicU64,
}

/// A copy of a connection's use.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct LastUse {
    /// The time of the last request that was sent, or failed.
    pub at: Option<Timestamp>,
    /// The status of the last answer.
    pub status: u16,
    /// The code of the last request's failure; `None` when the origin has answered it.
    pub failure: Option<&'static str>,
    /// The number of requests since midnight UTC that were sent, or failed.
    pub today: u32,
    /// The number of echoes of the credential that were masked in answers since the start.
    pub echoes: u64,
}

impl ConnectionUsage {
    /// No use yet; `history` is that of the integration.
    pub fn new(history: Arc<History>) -> Self {
        Self {
            history,
            last: AtomicI64::new(0),
            status: AtomicU16::new(0),
            refused: AtomicBool::new(false),
            code: Mutex::default(),
            day: AtomicI64::new(0),
            today: AtomicU32::new(0),
            echoes: AtomicU64::new(0),
        }
    }

    /// Notes a request that has ended. One that was refused for the caller's own fault does not
    /// count as a use.
    pub(super) fn note(&self, time: Timestamp, status: u16, refused: Option<&'static str>) {
        if refused.is_some() && status < 500 || status == 0 {
            return;
        }
        let second = time.as_second();
        self.count(second.div_euclid(86_400));
        // Most requests find the value set, and don't invalidate the cache line of other cores.
        if self.last.load(Relaxed) != second {
            self.last.store(second, Relaxed);
        }
        if self.status.load(Relaxed) != status {
            self.status.store(status, Relaxed);
        }
        if let Some(code) = refused {
            *self.code.lock() = code;
        }
        if self.refused.load(Relaxed) != refused.is_some() {
            self.refused.store(refused.is_some(), Relaxed);
        }
    }

    /// The use as of `now`.
    pub fn used(&self, now: Timestamp) -> LastUse {
        let last = self.last.load(Relaxed);
        let is_today = self.day.load(Relaxed) == now.as_second().div_euclid(86_400);
        LastUse {
            at: Timestamp::from_second(last).ok().filter(|_| last != 0),
            status: self.status.load(Relaxed),
            failure: self.refused.load(Relaxed).then(|| *self.code.lock()),
            today: if is_today { self.today.load(Relaxed) } else { 0 },
            echoes: self.echoes.load(Relaxed),
        }
    }

    /// Copies the use of the connection's earlier version.
    pub fn continue_from(&self, before: &Self) {
        self.last.store(before.last.load(Relaxed), Relaxed);
        self.status.store(before.status.load(Relaxed), Relaxed);
        self.refused.store(before.refused.load(Relaxed), Relaxed);
        *self.code.lock() = *before.code.lock();
        self.day.store(before.day.load(Relaxed), Relaxed);
        self.today.store(before.today.load(Relaxed), Relaxed);
        self.echoes.store(before.echoes.load(Relaxed), Relaxed);
    }

    /// Notes echoes of the credential that were masked. `true` for the first ones.
    pub(super) fn note_echoes(&self, number: usize) -> bool {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        number > 0 && self.echoes.fetch_add(number, Relaxed) == 0
    }

    fn count(&self, day: i64) {
        if self.day.load(Relaxed) == day {
            self.today.fetch_add(1, Relaxed);
        } else {
            self.day.store(day, Relaxed);
            self.today.store(1, Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fresh() -> ConnectionUsage {
        ConnectionUsage::new(super::super::Metrics::new().history_of(""))
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    #[test]
    fn what_the_caller_did_wrong_says_nothing_of_the_connection() {
        let usage = fresh();
        usage.note(at(86_400), 403, Some("DomainNotAllowed"));
        assert_eq!(usage.used(at(86_400)), LastUse::default());
        usage.note(at(86_401), 200, None);
        usage.note(at(86_402), 404, Some("ConnectionNotFound"));
        let used = usage.used(at(86_403));
        assert_eq!((used.at, used.status, used.today), (Some(at(86_401)), 200, 1));
    }

    #[test]
    fn a_failure_is_forgotten_with_the_next_answer() {
        let usage = fresh();
        usage.note(at(1), 502, Some("OriginUnreachable"));
        assert_eq!(usage.used(at(1)).failure, Some("OriginUnreachable"));
        usage.note(at(2), 503, None);
        assert_eq!((usage.used(at(2)).failure, usage.used(at(2)).status), (None, 503));
    }

    #[test]
    fn a_day_begins_at_midnight_in_utc() {
        let usage = fresh();
        usage.note(at(86_399), 200, None);
        assert_eq!((usage.used(at(86_399)).today, usage.used(at(86_400)).today), (1, 0));
        usage.note(at(86_400), 200, None);
        let later = fresh();
        later.continue_from(&usage);
        assert_eq!(later.used(at(86_400)), usage.used(at(86_400)));
    }
}
