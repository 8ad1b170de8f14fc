//! The conns of one worker: their limits, deadlines and draining.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::ConnLimits;
use super::conn_state::{ConnSignal, ConnState, Deadlines, TICKS_PER_SECOND};
use crate::model::token::TokenDigest;

/// Counts the conns of all workers, and those of each caller.
#[derive(Debug, Default)]
pub struct ConnLimit {
    conns: AtomicUsize,
    by_caller: DashMap<TokenDigest, usize, RandomState>,
}

/// The limit of conns that was reached.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnLimitReached {
    /// The limit of all conns.
    Full,
    /// The limit of one caller's conns.
    CallerFull,
}

/// The conns of one worker.
#[derive(Debug)]
pub struct ConnTracker {
    conn_limit: Arc<ConnLimit>,
    limits: ConnLimits,
    max_unauthenticated: usize,
    clock: Arc<AtomicU32>,
    draining: AtomicBool,
    present: Mutex<TrackedConns>,
}

#[derive(Debug, Default)]
struct TrackedConns {
    all: Vec<Weak<ConnState>>,
    /// In the order of arrival. Those that have authenticated are removed by each sweep.
    unauthenticated: VecDeque<Weak<ConnState>>,
}

/// The right to be one of the conns, returned on drop.
#[derive(Debug)]
pub struct ConnPermit {
    conn_limit: Arc<ConnLimit>,
    /// The caller for whom the conn is counted: the one that its last request has named.
    caller: Option<TokenDigest>,
    max_per_caller: usize,
}

impl ConnLimit {
    /// The number of conns.
    pub fn conns(&self) -> usize {
        self.conns.load(Relaxed)
    }

    /// Counts one more conn for `caller`, up to `most`.
    fn count_caller(&self, caller: TokenDigest, most: usize) -> Result<(), ConnLimitReached> {
        match self.by_caller.entry(caller) {
            Entry::Vacant(entry) => drop(entry.insert(1)),
            Entry::Occupied(entry) if *entry.get() >= most => {
                return Err(ConnLimitReached::CallerFull);
            }
            Entry::Occupied(mut entry) => *entry.get_mut() += 1,
        }
        Ok(())
    }

    fn uncount_caller(&self, caller: TokenDigest) {
        if let Entry::Occupied(mut entry) = self.by_caller.entry(caller) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl ConnPermit {
    /// Counts the conn for `caller` instead of for the one that it was counted for.
    pub(super) fn count_for(&mut self, caller: TokenDigest) -> Result<(), ConnLimitReached> {
        if self.caller != Some(caller) {
            self.conn_limit.count_caller(caller, self.max_per_caller)?;
            if let Some(before) = self.caller.replace(caller) {
                self.conn_limit.uncount_caller(before);
            }
        }
        Ok(())
    }
}

impl ConnTracker {
    /// A tracker for one of `workers` workers. Each gets an equal share of the limit of
    /// unauthenticated conns.
    pub fn new(conn_limit: Arc<ConnLimit>, limits: ConnLimits, workers: usize) -> Self {
        Self {
            conn_limit,
            limits,
            max_unauthenticated: limits.max_unauthenticated_conns.div_ceil(workers.max(1)).max(1),
            clock: Arc::default(),
            draining: AtomicBool::new(false),
            present: Mutex::default(),
        }
    }

    pub(super) fn limits(&self) -> &ConnLimits {
        &self.limits
    }

    /// Admits a conn; `None` when the limit is reached.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Option<Arc<ConnState>> {
        Some(self.admit_to(self.permit()?, peer))
    }

    /// A permit for one more conn; `None` when the limit is reached.
    pub(super) fn permit(&self) -> Option<ConnPermit> {
        let conn_limit = Arc::clone(&self.conn_limit);
        let max_per_caller = self.limits.max_conns_per_caller;
        let permit = ConnPermit { conn_limit, caller: None, max_per_caller };
        let before = self.conn_limit.conns.fetch_add(1, Relaxed);
        (before < self.limits.max_conns).then_some(permit)
    }

    pub(super) fn admit_to(&self, permit: ConnPermit, peer: Option<IpAddr>) -> Arc<ConnState> {
        let state = Arc::new(ConnState::new(Arc::clone(&self.clock), peer, permit));
        if self.draining.load(Relaxed) {
            state.signal(ConnSignal::Drain);
        }
        let mut present = self.present.lock();
        present.all.push(Arc::downgrade(&state));
        present.unauthenticated.push_back(Arc::downgrade(&state));
        present.evict_unauthenticated(self.max_unauthenticated);
        drop(present);
        state
    }

    /// Advances the coarse clock four times a second and closes overdue conns, until the future is
    /// dropped.
    pub async fn sweep(&self) {
        let ticks = |duration: Duration| {
            let quarters = duration.as_millis() * u128::from(TICKS_PER_SECOND) / 1000;
            u32::try_from(quarters).unwrap_or(u32::MAX)
        };
        let deadlines = Deadlines {
            head: ticks(self.limits.head_timeout),
            idle: ticks(self.limits.idle_conn_timeout),
            stalled: ticks(self.limits.stalled_write_timeout),
        };
        let mut interval =
            tokio::time::interval(Duration::from_millis(1000 / u64::from(TICKS_PER_SECOND)));
        loop {
            interval.tick().await;
            self.clock.fetch_add(1, Relaxed);
            self.present.lock().close_overdue(deadlines);
        }
    }

    /// Lets requests in flight finish and closes every other conn.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        let present = self.present.lock();
        for state in present.all.iter().filter_map(Weak::upgrade) {
            state.signal(ConnSignal::Drain);
        }
    }
}

impl TrackedConns {
    /// Closes the oldest unauthenticated conns above the limit.
    fn evict_unauthenticated(&mut self, limit: usize) {
        if self.unauthenticated.len() <= limit {
            return;
        }
        self.forget_authenticated();
        while self.unauthenticated.len() > limit {
            if let Some(oldest) =
                self.unauthenticated.pop_front().and_then(|oldest| oldest.upgrade())
            {
                oldest.signal(ConnSignal::Close);
            }
        }
    }

    fn forget_authenticated(&mut self) {
        self.unauthenticated
            .retain(|state| state.upgrade().is_some_and(|state| !state.is_authenticated()));
    }

    fn close_overdue(&mut self, deadlines: Deadlines) {
        self.all.retain(|state| {
            let Some(state) = state.upgrade() else { return false };
            if state.is_overdue(deadlines) {
                state.signal(ConnSignal::Close);
            }
            true
        });
        self.forget_authenticated();
    }
}

impl Drop for ConnPermit {
    fn drop(&mut self) {
        self.conn_limit.conns.fetch_sub(1, Relaxed);
        if let Some(caller) = self.caller {
            self.conn_limit.uncount_caller(caller);
        }
    }
}
