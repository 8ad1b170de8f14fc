//! What is kept beyond the process, and kept in force.

use std::sync::Arc;

use parking_lot::Mutex;

use super::backing::{Backing, BackingError};
use super::follower::{FollowError, Follower};
use super::housekeeping::Housekeeping;
use super::keeper::Keeper;
use super::live::Live;
use crate::config::{Config, Environment};
use crate::desk;
use crate::ledger::Ledger;

/// The store and the keys, the follower that puts in force what is written, and what the store is
/// told now and then.
#[derive(Debug)]
pub(super) struct Keeping {
    backing: Backing,
    follower: Arc<Follower>,
    housekeeping: Housekeeping,
}

/// Why nothing can be kept.
#[derive(Debug, thiserror::Error)]
pub enum KeepingError {
    /// The store or its keys.
    #[error(transparent)]
    Backing(#[from] BackingError),
    /// What the store has can't be in force.
    #[error(transparent)]
    Follow(#[from] FollowError),
}

impl Keeping {
    /// Opens the store and puts what it has in force. `None` for a store that keeps nothing.
    ///
    /// # Errors
    /// [`KeepingError`] says what stands in the way.
    pub(super) async fn open(
        config: &Config,
        environment: &Environment,
        live: &Arc<Live>,
        ledger: &Ledger,
    ) -> Result<Option<Self>, KeepingError> {
        let Some(backing) = Backing::open(config, environment).await? else { return Ok(None) };
        let follower = Follower::start(
            backing.clone(),
            Arc::clone(live),
            Arc::clone(&ledger.metrics),
            config.store.max_staleness,
        );
        let follower = Arc::new(follower.await?);
        let housekeeping = Housekeeping {
            store: Arc::clone(&backing.store),
            in_force: live.in_force(),
            trail: ledger.trail.clone().unwrap_or_default(),
            metrics: Arc::clone(&ledger.metrics),
            clock: ledger.clock.clone(),
            retention: config.audit.retention,
            told: Mutex::new(ledger.clock.now()),
        };
        Ok(Some(Self { backing, follower, housekeeping }))
    }

    /// Follows the store and tells it what it must know, until this is dropped.
    pub(super) async fn work(&self) {
        tokio::join!(self.follower.follow(), self.housekeeping.run());
    }

    /// Tells the store what it would lose.
    pub(super) async fn close(&self) {
        self.housekeeping.keep_entries().await;
        self.housekeeping.tell_last_used().await;
        self.backing.store.close().await;
    }

    /// What the management plane needs of it.
    pub(super) fn keeper(&self) -> Arc<dyn desk::Keeping> {
        let (backing, follower) = (self.backing.clone(), Arc::clone(&self.follower));
        Arc::new(Keeper { backing, follower })
    }
}
