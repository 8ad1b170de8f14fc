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
mod explain;
mod fields;
mod idle;
mod inject;
mod journey;
mod recheck;
mod refusal;
mod relay;
mod renewal;
mod splice;
mod tunnel;
mod upgrade;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use http::{HeaderValue, Method};

use crate::model::name::IntegrationName;
use crate::model::own_hosts::OwnHosts;
use crate::model::permit::Terms;
use crate::state::Registry;
use crate::store::RefreshLease;
use crate::upstream::UpstreamRules;

pub use arrival::{Destination, ProxyRequest, RequestForm, Tags};
pub use base_url::strip as strip_base_url;
pub use body::AnswerBody;
pub use decide::decide;
pub use explain::{DecisionTrace, RuleOutcome, RuleStep, explain};
pub use fields::{
    Via, prepare_request, prepare_response, prepare_response_trailers, prepare_trailers,
};
pub use journey::Proxy;
pub use refusal::{Code, Refusal, Rule};
pub use tunnel::{TunnelContext, TunnelHandler, TunnelMode, decide as decide_tunnel};

/// What the operator says about the data plane.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Whether callers need no token, and to which integration they belong then.
    pub anonymous: Option<IntegrationName>,
    /// The names by which callers reach the proxy itself.
    pub own_hosts: OwnHosts,
    /// The methods that may be sent.
    pub allowed_methods: Vec<Method>,
    /// The same as the value of an `Allow` field.
    pub allow: HeaderValue,
    /// The rules that hold for every connection.
    pub terms: Terms,
    /// Whether tunnels that no connection covers pass, without being looked into.
    pub blind_tunnels: bool,
    /// The largest body, 0 for any.
    pub max_body_bytes: u64,
    /// The longest that neither the caller nor the origin of an exchange may send anything.
    pub exchange_idle_timeout: std::time::Duration,
    /// The longest that a WebSocket, or a blind tunnel, may be silent.
    pub splice_idle_timeout: std::time::Duration,
    /// The longest that the first byte of a blind tunnel may take.
    pub tunnel_first_byte_timeout: std::time::Duration,
    /// How the tokens of OAuth connections are kept fresh.
    pub renewal: Renewal,
}

/// How the tokens of OAuth connections are kept fresh.
#[derive(Clone, Copy, Debug, Default)]
pub struct Renewal {
    /// How long before its end a token is refreshed, at most.
    pub refresh_before: std::time::Duration,
    /// The time that a refresh may be silent before another instance takes it over.
    pub refresh_lease: RefreshLease,
    /// Whether a 401 leads to one refresh and one more try.
    pub retry_on_401: bool,
    /// The largest request body that is kept for that, in bytes.
    pub replay_body_bytes: usize,
    /// The most bytes of all kept bodies together; past it a body is not kept.
    pub replay_memory: usize,
}

/// Everything that a reload or a change in the store replaces, as one.
#[derive(Clone, Debug)]
pub struct InForce {
    /// Connections and callers.
    pub registry: Registry,
    /// The data plane's settings.
    pub settings: Arc<Settings>,
    /// The way out's rules.
    pub rules: Arc<UpstreamRules>,
    /// Whether the store has been silent for so long that what is known of it no longer counts.
    pub stale: Arc<AtomicBool>,
}
