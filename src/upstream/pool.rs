//! The pool of conns to origins. Conns are shared only within one origin, one integration, one client
//! certificate and one generation of rules, so that no two tenants share a socket.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::error::Error;
use super::gauges::UpstreamGauges;
use super::http1::Http1Conn;
use super::http2::{ConnId, Http2Conn, Http2Stream};
use crate::clock::instant;
use crate::model::client_identity::ClientIdentity;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;

/// The key by which conns are kept apart.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct PoolKey {
    pub(super) generation: u64,
    pub(super) integration: IntegrationName,
    pub(super) origin: Origin,
    /// The client certificate by which the conns have authenticated themselves.
    pub(super) identity: Option<Arc<ClientIdentity>>,
}

impl PoolKey {
    /// The error of a conn of this key, which may have presented a client certificate.
    pub(super) fn explain(&self, error: Error) -> Error {
        if self.identity.is_some() { error.of_certified_conn() } else { error }
    }
}

#[derive(Debug)]
pub(super) enum PooledConn {
    Http1(Box<Http1Conn>),
    Http2(Http2Stream),
}

/// The result of waiting for the right to open an HTTP/2 conn.
#[derive(Debug)]
pub(super) enum OpeningTurn<'a> {
    /// Another conn may be opened while this is held.
    Open(Option<SemaphorePermit<'a>>),
    /// An open conn has room for a stream.
    Stream(Http2Stream),
}

/// A request that waits for a stream. While there is one, idle HTTP/2 conns are not closed.
#[derive(Debug)]
struct StreamWaiter<'a>(&'a OriginPool);

/// The reason why no stream could be had on an HTTP/2 conn.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StreamUnavailable {
    /// No stream was free in time.
    Late,
    /// The HTTP/2 conns have closed.
    Closed,
}

/// The conns of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    origins: Mutex<HashMap<PoolKey, Arc<OriginPool>, RandomState>>,
    gauges: Arc<UpstreamGauges>,
}

/// The conns of one key.
#[derive(Debug)]
pub(super) struct OriginPool {
    conns: Mutex<PooledConns>,
    /// Limits the HTTP/2 conns that are opened at once: those who wait may find a stream on them.
    openings: Semaphore,
    /// Notified whenever an HTTP/2 conn may have room for a stream again.
    freed: Arc<Notify>,
    /// The number of requests that wait for a stream.
    waiting: AtomicUsize,
    max_idle: usize,
    gauges: Arc<UpstreamGauges>,
}

#[derive(Debug, Default)]
struct PooledConns {
    idle: Vec<(Box<Http1Conn>, Instant)>,
    http2: Vec<Http2Conn>,
    /// The time until which only HTTP/1.1 is used, because the origin has required it.
    http1_until: Option<Instant>,
}

impl Pool {
    pub(super) fn new(gauges: Arc<UpstreamGauges>) -> Self {
        Self { origins: Mutex::default(), gauges }
    }

    /// The conns of this key, of which at most `max_idle` are kept idle.
    pub(super) fn origin(&self, key: &PoolKey, max_idle: usize) -> Arc<OriginPool> {
        let mut origins = self.origins.lock();
        if let Some(origin) = origins.get(key) {
            return Arc::clone(origin);
        }
        let gauges = Arc::clone(&self.gauges);
        let (openings, freed) = (Semaphore::new(MAX_CONNS_BEING_OPENED), Arc::default());
        let (conns, waiting) = (Mutex::default(), AtomicUsize::new(0));
        let origin = Arc::new(OriginPool { conns, openings, freed, waiting, max_idle, gauges });
        origins.insert(key.clone(), Arc::clone(&origin));
        origin
    }

    /// Closes conns that were idle for `longest`, or were opened under other rules.
    pub(super) fn sweep(&self, longest: Duration, generation: u64) {
        self.origins.lock().retain(|key, origin| {
            let current = key.generation == generation;
            let left = origin.sweep(if current { longest } else { Duration::ZERO });
            left || (current && Arc::strong_count(origin) > 1)
        });
    }
}

impl OriginPool {
    /// A stream on an HTTP/2 conn, or the idle HTTP/1.1 conn that was used last; `None` without a
    /// live one.
    pub(super) fn check_out(&self, avoid: Option<&ConnId>) -> Option<PooledConn> {
        let mut conns = self.conns.lock();
        if let Some(stream) = conns.stream(avoid) {
            return Some(PooledConn::Http2(stream));
        }
        while let Some((mut conn, _since)) = conns.idle.pop() {
            self.gauges.add_idle(-1);
            if conn.is_quiet() {
                return Some(PooledConn::Http1(conn));
            }
        }
        None
    }

    /// Returns a conn whose response was read to its end.
    pub(super) fn check_in(&self, conn: Box<Http1Conn>) {
        let mut conns = self.conns.lock();
        if conns.idle.len() < self.max_idle {
            conns.idle.push((conn, instant()));
            self.gauges.add_idle(1);
        } else {
            conn.close();
        }
    }

    /// Tells whether an HTTP/2 conn is open.
    pub(super) fn has_http2(&self) -> bool {
        self.conns.lock().http2.iter().any(Http2Conn::is_open)
    }

