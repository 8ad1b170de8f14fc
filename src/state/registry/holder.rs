//! The holder of a token, with the limits that go with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use jiff::Timestamp;
use uuid::Uuid;

use crate::model::caller::Caller;
use crate::rate_limit::RateLimiter;

/// A caller with the limits that go with its token.
#[derive(Debug)]
pub struct Holder {
    /// The caller.
    pub caller: Caller,
    /// Its rate limit on the data plane, if there is one.
    pub limit: Option<Arc<RateLimiter>>,
    id: Option<Uuid>,
    /// Seconds since the Unix epoch; 0 when not since the holder is known here.
    last_used: AtomicI64,
}

impl Holder {
    /// The holder of a token; `id` if it is kept in the store.
    pub fn new(caller: Caller, id: Option<Uuid>, limit: Option<Arc<RateLimiter>>) -> Self {
        Self { caller, limit, id, last_used: AtomicI64::new(0) }
    }

    /// The same holder with another limit.
    pub(super) fn with_limit(&self, limit: Option<Arc<RateLimiter>>) -> Self {
        let last_used = AtomicI64::new(self.last_used.load(Relaxed));
        Self { caller: self.caller.clone(), limit, id: self.id, last_used }
    }

    /// The token's id in the store, if it is kept there.
    pub fn id(&self) -> Option<Uuid> {
        self.id
    }

    /// Remembers, to the second, that the token was used at `now`.
    pub fn mark_used(&self, now: Timestamp) {
        let second = now.as_second();
        // Most requests find it said already, and leave the other cores' copy alone.
        if self.last_used.load(Relaxed) != second {
            self.last_used.store(second, Relaxed);
        }
    }

    /// The time when the token was last used here, if that was after `then`.
    pub fn used_after(&self, then: Timestamp) -> Option<Timestamp> {
        let used = Timestamp::from_second(self.last_used.load(Relaxed)).ok()?;
        (used > then && used != Timestamp::UNIX_EPOCH).then_some(used)
    }
}
