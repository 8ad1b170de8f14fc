//! Accepts conns, limits their number, closes overdue ones, and passes on only whole, unambiguous
//! HTTP messages.
//!
//! Owns listeners, the callers' TLS, the HTTP conns of callers and every deadline of a conn;
//! promises that no silent, idle or stalled conn outlives its deadline and that no ambiguous byte
//! reaches a [`Handler`];
//! must never know the meaning of a request.

mod accept;
mod answer_writer;
mod conn_state;
mod conn_tracker;
mod date;
mod http1_conn;
mod new_conn;
mod request_body;
mod switch;
mod tls;
mod tunnel;

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::Body;

use crate::http1::{FramingFault, HeadLimits};

pub use accept::{BindError, ListenAddr, Listener};
pub use conn_state::{ConnState, InFlight};
pub use conn_tracker::{ConnLimit, ConnLimitReached, ConnPermit, ConnTracker};
pub use request_body::{RequestBody, RequestBodyError};
pub use switch::{NotSwitched, PendingSwitch, SwitchedConn};
pub use tls::{server_config, tunnel_config};
pub use tunnel::{CA_NOT_TRUSTED, LEFT_WITHOUT_REQUEST, TunnelConn, TunnelFault};

/// Answers the requests of a listener, and words the refusals that the listener makes itself.
pub trait Handler: Send + Sync + 'static {
    /// The body of an answer.
    type Body: Body<Data = Bytes, Error: Into<Box<dyn std::error::Error + Send + Sync>>>
        + Send
        + 'static;

    /// Answers one request. The answer's body holds `in_flight` until its last byte was sent.
    ///
    /// Implementations do what needs no waiting before they return the future, which is then
    /// small.
    fn handle(
        self: Arc<Self>,
        in_flight: InFlight,
        request: Request<RequestBody>,
    ) -> impl Future<Output = Result<Response<Self::Body>, Infallible>> + Send;

    /// The complete HTTP/1.1 response to a conn that is closed before it has sent a request.
    fn early_refusal(&self, reason: EarlyRefusal) -> Vec<u8>;
}

/// The reason why the listener refuses a conn itself, before there is a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EarlyRefusal {
    /// The message is not well-formed, or its head is too large.
    Framing(FramingFault),
    /// As many conns are open as the limit allows.
    ConnLimit,
}

/// The limits and deadlines of conns.
#[derive(Clone, Copy, Debug)]
pub struct ConnLimits {
    /// The limits of a request's head.
    pub head: HeadLimits,
    /// The longest time for a TLS handshake, and for a head.
    pub head_timeout: Duration,
    /// The longest time that a conn may go without a request.
    pub idle_conn_timeout: Duration,
    /// The longest time that a caller may leave an answer unread.
    pub stalled_write_timeout: Duration,
    /// The number of conns at once, over all workers.
    pub max_conns: usize,
    /// The number of conns of one caller.
    pub max_conns_per_caller: usize,
    /// The number of conns that have not authenticated yet; beyond it the oldest is closed.
    pub max_unauthenticated_conns: usize,
}
