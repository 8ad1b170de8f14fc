//! The work that goes on beside requests for as long as there is a store: following it, refreshing
//! tokens, housekeeping.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::housekeeping::Housekeeping;
use super::write_watch::WriteWatch;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::management::Storage;
use crate::oauth::{Manager, Provider};
use crate::state::{FollowError, InterceptionCa, Live, Persistence, StoreAndKeys};
use crate::tasks::Tasks;
use crate::upstream::{Upstream, UpstreamGauges};

/// The work beside requests, and what it is done with.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// The store, and the ways to token endpoints.
    pub(super) storage: Storage,
    housekeeping: Housekeeping,
    write_watch: WriteWatch,
    manager: AsyncMutex<Manager>,
    /// The tasks that must not be broken off: refreshes, and flows that have spent a code.
    pub(super) errands: Tasks,
}

impl Upkeep {
    /// Puts in force what the store has.
    pub(super) async fn start(
        config: &Config,
        kept: StoreAndKeys,
        ca: &Arc<InterceptionCa>,
        live: &Arc<Live>,
        ledger: &Ledger,
        gauges: &Arc<UpstreamGauges>,
    ) -> Result<Self, FollowError> {
        // 1. The store's records are in force.
        let (clock, metrics) = (&ledger.clock, &ledger.metrics);
        let store = Arc::clone(&kept.store);
        store.limit_audit(config.audit.max_bytes);
        let persistence = Persistence::start(
            kept,
            Arc::clone(ca),
            Arc::clone(live),
            Arc::clone(metrics),
            config.store.max_staleness,
        );
        let persistence = Arc::new(persistence.await?);
        // 2. Tokens are refreshed, by a way out of their own.
        let errands = Tasks::default();
        let provider = Arc::new(Provider::new(
            Upstream::new(Arc::clone(gauges), errands.clone(), 1),
            Arc::clone(live),
            Arc::clone(&persistence),
            clock.clone(),
        ));
        let (manager, refreshes) = Manager::new(
            Arc::clone(&provider),
            Arc::clone(&persistence),
            Arc::clone(live),
            Arc::clone(metrics),
            clock.clone(),
            errands.clone(),
        );
        Ok(Self {
            housekeeping: housekeeping(config, &persistence, live, ledger),
            write_watch: WriteWatch::new(&store, metrics),
            storage: Storage { persistence, refreshes, provider, errands: errands.clone() },
            manager: AsyncMutex::new(manager),
            errands,
        })
    }

    /// Follows the store and tells it what it must know, until this is dropped.
    pub(super) async fn work(&self) {
        let refreshing = async { self.manager.lock().await.work().await };
        tokio::join!(
            self.storage.persistence.follow(),
            Box::pin(self.housekeeping.run()),
            Box::pin(self.write_watch.run()),
            refreshing
        );
    }

    /// Refreshes from now on only what requests in flight wait for.
    pub(super) fn wind_down(&self) {
        self.storage.refreshes.wind_down();
    }

    /// Waits for what must not be broken off; the store is followed meanwhile.
    pub(super) async fn finish_errands(&self) {
        tokio::select! {
            () = self.errands.finished() => {}
            () = self.work() => {}
        }
    }

    /// Tells the store what it would lose.
    pub(super) async fn close(&self) {
        self.housekeeping.keep_entries().await;
        self.housekeeping.tell_last_used().await;
        self.storage.persistence.store().close().await;
    }
}

fn housekeeping(
    config: &Config,
    persistence: &Arc<Persistence>,
    live: &Arc<Live>,
    ledger: &Ledger,
) -> Housekeeping {
    Housekeeping {
        store: Arc::clone(persistence.store()),
        persistence: Arc::clone(persistence),
        live: Arc::clone(live),
        trail: ledger.trail.clone().unwrap_or_default(),
        metrics: Arc::clone(&ledger.metrics),
        clock: ledger.clock.clone(),
        retention: config.audit.retention,
        told: Mutex::new(ledger.clock.now()),
        trail_said: Mutex::default(),
    }
}
