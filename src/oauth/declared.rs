//! The session of a declared connection's role: kept in memory alone, so that each instance has its
//! own.

use std::sync::Arc;

use super::failure::TokenFailure;
use super::handle::RefreshRequest;
use super::provider::{Provider, Unsuccessful};
use super::refresh::Refreshed;
use super::sts::RoleQuestion;
use crate::ledger::Metrics;
use crate::model::connection::Connection;
use crate::state::{ConnectionSource, InForce, Live};

/// One refresh of a declared connection, with all that it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct DeclaredRefresh<'a> {
    pub(super) live: &'a Live,
    pub(super) provider: &'a Provider,
    pub(super) metrics: &'a Metrics,
    pub(super) request: &'a RefreshRequest,
}

impl DeclaredRefresh<'_> {
    /// The connection, if the configuration declares it.
    pub(super) fn connection(&self) -> Option<Arc<Connection>> {
        let RefreshRequest { integration, name, uuid, .. } = self.request;
        let in_force = self.live.load();
        let known = in_force.registry.lookup(integration.as_str(), name.as_str())?;
        let is_it = known.source == ConnectionSource::Declared
            && known.connection.token_status().is_some_and(|status| status.uuid == *uuid);
        is_it.then(|| Arc::clone(&known.connection))
    }

    /// Asks for a session, and puts it in force.
    pub(super) async fn run(&self, connection: &Connection) -> Result<Refreshed, Unsuccessful> {
        // 1. There may be another one already.
        let RefreshRequest { integration, name, newer_than, .. } = self.request;
        let generation = connection.token_status().map_or(0, |status| status.generation);
        if generation > *newer_than {
            return Ok(Refreshed { generation, is_ours: false });
        }
        // 2. The question.
        let (access, keys) = connection.role_and_keys().ok_or(TokenFailure::Gone)?;
        let question = RoleQuestion { integration, name, access, keys };
        let session = Box::pin(self.provider.assume_role(&question)).await?;
        // 3. It is in force, unless a reload has changed keys or role meanwhile.
        let generation = self.live.try_change(|before| {
            let mut registry = before.registry.clone();
            let begun = registry.begin_session(connection, session, self.metrics);
            let generation = begun.ok_or(TokenFailure::Gone)?;
            Ok::<_, TokenFailure>((InForce { registry, ..before.clone() }, generation))
        })?;
        Ok(Refreshed { generation, is_ours: true })
    }
}
