//! Serves one conn from its first byte to its last.

use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::conn_state::{ConnSignal, ConnState};
use super::http1_conn::{CallerConn, Http1End, Protocol};
use super::request_body::RequestBody;
use super::switch::{PendingSwitch, SwitchedConn};
use super::{ConnLimits, EarlyRefusal, Handler};
use crate::http1::FramingFault;
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
    pub(super) async fn serve_plain<T>(self, io: T) -> ConnOutcome
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // 1. Until its first bytes the conn is next to nothing.
        let mut conn = CallerConn::new(io, self.limits.head, Arc::clone(&self.state));
        let protocol = poll_fn(|cx| conn.poll_protocol(cx));
        let protocol = match unless_closing(&self.state, protocol).await {
            None => return ConnOutcome::Used,
            Some(None) => return ConnOutcome::Unused,
            Some(Some(protocol)) => protocol,
        };
        // 2. They choose how it is served; that is boxed, so that the task stays small.
        match protocol {
            Protocol::Http1 => Box::pin(self.serve_http1(conn)).await,
            Protocol::Http2 => {
                let (io, first_bytes) = conn.into_parts();
                let (reader, writer) = tokio::io::split(io);
                let reader = std::io::Cursor::new(first_bytes).chain(reader);
                return Box::pin(self.serve_http2(tokio::io::join(reader, writer))).await;
            }
            Protocol::Tls => {
                // The handler writes the entry; the caller understands only a TLS alert.
                let _as_http = self.handler.early_refusal(EarlyRefusal::Framing(FramingFault::Tls));
                let alert = UNEXPECTED_MESSAGE_ALERT.to_vec();
                Box::pin(send_and_close(conn.into_parts().0, alert)).await;
            }
        }
        ConnOutcome::Used
    }

    async fn serve_http1<T>(self, mut conn: CallerConn<T>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        // 1. Until its end, or until the close signal comes. A drain signal has it polled.
        let end = {
            let serving = pin!(conn.serve(&self.handler));
            unless_told_to_close(&self.state, serving).await
        };
        // 2. The caller gets to read what was sent last, if anything was.
        let (mut io, unread) = conn.into_parts();
        match end {
            None | Some(Http1End::Broken) => {}
            Some(Http1End::Over) => {
                let farewell = pin!(io.shutdown());
                let _best_effort = unless_told_to_close(&self.state, farewell).await;
            }
            Some(Http1End::Lingering) => Box::pin(send_and_close(io, Vec::new())).await,
            Some(Http1End::Refused(fault)) => Box::pin(self.send_refusal(io, fault)).await,
            Some(Http1End::Switched(switch)) => {
                let _gone = switch.send(SwitchedConn::new(io, unread));
            }
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

/// The service that passes each request of an HTTP/2 conn to the handler.
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
    service_fn(move |request: Request<Incoming>| {
        let mut request = request.map(RequestBody::http2);
        if let Some(upgrade) = request.extensions_mut().remove::<OnUpgrade>() {
            request.extensions_mut().insert(PendingSwitch::of_http2(upgrade));
        }
        Arc::clone(&handler).handle(state.begin_request(), request)
    })
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

/// Polls `future` until the close signal comes. A drain signal has it polled.
async fn unless_told_to_close<F: Future>(
    state: &ConnState,
    mut future: Pin<&mut F>,
) -> Option<F::Output> {
    let mut known = None;
    poll_fn(|cx| match state.watch(cx, &mut known) {
        ConnSignal::Close => Poll::Ready(None),
        ConnSignal::Keep | ConnSignal::Drain => future.as_mut().poll(cx).map(Some),
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

/// A fatal TLS alert, `unexpected_message` (RFC 8446 §6).
const UNEXPECTED_MESSAGE_ALERT: [u8; 7] = [21, 3, 1, 0, 2, 2, 10];
const MAX_STREAMS: u32 = 128;
/// The longest time for the last message to be written, and then for the caller to close.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
