//! What is kept beyond the process, and kept in force.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::backing::Backing;
use super::follower::{FollowError, Follower};
use super::housekeeping::Housekeeping;
use super::keeper::{Keeper, Kept};
use super::live::Live;
use super::scene::Scene;
use super::trust::Trust;
use super::write_watch::WriteWatch;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::management;
use crate::oauth::{Manager, Provider, RefreshHandle, Shelf, Surroundings};
use crate::tasks::Tasks;
use crate::upstream::{Upstream, UpstreamGauges};

/// The store and the keys, the follower that puts in force what is written, and what the store is
/// told now and then.
#[derive(Debug)]
pub(super) struct Keeping {
    backing: Backing,
    follower: Arc<Follower>,
    housekeeping: Housekeeping,
    write_watch: WriteWatch,
    manager: AsyncMutex<Manager>,
    tokens: RefreshHandle,
    provider: Arc<Provider>,
    /// What must not be broken off: refreshes, and flows that have spent a code.
    errands: Tasks,
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
        gauges: &Arc<UpstreamGauges>,
    ) -> Result<Self, FollowError> {
        let follower = Follower::start(
            backing.clone(),
            Arc::clone(trust),
            Arc::clone(live),
            Arc::clone(&ledger.metrics),
            config.store.max_staleness,
        );
        let follower = Arc::new(follower.await?);
        backing.store.limit_audit(config.audit.max_bytes);
        let write_watch = WriteWatch::new(&backing.store, &ledger.metrics);
        let housekeeping = housekeeping(config, &backing, live, ledger);
        let errands = Tasks::default();
        let shelf: Arc<dyn Shelf> =
            Arc::new(Kept { backing: backing.clone(), follower: Arc::clone(&follower) });
        let surroundings: Arc<dyn Surroundings> = Arc::new(Scene(live.in_force()));
        let provider = Arc::new(Provider::new(
            Upstream::new(Arc::clone(gauges), errands.clone(), 1),
            Arc::clone(&surroundings),
            Arc::clone(&shelf),
            ledger.clock.clone(),
        ));
        let (manager, tokens) = Manager::new(
            Arc::clone(&provider),
            shelf,
            surroundings,
            Arc::clone(&ledger.metrics),
            ledger.clock.clone(),
            errands.clone(),
        );
        let manager = AsyncMutex::new(manager);
        Ok(Self {
            backing,
            follower,
            housekeeping,
            write_watch,
            manager,
            tokens,
            provider,
            errands,
        })
    }

    /// Follows the store and tells it what it must know, until this is dropped.
    pub(super) async fn work(&self) {
        let refreshing = async { self.manager.lock().await.work().await };
        tokio::join!(
            self.follower.follow(),
            Box::pin(self.housekeeping.run()),
            Box::pin(self.write_watch.run()),
            refreshing
        );
    }

    /// From now on, only what requests in flight wait for is refreshed.
    pub(super) fn wind_down(&self) {
        self.tokens.wind_down();
    }

    /// Waits for what must not be broken off; the store is followed meanwhile.
    pub(super) async fn finish_errands(&self) {
        tokio::select! {
            () = self.errands.finished() => {}
            () = self.work() => {}
        }
    }

    /// How much of that there is.
    pub(super) fn errands(&self) -> &Tasks {
        &self.errands
    }

    /// Where requests ask for other tokens.
    pub(super) fn tokens(&self) -> RefreshHandle {
        self.tokens.clone()
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
    pub(super) fn keeper(&self) -> Arc<dyn management::Keeping> {
        let (backing, follower) = (self.backing.clone(), Arc::clone(&self.follower));
        Arc::new(Keeper {
            kept: Kept { backing, follower },
            tokens: self.tokens.clone(),
            provider: Arc::clone(&self.provider),
        })
    }
}

fn housekeeping(config: &Config, backing: &Backing, live: &Live, ledger: &Ledger) -> Housekeeping {
    Housekeeping {
        store: Arc::clone(&backing.store),
        in_force: live.in_force(),
        trail: ledger.trail.clone().unwrap_or_default(),
        metrics: Arc::clone(&ledger.metrics),
        clock: ledger.clock.clone(),
        retention: config.audit.retention,
        told: Mutex::new(ledger.clock.now()),
        trail_said: Mutex::default(),
    }
}
