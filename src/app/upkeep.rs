//! The work that goes on beside requests: refreshing tokens, and for as long as there is a store
//! following it and housekeeping.

use std::sync::Arc;

use jiff::Timestamp;
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::housekeeping::Housekeeping;
use super::write_watch::WriteWatch;
use crate::config::Config;
use crate::ledger::Ledger;
use crate::management::Storage;
use crate::oauth::{Manager, Provider, RefreshHandle};
use crate::state::{FollowError, InterceptionCa, Live, Persistence, StoreAndKeys};
use crate::tasks::Tasks;
use crate::upstream::{Upstream, UpstreamGauges};

/// The work beside requests, and what it is done with.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// The work on the store, if there is one.
    kept: Option<StoreUpkeep>,
    manager: AsyncMutex<Manager>,
    /// The handle to the manager.
    pub(super) refreshes: RefreshHandle,
    /// The tasks that must not be broken off: refreshes, and flows that have spent a code.
    pub(super) errands: Tasks,
}

/// The work on the store.
#[derive(Debug)]
struct StoreUpkeep {
    /// The store, and the ways to token endpoints.
    storage: Storage,
    housekeeping: Housekeeping,
    write_watch: WriteWatch,
}

impl Upkeep {
    /// Puts in force what the store has, if there is one.
    pub(super) async fn start(
        config: &Config,
        kept: Option<StoreAndKeys>,
        ca: &Arc<InterceptionCa>,
        live: &Arc<Live>,
        ledger: &Ledger,
        gauges: &Arc<UpstreamGauges>,
    ) -> Result<Self, FollowError> {
        // 1. The store's records are in force.
        let (clock, metrics) = (&ledger.clock, &ledger.metrics);
        let persistence = match kept {
            Some(kept) => Some(persistence(config, kept, ca, live, ledger).await?),
            None => None,
        };
        // 2. Tokens are refreshed, by a way out of their own.
        let errands = Tasks::default();
        let provider = Arc::new(Provider::new(
            Upstream::new(Arc::clone(gauges), errands.clone(), 1),
            Arc::clone(live),
            persistence.clone(),
            clock.clone(),
        ));
        let (manager, refreshes) = Manager::new(
            Arc::clone(&provider),
            persistence.clone(),
            Arc::clone(live),
            Arc::clone(metrics),
            clock.clone(),
            errands.clone(),
        );
        let kept = persistence.map(|persistence| StoreUpkeep {
            housekeeping: housekeeping(config, &persistence, live, ledger),
            write_watch: WriteWatch::new(persistence.store(), metrics),
            storage: Storage {
                persistence,
                refreshes: refreshes.clone(),
                provider,
                errands: errands.clone(),
            },
        });
        Ok(Self { kept, manager: AsyncMutex::new(manager), refreshes, errands })
    }

    /// The store, and the ways to token endpoints.
    pub(super) fn storage(&self) -> Option<&Storage> {
        self.kept.as_ref().map(|kept| &kept.storage)
    }

    /// Follows the store and tells it what it must know, until this is dropped.
    pub(super) async fn work(&self) {
        let refreshing = async { self.manager.lock().await.work().await };
        let Some(StoreUpkeep { storage, housekeeping, write_watch }) = &self.kept else {
            return refreshing.await;
        };
        tokio::join!(
            storage.persistence.follow(),
            Box::pin(housekeeping.run()),
            Box::pin(housekeeping.index_old_entries()),
            Box::pin(write_watch.run()),
            refreshing
        );
    }

    /// Refreshes from now on only what requests in flight wait for.
    pub(super) fn wind_down(&self) {
        self.refreshes.wind_down();
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
        let Some(StoreUpkeep { storage, housekeeping, .. }) = &self.kept else { return };
        housekeeping.keep_entries().await;
        housekeeping.keep_stats().await;
        housekeeping.tell_last_used().await;
        storage.persistence.store().close().await;
    }
}

async fn persistence(
    config: &Config,
    kept: StoreAndKeys,
    ca: &Arc<InterceptionCa>,
    live: &Arc<Live>,
    ledger: &Ledger,
) -> Result<Arc<Persistence>, FollowError> {
    kept.store.limit_audit(config.audit.max_bytes);
    let (ca, live, metrics) = (Arc::clone(ca), Arc::clone(live), Arc::clone(&ledger.metrics));
    let started = Persistence::start(kept, ca, live, metrics, config.store.max_staleness);
    started.await.map(Arc::new)
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
        instance: ledger.instance.clone(),
        stats: AsyncMutex::default(),
        retention: config.audit.retention,
        event_retention: config.audit.event_retention,
        told: Mutex::new(Timestamp::UNIX_EPOCH),
        trail_said: Mutex::default(),
    }
}
