//! The connections and callers that are in force: found by name, by host and by token.

mod holder;
mod registered;
mod revoked;

use std::sync::Arc;

use foldhash::fast::RandomState;
use imbl::GenericHashMap;
use imbl::shared_ptr::DefaultSharedPtr;
use smallvec::SmallVec;
use uuid::Uuid;

use crate::ledger::{ConnectionCounters, Metrics};
use crate::model::aws::role::RoleSession;
use crate::model::caller::Caller;
use crate::model::connection::{Connection, TokenStatus};
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::origin::HostName;
use crate::model::token::TokenDigest;
use crate::rate_limit::RateLimiter;

pub use self::holder::Holder;
pub use self::registered::{ConnectionSource, DuplicateNames, RegisteredConnection};
use self::revoked::RevokedHolders;

/// A set of connections and callers at one moment.
///
/// A clone is cheap and shares what it can, so that a change makes a new set and leaves the one
/// that requests in flight began with.
#[derive(Clone, Debug, Default)]
pub struct Registry {
    integrations: Map<IntegrationName, IntegrationIndex>,
    callers: Map<TokenDigest, Arc<Holder>>,
    /// The digests of the tokens that are kept in the store.
    stored_tokens: Map<Uuid, TokenDigest>,
    /// The callers of tokens that were revoked since the start, so that entries can name them.
    revoked: RevokedHolders,
    per_minute: Option<u32>,
}

#[derive(Clone, Debug, Default)]
struct IntegrationIndex {
    by_name: Map<ConnectionName, Arc<RegisteredConnection>>,
    /// By each allowed domain without its `*.`.
    by_base: Map<Arc<str>, SmallVec<[Arc<RegisteredConnection>; 1]>>,
}

type Map<K, V> = GenericHashMap<K, V, RandomState, DefaultSharedPtr>;

impl Registry {
    /// Replaces the declared connections and callers; those of the store stay. Each
    /// caller may send `per_minute` requests, and keeps what it has left if that did not change.
    pub fn declare(
        &self,
        connections: &[Arc<Connection>],
        callers: Vec<(TokenDigest, Caller)>,
        per_minute: Option<u32>,
        metrics: &Metrics,
    ) -> Result<Self, DuplicateNames> {
        // 1. The connections: those of before go, and keep their counters where they come again.
        let mut next = self.clone();
        next.per_minute = per_minute;
        for registered in self.of_source(ConnectionSource::Declared) {
            next.remove(&registered.connection);
        }
        let mut duplicates = Vec::new();
        for connection in connections {
            if next.namesake(connection).is_some() {
                duplicates.push(full_name(connection));
            } else {
                let (before, connection) = (self.namesake(connection), Arc::clone(connection));
                let source = ConnectionSource::Declared;
                // The session of a role goes on where its keys are the same.
                let known = before.filter(|before| before.source == source);
                let goes_on =
                    known.and_then(|before| connection.with_session_of(&before.connection));
                let connection = goes_on.map_or(connection, Arc::new);
                next.insert(RegisteredConnection::new(connection, source, metrics, before));
            }
        }
        // 2. The callers.
        next.callers = self.stored_holders(per_minute).collect();
        for (digest, caller) in callers {
            let holder = Holder::new(caller, None, self.limit(&digest, per_minute));
            next.callers.insert(digest, Arc::new(holder));
        }
        if !duplicates.is_empty() {
            return Err(DuplicateNames(duplicates));
        }
        next.retire_missing(self, ConnectionSource::Declared);
        Ok(next)
    }

    /// Adds a connection of the store, or puts it in the place of the one of its name. A declared
    /// one is never put aside.
    pub fn insert_connection(
        &mut self,
        connection: Connection,
        metrics: &Metrics,
    ) -> Result<(), DuplicateNames> {
        let before = self.namesake(&connection).cloned();
        if let Some(before) = &before {
            if before.source == ConnectionSource::Declared {
                return Err(DuplicateNames(vec![full_name(&connection)]));
            }
            self.remove(&before.connection);
        }
        let (connection, source) = (Arc::new(connection), ConnectionSource::Stored);
        self.insert(RegisteredConnection::new(connection, source, metrics, before.as_ref()));
        Ok(())
    }

