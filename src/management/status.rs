//! The states of connections: what is kept of each, and how its requests of late have ended, at
//! whatever instance.

use std::collections::HashMap;
use std::sync::Arc;

use jiff::Timestamp;

use super::connections::ReadAccess;
use super::fault::{Refused, Scope};
use super::health::{failure_view, refused_sentence};
use super::operator::Operator;
use super::{Management, StatusFilter, StatusPage};
use crate::error::chain;
use crate::model::caller::Reach;
use crate::model::connection::{Connection, ConnectionType, Defect, FormerConnection};
use crate::model::connection_health::{ConnectionHealth, FailureCause, LastFailure};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::options::ConnectionOptions;
use crate::model::record::Detail;
use crate::model::remedy::{FailureRemedy, code_of};
use crate::model::sealed::KeyId;
use crate::state::{ConnectionSource, RegisteredConnection};
use crate::store;

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
    /// The record of how its requests have ended.
    pub health: ConnectionHealth,
    /// The number of echoes of its credential that were masked, on this instance since its start.
    pub echoes: u64,
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
    /// Many requests fail, most of them by a refusal of this kind ([`FailureRemedy::kind`]).
    Failing(&'static str),
    /// Its secret can't be opened for want of this master key.
    KeyMissing(KeyId),
    /// Only a new flow helps.
    NeedsAuthorization,
    /// Nobody has said where its tokens may be sent.
    NeedsDomain,
    /// Many requests fail, most of them since the origin answers with this status: that the
    /// credential is none, or that something is wrong there.
    Rejected(u16),
    /// Its secret can't be opened.
    SealBroken,
    /// It was not used yet, or not for long.
    Unused,
    /// Requests are answered.
    Works,
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
            Self::Failing(kind) => format!("failing: {}", code_of(kind)),
            Self::KeyMissing(id) => format!("master key {id} is missing"),
            Self::NeedsAuthorization => "needs reauthorization".to_owned(),
            Self::NeedsDomain => "no allowed domain".to_owned(),
            Self::Rejected(status) => format!("failing: origin says {status}"),
            Self::SealBroken => "secret can’t be opened".to_owned(),
            Self::Defective(Defect::Domain(_)) => "domain is too wide".to_owned(),
            Self::Defective(Defect::Field(_)) => "header name is not allowed".to_owned(),
            Self::Defective(Defect::Injection | Defect::Placement) => {
                "inject is not allowed".to_owned()
            }
            Self::Unused => "not used yet".to_owned(),
            Self::Works => "works".to_owned(),
        }
    }

    pub(super) fn of(connection: &Connection, health: &ConnectionHealth, now: Timestamp) -> Self {
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
        // 2. How its requests end says how it is.
        match health.failure_summary().map(|summary| summary.mostly) {
            Some(FailureCause::Answered(status)) => Self::Rejected(status),
            Some(FailureCause::Refused(kind)) => {
                Self::Failing(FailureRemedy::known_kind(&kind).unwrap_or("Internal"))
            }
            None if health.last_used == 0 => Self::Unused,
            None => Self::Works,
        }
    }
}

impl ConnectionStatus {
    pub(super) fn of(
        listing: &RegisteredConnection,
        health: ConnectionHealth,
        now: Timestamp,
    ) -> Self {
        let connection = &listing.connection;
        Self {
            name: connection.name().clone(),
            kind: connection.kind(),
            domains: connection.domain_names(),
            declared: listing.source == ConnectionSource::Declared,
            state: State::of(connection, &health, now),
            expires_at: connection.token_status().and_then(|standing| standing.expires_at),
            options: Arc::clone(connection.options()),
            health,
            echoes: listing.usage.echoes(),
        }
    }
}

impl ConnectionStatus {
    /// The refusals of late that their callers must act upon, in a sentence, with the last; `None`
    /// without any.
    pub fn refusals(&self, now: Timestamp) -> Option<(String, LastFailure)> {
        let number = self.health.refusals.of_late(now.as_second());
        let last = self.health.refusals.last.as_ref().filter(|_| number > 0)?;
        Some((refused_sentence(number.into(), &failure_view(last)), last.clone()))
    }

    /// The time of its last use.
    pub fn last_used(&self) -> Option<Timestamp> {
        let last = self.health.last_used;
        Timestamp::from_second(last).ok().filter(|_| last != 0)
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
    /// The connections that were asked for, in the order that was.
    pub async fn status_page(&self, search: &StatusFilter<'_>) -> StatusPage {
        self.0.status_page(search).await
    }

    /// The names of connections in order, at most this many; `true` when there are more.
    pub fn names(&self, limit: usize) -> (Vec<ConnectionName>, bool) {
        self.0.names(limit)
    }
}

impl ReadAccess<'_> {
    /// The names of connections in order, at most this many; `true` when there are more.
    pub fn names(&self, limit: usize) -> (Vec<ConnectionName>, bool) {
        let registry = self.management.registry();
        let all = registry.listed_in(self.integration.as_str()).map(|it| it.connection.name());
        let mut names: Vec<_> =
            all.filter(|name| self.operator.reaches(&self.integration, name)).cloned().collect();
        names.sort_unstable();
        let has_more = names.len() > limit;
        names.truncate(limit);
        (names, has_more)
    }

    /// Finds the state of one connection; `None` where it is not in force on this instance.
    pub async fn status_of(&self, name: &str) -> Option<ConnectionStatus> {
        let name = self.name(name).ok()?;
        let registry = self.management.registry();
        let (integration, now) = (self.integration.as_str(), self.management.clock.now());
        let listing = registry.lookup(integration, name.as_str())?;
        let health = self.management.health_of(Some(integration), Some(name.as_str())).await;
        Some(ConnectionStatus::of(listing, health.of(listing), now))
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

/// The health of connections as other instances know it, or have known it.
#[derive(Debug, Default)]
pub(super) struct KnownHealth(HashMap<(Box<str>, Box<str>), ConnectionHealth>);

impl KnownHealth {
    /// The health of a connection, with what this instance knows.
    pub(super) fn of(&self, listing: &RegisteredConnection) -> ConnectionHealth {
        let mut health = listing.usage.stats.health();
        let connection = &listing.connection;
        let key = (connection.integration().as_str().into(), connection.name().as_str().into());
        if let Some(others) = self.0.get(&key) {
            health.merge(others);
        }
        health
    }
}

impl Management {
    /// Reads what other instances know of the health of connections. Where the store fails, what
    /// this one knows must do.
    pub(super) async fn health_of(
        &self,
        integration: Option<&str>,
        connection: Option<&str>,
    ) -> KnownHealth {
        self.try_health_of(integration, connection).await.unwrap_or_else(|error| {
            tracing::warn!(
                error = %chain(&error),
                "the health of connections can't be read, and is shown as this instance knows it"
            );
            KnownHealth::default()
        })
    }

    /// The same, for those to whom a part is of no use.
    pub(super) async fn try_health_of(
        &self,
        integration: Option<&str>,
        connection: Option<&str>,
    ) -> Result<KnownHealth, store::Error> {
        let Ok(persistence) = self.persistence() else { return Ok(KnownHealth::default()) };
        let rows = persistence.store().health(integration, connection, &self.instance).await?;
        let mut known = HashMap::<_, ConnectionHealth>::new();
        for row in rows {
            known.entry((row.integration, row.connection)).or_default().merge(&row.health);
        }
        Ok(KnownHealth(known))
    }
}

/// The words for an access token that has expired and can be refreshed.
pub const RENEWED_WHEN_USED: &str = "token is renewed when it is used";
