//! Serves one conn from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::conn_state::{ConnSignal, ConnState};
use super::framing::FramingFault;
use super::gate::Gate;
use super::{ConnLimits, EarlyRefusal, Handler};
use crate::tasks::Tasks;

/// A conn that was just accepted.
pub(super) struct NewConn<H> {
    pub(super) handler: Arc<H>,
    pub(super) state: Arc<ConnState>,
    pub(super) limits: ConnLimits,
    pub(super) tasks: Tasks,
}

/// The end of a conn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ConnOutcome {
    /// It has sent at least part of a request, or was closed by a signal.
    Used,
    /// The peer has closed it before that.
    Unused,
}

impl<H: Handler> NewConn<H> {
    /// Serves a caller over TLS. ALPN chooses the HTTP version.
    pub(super) async fn serve_tls<T>(self, io: T, config: Arc<ServerConfig>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = TlsAcceptor::from(config).accept(io);
        let Some(Ok(io)) = unless_closing(&self.state, handshake).await else { return };
        let _heard = self.serve_negotiated(io).await;
    }

    /// Serves a caller after its TLS handshake.
    pub(super) async fn serve_negotiated<T>(self, io: TlsStream<T>) -> ConnOutcome
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.state.restart_head_deadline();
        if io.get_ref().1.alpn_protocol() == Some(b"h2") {
            Box::pin(self.serve_http2(io)).await
        } else {
            self.serve_plain(io).await
        }
    }

    /// Serves a caller of HTTP/1.1, or of HTTP/2 with prior knowledge (RFC 9113 §3.3).
    pub(super) async fn serve_plain<T>(self, mut io: T) -> ConnOutcome
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let first_bytes = unless_closing(&self.state, read_first_bytes(&mut io)).await;
        let first_bytes = match first_bytes {
            None => return ConnOutcome::Used,
            Some(Err(_)) => return ConnOutcome::Unused,
            Some(Ok(first_bytes)) if first_bytes.is_empty() => return ConnOutcome::Unused,
            Some(Ok(first_bytes)) => first_bytes,
        };
        if first_bytes.starts_with(HTTP2_PREFACE) {
            let (reader, writer) = tokio::io::split(io);
            let reader = std::io::Cursor::new(first_bytes).chain(reader);
            return Box::pin(self.serve_http2(tokio::io::join(reader, writer))).await;
        }
        if first_bytes.first() == Some(&TLS_HANDSHAKE_BYTE) {
            // The handler writes the entry; the caller understands only a TLS alert.
            let _as_http = self.handler.early_refusal(EarlyRefusal::Framing(FramingFault::Tls));
            Box::pin(send_and_close(io, UNEXPECTED_MESSAGE_ALERT.to_vec())).await;
            return ConnOutcome::Used;
        }
        self.serve_http1(io, first_bytes).await;
        ConnOutcome::Used
    }

    async fn serve_http1<T>(self, io: T, first_bytes: Vec<u8>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let gate = Gate::new(io, first_bytes, self.limits.head, Arc::clone(&self.state));
        let mut conn = http1::Builder::new()
            .half_close(true)
            .writev(false)
            .max_buf_size(self.limits.head.max_bytes.max(MIN_READ_BUFFER))
            .serve_connection(TokioIo::new(gate), request_service(&self.handler, &self.state))
            .with_upgrades();
        let ended =
            drive(&self.state, &mut conn, http1::UpgradeableConnection::graceful_shutdown).await;
        if ended.is_none() {
            return;
        }
        // A gate that refuses a head looks to the library like a caller that has gone, so the
        // refusal is sent here.
        let Some(parts) = conn.into_parts() else { return };
        let gate = parts.io.into_inner();
        if let Some(fault) = gate.unanswered_fault() {
            Box::pin(self.send_refusal(gate.into_inner(), fault)).await;
        } else if gate.is_within_message() {
            // The answer came before the whole request: let the caller read it (RFC 9112 §9.6).
            Box::pin(linger(gate.into_inner())).await;
        }
    }

    async fn serve_http2<T>(self, io: T) -> ConnOutcome
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let header_list = u32::try_from(self.limits.head.max_bytes).unwrap_or(u32::MAX);
        let mut conn = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .max_header_list_size(header_list)
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(Duration::from_secs(20))
            .serve_connection(TokioIo::new(io), request_service(&self.handler, &self.state));
        let ended = drive(&self.state, &mut conn, http2::Connection::graceful_shutdown).await;
        let is_silent = ended.is_some() && !self.state.has_read_head();
        if is_silent { ConnOutcome::Unused } else { ConnOutcome::Used }
    }

    async fn send_refusal<T: AsyncRead + AsyncWrite + Unpin>(self, io: T, fault: FramingFault) {
        let message = self.handler.early_refusal(EarlyRefusal::Framing(fault));
        send_and_close(io, message).await;
    }
}

