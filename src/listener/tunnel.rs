//! The conn inside a tunnel: TLS first, for the one name that the tunnel was opened for.

use std::io;
use std::sync::Arc;

use rustls::server::Acceptor;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;

use super::Handler;
use super::conn_state::ConnState;
use super::conn_tracker::{ConnLimitReached, ConnTracker};
use super::new_conn::{ConnOutcome, NewConn, unless_closing};
use crate::model::token::TokenDigest;
use crate::tasks::Tasks;

/// A conn inside a tunnel that is about to begin. It is counted, swept and drained like any other.
#[derive(Debug)]
pub struct TunnelConn {
    conn_tracker: Arc<ConnTracker>,
    state: Arc<ConnState>,
}

/// Why nothing was served inside a tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelFault {
    /// The handshake took too long, or the conn had to go.
    #[error("no TLS handshake was completed in time")]
    Late,
    /// What came is no TLS.
    #[error("what came through the tunnel is no TLS: {0}")]
    NoTls(#[source] io::Error),
    /// The handshake is for another name, or for none.
    #[error("the TLS handshake is for {}", .0.as_deref().unwrap_or("no name"))]
    OtherName(Option<Box<str>>),
    /// The caller says that it does not trust our certificate.
    #[error("{}: {}", CA_NOT_TRUSTED, .0)]
    Untrusted(#[source] io::Error),
    /// The caller closed the conn during the handshake, or after it without a request.
    #[error("{}: it may not trust the CA", LEFT_WITHOUT_REQUEST)]
    Left,
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
}

/// How the cause begins where a caller says that it does not trust the CA.
pub const CA_NOT_TRUSTED: &str = "the caller does not trust the CA";

/// How the cause begins where a caller left without a request. Some programs look at the
/// certificate only when the handshake is over.
pub const LEFT_WITHOUT_REQUEST: &str =
    "the caller closed the conn at the TLS handshake, without a request";

impl TunnelFault {
    fn of_handshake(error: io::Error) -> Self {
        let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
        match (tls, error.kind()) {
            (Some(rustls::Error::AlertReceived(alert)), _) if DISTRUST_ALERTS.contains(alert) => {
                Self::Untrusted(error)
            }
            (
                None,
                io::ErrorKind::UnexpectedEof
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe,
            ) => Self::Left,
            _ => Self::Handshake(error),
        }
    }
}

impl ConnTracker {
    /// Takes in a conn that is to come through a tunnel, in the place of the conn that `outer` is:
    /// all of it becomes the tunnel.
    ///
    /// # Errors
    /// [`ConnLimitReached`] when there are too many conns.
    pub fn admit_tunnel(
        self: &Arc<Self>,
        outer: &ConnState,
    ) -> Result<TunnelConn, ConnLimitReached> {
        let permit = outer.take_permit().or_else(|| self.permit()).ok_or(ConnLimitReached::Full)?;
        let state = self.admit_to(permit, outer.peer());
        Ok(TunnelConn { conn_tracker: Arc::clone(self), state })
    }

    /// Takes in a conn that is to come through one stream of the conn that `outer` is; it counts
    /// among those of `caller`.
    ///
    /// # Errors
    /// [`ConnLimitReached`] when there are too many conns, or too many of the caller.
    pub fn admit_stream(
        self: &Arc<Self>,
        outer: &ConnState,
        caller: Option<TokenDigest>,
    ) -> Result<TunnelConn, ConnLimitReached> {
        let mut permit = self.permit().ok_or(ConnLimitReached::Full)?;
        if let Some(caller) = caller {
            permit.count_for(caller)?;
        }
        let state = self.admit_to(permit, outer.peer());
        Ok(TunnelConn { conn_tracker: Arc::clone(self), state })
    }

    /// Takes in a conn that comes from within this process, or `None` when there are too many.
    #[must_use]
    pub fn admit_internal(self: &Arc<Self>) -> Option<TunnelConn> {
        Some(TunnelConn { conn_tracker: Arc::clone(self), state: self.admit(None)? })
    }
}

impl TunnelConn {
    /// Serves the conn until it ends, if it begins with TLS for `name`. Of what is anything else
    /// not a byte is passed on.
    ///
    /// # Errors
    /// [`TunnelFault`] when nothing was served.
    pub async fn serve<H: Handler, T>(
        self,
        io: T,
        name: &str,
        tls: Arc<ServerConfig>,
        handler: Arc<H>,
        tasks: Tasks,
    ) -> Result<(), TunnelFault>
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io);
        let started = unless_closing(&self.state, hello).await.ok_or(TunnelFault::Late)?;
        let mut started = started.map_err(TunnelFault::NoTls)?;
        let asked: Option<Box<str>> = started.client_hello().server_name().map(Into::into);
        if !asked.as_deref().is_some_and(|asked| asked.eq_ignore_ascii_case(name)) {
            let farewell = started.io.write_all(UNRECOGNIZED_NAME_ALERT);
            let _best_effort = unless_closing(&self.state, farewell).await;
            let _best_effort = started.io.shutdown().await;
            return Err(TunnelFault::OtherName(asked));
        }
        let handshake = started.into_stream(tls);
        let shaken = unless_closing(&self.state, handshake).await;
        let io = shaken.ok_or(TunnelFault::Late)?.map_err(TunnelFault::of_handshake)?;
        let limits = *self.conn_tracker.limits();
        let new_conn = NewConn { handler, state: self.state, limits, tasks };
        match new_conn.serve_negotiated(io).await {
            ConnOutcome::Used => Ok(()),
            ConnOutcome::Unused => Err(TunnelFault::Left),
        }
    }

    /// Serves the conn until it ends, without TLS: for what comes from within this process.
    pub async fn serve_internal<H: Handler, T>(self, io: T, handler: Arc<H>, tasks: Tasks)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limits = *self.conn_tracker.limits();
        let new_conn = NewConn { handler, state: self.state, limits, tasks };
        let _heard = new_conn.serve_plain(io).await;
    }
}

/// The alerts of callers that don't trust a certificate, each library's own.
const DISTRUST_ALERTS: [AlertDescription; 3] = [
    AlertDescription::UnknownCA,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateUnknown,
];

/// A fatal alert, `unrecognized_name` (RFC 6066 §3), in a record of its own.
const UNRECOGNIZED_NAME_ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
