//! The states of connections, as far as they are known in memory on this instance: for a look at
//! many of them at once.

use std::sync::Arc;

use jiff::Timestamp;

use super::connections::ReadAccess;
use super::fault::{Refused, Scope};
use super::operator::Operator;
use super::{ListPage, Management};
use crate::ledger::LastUse;
use crate::model::caller::Reach;
use crate::model::connection::{Connection, ConnectionType, Defect, FormerConnection};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::options::ConnectionOptions;
use crate::model::record::Detail;
use crate::model::sealed::KeyId;
use crate::state::{ConnectionSource, RegisteredConnection};
use crate::store::PageRange;

/// A connection that is in force, and how it stands.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// Its name.
    pub name: ConnectionName,
    /// Its type.
    pub kind: ConnectionType,
    /// The domains that its credentials may be sent to, as one text.
    pub domains: String,
    /// Tells whether the configuration declares it.
    pub declared: bool,
    /// Its state.
    pub state: State,
    /// The time at which its access token expires, if it has one that does.
    pub expires_at: Option<Timestamp>,
    /// Its options.
    pub options: Arc<ConnectionOptions>,
    /// Its use.
    pub used: LastUse,
}

/// The state of a connection.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum State {
    /// The operator has switched it off.
    SwitchedOff,
    /// An origin has refused its new secret, and requests go on with the old one.
    NewSecretRefused,
    /// The command that prints its secret has failed for too long.
    CommandFailed,
    /// It can't be used any more: the rules have become stricter since it was accepted.
    Defective(Defect),
    /// The last request did not come back from the origin: the refusal's code.
    Failing(&'static str),
    /// Its secret can't be opened for want of this master key.
    KeyMissing(KeyId),
    /// Only a new flow helps.
    NeedsAuthorization,
    /// Nobody has said where its tokens may be sent.
    NeedsDomain,
    /// The origin has answered the last request with this status: that the credential is none, or
    /// that something is wrong there.
    Rejected(u16),
    /// Its secret can't be opened.
    SealBroken,
    /// It was not used since it is known here.
    Unused,
    /// The last request was answered.
    Works,
}

/// Selects connections.
#[derive(Clone, Debug)]
pub struct StatusFilter<'a> {
    /// A text that their name or allowed domain contains, in whatever case.
    pub text: &'a str,
    /// Of which type they are.
    pub kind: Option<ConnectionType>,
    /// The name of their state.
    pub state: Option<&'a str>,
    /// The part of the list that is wanted.
    pub window: PageRange,
}

/// The connections that were found.
#[derive(Clone, Debug)]
pub struct StatusPage {
    /// The part that is wanted.
    pub page: ListPage<ConnectionStatus>,
    /// Tells whether there is more in the other direction.
    pub has_others: bool,
    /// The number that was found in all.
    pub found: usize,
    /// The number within the token's reach.
    pub all: usize,
}

impl State {
    /// The names of all states.
    pub const NAMES: [&'static str; 6] =
        ["works", "unused", "failing", "authorize", "broken", "off"];

    /// The name of states of this kind.
    pub fn name(self) -> &'static str {
        match self {
            Self::Failing(_) | Self::Rejected(_) | Self::NewSecretRefused => "failing",
            Self::SwitchedOff => "off",
            Self::NeedsAuthorization | Self::NeedsDomain => "authorize",
            Self::CommandFailed | Self::SealBroken | Self::KeyMissing(_) | Self::Defective(_) => {
                "broken"
            }
            Self::Unused => "unused",
            Self::Works => "works",
        }
    }

    /// The state in a word or two, for people.
    pub fn words(self) -> String {
        match self {
            Self::CommandFailed => "its secret’s command failed".to_owned(),
            Self::SwitchedOff => "switched off".to_owned(),
            Self::NewSecretRefused => "origin refuses the new secret".to_owned(),
            Self::Failing(code) => format!("failing: {code}"),
            Self::KeyMissing(id) => format!("master key {id} is missing"),
            Self::NeedsAuthorization => "needs reauthorization".to_owned(),
            Self::NeedsDomain => "no allowed domain".to_owned(),
            Self::Rejected(status) => format!("failing: origin said {status}"),
            Self::SealBroken => "secret can’t be opened".to_owned(),
            Self::Defective(Defect::Domain(_)) => "domain is too wide".to_owned(),
            Self::Defective(Defect::Field(_)) => "header name is not allowed".to_owned(),
            Self::Defective(Defect::Injection | Defect::Placement) => {
                "inject is not allowed".to_owned()
            }
            Self::Unused => "not used since the start".to_owned(),
            Self::Works => "works".to_owned(),
        }
    }

    fn of(connection: &Connection, used: &LastUse, now: Timestamp) -> Self {
        // 1. What is kept of it says that it can't be used.
        if connection.options().disabled {
            return Self::SwitchedOff;
        }
        if let Some(defect) = connection.defect() {
            return Self::Defective(defect);
        }
        if connection.token_status().is_some_and(|standing| standing.needs_reauthorization(now)) {
            return Self::NeedsAuthorization;
        }
        if connection.awaits_command() {
            return Self::CommandFailed;
        }
        if connection.credential().is_none() {
            return connection.missing_key().map_or(Self::SealBroken, Self::KeyMissing);
        }
        if connection.allowed_domain().is_none() {
            return Self::NeedsDomain;
        }
        if connection.former(now).is_some_and(FormerConnection::is_used) {
            return Self::NewSecretRefused;
        }
        // 2. Its last use says how it stands.
        match (used.at, used.failure, used.status) {
            (None, ..) => Self::Unused,
            (_, Some(code), _) => Self::Failing(code),
            (_, None, status @ (401 | 403 | 500..)) => Self::Rejected(status),
            _ => Self::Works,
        }
    }
}

