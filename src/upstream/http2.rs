//! HTTP/2 with an origin (RFC 9113): conns that several requests share, a stream for each.
//!
//! A conn's task moves its frames. A request's own task writes its body and waits for its answer,
//! so that all of it is still there when the origin says that it has not processed it.

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

/// A conn of HTTP/2 that several requests share.
#[derive(Debug)]
pub(super) struct Http2Conn {
    sender: SendRequest<Bytes>,
    ping: Option<PingPong>,
    facts: Arc<ConnFacts>,
    health: Health,
    since: Instant,
}

/// Room for one stream on a conn, until it is dropped.
#[derive(Debug)]
pub(super) struct Http2Stream {
    sender: SendRequest<Bytes>,
    permit: StreamPermit,
}

/// Tells one conn from another.
#[derive(Clone, Debug)]
pub(super) struct ConnId(Arc<ConnFacts>);

/// One of the places of a conn, which is free again when this is dropped.
#[derive(Debug)]
pub(super) struct StreamPermit(Arc<ConnFacts>);

impl Http2Conn {
    /// Begins HTTP/2 on a conn, whose frames are moved by a task from then on. `freed` is told of
    /// every change that may make room for a stream.
    pub(super) async fn open(
        io: TlsStream<TcpStream>,
        open: OpenConn,
        tasks: &Tasks,
        freed: Arc<Notify>,
    ) -> Result<Self, Error> {
        let facts = Arc::new(ConnFacts::new(freed));
        // A conn over a slow link is told from one that takes nothing, and little stands in the
        // kernel of what may not leave any more. Where it can't be set, the kernel's choice holds.
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
        let shaken = builder.handshake(FrameWatcher::new(io, Arc::clone(&facts))).await;
        let (sender, mut conn) = shaken.map_err(|error| exchange::error(error, &facts))?;
        let ping = conn.ping_pong();
        tasks.spawn(run(conn, Arc::clone(&facts), open));
        Ok(Self { sender, ping, facts, health: Health::new(), since: instant() })
    }

    /// The facts about the conn.
    pub(super) fn facts(&self) -> Arc<ConnFacts> {
        Arc::clone(&self.facts)
    }

    /// The number of streams.
    pub(super) fn streams(&self) -> usize {
        self.facts.streams()
    }

    /// Tells whether requests may still be sent on it.
    pub(super) fn is_open(&self) -> bool {
        !self.facts.is_closed()
    }

    /// Tells whether requests may be sent on it, or are under way.
    pub(super) fn is_in_use(&self) -> bool {
        self.is_open() || self.streams() > 0
    }

    /// The time when a request was last sent on it.
    pub(super) fn since(&self) -> Instant {
        self.since
    }

    /// Room for one more stream, if there is any on a conn that is alive as far as anybody knows,
    /// and is not the one to avoid.
    pub(super) fn stream(&mut self, avoid: Option<&ConnId>) -> Option<Http2Stream> {
        let has_room = self.streams() < self.facts.max_streams();
        let is_avoided = avoid.is_some_and(|conn| Arc::ptr_eq(&conn.0, &self.facts));
        if !has_room || !self.is_open() || self.facts.is_suspect() || is_avoided {
            return None;
        }
        self.since = instant();
        self.health.request(self.since, self.facts.heard());
        Some(Http2Stream { sender: self.sender.clone(), permit: StreamPermit::on(&self.facts) })
    }

    /// Asks a peer that is silent whether it is there, and closes a conn whose peer is not.
    pub(super) fn look_after(&mut self) {
        match self.health.look(instant(), self.streams(), &self.facts) {
            HealthAction::Nothing => {}
            HealthAction::SendPing => self.send_ping(),
            HealthAction::Avoid => self.facts.suspect(),
            HealthAction::Close => self.facts.lose(),
        }
    }

    fn send_ping(&mut self) {
        let Some(ping) = &mut self.ping else { return };
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        // The answer to the last one is taken, so that there may be another.
        let _taken = ping.poll_pong(&mut cx);
        let _sent_before = ping.send_ping(h2::Ping::opaque());
    }
}

impl Http2Stream {
    /// The conn that it is on.
    pub(super) fn conn(&self) -> ConnId {
        ConnId(Arc::clone(&self.permit.0))
    }
}

impl StreamPermit {
    fn on(facts: &Arc<ConnFacts>) -> Self {
        facts.add_stream();
        Self(Arc::clone(facts))
    }

    /// The facts about the conn.
    fn facts(&self) -> &Arc<ConnFacts> {
        &self.0
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        self.0.end_stream();
    }
}

/// Moves a conn's frames until it ends, is cut, or nobody uses it any more.
async fn run(
    mut conn: Connection<FrameWatcher<TlsStream<TcpStream>>, Bytes>,
    facts: Arc<ConnFacts>,
    open: OpenConn,
) {
    // Errors reach the requests that the conn carries; there is nobody else to tell. A conn that
    // was cut is not asked again, so that it writes nothing more.
    tokio::select! {
        biased;
        () = facts.is_cut() => {}
        _ended = &mut conn => {}
    }
    facts.close();
    drop(open);
}

/// The largest head of a response, in bytes; as large as over HTTP/1.1, nearly.
const MAX_HEADERS_SIZE: u32 = 256 << 10;
/// The number of bytes that wait in a socket before it counts as full.
const MAX_UNSENT: u32 = 128 << 10;
const STREAM_WINDOW: u32 = 1 << 20;
/// Room for many answers that nobody takes beside one that is taken.
const CONN_WINDOW: u32 = 32 << 20;
/// The number of streams that are opened before the peer has said how many it allows.
const INITIAL_MAX_STREAMS: usize = 100;
/// How much of a request's body may wait to be written.
const MAX_SEND_BUFFER: usize = 1 << 20;