    /// Gives the declared connection `of` the next session of its role. Gives the session's number;
    /// `None` where the connection is gone, or another one.
    pub fn begin_session(
        &mut self,
        of: &Connection,
        session: RoleSession,
        metrics: &Metrics,
    ) -> Option<i64> {
        let before = Arc::clone(self.namesake(of)?);
        let is_same = before.source == ConnectionSource::Declared && before.connection.same_as(of);
        let next = before.connection.with_next_session(session).filter(|_| is_same)?;
        let generation = next.token_status()?.generation;
        self.remove(&before.connection);
        let (connection, source) = (Arc::new(next), ConnectionSource::Declared);
        self.insert(RegisteredConnection::new(connection, source, metrics, Some(&before)));
        Some(generation)
    }

    /// Removes the connection of the store that has this name, if there is one.
    pub fn remove_connection(&mut self, integration: &IntegrationName, name: &ConnectionName) {
        let known = self.lookup(integration.as_str(), name.as_str()).cloned();
        if let Some(known) = known.filter(|known| known.source == ConnectionSource::Stored) {
            self.remove(&known.connection);
            known.usage.stats.retire();
        }
    }

    /// Adds a caller whose token is kept in the store. A declared one with the same token stays.
    pub fn insert_token(&mut self, digest: TokenDigest, id: Uuid, caller: Caller) {
        if self.callers.get(&digest).is_none_or(|known| known.id().is_some()) {
            let holder = Holder::new(caller, Some(id), self.limit(&digest, self.per_minute));
            self.stored_tokens.insert(id, digest);
            self.revoked.remove(&digest);
            self.callers.insert(digest, Arc::new(holder));
        }
    }

    /// Removes the caller whose token has this id in the store, if there is one.
    pub fn remove_token(&mut self, id: Uuid) {
        let Some(digest) = self.stored_tokens.remove(&id) else { return };
        // A declared one with the same token is somebody else's.
        if self.callers.get(&digest).is_some_and(|holder| holder.id() == Some(id))
            && let Some(holder) = self.callers.remove(&digest)
        {
            self.revoked.insert(digest, holder);
        }
    }

    /// Puts the store's records, as `stored` has them, in the place of those that are here, beside
    /// what is declared here; gives the names that are both, which stay declared.
    #[must_use]
    pub fn with_stored(&self, stored: &Self) -> (Self, Option<DuplicateNames>) {
        // 1. What is declared stays, and a name that is both stays declared.
        let mut next = Self { per_minute: self.per_minute, ..stored.clone() };
        let mut duplicates = Vec::new();
        for registered in self.of_source(ConnectionSource::Declared) {
            if let Some(duplicate) = next.namesake(&registered.connection).cloned() {
                duplicates.push(full_name(&duplicate.connection));
                next.remove(&duplicate.connection);
            }
            next.insert(Arc::clone(registered));
        }
        // 2. What is stored goes on where it was.
        for registered in next.of_source(ConnectionSource::Stored) {
            if let Some(before) = self.namesake(&registered.connection) {
                registered.continue_from(before);
            }
        }
        next.retire_missing(self, ConnectionSource::Stored);
        // 3. Who is not among the stored callers any more was revoked.
        next.revoked = self.revoked.clone();
        next.revoked.add_missing(&self.callers, &next.callers);
        // 4. The callers go on, with what they have left of their limits.
        let kept: Vec<_> =
            next.callers.iter().map(|(digest, holder)| (*digest, Arc::clone(holder))).collect();
        for (digest, holder) in kept {
            let limit = self.limit(&digest, self.per_minute);
            next.callers.insert(digest, Arc::new(holder.with_limit(limit)));
        }
        let declared = self.callers.iter().filter(|(_, holder)| holder.id().is_none());
        next.callers.extend(declared.map(|(digest, holder)| (*digest, Arc::clone(holder))));
        (next, (!duplicates.is_empty()).then_some(DuplicateNames(duplicates)))
    }

