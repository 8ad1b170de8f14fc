//! The conn inside a tunnel: TLS for the one name that the tunnel was opened for, then HTTP.

use std::io;
use std::sync::Arc;

use rustls::server::Acceptor;
use rustls::{AlertDescription, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::LazyConfigAcceptor;

use super::Handler;
use super::conn_state::ConnState;
use super::conn_tracker::{ConnLimitReached, ConnPermit, ConnTracker};
use super::new_conn::{ConnOutcome, NewConn, unless_closing};
use crate::model::token::TokenDigest;
use crate::tasks::Tasks;

/// A conn inside a tunnel, before its first byte. It is counted, timed and drained like any other.
#[derive(Debug)]
pub struct TunnelConn {
    conn_tracker: Arc<ConnTracker>,
    state: Arc<ConnState>,
}

/// The reason why nothing was served inside a tunnel.
#[derive(Debug, thiserror::Error)]
pub enum TunnelFault {
    /// The handshake took too long, or the conn was closed by a signal.
    #[error("no TLS handshake was completed in time")]
    Late,
    /// The caller did not speak TLS.
    #[error("the caller did not speak TLS in the tunnel: {0}")]
    NoTls(#[source] io::Error),
    /// The handshake names another server (SNI), or none.
    #[error("the TLS handshake is for {}", .0.as_deref().unwrap_or("no name"))]
    OtherName(Option<Box<str>>),
    /// The caller has refused our certificate.
    #[error("{}: {}", CA_NOT_TRUSTED, .0)]
    Untrusted(#[source] io::Error),
    /// The caller closed the conn during the handshake, or after it and before a request.
    #[error("{}: it may not trust the CA", LEFT_WITHOUT_REQUEST)]
    Left,
    /// The handshake failed for another reason.
    #[error("the TLS handshake failed: {0}")]
    Handshake(#[source] io::Error),
}

/// The beginning of the cause where a caller has refused our certificate.
pub const CA_NOT_TRUSTED: &str = "the caller does not trust the CA";

/// The beginning of the cause where a caller has left without a request. Some programs check the
/// certificate only after the handshake, so they send no alert.
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
    /// Admits the conn inside a tunnel over HTTP/1.1. It takes over the permit of `outer`, which
    /// becomes the tunnel.
    ///
    /// # Errors
    /// [`ConnLimitReached`] when there is neither that permit nor another.
    pub fn admit_tunnel(
        self: &Arc<Self>,
        outer: &ConnState,
    ) -> Result<TunnelConn, ConnLimitReached> {
        let permit = outer.take_permit().or_else(|| self.permit()).ok_or(ConnLimitReached::Full)?;
        let state = self.admit_to(permit, outer.peer());
        Ok(TunnelConn { conn_tracker: Arc::clone(self), state })
    }

    /// Admits the conn inside a tunnel over one HTTP/2 stream of `outer`. It counts for `caller`.
    pub fn admit_stream(
        self: &Arc<Self>,
        outer: &ConnState,
        caller: Option<TokenDigest>,
    ) -> Result<TunnelConn, ConnLimitReached> {
        let state = self.admit_to(self.permit_stream(caller)?, outer.peer());
        Ok(TunnelConn { conn_tracker: Arc::clone(self), state })
    }

    /// Counts a tunnel over one HTTP/2 stream for `caller` for as long as its permit is kept; its
    /// bytes pass as they are.
    pub fn permit_stream(
        &self,
        caller: Option<TokenDigest>,
    ) -> Result<ConnPermit, ConnLimitReached> {
        let mut permit = self.permit().ok_or(ConnLimitReached::Full)?;
        if let Some(caller) = caller {
            permit.count_for(caller)?;
        }
        Ok(permit)
    }

    /// Admits a conn from within this process; `None` when the limit is reached.
    pub fn admit_internal(self: &Arc<Self>) -> Option<TunnelConn> {
        Some(TunnelConn { conn_tracker: Arc::clone(self), state: self.admit(None)? })
    }
}

impl TunnelConn {
    /// Serves the conn until it ends, if it begins with a TLS handshake for `name`. Nothing of any
    /// other conn is passed on.
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
        // 1. Read the ClientHello before choosing a certificate.
        let hello = LazyConfigAcceptor::new(Acceptor::default(), io);
        let started = unless_closing(&self.state, hello).await.ok_or(TunnelFault::Late)?;
        let mut started = started.map_err(TunnelFault::NoTls)?;
        let asked: Option<Box<str>> = started.client_hello().server_name().map(Into::into);
        // 2. Refuse any other name: the permit of the tunnel is for this one alone.
        if !asked.as_deref().is_some_and(|asked| asked.eq_ignore_ascii_case(name)) {
            let farewell = started.io.write_all(UNRECOGNIZED_NAME_ALERT);
            let _best_effort = unless_closing(&self.state, farewell).await;
            let _best_effort = started.io.shutdown().await;
            return Err(TunnelFault::OtherName(asked));
        }
        // 3. Finish the handshake and serve HTTP inside it.
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

    /// Serves a conn from within this process until it ends, without TLS.
    pub async fn serve_internal<H: Handler, T>(self, io: T, handler: Arc<H>, tasks: Tasks)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let limits = *self.conn_tracker.limits();
        let new_conn = NewConn { handler, state: self.state, limits, tasks };
        let _heard = new_conn.serve_plain(io).await;
    }
}

/// The alerts that TLS libraries send when they don't trust a certificate.
const DISTRUST_ALERTS: [AlertDescription; 3] = [
    AlertDescription::UnknownCA,
    AlertDescription::BadCertificate,
    AlertDescription::CertificateUnknown,
];

/// A TLS record with the fatal alert `unrecognized_name` (RFC 6066 §3).
const UNRECOGNIZED_NAME_ALERT: &[u8] = &[21, 3, 3, 0, 2, 2, 112];
