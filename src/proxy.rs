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
mod shared;
mod splice;
mod tunnel;
mod upgrade;

use std::sync::Arc;

use rustls::ServerConfig;
use tokio::sync::watch;

use crate::ledger::Ledger;
use crate::listener::ConnTracker;
use crate::oauth::RefreshHandle;
use crate::rate_limit::MemoryBudget;
use crate::state::{InForce, Live, Renewal, Settings};
use crate::tasks::Tasks;
use crate::upstream::Upstream;

pub use base_url::strip as strip_base_url;
pub use body::AnswerBody;
pub use decide::{Allowed, decide};
pub use explain::explain_to_operator;
pub use facts::RefusedRequest;
pub use fields::{
    Via, prepare_request, prepare_response, prepare_response_trailers, prepare_trailers,
};
pub use probe::Probe;
pub use refusal::{Code, Refusal, Rule};
pub use request::{Destination, ProxyRequest, RequestForm, Tags};
pub use shared::SharedParts;
pub use tunnel::{
    AllowedTunnel, TunnelContext, TunnelHandler, TunnelMode, TunnelScope, decide as decide_tunnel,
};

/// The data plane of one worker.
#[derive(Debug)]
pub struct Proxy {
    /// The set that a reload, or a change in the store, replaces.
    pub in_force: Arc<Live>,
    /// Changes with it.
    pub changes: watch::Receiver<u64>,
    /// Turns true when the server goes down.
    pub stop: watch::Receiver<bool>,
    /// The way out.
    pub upstream: Upstream,
    /// Writes requests down.
    pub ledger: Arc<Ledger>,
    /// Our mark.
    pub via: Via,
    /// Runs WebSockets and tunnels.
    pub tasks: Tasks,
    /// Counts conns inside tunnels.
    pub conn_tracker: Arc<ConnTracker>,
    /// Shows callers a leaf inside a tunnel.
    pub tunnel_tls: Arc<ServerConfig>,
    /// Refreshes the tokens of OAuth connections, which exist only where something is kept.
    pub tokens: Option<RefreshHandle>,
    /// Counts the memory of all bodies that are kept for a second attempt, over all workers.
    pub replay_memory: Arc<MemoryBudget>,
}
