//! One worker: a thread with a runtime of its own, its own conns and its own way out. Nothing of
//! a request is handed from one to another; what workers share is the log and the figures.

use std::sync::Arc;
use std::time::Duration;

use rustls::ServerConfig;
use tokio::sync::watch;

use super::server::StartError;
use crate::error::chain;
use crate::ledger::Ledger;
use crate::listener::{ConnLimit, ConnLimits, ConnTracker, Listener};
use crate::oauth::RefreshHandle;
use crate::proxy::{Proxy, Via};
use crate::rate_limit::MemoryBudget;
use crate::state::Live;
use crate::tasks::Tasks;
use crate::upstream::{Upstream, UpstreamGauges};

/// Everything that all workers share.
#[derive(Clone, Debug)]
pub(super) struct Shared {
    pub(super) live: Arc<Live>,
    /// Turns true when the server goes down.
    pub(super) stop: watch::Receiver<bool>,
    pub(super) ledger: Arc<Ledger>,
    pub(super) conn_limit: Arc<ConnLimit>,
    pub(super) gauges: Arc<UpstreamGauges>,
    pub(super) via: Via,
    pub(super) limits: ConnLimits,
    pub(super) grace: Duration,
    pub(super) workers: usize,
    /// The certificates that callers are shown inside tunnels.
    pub(super) tunnel_tls: Arc<ServerConfig>,
    /// The handle by which requests ask for other tokens, if anything is kept.
    pub(super) tokens: Option<RefreshHandle>,
    /// The memory that kept request bodies hold, on all workers together.
    pub(super) replay_memory: Arc<MemoryBudget>,
}

impl Shared {
    /// A data plane over what is shared, with its own way out and conns.
    pub(super) fn proxy(
        &self,
        upstream: Upstream,
        tasks: Tasks,
        conn_tracker: Arc<ConnTracker>,
    ) -> Proxy {
        Proxy {
            in_force: Arc::clone(&self.live),
            changes: self.live.changes(),
            stop: self.stop.clone(),
            upstream,
            ledger: Arc::clone(&self.ledger),
            via: self.via.clone(),
            tasks,
            conn_tracker,
            tunnel_tls: Arc::clone(&self.tunnel_tls),
            tokens: self.tokens.clone(),
            replay_memory: Arc::clone(&self.replay_memory),
        }
    }
}

/// Starts a worker thread that serves `listeners` until it is told to stop.
pub(super) fn start(
    number: usize,
    listeners: Vec<Listener>,
    shared: Shared,
) -> Result<std::thread::JoinHandle<()>, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .enable_time()
        .build()
        .map_err(StartError::Thread)?;
    std::thread::Builder::new()
        .name(format!("worker-{number}"))
        .spawn(move || {
            runtime.block_on(run(listeners, shared));
            // A name that is being looked up in vain must not hold up the end.
            runtime.shutdown_background();
        })
        .map_err(StartError::Thread)
}

async fn run(listeners: Vec<Listener>, shared: Shared) {
    // What a drain waits for, and what it does not.
    let (tasks, background) = (Tasks::default(), Tasks::default());
    let conn_tracker =
        Arc::new(ConnTracker::new(Arc::clone(&shared.conn_limit), shared.limits, shared.workers));
    let upstream = Upstream::new(Arc::clone(&shared.gauges), background.clone(), shared.workers);
    let proxy = Arc::new(shared.proxy(upstream, tasks.clone(), Arc::clone(&conn_tracker)));
    let mut stop = shared.stop.clone();
    let accepting = listeners.into_iter().map(|listener| {
        listener.serve(Arc::clone(&proxy), Arc::clone(&conn_tracker), tasks.clone())
    });
    tokio::select! {
        served = futures_util::future::try_join_all(accepting) => {
            if let Err(error) = served {
                tracing::error!(error = %chain(&error), "a proxy listener failed, and this worker accepts no more callers: restart the server");
            }
        }
        () = conn_tracker.sweep() => {}
        () = proxy.upstream.sweep(|| Arc::clone(&shared.live.load().rules)) => {}
        _stopped = stop.wait_for(|stopped| *stopped) => {}
    }
    conn_tracker.drain();
    if tokio::time::timeout(shared.grace, tasks.finished()).await.is_err() {
        tracing::warn!(conns = tasks.running(), "conns were cut: shutdown_grace is over");
    }
}
