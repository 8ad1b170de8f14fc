//! The way in: accepts conns, caps them, times them out, and passes on only whole, unambiguous
//! messages.
//!
//! Owns listeners, the callers' TLS, the strict reading of heads and every deadline of a conn;
//! promises that no silent, idle or stalled conn outlives its deadline and that no ambiguous byte
//! reaches a [`Handler`];
//! must never know what a request means.

mod accept;
mod conn_state;
mod conn_tracker;
mod framing;
mod gate;
mod new_conn;
mod tls;
mod tunnel;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;
use hyper::body::Incoming;

pub use accept::{BindError, ListenAddr, Listener};
pub use conn_state::{ConnState, InFlight};
pub use conn_tracker::{ConnLimit, ConnLimitReached, ConnTracker};
pub use framing::{Framing, FramingFault, HeadLimits, MessageExtent};
pub use tls::{server_config, tunnel_config};
pub use tunnel::{CA_NOT_TRUSTED, LEFT_WITHOUT_REQUEST, TunnelConn, TunnelFault};

/// Who lives behind a door: answers requests, and words the refusals that the door itself makes.
pub trait Handler: Send + Sync + 'static {
    /// The bodies of its answers.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request. The visit is kept until the answer's last byte has gone.
    ///
    /// What can be done without waiting is done before the future is returned: the library copies
    /// the future whole, so what it need not carry is better left out of it.
    fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send;

    /// The whole HTTP/1.1 message with which a conn is turned away before there is a request.
    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8>;
}

/// Why the door itself refuses a conn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EarlyRefusal {
    /// The message is not well-formed, or its head is too large.
    Framing(FramingFault),
    /// There are too many conns.
    ConnLimit,
}

/// The limits of a door.
#[derive(Clone, Copy, Debug)]
pub struct ConnLimits {
    /// The largest head.
    pub head: HeadLimits,
    /// How long a TLS handshake or a head may take.
    pub head_timeout: Duration,
    /// The longest that a conn may go without a request.
    pub idle_conn_timeout: Duration,
    /// The longest that a caller may leave an answer untaken.
    pub stalled_write_timeout: Duration,
    /// How many conns there may be at once, over all workers.
    pub max_conns: usize,
    /// The number of them that one caller may have.
    pub max_conns_per_caller: usize,
    /// How many of them may be of nobody who is known yet; the oldest goes first.
    pub max_unauthenticated_conns: usize,
}
