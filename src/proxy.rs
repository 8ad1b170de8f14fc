//! The data plane: requests of callers, carried to origins with a connection's credential.
//!
//! Owns the journey of a request and every refusal; promises that nothing is sent without a
//! permit and that each request is decided afresh; must never know how connections are stored.

mod admit;
mod arrival;
mod base_url;
mod body;
mod caller;
mod choose;
mod decide;
mod depart;
mod echo;
mod explain;
mod facts;
mod fields;
mod handler;
mod idle;
mod inject;
mod journey;
mod probe;
mod recheck;
mod refusal;
mod relay;
mod renewal;
mod request;
mod response;
mod signing;
mod splice;
mod trace;
mod tunnel;
mod upgrade;
mod whole_body;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::listener::{ConnLimit, ConnLimits, ConnTracker};
use crate::oauth::RefreshHandle;
use crate::rate_limit::MemoryBudget;
use crate::state::{InForce, Live, Renewal, Settings};
use crate::tasks::Tasks;
use crate::upstream::{Upstream, UpstreamGauges};

pub use base_url::strip as strip_base_url;
pub use body::AnswerBody;
pub use decide::{Allowed, decide};
pub use explain::{ExplainedBy, explain_to_operator};
pub use facts::RefusedRequest;
pub use fields::{
    Via, prepare_request, prepare_response, prepare_response_trailers, prepare_trailers,
};
pub use probe::Probe;
pub use refusal::{Code, Refusal, Rule};
pub use request::{Destination, ProxyRequest, RequestForm, Tags};
pub use tunnel::{
    AllowedTunnel, TunnelContext, TunnelHandler, TunnelMode, TunnelScope, decide as decide_tunnel,
};

/// The data plane of one worker.
#[derive(Debug)]
pub struct Proxy {
    /// The parts that it shares with the other workers.
    pub shared: SharedParts,
    /// Changes with what is in force.
    pub changes: watch::Receiver<u64>,
    /// The way out.
    pub upstream: Upstream,
    /// Runs WebSockets and tunnels.
    pub tasks: Tasks,
    /// Counts conns inside tunnels.
    pub conn_tracker: Arc<ConnTracker>,
}

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
            shared: self.clone(),
            changes: self.live.changes(),
            upstream: Upstream::new(Arc::clone(&self.gauges), background, sharers),
            tasks,
            conn_tracker: Arc::new(ConnTracker::new(conn_limit, self.conn_limits, sharers)),
        }
    }
}
