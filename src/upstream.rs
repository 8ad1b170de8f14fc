//! Sends requests to origins. No other room opens conns to the network.
//!
//! Owns DNS, the judgment of addresses, verified TLS and the pool of upstream conns; promises that
//! only a [`Departure`] is sent, and only to a judged address of its origin, but for spans to the
//! operator's collector; must never know the reason why a request was allowed, nor its caller.

mod address;
mod body;
mod collector;
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
mod prepared;
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
pub use collector::{CollectorAnswer, CollectorClient, CollectorError};
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

/// The operator's settings for conns to origins.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Settings {
    /// The longest time to resolve a name.
    pub resolve_timeout: Duration,
    /// The longest time for TCP and TLS together.
    pub connect_timeout: Duration,
    /// The longest time from the request's last byte to the response's head.
    pub response_timeout: Duration,
    /// The longest time that an idle conn is kept.
    pub idle_timeout: Duration,
    /// The number of idle conns for one origin and integration, over all workers.
    pub max_idle_per_origin: usize,
    /// Offers HTTP/2 in ALPN.
    pub http2: bool,
    /// Certificates of further CAs.
    pub extra_roots: Vec<CertificateDer<'static>>,
    /// Networks allowed beyond the public internet.
    pub allow_networks: Vec<IpNet>,
    /// The addresses of pinned names, by host and port.
    pub pins: HashMap<(HostName, u16), SocketAddr>,
}

/// The settings in a form for use, replaced as a whole by a reload.
#[derive(Debug)]
pub struct UpstreamRules {
    /// The number of these rules. Conns that were opened under another number are not reused.
    pub generation: u64,
    /// The settings.
    pub settings: Settings,
    /// The judge of addresses.
    pub guard: Guard,
    /// TLS client configurations.
    pub tls: TlsClients,
    /// The look-ups of names.
    pub names: Arc<NameLookups>,
}
