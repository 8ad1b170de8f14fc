//! Idle conns, kept apart by everything that makes two upstreams differ: the origin, the rules
//! under which the conn was made, and the integration — no two tenants share a socket.

use std::collections::HashMap;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::gauges::UpstreamGauges;
use super::http1::Http1Conn;
use super::http2::{ConnId, Http2Conn, Http2Stream};
use crate::clock::instant;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;

/// What makes two upstreams differ.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct PoolKey {
    pub(super) generation: u64,
    pub(super) integration: IntegrationName,
    pub(super) origin: Origin,
}

/// A conn from the pool.
#[derive(Debug)]
pub(super) enum PooledConn {
    Http1(Box<Http1Conn>),
    Http2(Http2Stream),
}

/// The end of a wait for the right to open a conn of HTTP/2.
#[derive(Debug)]
pub(super) enum OpeningTurn<'a> {
    /// Another may be opened, for as long as this is held.
    Open(Option<SemaphorePermit<'a>>),
    /// There is room on one that there is.
    Stream(Http2Stream),
}

/// A request that waits for room; the conns of its slot stay for as long.
#[derive(Debug)]
struct StreamWaiter<'a>(&'a OriginPool);

/// The reason why there is no room on a conn of HTTP/2.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum StreamUnavailable {
    /// Their origin allowed no other stream in time.
    Late,
    /// There is no such conn any more.
    Closed,
}

/// The idle conns of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Mutex<HashMap<PoolKey, Arc<OriginPool>, RandomState>>,
    gauges: Arc<UpstreamGauges>,
}

/// The idle conns to one upstream.
#[derive(Debug)]
pub(super) struct OriginPool {
    conns: Mutex<PooledConns>,
    /// Of HTTP/2 few conns are opened at once: whoever waits may find room on them.
    openings: Semaphore,
    /// Told whenever there may be room on a conn of HTTP/2 that had none.
    freed: Arc<Notify>,
    /// The number of requests that wait for that.
    waiting: AtomicUsize,
    max_idle: usize,
    gauges: Arc<UpstreamGauges>,
}

#[derive(Debug, Default)]
struct PooledConns {
    idle: Vec<(Box<Http1Conn>, Instant)>,
    http2: Vec<Http2Conn>,
    /// Until when the origin is spoken to over HTTP/1.1 only, because it has asked for that.
    http1_until: Option<Instant>,
}

impl Pool {
    pub(super) fn new(gauges: Arc<UpstreamGauges>) -> Self {
        Self { slots: Mutex::default(), gauges }
    }

    /// Where the conns to this upstream are kept, `max_idle` of them at most.
    pub(super) fn slot(&self, key: &PoolKey, max_idle: usize) -> Arc<OriginPool> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        let gauges = Arc::clone(&self.gauges);
        let (openings, freed) = (Semaphore::new(MAX_CONNS_BEING_OPENED), Arc::default());
        let (conns, waiting) = (Mutex::default(), AtomicUsize::new(0));
        let slot = Arc::new(OriginPool { conns, openings, freed, waiting, max_idle, gauges });
        slots.insert(key.clone(), Arc::clone(&slot));
        slot
    }

    /// Closes what has been idle for `longest`, or was made under other rules.
    pub(super) fn sweep(&self, longest: Duration, generation: u64) {
        self.slots.lock().retain(|key, slot| {
            let current = key.generation == generation;
            let left = slot.sweep(if current { longest } else { Duration::ZERO });
            left || (current && Arc::strong_count(slot) > 1)
        });
    }
}

impl OriginPool {
    /// A conn that has room, or the one that was used last, if any is alive.
    pub(super) fn check_out(&self, avoid: Option<&ConnId>) -> Option<PooledConn> {
        let mut conns = self.conns.lock();
        if let Some(stream) = conns.stream(avoid) {
            return Some(PooledConn::Http2(stream));
        }
        while let Some((mut conn, _since)) = conns.idle.pop() {
            self.gauges.idle(-1);
            if conn.is_quiet() {
                return Some(PooledConn::Http1(conn));
            }
        }
        None
    }