    /// The holder of the token with this digest.
    pub fn holder(&self, digest: &TokenDigest) -> Option<&Arc<Holder>> {
        self.callers.get(digest)
    }

    /// The holder of the token with this digest, which was revoked since the start.
    pub fn former_holder(&self, digest: &TokenDigest) -> Option<&Arc<Holder>> {
        self.revoked.get(digest)
    }

    /// The holder of the token that has this id in the store.
    pub fn stored_holder(&self, id: Uuid) -> Option<&Arc<Holder>> {
        self.callers.get(self.stored_tokens.get(&id)?)
    }

    /// The connections that are kept in the store, in no order.
    pub fn stored(&self) -> impl Iterator<Item = &Arc<Connection>> {
        self.of_source(ConnectionSource::Stored).map(|registered| &registered.connection)
    }

    /// The holders of all tokens.
    pub fn holders(&self) -> impl Iterator<Item = &Arc<Holder>> {
        self.callers.values()
    }

    /// The same name, as it is held here already if it is: a hundred thousand connections of an
    /// integration need not hold a hundred thousand copies.
    pub fn share(&self, integration: IntegrationName) -> IntegrationName {
        let known = self.integrations.get_key_value(integration.as_str());
        known.map_or(integration, |(known, _)| known.clone())
    }

    /// The connection of this name.
    pub fn lookup(&self, integration: &str, name: &str) -> Option<&Arc<RegisteredConnection>> {
        self.integrations.get(integration)?.by_name.get(name)
    }

    /// Tells whether the configuration has a connection of this name.
    pub fn is_declared(&self, integration: &IntegrationName, name: &ConnectionName) -> bool {
        self.lookup(integration.as_str(), name.as_str())
            .is_some_and(|registered| registered.source == ConnectionSource::Declared)
    }

    /// The declared connections of an integration, in the order of their names.
    pub fn declared_in(&self, integration: &IntegrationName) -> Vec<&Arc<Connection>> {
        let Some(integration) = self.integrations.get(integration.as_str()) else {
            return Vec::new();
        };
        let listings = integration.by_name.values();
        let mut found: Vec<_> = listings
            .filter(|registered| registered.source == ConnectionSource::Declared)
            .map(|registered| &registered.connection)
            .collect();
        found.sort_by(|a, b| a.name().cmp(b.name()));
        found
    }

    /// All connections of an integration, in no order.
    pub fn listed_in(&self, integration: &str) -> impl Iterator<Item = &Arc<RegisteredConnection>> {
        self.integrations.get(integration).into_iter().flat_map(|found| found.by_name.values())
    }

    /// The integrations that have connections, in no order.
    pub fn integrations(&self) -> impl Iterator<Item = &IntegrationName> {
        self.integrations.keys()
    }

    /// Tells whether an integration has connections.
    pub fn has_integration(&self, integration: &IntegrationName) -> bool {
        self.integrations.contains_key(integration.as_str())
    }

    /// The connections of an integration that `caller` may use and whose allowed domain covers
    /// `host`, in the order of their names.
    pub fn covering(
        &self,
        integration: &str,
        host: &HostName,
        caller: &Caller,
    ) -> Vec<&Arc<RegisteredConnection>> {
        let Some(integration) = self.integrations.get(integration) else { return Vec::new() };
        let mut found: Vec<_> = suffixes(host.as_str())
            .filter_map(|base| integration.by_base.get(base))
            .flatten()
            .filter(|registered| registered.connection.covers(host))
            .filter(|registered| caller.may_use(&registered.connection))
            .collect();
        found.sort_by(|a, b| a.connection.name().cmp(b.connection.name()));
        // One may have several domains that cover the host.
        found.dedup_by(|a, b| Arc::ptr_eq(a, b));
        found
    }

    /// The status of the tokens of all OAuth connections, each with the connection's counters.
    pub fn authorized(&self) -> impl Iterator<Item = (&TokenStatus, &Arc<ConnectionCounters>)> {
        let all = self.integrations.values().flat_map(|integration| integration.by_name.values());
        all.filter_map(|registered| {
            Some((registered.connection.token_status()?, &registered.counters))
        })
    }

