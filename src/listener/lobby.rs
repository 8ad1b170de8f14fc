//! All conns of one worker: counted, swept for overdue ones, told to drain.

use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering::Relaxed};
use std::sync::{Arc, Weak};
use std::time::Duration;

use dashmap::DashMap;
use dashmap::mapref::entry::Entry;
use foldhash::fast::RandomState;
use parking_lot::Mutex;

use super::Limits;
use super::presence::{Deadlines, Order, Presence, TICKS_PER_SECOND};
use crate::model::token::TokenDigest;

/// Counts the conns of all workers.
#[derive(Debug, Default)]
pub struct Doorkeeper {
    conns: AtomicUsize,
    by_caller: DashMap<TokenDigest, usize, RandomState>,
}

/// A conn that can't be taken in, or can't go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NoRoom {
    /// There are as many conns as there may be.
    Full,
    /// Its caller has as many as one may have.
    CallerFull,
}

/// The conns of one worker.
#[derive(Debug)]
pub struct Lobby {
    doorkeeper: Arc<Doorkeeper>,
    limits: Limits,
    silent_limit: usize,
    clock: Arc<AtomicU32>,
    draining: AtomicBool,
    present: Mutex<Present>,
}

#[derive(Debug, Default)]
struct Present {
    all: Vec<Weak<Presence>>,
    /// In the order of arrival; those whose caller is known since are dropped now and then.
    silent: VecDeque<Weak<Presence>>,
}

/// A place among the conns, given back on drop.
#[derive(Debug)]
pub(super) struct Place {
    doorkeeper: Arc<Doorkeeper>,
    /// The caller for whom the conn is counted: the one that its last request named.
    caller: Option<TokenDigest>,
    max_per_caller: usize,
}

impl Doorkeeper {
    /// How many conns there are now.
    #[must_use]
    pub fn conns(&self) -> usize {
        self.conns.load(Relaxed)
    }

    /// Counts one more conn for `caller`, unless it has as many as one may have.
    fn enter(&self, caller: TokenDigest, most: usize) -> Result<(), NoRoom> {
        match self.by_caller.entry(caller) {
            Entry::Vacant(entry) => drop(entry.insert(1)),
            Entry::Occupied(entry) if *entry.get() >= most => return Err(NoRoom::CallerFull),
            Entry::Occupied(mut entry) => *entry.get_mut() += 1,
        }
        Ok(())
    }

    fn leave(&self, caller: TokenDigest) {
        if let Entry::Occupied(mut entry) = self.by_caller.entry(caller) {
            *entry.get_mut() -= 1;
            if *entry.get() == 0 {
                entry.remove();
            }
        }
    }
}

impl Place {
    /// Counts the conn for `caller` instead of for the one that it was counted for.
    pub(super) fn count_for(&mut self, caller: TokenDigest) -> Result<(), NoRoom> {
        if self.caller != Some(caller) {
            self.doorkeeper.enter(caller, self.max_per_caller)?;
            if let Some(before) = self.caller.replace(caller) {
                self.doorkeeper.leave(before);
            }
        }
        Ok(())
    }
}

impl Lobby {
    /// A lobby for one of `workers` workers.
    #[must_use]
    pub fn new(doorkeeper: Arc<Doorkeeper>, limits: Limits, workers: usize) -> Self {
        Self {
            doorkeeper,
            limits,
            silent_limit: limits.max_silent_conns.div_ceil(workers.max(1)).max(1),
            clock: Arc::default(),
            draining: AtomicBool::new(false),
            present: Mutex::default(),
        }
    }

    pub(super) fn limits(&self) -> &Limits {
        &self.limits
    }

    /// Takes a conn in, or `None` when there are too many.
    pub(super) fn admit(&self, peer: Option<IpAddr>) -> Option<Arc<Presence>> {
        Some(self.admit_to(self.place()?, peer))
    }

    /// A place for one more conn, or `None` when there are too many.
    pub(super) fn place(&self) -> Option<Place> {
        let doorkeeper = Arc::clone(&self.doorkeeper);
        let max_per_caller = self.limits.max_conns_per_caller;
        let place = Place { doorkeeper, caller: None, max_per_caller };
        let before = self.doorkeeper.conns.fetch_add(1, Relaxed);
        (before < self.limits.max_conns).then_some(place)
    }

    /// Takes a conn in that has a place.
    pub(super) fn admit_to(&self, place: Place, peer: Option<IpAddr>) -> Arc<Presence> {
        let presence = Arc::new(Presence::new(Arc::clone(&self.clock), peer, place));
        if self.draining.load(Relaxed) {
            presence.tell(Order::Drain);
        }
        let mut present = self.present.lock();
        present.all.push(Arc::downgrade(&presence));
        present.silent.push_back(Arc::downgrade(&presence));
        present.evict_silent(self.silent_limit);
        drop(present);
        presence
    }

    /// Moves the clock and closes what is overdue, for as long as it is polled.
    pub async fn sweep(&self) {
        let ticks = |duration: Duration| {
            let quarters = duration.as_millis() * u128::from(TICKS_PER_SECOND) / 1000;
            u32::try_from(quarters).unwrap_or(u32::MAX)
        };
        let deadlines = Deadlines {
            head: ticks(self.limits.head_timeout),
            idle: ticks(self.limits.idle_timeout),
        };
        let mut interval =
            tokio::time::interval(Duration::from_millis(1000 / u64::from(TICKS_PER_SECOND)));
        loop {
            interval.tick().await;
            self.clock.fetch_add(1, Relaxed);
            self.present.lock().dismiss_overdue(deadlines);
        }
    }

    /// Lets what is in flight finish and closes everything else.
    pub fn drain(&self) {
        self.draining.store(true, Relaxed);
        let present = self.present.lock();
        for presence in present.all.iter().filter_map(Weak::upgrade) {
            presence.tell(Order::Drain);
        }
    }
}

impl Present {
    /// Beyond the limit the oldest conn of nobody who is known goes.
    fn evict_silent(&mut self, limit: usize) {
        if self.silent.len() <= limit {
            return;
        }
        self.forget_greeted();
        while self.silent.len() > limit {
            if let Some(oldest) = self.silent.pop_front().and_then(|oldest| oldest.upgrade()) {
                oldest.tell(Order::Leave);
            }
        }
    }

    fn forget_greeted(&mut self) {
        self.silent
            .retain(|presence| presence.upgrade().is_some_and(|presence| !presence.has_greeted()));
    }

    fn dismiss_overdue(&mut self, deadlines: Deadlines) {
        self.all.retain(|presence| {
            let Some(presence) = presence.upgrade() else { return false };
            if presence.is_overdue(deadlines) {
                presence.tell(Order::Leave);
            }
            true
        });
        self.forget_greeted();
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.doorkeeper.conns.fetch_sub(1, Relaxed);
        if let Some(caller) = self.caller {
            self.doorkeeper.leave(caller);
        }
    }
}