/// The service that passes each request of a conn to the handler.
fn request_service<H: Handler>(
    handler: &Arc<H>,
    state: &Arc<ConnState>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = http::Response<H::Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<http::Response<H::Body>, Infallible>> + Send + use<H>,
> + use<H> {
    let (handler, state) = (Arc::clone(handler), Arc::clone(state));
    service_fn(move |request| Arc::clone(&handler).handle(state.begin_request(), request))
}

/// Sends a last message, and closes the conn in a way that lets the caller read it.
pub(super) async fn send_and_close<T: AsyncRead + AsyncWrite + Unpin>(mut io: T, message: Vec<u8>) {
    let farewell = async {
        io.write_all(&message).await?;
        io.shutdown().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER_TIMEOUT, farewell).await {
        linger(io).await;
    }
}

/// Reads and discards what the caller still sends after our half is closed: closing a socket with
/// unread bytes resets the conn, and the reset may destroy what was sent (RFC 9112 §9.6).
async fn linger<T: AsyncRead + Unpin>(mut io: T) {
    let discarded = async {
        let mut unread = vec![0; 16 * 1024];
        while matches!(io.read(&mut unread).await, Ok(1..)) {}
    };
    let _best_effort = tokio::time::timeout(LINGER_TIMEOUT, discarded).await;
}

/// Polls a conn to its end and passes on the drain signal. `None` when the close signal came.
async fn drive<C>(state: &ConnState, conn: &mut C, drain: impl Fn(Pin<&mut C>)) -> Option<C::Output>
where
    C: Future + Unpin,
{
    let (mut told, mut known) = (false, None);
    poll_fn(|cx| {
        match state.watch(cx, &mut known) {
            ConnSignal::Keep => {}
            ConnSignal::Drain if told => {}
            ConnSignal::Drain => {
                told = true;
                drain(Pin::new(conn));
            }
            ConnSignal::Close => return Poll::Ready(None),
        }
        Pin::new(&mut *conn).poll(cx).map(Some)
    })
    .await
}

/// Polls `future` until any signal comes: before a request, draining and closing are the same.
pub(super) async fn unless_closing<F: Future>(state: &ConnState, future: F) -> Option<F::Output> {
    let (mut future, mut known) = (pin!(future), None);
    poll_fn(|cx: &mut Context<'_>| {
        if state.watch(cx, &mut known) == ConnSignal::Keep {
            future.as_mut().poll(cx).map(Some)
        } else {
            Poll::Ready(None)
        }
    })
    .await
}

/// Reads until the first bytes show whether the caller speaks HTTP/2.
async fn read_first_bytes<T: AsyncRead + Unpin>(io: &mut T) -> std::io::Result<Vec<u8>> {
    let mut first_bytes = Vec::with_capacity(FIRST_READ_BYTES);
    loop {
        let ended = io.read_buf(&mut first_bytes).await? == 0;
        let undecided =
            first_bytes.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&first_bytes);
        if ended || !undecided {
            return Ok(first_bytes);
        }
    }
}

/// The client connection preface (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const FIRST_READ_BYTES: usize = 1024;
/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE_BYTE: u8 = 22;
/// A fatal TLS alert, `unexpected_message` (RFC 8446 §6).
const UNEXPECTED_MESSAGE_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 10];
/// The smallest read buffer that the HTTP library accepts, in bytes.
const MIN_READ_BUFFER: usize = 8192;
const MAX_STREAMS: u32 = 128;
/// The longest time for the last message to be written, and then for the caller to close.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
