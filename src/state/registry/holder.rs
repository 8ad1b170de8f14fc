//! The holder of a token, with the limits that go with it.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use arc_swap::ArcSwapOption;
use jiff::Timestamp;
use uuid::Uuid;

use crate::model::caller::Caller;
use crate::model::connection::Connection;
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
    /// The same of the last use of a connection, whose full name is in `last_connection`.
    last_sent: AtomicI64,
    last_connection: ArcSwapOption<String>,
}

impl Holder {
    /// The holder of a token; `id` if it is kept in the store.
    pub fn new(caller: Caller, id: Option<Uuid>, limit: Option<Arc<RateLimiter>>) -> Self {
        let (last_used, last_sent) = (AtomicI64::new(0), AtomicI64::new(0));
        let last_connection = ArcSwapOption::empty();
        Self { caller, limit, id, last_used, last_sent, last_connection }
    }

    /// The same holder with another limit.
    pub(super) fn with_limit(&self, limit: Option<Arc<RateLimiter>>) -> Self {
        let copy = |second: &AtomicI64| AtomicI64::new(second.load(Relaxed));
        Self {
            caller: self.caller.clone(),
            limit,
            id: self.id,
            last_used: copy(&self.last_used),
            last_sent: copy(&self.last_sent),
            last_connection: ArcSwapOption::new(self.last_connection.load_full()),
        }
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

    /// Remembers, once a second, that the token is used for a connection. Nothing of the connection
    /// is kept but its name.
    pub fn mark_used_for(&self, connection: &Connection, now: Timestamp) {
        let second = now.as_second();
        if self.last_sent.load(Relaxed) == second {
            return;
        }
        self.last_sent.store(second, Relaxed);
        let name = format!("{}.{}", connection.integration(), connection.name());
        self.last_connection.store(Some(Arc::new(name)));
    }

    /// The full name of the connection that the token was last used for here, if it was for one.
    pub fn last_connection(&self) -> Option<Arc<String>> {
        self.last_connection.load_full()
    }

    /// The time when the token was last used here, if that was after `then`.
    pub fn used_after(&self, then: Timestamp) -> Option<Timestamp> {
        let used = Timestamp::from_second(self.last_used.load(Relaxed)).ok()?;
        (used > then && used != Timestamp::UNIX_EPOCH).then_some(used)
    }
}
