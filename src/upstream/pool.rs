//! Idle conns, kept apart by everything that makes two upstreams differ: the origin, the rules
//! under which the conn was made, and the integration — no two tenants share a socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;
use hyper::client::conn::http2;
use parking_lot::Mutex;

use super::body::Outgoing;
use super::http1::Conn;
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
    Http2(http2::SendRequest<Outgoing>),
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
    max_idle: usize,
    gauges: Arc<Gauges>,
}

#[derive(Debug, Default)]
struct Conns {
    idle: Vec<(Box<Conn>, Instant)>,
    http2: Option<(http2::SendRequest<Outgoing>, Instant)>,
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
        let slot = Arc::new(Slot { conns: Mutex::default(), max_idle, gauges });
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
    /// The conn that was used last, if any is alive.
    pub(super) fn check_out(&self) -> Option<Pooled> {
        let mut conns = self.conns.lock();
        if let Some((sender, since)) = &mut conns.http2 {
            if !sender.is_closed() {
                *since = instant();
                return Some(Pooled::Http2(sender.clone()));
            }
            conns.http2 = None;
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

    /// Shares a conn of HTTP/2, or gives the one that is shared already.
    pub(super) fn share(
        &self,
        sender: http2::SendRequest<Outgoing>,
    ) -> http2::SendRequest<Outgoing> {
        let mut conns = self.conns.lock();
        match &conns.http2 {
            Some((shared, _since)) if !shared.is_closed() => shared.clone(),
            _ => {
                conns.http2 = Some((sender.clone(), instant()));
                sender
            }
        }
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
        conns.http2.take_if(|(sender, since)| sender.is_closed() || !fresh(*since));
        !conns.idle.is_empty() || conns.http2.is_some()
    }
}

impl Drop for Slot {
    /// A slot that outlives its pool's interest takes its idle conns along.
    fn drop(&mut self) {
        let idle = self.conns.get_mut().idle.len();
        self.gauges.idle(-i64::try_from(idle).unwrap_or(0));
    }
}
