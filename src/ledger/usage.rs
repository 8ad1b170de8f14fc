//! The use of a connection, as each request notes it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use super::request_stats::ConnectionStats;

/// The use of a connection since this process knows it.
#[derive(Debug)]
pub struct ConnectionUsage {
    /// The counts of its requests, and its health.
    pub stats: Arc<ConnectionStats>,
    /// The echoes of the credential that were masked.
    echoes: AtomicU64,
}

impl ConnectionUsage {
    /// No use yet.
    pub fn new(stats: Arc<ConnectionStats>) -> Self {
        Self { stats, echoes: AtomicU64::new(0) }
    }

    /// The number of echoes of the credential that were masked in answers since the start.
    pub fn echoes(&self) -> u64 {
        self.echoes.load(Relaxed)
    }

    /// Copies the use of the connection's earlier version.
    pub fn continue_from(&self, before: &Self) {
        self.echoes.store(before.echoes(), Relaxed);
    }

    /// Notes echoes of the credential that were masked. `true` for the first ones.
    pub(super) fn note_echoes(&self, number: usize) -> bool {
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        number > 0 && self.echoes.fetch_add(number, Relaxed) == 0
    }
}
