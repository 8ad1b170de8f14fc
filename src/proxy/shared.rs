//! The parts of the data plane that all workers share.

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use super::Proxy;
use super::fields::Via;
use crate::ledger::Ledger;
use crate::listener::{ConnLimit, ConnLimits, ConnTracker};
use crate::oauth::RefreshHandle;
use crate::rate_limit::MemoryBudget;
use crate::state::Live;
use crate::tasks::Tasks;
use crate::upstream::{Upstream, UpstreamGauges};

/// The parts of the data plane that all workers share.
#[derive(Clone, Debug)]
pub struct SharedParts {
    /// Everything that a reload or a change in the store replaces.
    pub live: Arc<Live>,
    /// Turns true when the server goes down.
    pub stop: watch::Receiver<bool>,
    /// The records of requests.
    pub ledger: Arc<Ledger>,
    /// The count of conns on all workers.
    pub conn_limit: Arc<ConnLimit>,
    /// The limits of conns.
    pub conn_limits: ConnLimits,
    /// The gauges of the way out.
    pub gauges: Arc<UpstreamGauges>,
    /// The field value by which a request is known that has passed here.
    pub via: Via,
    /// The certificates that callers are shown inside tunnels.
    pub tunnel_tls: Arc<ServerConfig>,
    /// The handle by which requests ask for other tokens, if there is a store.
    pub refreshes: Option<RefreshHandle>,
    /// The memory that kept request bodies hold, on all workers together.
    pub replay_memory: Arc<MemoryBudget>,
}

impl SharedParts {
    /// Builds a data plane with its own way out and its own conns, which share the process's limits
    /// with `sharers` others. Its tasks are among `tasks`, those of the way out among `background`.
    pub fn proxy(&self, tasks: Tasks, background: Tasks, sharers: usize) -> Proxy {
        let conn_limit = Arc::clone(&self.conn_limit);
        Proxy {
            in_force: Arc::clone(&self.live),
            changes: self.live.changes(),
            stop: self.stop.clone(),
            upstream: Upstream::new(Arc::clone(&self.gauges), background, sharers),
            ledger: Arc::clone(&self.ledger),
            via: self.via.clone(),
            tasks,
            conn_tracker: Arc::new(ConnTracker::new(conn_limit, self.conn_limits, sharers)),
            tunnel_tls: Arc::clone(&self.tunnel_tls),
            tokens: self.refreshes.clone(),
            replay_memory: Arc::clone(&self.replay_memory),
        }
    }
}
