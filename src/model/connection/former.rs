//! A connection as it was before its secret was replaced.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use jiff::Timestamp;

use super::Connection;
use crate::model::connection_secrets::OldSecret;
use crate::model::credential::Credential;
use crate::model::origin::Origin;

/// A connection with the secret that was replaced, which is used where an origin refuses the new
/// one.
#[derive(Debug)]
pub struct FormerConnection {
    connection: Arc<Connection>,
    until: Timestamp,
    used: AtomicBool,
}

impl FormerConnection {
    /// The connection `now`, with its old secret; `None` where that can't be sent.
    pub(super) fn of(now: &Connection, old: &OldSecret) -> Option<Self> {
        let (integration, name) = (now.integration.clone(), now.name.clone());
        let (domain, detail) = (now.allowed_domain.clone(), now.detail.clone());
        let mut connection = Connection::without_credential(integration, name, domain, detail);
        connection.fingerprint = now.fingerprint;
        connection.options = Arc::clone(&now.options);
        connection.identity.clone_from(&now.identity);
        connection.set_secret(&old.secret).ok()?;
        let connection = Arc::new(connection);
        Some(Self { connection, until: old.until, used: AtomicBool::new(false) })
    }

    /// The connection with its old secret.
    pub fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    /// The time at which the old secret is forgotten.
    pub fn until(&self) -> Timestamp {
        self.until
    }

    /// Notes a use of the old secret. `true` for the first one.
    #[must_use]
    pub fn is_first_use(&self) -> bool {
        !self.used.swap(true, Relaxed)
    }

    /// Tells whether an origin has refused the new secret since that is in force here.
    pub fn is_used(&self) -> bool {
        self.used.load(Relaxed)
    }
}

impl Connection {
    /// The connection with the secret before its present one, while that is kept at `now`.
    pub fn former(&self, now: Timestamp) -> Option<&FormerConnection> {
        self.former.as_deref().filter(|former| now < former.until)
    }

    /// Tells whether it still has an old secret whose time is over at `now`.
    pub fn has_outlived_former(&self, now: Timestamp) -> bool {
        self.former.as_deref().is_some_and(|former| former.until <= now)
    }

    /// Every credential that may have been sent to an origin, or to its first domain where that is
    /// not known: its own, and its old one.
    pub fn credentials_at(&self, origin: Option<&Origin>) -> [Option<&Credential>; 2] {
        let former = self.former.as_deref().map(|former| &*former.connection);
        [self.credential_for_any(origin), former.and_then(|it| it.credential_for_any(origin))]
    }

    fn credential_for_any(&self, origin: Option<&Origin>) -> Option<&Credential> {
        origin.map_or(self.credential.as_ref(), |origin| self.credential_at(origin))
    }

    /// Every credential that may have been sent for it, to any of its domains.
    pub fn all_credentials(&self) -> impl Iterator<Item = &Credential> {
        let former = self.former.as_deref().map(|former| &*former.connection);
        [Some(self), former].into_iter().flatten().flat_map(Self::own_credentials)
    }
}
