//! One conn from its first byte to its last.

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

use super::framing::Fault;
use super::gate::Gate;
use super::presence::{Order, Presence};
use super::{House, Limits, TurnedAway};
use crate::tasks::Tasks;

/// A conn that has just come in.
pub(super) struct Stranger<H> {
    pub(super) house: Arc<H>,
    pub(super) presence: Arc<Presence>,
    pub(super) limits: Limits,
    pub(super) tasks: Tasks,
}

/// What came of a conn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Heard {
    /// A request, or the beginning of one; or it was told to leave.
    Something,
    /// It was closed from the other end before that.
    Nothing,
}

impl<H: House> Stranger<H> {
    /// Serves a caller over TLS; ALPN says which HTTP.
    pub(super) async fn serve_tls<T>(self, io: T, config: Arc<ServerConfig>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let handshake = TlsAcceptor::from(config).accept(io);
        let Some(Ok(io)) = unless_told_to_leave(&self.presence, handshake).await else { return };
        let _heard = self.serve_negotiated(io).await;
    }

    /// Serves a caller whose TLS handshake is over.
    pub(super) async fn serve_negotiated<T>(self, io: TlsStream<T>) -> Heard
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        self.presence.restart();
        if io.get_ref().1.alpn_protocol() == Some(b"h2") {
            Box::pin(self.serve_http2(io)).await
        } else {
            self.serve_plain(io).await
        }
    }

    /// Serves a caller of HTTP/1.1, or of HTTP/2 with prior knowledge (RFC 9113 §3.3).
    pub(super) async fn serve_plain<T>(self, mut io: T) -> Heard
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let greeting = unless_told_to_leave(&self.presence, read_greeting(&mut io)).await;
        let greeting = match greeting {
            None => return Heard::Something,
            Some(Err(_)) => return Heard::Nothing,
            Some(Ok(greeting)) if greeting.is_empty() => return Heard::Nothing,
            Some(Ok(greeting)) => greeting,
        };
        if greeting.starts_with(HTTP2_PREFACE) {
            let (reader, writer) = tokio::io::split(io);
            let reader = std::io::Cursor::new(greeting).chain(reader);
            return Box::pin(self.serve_http2(tokio::io::join(reader, writer))).await;
        }
        if greeting.first() == Some(&TLS_HANDSHAKE) {
            // The house writes it down; what the caller understands is an alert.
            let _as_http = self.house.turn_away(TurnedAway::Fault(Fault::Tls));
            Box::pin(turn_away(io, UNEXPECTED_MESSAGE.to_vec())).await;
            return Heard::Something;
        }
        self.serve_http1(io, greeting).await;
        Heard::Something
    }

    async fn serve_http1<T>(self, io: T, greeting: Vec<u8>)
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let gate = Gate::new(io, greeting, self.limits.head, Arc::clone(&self.presence));
        let mut conn = http1::Builder::new()
            .half_close(true)
            .writev(false)
            .max_buf_size(self.limits.head.max_bytes.max(MIN_BUFFER))
            .serve_connection(TokioIo::new(gate), requests(&self.house, &self.presence))
            .with_upgrades();
        let ended =
            attend(&self.presence, &mut conn, http1::UpgradeableConnection::graceful_shutdown)
                .await;
        if ended.is_none() {
            return;
        }
        // The library takes a gate that shuts on a head for a caller that has gone.
        let Some(parts) = conn.into_parts() else { return };
        let gate = parts.io.into_inner();
        if let Some(fault) = gate.unanswered() {
            Box::pin(self.refuse(gate.into_inner(), fault)).await;
        } else if gate.is_within_message() {
            // The answer came before the whole request.
            Box::pin(linger(gate.into_inner())).await;
        }
    }

    async fn serve_http2<T>(self, io: T) -> Heard
    where
        T: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let header_list = u32::try_from(self.limits.head.max_bytes).unwrap_or(u32::MAX);
        let mut conn = http2::Builder::new(self.tasks.clone())
            .timer(TokioTimer::new())
            .max_header_list_size(header_list)
            .max_concurrent_streams(MAX_STREAMS)
            .keep_alive_interval(Duration::from_secs(20))
            .serve_connection(TokioIo::new(io), requests(&self.house, &self.presence));
        let ended = attend(&self.presence, &mut conn, http2::Connection::graceful_shutdown).await;
        let is_silent = ended.is_some() && !self.presence.was_visited();
        if is_silent { Heard::Nothing } else { Heard::Something }
    }

    async fn refuse<T: AsyncRead + AsyncWrite + Unpin>(self, io: T, fault: Fault) {
        let message = self.house.turn_away(TurnedAway::Fault(fault));
        turn_away(io, message).await;
    }
}

