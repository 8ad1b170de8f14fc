//! The connections of a request, as its entry sees them.

use std::sync::Arc;

use super::metrics::ConnectionCounters;
use super::usage::ConnectionUsage;
use crate::model::credential::Credential;
use crate::model::name::ConnectionName;
use crate::model::origin::Origin;

/// Connections that were chosen while a request waited. Few requests have any, so that they stand in
/// a box.
#[derive(Debug, Default)]
pub(super) struct EarlierConnections(pub(super) Vec<Arc<dyn LoggedConnection>>);

/// The connection that a refused request names, whether or not the caller may use it.
#[derive(Debug)]
pub struct NamedListing {
    /// The name.
    pub name: ConnectionName,
    /// The connection; `None` where there is none of that name.
    pub listing: Option<Arc<dyn LoggedConnection>>,
    /// Tells whether the integration is the caller's own, or has connections. Others, which anybody
    /// can make up, are not counted apart.
    pub is_of_known_integration: bool,
}

/// A connection as an entry sees it: its name, its counters, and the credential to mask.
pub trait LoggedConnection: std::fmt::Debug + Send + Sync {
    /// The connection's name.
    fn name(&self) -> &str;
    /// The counters of its allowed requests.
    fn counters(&self) -> &ConnectionCounters;
    /// The record of its use.
    fn usage(&self) -> &ConnectionUsage;
    /// The credentials of its requests to an origin: none while it has none, two while an old one is
    /// kept.
    fn credentials(&self, origin: Option<&Origin>) -> [Option<&Credential>; 2];
    /// Tells whether the credential is masked in the text bodies of answers too.
    fn masks_bodies(&self) -> bool;
}
