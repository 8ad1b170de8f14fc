//! HTTP/2 to an origin (RFC 9113): conns that requests share, with a stream for each.
//!
//! A task of the conn moves its frames. A request's own task sends its body and waits for its
//! answer, so that it still has the request when the origin has not processed it.

mod conn_facts;
mod exchange;
mod frames;
mod health;
mod reply;
mod upload;

use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use h2::PingPong;
use h2::client::{Builder, Connection, SendRequest};
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio_rustls::client::TlsStream;

use self::conn_facts::ConnFacts;
use self::frames::FrameWatcher;
use self::health::{Health, HealthAction};
use super::error::Error;
use super::gauges::OpenConn;
use crate::clock::instant;
use crate::tasks::Tasks;

pub(super) use self::conn_facts::WRITE_TIMEOUT;
pub(super) use self::exchange::{SendFailure, StreamExchange, WriteProgress};
pub(super) use self::reply::StreamBody;

/// An HTTP/2 conn that requests share.
#[derive(Debug)]
pub(super) struct Http2Conn {
    sender: SendRequest<Bytes>,
    ping: Option<PingPong>,
    facts: Arc<ConnFacts>,
    health: Health,
    since: Instant,
}

/// The right to open one stream on a conn.
#[derive(Debug)]
pub(super) struct Http2Stream {
    sender: SendRequest<Bytes>,
    permit: StreamPermit,
}

/// The identity of a conn.
#[derive(Clone, Debug)]
pub(super) struct ConnId(Arc<ConnFacts>);

/// One of the concurrent streams that a conn allows, returned on drop.
#[derive(Debug)]
pub(super) struct StreamPermit(Arc<ConnFacts>);

impl Http2Conn {
    /// Begins HTTP/2 on a conn and spawns the task that moves its frames. `freed` is notified
    /// whenever there may be room for a stream.
    pub(super) async fn open(
        io: TlsStream<TcpStream>,
        open: OpenConn,
        tasks: &Tasks,
        freed: Arc<Notify>,
    ) -> Result<Self, Error> {
        let facts = Arc::new(ConnFacts::new(freed));
        // 1. Keep little unsent data in the kernel: a slow link can be told from a stuck one, and a
        // request can be taken back longer. On failure the kernel's own limit holds.
        let socket = socket2::SockRef::from(io.get_ref().0);
        let _refused = socket.set_tcp_notsent_lowat(MAX_UNSENT);
        let mut builder = Builder::new();
        builder
            .enable_push(false)
            .max_header_list_size(MAX_HEADERS_SIZE)
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONN_WINDOW)
            .initial_max_send_streams(INITIAL_MAX_STREAMS)
            .max_send_buffer_size(MAX_SEND_BUFFER);
        // 2. Send the preface and settings, and watch the frames from the first byte.
        let shaken = builder.handshake(FrameWatcher::new(io, Arc::clone(&facts))).await;
        let (sender, mut conn) = shaken.map_err(|error| exchange::conn_error(error, &facts))?;
        let ping = conn.ping_pong();
        tasks.spawn(run(conn, Arc::clone(&facts), open));
        Ok(Self { sender, ping, facts, health: Health::new(), since: instant() })
    }

    pub(super) fn facts(&self) -> Arc<ConnFacts> {
        Arc::clone(&self.facts)
    }

    pub(super) fn streams(&self) -> usize {
        self.facts.streams()
    }

    /// Tells whether new requests may be sent on it.
    pub(super) fn is_open(&self) -> bool {
        !self.facts.is_closed()
    }

    /// Tells whether new requests may be sent on it, or others are under way.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_open() || self.streams() > 0
    }

    /// The time of its last request.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// The right to one more stream; `None` when the conn is full, closed, suspected to be dead, or
    /// the one to avoid.
    pub(super) fn stream(&mut self, avoid: Option<&ConnId>) -> Option<Http2Stream> {
        let has_room = self.streams() < self.facts.max_streams();
        let is_avoided = avoid.is_some_and(|conn| Arc::ptr_eq(&conn.0, &self.facts));
        if !has_room || !self.is_open() || self.facts.is_suspect() || is_avoided {
            return None;
        }
        self.since = instant();
        self.health.note_request(self.since, self.facts.last_received());
        Some(Http2Stream { sender: self.sender.clone(), permit: StreamPermit::on(&self.facts) })
    }

    /// Sends a PING to a silent peer, and closes the conn when the peer does not answer.
    pub(super) fn look_after(&mut self) {
        match self.health.next_action(instant(), self.streams(), &self.facts) {
            HealthAction::Nothing => {}
            HealthAction::SendPing => self.send_ping(),
            HealthAction::Avoid => self.facts.mark_suspect(),
            HealthAction::Close => self.facts.mark_lost(),
        }
    }

    fn send_ping(&mut self) {
        let Some(ping) = &mut self.ping else { return };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        // The library allows another PING only after the last PONG was taken.
        let _taken = ping.poll_pong(&mut cx);
        let _sent_before = ping.send_ping(h2::Ping::opaque());
    }
}

impl Http2Stream {
    pub(super) fn conn(&self) -> ConnId {
        ConnId(Arc::clone(&self.permit.0))
    }
}

impl StreamPermit {
    fn on(facts: &Arc<ConnFacts>) -> Self {
        facts.add_stream();
        Self(Arc::clone(facts))
    }

    fn facts(&self) -> &Arc<ConnFacts> {
        &self.0
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.end_stream();
    }
}

/// Moves a conn's frames until it ends, is aborted, or is no longer used.
async fn run(
    mut conn: Connection<FrameWatcher<TlsStream<TcpStream>>, Bytes>,
    facts: Arc<ConnFacts>,
    open: OpenConn,
) {
    // Errors reach the requests on the conn, so they are not reported here. An aborted conn is not
    // polled again, so that it writes nothing more.
    tokio::select! {
        biased;
        () = facts.aborted() => {}
        _ended = &mut conn => {}
    }
    facts.close();
    drop(open);
}

/// The largest head of a response, in bytes.
const MAX_HEADERS_SIZE: u32 = 256 << 10;
/// The number of unsent bytes at which the kernel reports the socket as full.
const MAX_UNSENT: u32 = 128 << 10;
const STREAM_WINDOW: u32 = 1 << 20;
/// The window of the conn: large, so that answers nobody reads don't block one that is read.
const CONN_WINDOW: u32 = 32 << 20;
/// The number of streams that the library opens before the peer's SETTINGS.
const INITIAL_MAX_STREAMS: usize = 100;
/// The bytes of a request's body that may wait to be written.
const MAX_SEND_BUFFER: usize = 1 << 20;