    /// The connections that present a client certificate, in no order.
    pub fn certified(&self) -> impl Iterator<Item = (&Arc<Connection>, &Arc<ConnectionCounters>)> {
        let all = self.integrations.values().flat_map(|integration| integration.by_name.values());
        all.filter(|registered| registered.connection.identity().is_some())
            .map(|registered| (&registered.connection, &registered.counters))
    }

    /// The number of connections.
    pub fn connections(&self) -> usize {
        self.integrations.values().map(|integration| integration.by_name.len()).sum()
    }

    /// The number of callers.
    pub fn callers(&self) -> usize {
        self.callers.len()
    }

    /// The holders of the store's tokens, with the limit that holds now.
    fn stored_holders(
        &self,
        per_minute: Option<u32>,
    ) -> impl Iterator<Item = (TokenDigest, Arc<Holder>)> {
        let stored = self.callers.iter().filter(|(_, holder)| holder.id().is_some());
        stored.map(move |(digest, holder)| {
            if per_minute == self.per_minute {
                return (*digest, Arc::clone(holder));
            }
            (*digest, Arc::new(holder.with_limit(self.limit(digest, per_minute))))
        })
    }

    /// The connection that has the name of this one.
    fn namesake(&self, connection: &Connection) -> Option<&Arc<RegisteredConnection>> {
        self.lookup(connection.integration().as_str(), connection.name().as_str())
    }

    /// The limit that the holder of this token has, or a new one.
    fn limit(&self, digest: &TokenDigest, per_minute: Option<u32>) -> Option<Arc<RateLimiter>> {
        let per_minute = per_minute?;
        let kept = self.callers.get(digest).and_then(|holder| holder.limit.as_ref());
        let kept = kept.filter(|limit| limit.is_per_minute(per_minute)).cloned();
        kept.or_else(|| RateLimiter::per_minute(per_minute).map(Arc::new))
    }

    /// Voids the health of the connections that were there before and are not here.
    fn retire_missing(&self, before: &Self, source: ConnectionSource) {
        for gone in before.of_source(source) {
            if self.namesake(&gone.connection).is_none() {
                gone.usage.stats.retire();
            }
        }
    }

    fn of_source(
        &self,
        source: ConnectionSource,
    ) -> impl Iterator<Item = &Arc<RegisteredConnection>> {
        let all = self.integrations.values().flat_map(|integration| integration.by_name.values());
        all.filter(move |registered| registered.source == source)
    }

    fn insert(&mut self, registered: impl Into<Arc<RegisteredConnection>>) {
        let registered = registered.into();
        let connection = &registered.connection;
        let integration = self.integrations.entry(connection.integration().clone()).or_default();
        for domain in connection.domains() {
            let base = domain.shared_base();
            integration.by_base.entry(base).or_default().push(Arc::clone(&registered));
        }
        integration.by_name.insert(connection.name().clone(), registered);
    }

    fn remove(&mut self, connection: &Connection) {
        let Some(integration) = self.integrations.get_mut(connection.integration().as_str()) else {
            return;
        };
        integration.by_name.remove(connection.name().as_str());
        for base in connection.domains().map(AllowedDomain::base) {
            if let Some(listings) = integration.by_base.get_mut(base) {
                listings.retain(|registered| registered.connection.name() != connection.name());
                if listings.is_empty() {
                    integration.by_base.remove(base);
                }
            }
        }
        if integration.by_name.is_empty() {
            self.integrations.remove(connection.integration().as_str());
        }
    }
}

fn full_name(connection: &Connection) -> String {
    format!("{}.{}", connection.integration(), connection.name())
}

/// The name itself, and each name above it.
fn suffixes(host: &str) -> impl Iterator<Item = &str> {
    std::iter::successors(Some(host), |name| name.split_once('.').map(|(_, above)| above))
}

#[cfg(test)]
mod tests;