impl ConnectionStatus {
    fn of(listing: &RegisteredConnection, now: Timestamp) -> Self {
        let (connection, used) = (&listing.connection, listing.usage.used(now));
        Self {
            name: connection.name().clone(),
            kind: connection.kind(),
            domains: connection.domain_names(),
            declared: listing.source == ConnectionSource::Declared,
            state: State::of(connection, &used, now),
            expires_at: connection.token_status().and_then(|standing| standing.expires_at),
            options: Arc::clone(connection.options()),
            used,
        }
    }
}

impl Management {
    /// The integrations that are known to have connections and are within the operator's reach, in
    /// the order of their names.
    pub fn integrations(&self, operator: &Operator) -> Vec<IntegrationName> {
        let mut known = match &operator.caller().reach {
            Reach::One(own, _) => vec![own.clone()],
            Reach::Every(Some(pairs)) => pairs.iter().map(|pair| pair.0.clone()).collect(),
            Reach::Every(None) => self.registry().integrations().cloned().collect(),
        };
        known.sort();
        known.dedup();
        known
    }
}

/// The right to see how the connections of an integration stand, and nothing else of them.
#[derive(Debug)]
pub struct StatusAccess<'a>(ReadAccess<'a>);

impl Management {
    /// Lets an operator see how the connections of an integration stand.
    ///
    /// # Errors
    /// When the token is of another integration, or has neither of the scopes `read` and `audit`.
    pub fn status_access<'a>(
        &'a self,
        operator: &'a Operator,
        integration: &str,
    ) -> Result<StatusAccess<'a>, Refused> {
        let integration = operator.enter(integration)?;
        if !operator.may(Scope::Audit) {
            operator.need(Scope::Read)?;
        }
        Ok(StatusAccess(ReadAccess { management: self, operator, integration }))
    }
}

impl StatusAccess<'_> {
    /// The connections that were asked for, in the order of their names.
    #[must_use]
    pub fn status_page(&self, search: &StatusFilter<'_>) -> StatusPage {
        self.0.status_page(search)
    }
}

impl ReadAccess<'_> {
    /// Finds the states of connections, in the order of their names.
    pub fn status_page(&self, search: &StatusFilter<'_>) -> StatusPage {
        let (registry, now) = (self.management.registry(), self.management.clock.now());
        let within: Vec<_> = registry
            .listed_in(self.integration.as_str())
            .filter(|listing| self.operator.reaches(&self.integration, listing.connection.name()))
            .collect();
        let all = within.len();
        let mut found: Vec<_> =
            within.into_iter().filter(|listing| search.wants(listing, now)).collect();
        found.sort_unstable_by(|a, b| a.connection.name().cmp(b.connection.name()));
        let wanted = |listing: &&&Arc<RegisteredConnection>| {
            super::listing::contains(&search.window, listing.connection.name().as_str())
        };
        let inside: Vec<_> = found.iter().filter(wanted).collect();
        let has_others = search.window.after.is_some() || search.window.before.is_some();
        let page = super::listing::cut(inside, &search.window, false);
        let items =
            page.items.into_iter().map(|listing| ConnectionStatus::of(listing, now)).collect();
        let page = ListPage { items, has_more: page.has_more };
        StatusPage { page, has_others, found: found.len(), all }
    }

    /// Finds the state of one connection; `None` where it is not in force on this instance.
    pub fn status_of(&self, name: &str) -> Option<ConnectionStatus> {
        let name = self.name(name).ok()?;
        let registry = self.management.registry();
        let listing = registry.lookup(self.integration.as_str(), name.as_str())?;
        Some(ConnectionStatus::of(listing, self.management.clock.now()))
    }

    /// The connections that go with a client when it is deleted, as far as the token reaches, in
    /// the order of their names.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when there is no such client; and when the store fails.
    pub async fn of_client(&self, uuid: &str) -> Result<Vec<ConnectionName>, Refused> {
        let client = self.show_client(uuid).await?.record().uuid;
        let registry = self.management.registry();
        let of_it = |connection: &Connection| matches!(connection.detail(), Detail::OAuth(grant) if grant.client == client);
        let mut names: Vec<_> = registry
            .listed_in(self.integration.as_str())
            .filter(|listing| of_it(&listing.connection))
            .filter(|listing| self.operator.reaches(&self.integration, listing.connection.name()))
            .map(|listing| listing.connection.name().clone())
            .collect();
        names.sort();
        Ok(names)
    }

    /// The integration.
    pub fn integration(&self) -> &IntegrationName {
        &self.integration
    }
}

impl StatusFilter<'_> {
    fn wants(&self, listing: &RegisteredConnection, now: Timestamp) -> bool {
        let connection = &listing.connection;
        self.kind.is_none_or(|kind| kind == connection.kind())
            && (contains(connection.name().as_str(), self.text)
                || connection.domains().any(|it| contains(&it.to_string(), self.text)))
            && self.state.is_none_or(|state| {
                State::of(connection, &listing.usage.used(now), now).name() == state
            })
    }
}

/// Returns whether `whole` contains `text`, both being letters that have one lower case.
fn contains(whole: &str, text: &str) -> bool {
    text.is_empty() || whole.to_ascii_lowercase().contains(&text.to_ascii_lowercase())
}

/// The words for an access token that has expired and can be refreshed.
pub const RENEWED_WHEN_USED: &str = "token is renewed when it is used";