/// Hands each request of a conn to the house.
fn requests<H: House>(
    house: &Arc<H>,
    presence: &Arc<Presence>,
) -> impl hyper::service::Service<
    Request<Incoming>,
    Response = http::Response<H::Body>,
    Error = Infallible,
    Future = impl Future<Output = Result<http::Response<H::Body>, Infallible>> + Send + use<H>,
> + use<H> {
    let (house, presence) = (Arc::clone(house), Arc::clone(presence));
    service_fn(move |request| Arc::clone(&house).answer(presence.visit(), request))
}

/// Sends a last message and closes so that the caller can read it.
pub(super) async fn turn_away<T: AsyncRead + AsyncWrite + Unpin>(mut io: T, message: Vec<u8>) {
    let farewell = async {
        io.write_all(&message).await?;
        io.shutdown().await
    };
    if let Ok(Ok(())) = tokio::time::timeout(LINGER_TIMEOUT, farewell).await {
        linger(io).await;
    }
}

/// Reads what the caller still sends, on a conn whose own half is closed, and throws it away:
/// closing a socket with unread bytes in it would reset the conn, and may take along what was sent
/// (RFC 9112 §9.6).
async fn linger<T: AsyncRead + Unpin>(mut io: T) {
    let discarded = async {
        let mut unread = vec![0; 16 * 1024];
        while matches!(io.read(&mut unread).await, Ok(1..)) {}
    };
    let _best_effort = tokio::time::timeout(LINGER_TIMEOUT, discarded).await;
}

/// Drives a conn, passing on what it is told. `None` when it was told to leave.
async fn attend<C>(
    presence: &Presence,
    conn: &mut C,
    drain: impl Fn(Pin<&mut C>),
) -> Option<C::Output>
where
    C: Future + Unpin,
{
    let (mut told, mut known) = (false, None);
    poll_fn(|cx| {
        match presence.watch(cx, &mut known) {
            Order::Stay => {}
            Order::Drain if told => {}
            Order::Drain => {
                told = true;
                drain(Pin::new(conn));
            }
            Order::Leave => return Poll::Ready(None),
        }
        Pin::new(&mut *conn).poll(cx).map(Some)
    })
    .await
}

/// Before there is a request, draining means leaving.
pub(super) async fn unless_told_to_leave<F: Future>(
    presence: &Presence,
    future: F,
) -> Option<F::Output> {
    let (mut future, mut known) = (pin!(future), None);
    poll_fn(|cx: &mut Context<'_>| {
        if presence.watch(cx, &mut known) == Order::Stay {
            future.as_mut().poll(cx).map(Some)
        } else {
            Poll::Ready(None)
        }
    })
    .await
}

/// Reads until it is clear whether the caller speaks HTTP/2.
async fn read_greeting<T: AsyncRead + Unpin>(io: &mut T) -> std::io::Result<Vec<u8>> {
    let mut greeting = Vec::with_capacity(GREETING);
    loop {
        let ended = io.read_buf(&mut greeting).await? == 0;
        let undecided =
            greeting.len() < HTTP2_PREFACE.len() && HTTP2_PREFACE.starts_with(&greeting);
        if ended || !undecided {
            return Ok(greeting);
        }
    }
}

/// RFC 9113 §3.4.
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const GREETING: usize = 1024;
/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE: u8 = 22;
/// A fatal TLS alert, `unexpected_message` (RFC 8446 §6).
const UNEXPECTED_MESSAGE: [u8; 7] = [21, 3, 1, 0, 2, 2, 10];
/// The smallest read buffer that the HTTP library takes.
const MIN_BUFFER: usize = 8192;
const MAX_STREAMS: u32 = 128;
/// The time that a caller may take to read a last message, or to see that nothing more is read of
/// it.
const LINGER_TIMEOUT: Duration = Duration::from_secs(1);
