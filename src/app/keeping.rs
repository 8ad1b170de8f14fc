//! What is kept beyond the process, and kept in force.

use std::sync::Arc;

use parking_lot::Mutex;

use super::backing::Backing;
use super::follower::{FollowError, Follower};
use super::housekeeping::Housekeeping;
use super::keeper::Keeper;
use super::live::Live;
use super::trust::Trust;
use crate::config::Config;
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

impl Keeping {
    /// Puts in force what the store has.
    ///
    /// # Errors
    /// [`FollowError`] says what stands in the way.
    pub(super) async fn open(
        config: &Config,
        backing: Backing,
        trust: &Arc<Trust>,
        live: &Arc<Live>,
        ledger: &Ledger,
    ) -> Result<Self, FollowError> {
        let follower = Follower::start(
            backing.clone(),
            Arc::clone(trust),
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
        Ok(Self { backing, follower, housekeeping })
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

    /// Another configuration is in force: what it no longer declares may be in the store.
    pub(super) fn begin_afresh(&self) {
        self.follower.begin_afresh();
    }

    /// What the management plane needs of it.
    pub(super) fn keeper(&self) -> Arc<dyn desk::Keeping> {
        let (backing, follower) = (self.backing.clone(), Arc::clone(&self.follower));
        Arc::new(Keeper { backing, follower })
    }
}
