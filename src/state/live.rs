//! The one place that replaces the set in force.

use std::sync::Arc;

use arc_swap::{ArcSwap, Guard};
use parking_lot::Mutex;
use tokio::sync::watch;

use super::InForce;

/// Holds the set in force. Requests read it without waiting; a change replaces it whole.
#[derive(Debug)]
pub struct Live {
    in_force: ArcSwap<InForce>,
    changed: watch::Sender<u64>,
    /// Changes come from the configuration and from the store; each builds on the last.
    turn: Mutex<()>,
}

impl Live {
    /// Puts a first set in force.
    pub fn new(in_force: InForce) -> Self {
        Self {
            in_force: ArcSwap::from_pointee(in_force),
            changed: watch::Sender::new(0),
            turn: Mutex::default(),
        }
    }

    /// Borrows the set in force, for a moment.
    pub fn load(&self) -> Guard<Arc<InForce>> {
        self.in_force.load()
    }

    /// Shares the set in force, for as long as a request takes.
    pub fn load_full(&self) -> Arc<InForce> {
        self.in_force.load_full()
    }

    /// Tells of every change.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Has everybody look again who waits for a change: the set in force has become stale.
    pub(super) fn notify(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    /// Replaces the set in force by the one that `change` makes of it, and gives its other result.
    /// Requests in flight finish under what they began with.
    ///
    /// # Errors
    /// Fails as `change` does; the set in force stays so then.
    pub fn try_change<T, E>(
        &self,
        change: impl FnOnce(&InForce) -> Result<(InForce, T), E>,
    ) -> Result<T, E> {
        let turn = self.turn.lock();
        let (next, told) = change(&self.in_force.load())?;
        self.in_force.store(Arc::new(next));
        self.changed.send_modify(|number| *number += 1);
        drop(turn);
        Ok(told)
    }
}