    /// Waits for the right to open another HTTP/2 conn, or for a stream on an open one, whichever
    /// comes first; `None` after `limit`. Cancel-safe.
    pub(super) async fn wait_for_opening(
        &self,
        avoid: Option<&ConnId>,
        limit: Duration,
    ) -> Option<OpeningTurn<'_>> {
        let _waiting = StreamWaiter::at(self);
        let mut turn = pin!(self.openings.acquire());
        let wait = async {
            loop {
                let freed = self.freed.notified();
                if let Some(stream) = self.conns.lock().stream(avoid) {
                    return OpeningTurn::Stream(stream);
                }
                tokio::select! {
                    // The semaphore is never closed.
                    turn = &mut turn => match self.conns.lock().stream(avoid) {
                        Some(stream) => return OpeningTurn::Stream(stream),
                        None => return OpeningTurn::Open(turn.ok()),
                    },
                    () = freed => {}
                }
            }
        };
        tokio::time::timeout(limit, wait).await.ok()
    }

    /// Waits for a stream on an open HTTP/2 conn, where no other conn can be opened. Cancel-safe.
    ///
    /// Requests wait here and not within the HTTP/2 library, so that they can be checked once more
    /// before they are sent.
    pub(super) async fn wait_for_stream(
        &self,
        limit: Duration,
    ) -> Result<Http2Stream, StreamUnavailable> {
        let _waiting = StreamWaiter::at(self);
        let wait = async {
            loop {
                let freed = self.freed.notified();
                if let Some(stream) = self.conns.lock().stream(None) {
                    return Ok(stream);
                }
                if !self.has_http2() {
                    return Err(StreamUnavailable::Closed);
                }
                freed.await;
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or(Err(StreamUnavailable::Late))
    }

    pub(super) fn stream_freed(&self) -> Arc<Notify> {
        Arc::clone(&self.freed)
    }

    /// Adds an HTTP/2 conn and gives a stream on it. It is dropped where another conn has got room
    /// meanwhile. `None` when the new conn allows no stream.
    pub(super) fn add_http2(
        &self,
        mut fresh: Http2Conn,
        avoid: Option<&ConnId>,
    ) -> Option<Http2Stream> {
        let mut conns = self.conns.lock();
        if let Some(stream) = conns.stream(avoid) {
            return Some(stream);
        }
        let stream = fresh.stream(None);
        conns.http2.push(fresh);
        drop(conns);
        // It may have streams for waiting requests.
        self.freed.notify_waiters();
        stream
    }

    /// Uses only HTTP/1.1 for a while, as the origin has required (`HTTP_1_1_REQUIRED`).
    pub(super) fn require_http1(&self) {
        let mut conns = self.conns.lock();
        conns.http1_until = instant().checked_add(HTTP1_REQUIRED_FOR);
        conns.http2.iter().for_each(|shared| shared.facts().close());
    }

    /// Tells whether only HTTP/1.1 is to be used.
    pub(super) fn requires_http1(&self) -> bool {
        self.conns.lock().http1_until.is_some_and(|until| instant() < until)
    }

    /// Closes conns that were idle for `longest`. `false` when nothing is left.
    fn sweep(&self, longest: Duration) -> bool {
        let now = instant();
        let fresh = |since: Instant| now.saturating_duration_since(since) < longest;
        let mut conns = self.conns.lock();
        // 1. HTTP/1.1 conns that are due, or that the origin has closed or written to.
        for (conn, _since) in
            conns.idle.extract_if(.., |(conn, since)| !fresh(*since) || !conn.is_quiet())
        {
            self.gauges.add_idle(-1);
            conn.close();
        }
        // 2. HTTP/2 conns: check their peers, then drop closed ones, and idle ones that are due or
        // too many.
        conns.http2.iter_mut().for_each(Http2Conn::look_after);
        let (mut resting, is_waited_for) = (0, self.waiting.load(Relaxed) > 0);
        conns.http2.retain(|shared| {
            let rests = shared.streams() == 0;
            resting += usize::from(rests);
            let too_many = rests && resting > self.max_idle.max(1);
            let is_wanted = is_waited_for || ((!rests || fresh(shared.since())) && !too_many);
            shared.is_in_use() && is_wanted
        });
        let http1_only = conns.http1_until.is_some_and(|until| now < until);
        http1_only || !conns.idle.is_empty() || !conns.http2.is_empty()
    }
}

impl PooledConns {
    /// A stream on an HTTP/2 conn that has room.
    fn stream(&mut self, avoid: Option<&ConnId>) -> Option<Http2Stream> {
        if self.http2.is_empty() {
            return None;
        }
        self.http2.retain(Http2Conn::is_in_use);
        self.http2.iter_mut().find_map(|shared| shared.stream(avoid))
    }
}

impl<'a> StreamWaiter<'a> {
    fn at(origin: &'a OriginPool) -> Self {
        origin.waiting.fetch_add(1, Relaxed);
        Self(origin)
    }
}

impl Drop for StreamWaiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Drop for OriginPool {
    /// Takes the idle conns out of the gauges.
    fn drop(&mut self) {
        let idle = self.conns.get_mut().idle.len();
        self.gauges.add_idle(-i64::try_from(idle).unwrap_or(0));
    }
}

/// The number of HTTP/2 conns that are opened at once for one key.
const MAX_CONNS_BEING_OPENED: usize = 2;
/// The time for which an origin's requirement of HTTP/1.1 is remembered.
const HTTP1_REQUIRED_FOR: Duration = Duration::from_mins(10);
