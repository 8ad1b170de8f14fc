//! Idle conns, kept apart by everything that makes two upstreams differ: the origin, the rules
//! under which the conn was made, and the integration — no two tenants share a socket.

use std::collections::HashMap;
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use parking_lot::Mutex;
use tokio::sync::{Notify, Semaphore, SemaphorePermit};

use super::error::{Error, Phase};
use super::http1::Conn;
use super::http2::{ConnId, Shared, Stream};
use super::meter::Gauges;
use crate::clock::instant;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;

/// What makes two upstreams differ.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) struct Key {
    pub(super) generation: u64,
    pub(super) integration: IntegrationName,
    pub(super) origin: Origin,
}

/// A conn from the pool.
#[derive(Debug)]
pub(super) enum Pooled {
    Http1(Box<Conn>),
    Http2(Stream),
}

/// The idle conns of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Mutex<HashMap<Key, Arc<Slot>, RandomState>>,
    gauges: Arc<Gauges>,
}

/// The idle conns to one upstream.
#[derive(Debug)]
pub(super) struct Slot {
    conns: Mutex<Conns>,
    /// Of HTTP/2 few conns are opened at once: whoever waits may find room on them.
    openings: Semaphore,
    /// Told whenever there may be room on a conn of HTTP/2 that had none.
    freed: Arc<Notify>,
    max_idle: usize,
    gauges: Arc<Gauges>,
}

#[derive(Debug, Default)]
struct Conns {
    idle: Vec<(Box<Conn>, Instant)>,
    http2: Vec<Shared>,
    /// Until when the origin is spoken to over HTTP/1.1 only, because it has asked for that.
    http1_until: Option<Instant>,
}

impl Pool {
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        Self { slots: Mutex::default(), gauges }
    }

    /// Where the conns to this upstream are kept, `max_idle` of them at most.
    pub(super) fn slot(&self, key: &Key, max_idle: usize) -> Arc<Slot> {
        let mut slots = self.slots.lock();
        if let Some(slot) = slots.get(key) {
            return Arc::clone(slot);
        }
        let gauges = Arc::clone(&self.gauges);
        let (openings, freed) = (Semaphore::new(MOST_OPENINGS), Arc::default());
        let slot = Slot { conns: Mutex::default(), openings, freed, max_idle, gauges };
        let slot = Arc::new(slot);
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

impl Slot {
    /// A conn that has room, or the one that was used last, if any is alive.
    pub(super) fn check_out(&self, avoid: Option<&ConnId>) -> Option<Pooled> {
        let mut conns = self.conns.lock();
        if let Some(stream) = conns.stream(avoid) {
            return Some(Pooled::Http2(stream));
        }
        while let Some((mut conn, _since)) = conns.idle.pop() {
            self.gauges.idle(-1);
            if conn.is_quiet() {
                return Some(Pooled::Http1(conn));
            }
        }
        None
    }

    /// Takes back a conn whose response has been read to its end.
    pub(super) fn check_in(&self, conn: Box<Conn>) {
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
        self.conns.lock().http2.iter().any(Shared::is_open)
    }

    /// The right to open another conn of HTTP/2, or a place on one where there is room by then.
    /// Cancel-safe.
    pub(super) async fn turn(
        &self,
        avoid: Option<&ConnId>,
    ) -> Result<Option<SemaphorePermit<'_>>, Stream> {
        // It is never closed.
        let turn = self.openings.acquire().await.ok();
        match self.conns.lock().stream(avoid) {
            Some(stream) => Err(stream),
            None => Ok(turn),
        }
    }

    /// Waits for room on a conn of HTTP/2, where no other can be opened: a request is not handed to
    /// a conn in which it would have to wait. Cancel-safe.
    ///
    /// # Errors
    /// [`Error`] when there is no room within `limit`, or no such conn any more.
    pub(super) async fn room(&self, limit: Duration) -> Result<Stream, Error> {
        let wait = async {
            loop {
                let freed = self.freed.notified();
                if let Some(stream) = self.conns.lock().stream(None) {
                    return Ok(stream);
                }
                if !self.is_shared() {
                    let error = io::Error::other("its conns took no request, and were closed");
                    return Err(Error::closed(Phase::BeforeResponse, error));
                }
                freed.await;
            }
        };
        tokio::time::timeout(limit, wait).await.unwrap_or(Err(Error::ResponseTimeout))
    }

    /// What is told whenever there may be room on a conn of HTTP/2.
    pub(super) fn freed(&self) -> Arc<Notify> {
        Arc::clone(&self.freed)
    }

    /// Shares a conn of HTTP/2, unless one that is shared already has room by now; `None` when none
    /// has.
    pub(super) fn share(&self, mut fresh: Shared, avoid: Option<&ConnId>) -> Option<Stream> {
        let mut conns = self.conns.lock();
        if let Some(stream) = conns.stream(avoid) {
            return Some(stream);
        }
        let stream = fresh.stream(None);
        conns.http2.push(fresh);
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
        conns.http2.iter_mut().for_each(Shared::look_after);
        let mut resting = 0;
        conns.http2.retain(|shared| {
            let rests = shared.streams() == 0;
            resting += usize::from(rests);
            let too_many = rests && resting > self.max_idle.max(1);
            shared.is_in_use() && (!rests || fresh(shared.since())) && !too_many
        });
        let http1_only = conns.http1_until.is_some_and(|until| now < until);
        http1_only || !conns.idle.is_empty() || !conns.http2.is_empty()
    }
}

impl Conns {
    /// A place on a conn of HTTP/2 that has room.
    fn stream(&mut self, avoid: Option<&ConnId>) -> Option<Stream> {
        if self.http2.is_empty() {
            return None;
        }
        self.http2.retain(Shared::is_in_use);
        self.http2.iter_mut().find_map(|shared| shared.stream(avoid))
    }
}

impl Drop for Slot {
    /// A slot that outlives its pool's interest takes its idle conns along.
    fn drop(&mut self) {
        let idle = self.conns.get_mut().idle.len();
        self.gauges.idle(-i64::try_from(idle).unwrap_or(0));
    }
}

/// How many conns of HTTP/2 are opened to one upstream at once.
const MOST_OPENINGS: usize = 2;
/// The time that an origin's wish for HTTP/1.1 is remembered.
const HTTP1_REQUIRED_FOR: Duration = Duration::from_mins(10);
