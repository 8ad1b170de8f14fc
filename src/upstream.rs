//! The way out: the only door to the network.
//!
//! Owns DNS, the judgement of addresses, verified TLS and the pool of upstream conns; promises
//! that nothing leaves but a [`Departure`], to the judged address of its origin; must never know
//! why a request was allowed or who sent it.

mod address;
mod body;
mod conn_auth;
mod departure;
mod dial;
mod error;
mod gauges;
mod guard;
pub mod http1;
mod http2;
mod lookups;
mod pool;
mod replay;
mod reply;
mod resolve;
mod send;
mod tls;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use ipnet::IpNet;
use rustls_pki_types::CertificateDer;

use crate::model::origin::HostName;

pub use address::{AddressClass, classify};
pub use body::{BodyError, Outgoing};
pub use departure::{
    CheckedDeparture, Departure, DepartureWithdrawn, FinalCheck, NotRenewed, SecretUnavailable,
};
pub use dial::DialTimes;
pub use error::{Error, ResponsePhase};
pub use gauges::{UpstreamGauges, UpstreamStats};
pub use guard::{Guard, Judged, OwnListeners, Prohibited};
pub use http1::{MalformedResponse, UpgradedConn};
pub use lookups::NameLookups;
pub use reply::{Reply, ReplyBody};
pub use resolve::{Lookup, Resolver, SystemResolver};
pub use send::{DedicatedConn, Upstream};
pub use tls::{RootsError, TlsClients};

/// What the operator says about the way out.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// How long a name may take to resolve.
    pub resolve_timeout: Duration,
    /// How long TCP and TLS may take together.
    pub connect_timeout: Duration,
    /// How long the origin may be silent before its response head, once it has the request.
    pub response_timeout: Duration,
    /// How long an idle conn is kept.
    pub idle_timeout: Duration,
    /// How many idle conns are kept for one origin and integration, over all workers.
    pub max_idle_per_origin: usize,
    /// Whether HTTP/2 is offered.
    pub http2: bool,
    /// Certificates of further authorities.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Networks allowed beyond the public internet.
    pub allow_networks: Vec<IpNet>,
    /// Pinned names: host and port to the address to dial.
    pub pins: HashMap<(HostName, u16), SocketAddr>,
}

/// Settings made ready for use; replaced as a whole on reload.
#[derive(Debug)]
pub struct UpstreamRules {
    /// Which rules these are; conns made under other rules are not reused.
    pub generation: u64,
    /// The settings.
    pub settings: Settings,
    /// The judge of addresses.
    pub guard: Guard,
    /// TLS client configurations.
    pub tls: TlsClients,
    /// Names to addresses.
    pub names: Arc<NameLookups>,
}
