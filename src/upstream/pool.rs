//! Idle conns, kept apart by everything that makes two upstreams differ: the origin, the rules
//! under which the conn was made, and the integration — no two tenants share a socket.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hyper::client::conn::{http1, http2};
use parking_lot::Mutex;

use super::body::Outgoing;
use super::meter::{Gauges, Meter};
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

/// An HTTP/1.1 conn between two requests.
#[derive(Debug)]
pub(super) struct Http1 {
    pub(super) sender: http1::SendRequest<Outgoing>,
    pub(super) meter: Arc<Meter>,
}

/// A conn from the pool.
#[derive(Debug)]
pub(super) enum Pooled {
    Http1(Http1),
    Http2(http2::SendRequest<Outgoing>),
}

/// The idle conns of one worker.
#[derive(Debug)]
pub(super) struct Pool {
    slots: Mutex<HashMap<Key, Slot>>,
    gauges: Arc<Gauges>,
}

#[derive(Debug, Default)]
struct Slot {
    idle: Vec<(Http1, Instant)>,
    http2: Option<(http2::SendRequest<Outgoing>, Instant)>,
}

impl Pool {
    pub(super) fn new(gauges: Arc<Gauges>) -> Self {
        Self { slots: Mutex::default(), gauges }
    }

    /// The conn that was used last, if any is alive.
    pub(super) fn check_out(&self, key: &Key) -> Option<Pooled> {
        let mut slots = self.slots.lock();
        let slot = slots.get_mut(key)?;
        if let Some((sender, since)) = &mut slot.http2 {
            if !sender.is_closed() {
                *since = instant();
                return Some(Pooled::Http2(sender.clone()));
            }
            slot.http2 = None;
        }
        while let Some((conn, _since)) = slot.idle.pop() {
            self.gauges.idle(-1);
            if !conn.sender.is_closed() {
                return Some(Pooled::Http1(conn));
            }
        }
        None
    }

    /// Takes back a conn whose response has been read to its end.
    pub(super) fn check_in(&self, key: &Key, conn: Http1, max_idle: usize) {
        if conn.sender.is_closed() {
            return;
        }
        let mut slots = self.slots.lock();
        if !slots.contains_key(key) {
            slots.insert(key.clone(), Slot::default());
        }
        if let Some(slot) = slots.get_mut(key)
            && slot.idle.len() < max_idle
        {
            slot.idle.push((conn, instant()));
            self.gauges.idle(1);
        }
    }

    /// Shares a conn of HTTP/2, or gives the one that is shared already.
    pub(super) fn share(
        &self,
        key: Key,
        sender: http2::SendRequest<Outgoing>,
    ) -> http2::SendRequest<Outgoing> {
        let mut slots = self.slots.lock();
        let slot = slots.entry(key).or_default();
        match &slot.http2 {
            Some((shared, _since)) if !shared.is_closed() => shared.clone(),
            _ => {
                slot.http2 = Some((sender.clone(), instant()));
                sender
            }
        }
    }

    /// Closes what has been idle for `longest`, or was made under other rules.
    pub(super) fn sweep(&self, longest: Duration, generation: u64) {
        let now = instant();
        let fresh = |since: Instant| now.saturating_duration_since(since) < longest;
        self.slots.lock().retain(|key, slot| {
            let current = key.generation == generation;
            let before = slot.idle.len();
            slot.idle.retain(|(conn, since)| current && fresh(*since) && !conn.sender.is_closed());
            let closed = before - slot.idle.len();
            self.gauges.idle(-i64::try_from(closed).unwrap_or(0));
            slot.http2.take_if(|(sender, since)| !current || sender.is_closed() || !fresh(*since));
            !slot.idle.is_empty() || slot.http2.is_some()
        });
    }
}
