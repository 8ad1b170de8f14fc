//! A connection as the registry holds it: with its counters, and where it comes from.

use std::sync::Arc;

use crate::ledger::{ConnectionCounters, ConnectionUsage, LoggedConnection, Metrics};
use crate::model::connection::Connection;
use crate::model::credential::Credential;
use crate::model::origin::Origin;

/// A connection and its counters.
#[derive(Debug)]
pub struct RegisteredConnection {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Its counters.
    pub counters: Arc<ConnectionCounters>,
    /// Its use.
    pub usage: ConnectionUsage,
    /// Its source.
    pub source: ConnectionSource,
}

/// The source of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ConnectionSource {
    /// The configuration.
    Declared,
    /// The store.
    Stored,
}

/// Names that both the configuration and the store have.
#[derive(Debug, Eq, PartialEq, thiserror::Error)]
#[error(
    "these connections are declared and also in the store; delete or rename one of each: {}",
    .0.join(", ")
)]
pub struct DuplicateNames(pub(super) Vec<String>);

impl RegisteredConnection {
    /// Gives a connection its counters; its use goes on where that of `before` is.
    pub(super) fn new(
        connection: Arc<Connection>,
        source: ConnectionSource,
        metrics: &Metrics,
        before: Option<&Arc<Self>>,
    ) -> Self {
        let counters = metrics.counters_of(&connection);
        let (integration, name) = (connection.integration().as_str(), connection.name().as_str());
        let usage = ConnectionUsage::new(metrics.stats_of(integration, name));
        let registered = Self { connection, counters, usage, source };
        if let Some(before) = before {
            registered.continue_from(before);
        }
        registered
    }

    /// Goes on where the connection's earlier version is.
    pub(super) fn continue_from(&self, before: &Self) {
        self.usage.continue_from(&before.usage);
        // Failures with another secret say nothing of this one.
        if !self.connection.same_as(&before.connection) {
            self.usage.stats.begin_afresh();
        }
    }
}

impl LoggedConnection for RegisteredConnection {
    fn name(&self) -> &str {
        self.connection.name().as_str()
    }

    fn counters(&self) -> &ConnectionCounters {
        &self.counters
    }

    fn usage(&self) -> &ConnectionUsage {
        &self.usage
    }

    fn credentials(&self, origin: Option<&Origin>) -> [Option<&Credential>; 2] {
        self.connection.credentials_at(origin)
    }

    fn masks_bodies(&self) -> bool {
        self.connection.options().mask_echo
    }
}
