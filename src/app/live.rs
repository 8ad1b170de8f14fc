//! What is in force, and the one place that changes it.

use std::convert::Infallible;
use std::sync::Arc;

use arc_swap::ArcSwap;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::proxy::InForce;

/// What is in force. Requests read it without waiting; a change replaces it whole.
#[derive(Debug)]
pub(super) struct Live {
    in_force: Arc<ArcSwap<InForce>>,
    changed: watch::Sender<u64>,
    /// Changes come from the configuration and from the store; each builds on the last.
    turn: Mutex<()>,
}

impl Live {
    pub(super) fn new(in_force: InForce) -> Self {
        Self {
            in_force: Arc::new(ArcSwap::from_pointee(in_force)),
            changed: watch::Sender::new(0),
            turn: Mutex::default(),
        }
    }

    /// Where requests find what is in force.
    pub(super) fn in_force(&self) -> Arc<ArcSwap<InForce>> {
        Arc::clone(&self.in_force)
    }

    /// Tells of every change.
    pub(super) fn changes(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Tells that what is in force is not to be relied on any more.
    pub(super) fn tell(&self) {
        self.changed.send_modify(|number| *number += 1);
    }

    /// Replaces what is in force by what `change` makes of it, and gives what else it gives.
    /// Requests in flight finish under what they began with.
    pub(super) fn change<T>(&self, change: impl FnOnce(&InForce) -> (InForce, T)) -> T {
        let told: Result<T, Infallible> = self.try_change(|before| Ok(change(before)));
        let Ok(told) = told;
        told
    }

    /// The same with a change that may fail.
    ///
    /// # Errors
    /// What `change` fails with; what is in force stays so then.
    pub(super) fn try_change<T, E>(
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
