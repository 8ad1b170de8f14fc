//! The facts that are known of a request when it is admitted or refused, for its entry.

use std::sync::Arc;

use super::InForce;
use super::caller::find;
use super::choose::agree;
use super::refusal::Refusal;
use super::request::{ProxyRequest, RequestForm};
use super::tunnel::TunnelContext;
use crate::ledger::{Entry, NamedListing};
use crate::model::caller::Caller;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::model::token::TokenDigest;
use crate::state::RegisteredConnection;

/// A refusal, and what was known of the request when it came about.
#[derive(Debug)]
pub struct RefusedRequest {
    /// The refusal.
    pub refusal: Refusal,
    pub(super) facts: Box<RequestFacts>,
}

/// A request that may be sent, or a tunnel that may be opened, and what is known of it.
pub(super) struct Admitted<T> {
    pub(super) granted: T,
    pub(super) facts: RequestFacts,
}

/// The facts that are known of a request.
#[derive(Debug, Default)]
pub(super) struct RequestFacts {
    pub(super) form: Option<RequestForm>,
    /// The caller's name.
    pub(super) caller: Option<Arc<str>>,
    /// Tells whether the caller's token does not suffice for the data plane.
    pub(super) is_unsuited: bool,
    /// The connection's integration, or the only one that the caller's token reaches.
    pub(super) integration: Option<IntegrationName>,
    pub(super) connection: Option<Arc<RegisteredConnection>>,
    /// The connection that a refused request names, where none was chosen.
    pub(super) named: Option<Box<NamedListing>>,
    /// The origin that was allowed, or that a refused request names.
    pub(super) origin: Option<Origin>,
    /// The rule by which the request was admitted; of a refused one its code says which.
    pub(super) rule: Option<&'static str>,
}

impl RequestFacts {
    /// Writes the facts into the request's entry, where what is not known leaves the entry as it
    /// was. Nothing else writes them.
    pub(super) fn write_to(self, entry: &mut Entry) {
        if let Some(form) = self.form {
            entry.form = form.as_str();
        }
        if self.caller.is_some() {
            entry.caller = self.caller;
            entry.is_unsuited = self.is_unsuited;
        }
        if self.integration.is_some() {
            entry.integration = self.integration;
        }
        if let Some(connection) = self.connection {
            entry.set_connection(connection as _);
        } else if let Some(named) = self.named {
            entry.set_named(named);
        }
        if self.origin.is_some() {
            entry.origin = self.origin;
        }
        if let Some(rule) = self.rule {
            entry.rule = rule;
        }
    }

    /// The facts of a message that was refused before its caller was identified: the holder of the
    /// token that it carries, if it is known.
    pub(super) fn of_sender(digest: Option<&TokenDigest>, in_force: &InForce) -> Self {
        let holder = find(digest, in_force);
        holder.map(|holder| Self::default().with_caller(&holder.caller)).unwrap_or_default()
    }

    /// The facts of a message inside a tunnel that was refused in the same way.
    pub(super) fn of_tunnel(tunnel: &TunnelContext, in_force: &InForce) -> Self {
        let origin = Some(tunnel.scope.origin.clone());
        Self { origin, ..Self::of_sender(tunnel.digest.as_ref(), in_force) }
    }

    pub(super) fn with_caller(mut self, caller: &Caller) -> Self {
        self.caller = Some(Arc::clone(&caller.name));
        if self.integration.is_none() {
            self.integration = caller.reach.only().cloned();
        }
        self
    }

    pub(super) fn with_connection(
        mut self,
        connection: impl Into<Option<Arc<RegisteredConnection>>>,
    ) -> Self {
        if let Some(connection) = connection.into() {
            self.integration = Some(connection.connection.integration().clone());
            self.connection = Some(connection);
        }
        self
    }
}

impl RefusedRequest {
    /// The refusal of a token that is not known. Of one that was revoked the entry names the caller,
    /// who is told what anybody is.
    pub(super) fn of_unknown(
        refusal: Refusal,
        digest: Option<TokenDigest>,
        in_force: &InForce,
    ) -> Self {
        let former = digest.and_then(|digest| in_force.registry.former_holder(&digest));
        match former {
            Some(former) => Self::from(refusal.because("the caller's token was revoked"))
                .of_unsuited()
                .with_caller(&former.caller),
            None => refusal.into(),
        }
    }

    /// Adds the caller.
    pub(super) fn with_caller(mut self, caller: &Caller) -> Self {
        *self.facts = std::mem::take(&mut *self.facts).with_caller(caller);
        self
    }

    /// Adds that the caller's token does not suffice for the data plane.
    pub(super) fn of_unsuited(mut self) -> Self {
        self.facts.is_unsuited = true;
        self
    }

    /// Adds the connection that was chosen.
    pub(super) fn with_connection(
        mut self,
        connection: impl Into<Option<Arc<RegisteredConnection>>>,
    ) -> Self {
        *self.facts = std::mem::take(&mut *self.facts).with_connection(connection);
        self
    }

    /// Adds the form and the origin that the request states.
    pub(super) fn with_request(mut self, request: &ProxyRequest) -> Self {
        self.facts.form = Some(request.form);
        self.facts.origin = request.stated_origin();
        self
    }

    /// Adds the connection that the request names, where none was chosen. One of another integration
    /// than the caller's own is left out: entries of an integration name its own.
    pub(super) fn with_named(mut self, in_force: &InForce, request: &ProxyRequest) -> Self {
        let Ok(named) = agree(request) else { return self };
        let (None, Some(name)) = (&self.facts.connection, named.connection) else { return self };
        let integration = match (&self.facts.integration, named.integration) {
            (Some(own), Some(named)) if own != named => return self,
            (Some(own), _) => Some(own.clone()),
            (None, named) => named.filter(|_| self.facts.caller.is_some()).cloned(),
        };
        let registry = &in_force.registry;
        let listing = integration
            .as_ref()
            .and_then(|integration| registry.lookup(integration.as_str(), name.as_str()));
        let listing = listing.map(|listing| Arc::clone(listing) as _);
        let is_of_known_integration = self.facts.integration.is_some()
            || integration.as_ref().is_some_and(|of| registry.has_integration(of));
        let named = NamedListing { name: name.clone(), listing, is_of_known_integration };
        self.facts.named = Some(Box::new(named));
        self.facts.integration = integration;
        self
    }

    /// The connection that was chosen before the refusal, if one was.
    pub fn connection(&self) -> Option<&Arc<RegisteredConnection>> {
        self.facts.connection.as_ref()
    }
}

impl<T> Admitted<T> {
    /// Writes the facts into the request's entry.
    pub(super) fn note_in(self, entry: &mut Entry) -> T {
        self.facts.write_to(entry);
        self.granted
    }
}

impl From<Refusal> for RefusedRequest {
    fn from(refusal: Refusal) -> Self {
        Self { refusal, facts: Box::default() }
    }
}