    /// Takes back a conn whose response has been read to its end.
    pub(super) fn check_in(&self, conn: Box<Http1Conn>) {
        let mut conns = self.conns.lock();
        if conns.idle.len() < self.max_idle {
            conns.idle.push((conn, instant()));
            self.gauges.idle(1);
        } else {
            conn.close();
        }
    }

    /// Whether there is any conn of HTTP/2.
    pub(super) fn is_shared(&self) -> bool {
        self.conns.lock().http2.iter().any(Http2Conn::is_open)
    }

    /// The right to open another conn of HTTP/2, or a place on one where there is room before;
    /// `None` when there is neither within `limit`. Cancel-safe.
    pub(super) async fn turn(
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
                    // It is never closed.
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

    /// Waits for room on a conn of HTTP/2, where no other can be opened: a request is not handed to
    /// a conn in which it would have to wait. Cancel-safe.
    ///
    /// # Errors
    /// [`StreamUnavailable`] when there is none.
    pub(super) async fn room(&self, limit: Duration) -> Result<Http2Stream, StreamUnavailable> {
        let _waiting = StreamWaiter::at(self);
        let wait = async {
            loop {
                let freed = self.freed.notified();
                if let Some(stream) = self.conns.lock().stream(None) {
                    return Ok(stream);
                }
                if !self.is_shared() {
                    return Err(StreamUnavailable::Closed);
                }
                freed.await;
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or(Err(StreamUnavailable::Late))
    }

    /// The notice that there may be room on a conn of HTTP/2 that had none.
    pub(super) fn freed(&self) -> Arc<Notify> {
        Arc::clone(&self.freed)
    }

    /// Shares a conn of HTTP/2, unless one that is shared already has room by now; `None` when none
    /// has.
    pub(super) fn share(
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
        // It may have room for those who wait.
        self.freed.notify_waiters();
        stream
    }

    /// Has requests go over HTTP/1.1 for a while, as the origin has asked.
    pub(super) fn require_http1(&self) {
        let mut conns = self.conns.lock();
        conns.http1_until = instant().checked_add(HTTP1_REQUIRED_FOR);
        conns.http2.iter().for_each(|shared| shared.facts().close());
    }

    /// Tells whether the origin has asked for HTTP/1.1.
    pub(super) fn requires_http1(&self) -> bool {
        self.conns.lock().http1_until.is_some_and(|until| instant() < until)
    }

    /// Closes what has been idle for `longest`; whether anything is left.
    fn sweep(&self, longest: Duration) -> bool {
        let now = instant();
        let fresh = |since: Instant| now.saturating_duration_since(since) < longest;
        let mut conns = self.conns.lock();
        for (conn, _since) in
            conns.idle.extract_if(.., |(conn, since)| !fresh(*since) || !conn.is_quiet())
        {
            self.gauges.idle(-1);
            conn.close();
        }
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
    /// A place on a conn of HTTP/2 that has room.
    fn stream(&mut self, avoid: Option<&ConnId>) -> Option<Http2Stream> {
        if self.http2.is_empty() {
            return None;
        }
        self.http2.retain(Http2Conn::is_in_use);
        self.http2.iter_mut().find_map(|shared| shared.stream(avoid))
    }
}

impl<'a> StreamWaiter<'a> {
    fn at(slot: &'a OriginPool) -> Self {
        slot.waiting.fetch_add(1, Relaxed);
        Self(slot)
    }
}

impl Drop for StreamWaiter<'_> {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Relaxed);
    }
}

impl Drop for OriginPool {
    /// A slot that outlives its pool's interest takes its idle conns along.
    fn drop(&mut self) {
        let idle = self.conns.get_mut().idle.len();
        self.gauges.idle(-i64::try_from(idle).unwrap_or(0));
    }
}

/// How many conns of HTTP/2 are opened to one upstream at once.
const MAX_CONNS_BEING_OPENED: usize = 2;
/// The time that an origin's wish for HTTP/1.1 is remembered.
const HTTP1_REQUIRED_FOR: Duration = Duration::from_mins(10);
