//! Counters of conns and handshakes to origins.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering::Relaxed};

/// Counters that all workers share.
#[derive(Debug, Default)]
pub struct UpstreamGauges {
    idle: AtomicI64,
    open: AtomicI64,
    handshakes: [AtomicU64; 3],
}

/// The outcome of a TLS handshake.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum HandshakeOutcome {
    Completed = 0,
    Failed = 1,
    CertificateInvalid = 2,
}

/// The values of the counters at one time.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct UpstreamStats {
    /// Idle conns.
    pub idle: i64,
    /// All open conns.
    pub open: i64,
    /// Handshakes that completed.
    pub completed: u64,
    /// Handshakes that failed.
    pub failed: u64,
    /// Handshakes in which the origin's certificate was not valid.
    pub certificate_invalid: u64,
}

impl UpstreamGauges {
    /// The current values.
    pub fn snapshot(&self) -> UpstreamStats {
        let [completed, failed, certificate_invalid] =
            self.handshakes.each_ref().map(|counter| counter.load(Relaxed));
        UpstreamStats {
            idle: self.idle.load(Relaxed),
            open: self.open.load(Relaxed),
            completed,
            failed,
            certificate_invalid,
        }
    }

    pub(super) fn count_handshake(&self, ended: HandshakeOutcome) {
        if let Some(counter) = self.handshakes.get(ended as usize) {
            counter.fetch_add(1, Relaxed);
        }
    }

    pub(super) fn add_idle(&self, change: i64) {
        self.idle.fetch_add(change, Relaxed);
    }
}

/// One upstream conn, counted for as long as it is held.
#[derive(Debug)]
pub(super) struct OpenConn(Arc<UpstreamGauges>);

impl OpenConn {
    pub(super) fn new(gauges: &Arc<UpstreamGauges>) -> Self {
        gauges.open.fetch_add(1, Relaxed);
        Self(Arc::clone(gauges))
    }
}

impl Drop for OpenConn {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Relaxed);
    }
}
