//! The connections and callers that are in force.
//!
//! Owns the answer to "which connection, which caller", promises to give it from memory, and must
//! never know a secret: it holds connections, whose secrets only a departure can use.

use std::sync::Arc;

use foldhash::{HashMap, HashMapExt as _};

use crate::ledger::{Listed, Metrics, Tally};
use crate::limit::Rate;
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::origin::HostName;
use crate::model::token::TokenDigest;

/// A whole, unchanging set of connections and callers; a change makes a new one.
#[derive(Debug, Default)]
pub struct Registry {
    integrations: HashMap<IntegrationName, Integration>,
    callers: HashMap<TokenDigest, Arc<Holder>>,
}

/// A connection and its counters.
#[derive(Debug)]
pub struct Listing {
    /// The connection.
    pub connection: Arc<Connection>,
    /// Its counters.
    pub tally: Tally,
}

/// A caller with the limits that go with its token.
#[derive(Debug)]
pub struct Holder {
    /// The caller.
    pub caller: Caller,
    /// Its rate limit, if there is one.
    pub limit: Option<Arc<Rate>>,
}

#[derive(Debug, Default)]
struct Integration {
    by_name: HashMap<ConnectionName, Arc<Listing>>,
    /// By the allowed domain without its `*.`.
    by_base: HashMap<Box<str>, Vec<Arc<Listing>>>,
}

impl Listed for Listing {
    fn name(&self) -> &str {
        self.connection.name().as_str()
    }

    fn tally(&self) -> &Tally {
        &self.tally
    }
}

impl Registry {
    /// Puts a set in force. Names must be unique; the configuration has seen to that.
    #[must_use]
    pub fn new(
        connections: Vec<Arc<Connection>>,
        callers: Vec<(TokenDigest, Holder)>,
        metrics: &Metrics,
    ) -> Self {
        let mut integrations: HashMap<_, Integration> = HashMap::new();
        for connection in connections {
            let tally = metrics.tally(&connection);
            let listing = Arc::new(Listing { connection, tally });
            let connection = &listing.connection;
            let integration = integrations.entry(connection.integration().clone()).or_default();
            let base = connection.allowed_domain().base();
            integration.by_base.entry(base.into()).or_default().push(Arc::clone(&listing));
            integration.by_name.insert(connection.name().clone(), listing);
        }
        let callers =
            callers.into_iter().map(|(digest, holder)| (digest, Arc::new(holder))).collect();
        Self { integrations, callers }
    }

    /// Who holds the token with this digest.
    #[must_use]
    pub fn holder(&self, digest: &TokenDigest) -> Option<&Arc<Holder>> {
        self.callers.get(digest)
    }

    /// The connection of this name.
    #[must_use]
    pub fn lookup(&self, integration: &str, name: &str) -> Option<&Arc<Listing>> {
        self.integrations.get(integration)?.by_name.get(name)
    }

    /// The connections of an integration that `caller` may use and whose allowed domain covers
    /// `host`, in the order of their names.
    #[must_use]
    pub fn covering(
        &self,
        integration: &str,
        host: &HostName,
        caller: &Caller,
    ) -> Vec<&Arc<Listing>> {
        let Some(integration) = self.integrations.get(integration) else { return Vec::new() };
        let mut found: Vec<_> = suffixes(host.as_str())
            .filter_map(|base| integration.by_base.get(base))
            .flatten()
            .filter(|listing| listing.connection.allowed_domain().covers(host))
            .filter(|listing| caller.may_use(&listing.connection))
            .collect();
        found.sort_by(|a, b| a.connection.name().cmp(b.connection.name()));
        found
    }

    /// How many connections there are.
    #[must_use]
    pub fn connections(&self) -> usize {
        self.integrations.values().map(|integration| integration.by_name.len()).sum()
    }

    /// How many callers there are.
    #[must_use]
    pub fn callers(&self) -> usize {
        self.callers.len()
    }
}

/// The name itself, and each name above it.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, above)| above))
}
