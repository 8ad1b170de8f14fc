//! Operators and their rights.

use std::net::IpAddr;
use std::sync::Arc;

use uuid::Uuid;

use super::fault::{About, Refused, Scope};
use super::rate_limits::ClientAddr;
use crate::model::caller::{Caller, Reach};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::session::Person;
use crate::state::Holder;

/// The holder of an access token, or a person who has signed in, before management.
#[derive(Clone, Debug)]
pub struct Operator {
    holder: Arc<Holder>,
    /// The address that the request came from, where it has one.
    address: Option<IpAddr>,
    person: Option<Arc<Person>>,
    /// Tells whether the operator has asked for answers without provider tokens.
    redacts_tokens: bool,
}

impl Operator {
    pub(super) fn new(holder: Arc<Holder>) -> Self {
        Self { holder, address: None, person: None, redacts_tokens: false }
    }

    /// A person with these rights.
    pub(super) fn of_person(caller: Caller, person: Person) -> Self {
        let holder = Arc::new(Holder::new(caller, None, None));
        Self { holder, address: None, person: Some(Arc::new(person)), redacts_tokens: false }
    }

    /// The person, if it is one.
    pub fn person(&self) -> Option<&Person> {
        self.person.as_deref()
    }

    /// The same operator, whose request came from this address.
    #[must_use]
    pub fn at(self, address: ClientAddr) -> Self {
        Self { address: address.0, ..self }
    }

    /// The same operator, who may have asked for answers without provider tokens.
    #[must_use]
    pub fn redacting_tokens(self, redacts_tokens: bool) -> Self {
        Self { redacts_tokens, ..self }
    }

    /// Tells whether the operator is shown provider tokens in clear.
    pub(super) fn sees_tokens(&self) -> bool {
        self.may(Scope::Write) && !self.redacts_tokens
    }

    pub(super) fn address(&self) -> Option<IpAddr> {
        self.address
    }

    /// The token's id, if it is kept in the store.
    pub(super) fn id(&self) -> Option<Uuid> {
        self.holder.id()
    }

    /// The name of the token, or of the person.
    pub fn name(&self) -> &str {
        &self.caller().name
    }

    /// Tells whether the token has a scope, or one that includes it.
    pub fn may(&self, scope: Scope) -> bool {
        self.need(scope).is_ok()
    }

    /// Tells whether the token is for looking at what was done, and changes nothing.
    pub fn is_auditor(&self) -> bool {
        self.may(Scope::Audit) && !self.may(Scope::Write)
    }

    /// Tells whether the data plane is open to the token. It knows no people.
    pub fn may_send(&self) -> bool {
        self.person.is_none() && self.caller().scopes.allows_proxy()
    }

    /// The one integration that the token is for, if it is for one.
    pub fn bound_to(&self) -> Option<&IntegrationName> {
        self.caller().bound_to()
    }

    /// Tells whether the token reaches everything.
    pub fn reaches_everything(&self) -> bool {
        self.need_everything().is_ok()
    }

    /// Tells whether the token reaches all connections of an integration.
    pub fn reaches_all_of(&self, integration: &IntegrationName) -> bool {
        self.listed(integration).is_none()
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.holder.caller
    }

    pub(super) fn need(&self, scope: Scope) -> Result<(), Refused> {
        let scopes = self.caller().scopes;
        let has = match scope {
            Scope::Admin => scopes.admin,
            Scope::Audit => scopes.audit || scopes.admin,
            Scope::Read => scopes.read || scopes.admin,
            Scope::Write => scopes.write || scopes.admin,
        };
        if has { Ok(()) } else { Err(Refused::MissingScope(scope)) }
    }

    /// Refuses a token that does not reach all integrations.
    pub(super) fn need_everything(&self) -> Result<(), Refused> {
        let all = matches!(self.caller().reach, Reach::Every(None));
        if all { Ok(()) } else { Err(Refused::OutOfReach) }
    }

    /// The integration of this name, if the token is one of its.
    ///
    /// To a token of another integration a name that can't be one is just as foreign.
    pub(super) fn enter(&self, integration: &str) -> Result<IntegrationName, Refused> {
        match self.caller().bound_to() {
            Some(own) if own.as_str() == integration => Ok(own.clone()),
            Some(_) => Err(Refused::Mismatch),
            None => IntegrationName::parse(integration).map_err(|_rule| {
                Refused::of(About::Integration, "Specified integration is not valid")
            }),
        }
    }

    pub(super) fn reaches(&self, integration: &IntegrationName, name: &ConnectionName) -> bool {
        self.caller().reach.covers(integration, name)
    }

    /// Tells whether the token reaches the connection of this name; one without a name will have
    /// one that no list has.
    pub(super) fn may_make(
        &self,
        integration: &IntegrationName,
        name: Option<&ConnectionName>,
    ) -> bool {
        match name {
            Some(name) => self.reaches(integration, name),
            None => self.listed(integration).is_none(),
        }
    }

    /// Tells whether the token reaches no connections but those that it names.
    pub(super) fn names_connections(&self) -> bool {
        self.caller().reach.connections().is_some()
    }

    /// The only connections that the token reaches, where it names them.
    pub(super) fn listed_connections(&self) -> Option<Vec<(IntegrationName, ConnectionName)>> {
        match &self.caller().reach {
            Reach::One(integration, names) => {
                let names = names.as_ref()?.iter();
                Some(names.map(|name| (integration.clone(), name.clone())).collect())
            }
            Reach::Every(pairs) => pairs.clone(),
        }
    }

    /// The only connections of the integration that the token reaches, where it names them.
    pub(super) fn listed(&self, integration: &IntegrationName) -> Option<Vec<ConnectionName>> {
        self.caller().reach.listed(integration)
    }
}
