//! Static connections: what may be read, made, changed and deleted, and by whom.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use super::Management;
use super::draft::{ConnectionChange, ConnectionDraft};
use super::fault::{Refused, Scope};
use super::operator::Operator;
use super::sessions::SessionsView;
use super::unusable::Unusable;
use crate::error::chain;
use crate::model::connection::{Connection, ConnectionType};
use crate::model::domain::AllowedDomain;
use crate::model::event::EventKind;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::options::ConnectionOptions;
use crate::model::record::{ConnectionRecord, Detail, whole_microseconds};
use crate::model::sealed::{Context, Sealed};
use crate::secret::Secret;
use crate::state::ConnectionSource;
use crate::state::Persistence;
use crate::store;
use crate::vault::Vault;
use crate::wire::{Document, StaticMembers};

/// A connection as it may be shown: everything but its secret.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ConnectionView {
    /// Its name.
    pub name: ConnectionName,
    /// The hosts that its secret may be sent to.
    pub allowed_domain: AllowedDomain,
    /// Its type, and what of it is not secret.
    pub detail: Detail,
    /// The time at which it was made; of a declared one, at which the configuration was read.
    pub created_at: Timestamp,
    /// The time of the last change.
    pub updated_at: Timestamp,
    /// Its options.
    pub options: Arc<ConnectionOptions>,
    /// The time at which the secret is forgotten that its own has replaced, while it is kept.
    pub old_secret_until: Option<Timestamp>,
    /// The sessions of its role, where its keys assume one.
    pub sessions: Option<Box<SessionsView>>,
    /// Tells whether the configuration declares it, so that it can't be changed here.
    pub declared: bool,
    /// The reason why it can't be used, where it can't.
    pub defect: Option<Unusable>,
}

/// The right to see connections of an integration.
#[derive(Debug)]
pub struct ReadAccess<'a> {
    pub(super) management: &'a Management,
    pub(super) operator: &'a Operator,
    pub(super) integration: IntegrationName,
}

/// The right to change connections of an integration.
#[derive(Debug)]
pub struct WriteAccess<'a>(pub(super) ReadAccess<'a>);

impl Management {
    /// Lets an operator see the connections of an integration.
    ///
    /// # Errors
    /// When the token is of another integration, or lacks the scope `read`.
    pub fn read_access<'a>(
        &'a self,
        operator: &'a Operator,
        integration: &str,
    ) -> Result<ReadAccess<'a>, Refused> {
        let integration = operator.enter(integration)?;
        operator.need(Scope::Read)?;
        Ok(ReadAccess { management: self, operator, integration })
    }

    /// Lets an operator change the connections of an integration.
    ///
    /// # Errors
    /// When the token is of another integration, or lacks the scope `write`.
    pub fn write_access<'a>(
        &'a self,
        operator: &'a Operator,
        integration: &str,
    ) -> Result<WriteAccess<'a>, Refused> {
        let integration = operator.enter(integration)?;
        operator.need(Scope::Write)?;
        Ok(WriteAccess(ReadAccess { management: self, operator, integration }))
    }
}

impl ReadAccess<'_> {
    /// The connection of this type and name.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when there is none within the token's reach; and when the store
    /// fails.
    pub async fn show(&self, kind: ConnectionType, name: &str) -> Result<ConnectionView, Refused> {
        let name = self.name(name)?;
        let shown = match self.declared(&name) {
            Some(connection) => self.management.shown(&connection),
            None => self.shown(&self.record(&name).await?),
        };
        let shown = shown.filter(|shown| shown.detail.kind() == kind);
        let mut shown = shown.ok_or(Refused::NotFound)?;
        if let Some(uuid) = shown.role_of() {
            shown.note_failure(self.failure_of(uuid).await?);
        }
        Ok(shown)
    }

    /// Shows a static connection of the store; `None` of one by OAuth.
    pub(super) fn shown(&self, record: &ConnectionRecord) -> Option<ConnectionView> {
        ConnectionView::of(record, self.management.persistence().ok()?.vault().as_ref())
    }

    pub(super) fn declared(&self, name: &ConnectionName) -> Option<Arc<Connection>> {
        let registry = self.management.registry();
        let listing = registry.lookup(self.integration.as_str(), name.as_str())?;
        let declared = listing.source == ConnectionSource::Declared;
        declared.then(|| Arc::clone(&listing.connection))
    }

    pub(super) async fn record(&self, name: &ConnectionName) -> Result<ConnectionRecord, Refused> {
        let Ok(persistence) = self.management.persistence() else { return Err(Refused::NotFound) };
        persistence.store().connection(&self.integration, name).await?.ok_or(Refused::NotFound)
    }

    /// Reads a name. One out of reach does not exist, and neither does one that breaks the rule.
    pub(super) fn name(&self, name: &str) -> Result<ConnectionName, Refused> {
        let name = ConnectionName::parse(name).map_err(|_rule| Refused::NotFound)?;
        let reached = self.operator.reaches(&self.integration, &name);
        if reached { Ok(name) } else { Err(Refused::NotFound) }
    }
}

impl WriteAccess<'_> {
    /// Makes a connection, and returns when it is in force on this instance. Dropped in between,
    /// the connection may have been made or not.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, the name is taken or out of reach, or the store
    /// fails.
    pub async fn create(
        &self,
        kind: ConnectionType,
        request: impl Into<Document<StaticMembers>>,
    ) -> Result<ConnectionView, Refused> {
        let draft = ConnectionDraft::read(kind, request.into(), &self.0.management.settings())?;
        self.keep(draft).await
    }

    /// Makes the connection that a request was read into.
    pub(super) async fn keep(&self, draft: ConnectionDraft) -> Result<ConnectionView, Refused> {
        let ReadAccess { management, operator, integration } = &self.0;
        // 1. The name is the operator's to give.
        if !operator.reaches(integration, &draft.name) {
            return Err(Refused::OutOfReach);
        }
        if self.0.declared(&draft.name).is_some() {
            return Err(Refused::Taken);
        }
        let persistence = management.persistence()?;
        // 2. The secret is sealed, and the record kept.
        let record = management.seal_draft(persistence, integration, draft)?;
        let event = self.0.event(EventKind::ConnectionCreate, &record.name);
        let event = event.after(management.snapshot(&record));
        let noting = management.noting(persistence, *operator, event).await?;
        let revision = noting.create_connection(&record).await?;
        self.0.management.settle(revision).await;
        // 3. The configuration may have come to declare the name meanwhile.
        if self.0.declared(&record.name).is_some() {
            return self.give_way(persistence, &record).await;
        }
        self.log("a connection was created", record.kind(), &record.name);
        ConnectionView::of(&record, &persistence.vault()).ok_or(Refused::Internal)
    }

    /// The configuration has come to declare the same name meanwhile, and has the better right.
    async fn give_way(
        &self,
        persistence: &Persistence,
        record: &ConnectionRecord,
    ) -> Result<ConnectionView, Refused> {
        let (integration, name) = (&record.integration, &record.name);
        let event = self.0.event(EventKind::ConnectionDelete, name);
        let event = event.before(self.0.management.snapshot(record));
        let noting = self.0.management.noting(persistence, self.0.operator, event).await?;
        noting.delete_connection(integration, name, record.kind()).await?;
        Err(Refused::Taken)
    }

    /// Changes a connection's credentials, and returns when that is in force on this instance.
    /// Dropped in between, they may have been changed or not.
    ///
    /// # Errors
    /// [`Refused`]: there is none, it is declared, what is wrong with the request, or the store
    /// fails.
    pub async fn update(
        &self,
        kind: ConnectionType,
        name: &str,
        request: impl Into<Document<StaticMembers>>,
    ) -> Result<(), Refused> {
        let request = request.into();
        self.change(kind, name, |before| ConnectionChange::read(before, request.clone())).await
    }

    /// Changes a connection as `read` says, which knows the connection as it is.
    pub(super) async fn change(
        &self,
        kind: ConnectionType,
        name: &str,
        read: impl Fn(&ConnectionRecord) -> Result<ConnectionChange, Refused>,
    ) -> Result<(), Refused> {
        // 1. The connection is there, and its own.
        let name = self.changeable(kind, name)?;
        let Ok(persistence) = self.0.management.persistence() else {
            return Err(Refused::NotFound);
        };
        let mut before = self.of_kind(kind, &name).await?;
        // 2. Another change may come in between; then this one is made again, on top of it.
        for _again in 0..ATTEMPTS {
            // The whole request is read before anything is opened.
            let change = read(&before)?;
            if change.is_nothing(&before) {
                return Ok(());
            }
            let after = self.0.management.changed(persistence, &before, &change).await?;
            let event = self.0.event(EventKind::ConnectionUpdate, &name);
            let event = event.secret_changed(change.secret.is_some());
            let noting = self.0.noting_change(persistence, event, (&before, &after)).await?;
            if let Some(revision) = noting.replace_connection(&before, &after).await? {
                self.log("a connection was changed", kind, &name);
                self.0.management.settle(revision).await;
                return Ok(());
            }
            let now = self.of_kind(kind, &name).await?;
            if now.uuid != before.uuid {
                break;
            }
            before = now;
        }
        Err(Refused::Changed)
    }

    /// Deletes a connection, and returns when it is gone on this instance. Dropped in between, it
    /// may have been deleted or not.
    ///
    /// # Errors
    /// [`Refused`]: there is none, it is declared, or the store fails.
    pub async fn delete(&self, kind: ConnectionType, name: &str) -> Result<(), Refused> {
        let name = self.changeable(kind, name)?;
        let Ok(persistence) = self.0.management.persistence() else {
            return Err(Refused::NotFound);
        };
        let record = self.of_kind(kind, &name).await?;
        let event = self.0.event(EventKind::ConnectionDelete, &name);
        let event = event.before(self.0.management.snapshot(&record));
        let noting = self.0.management.noting(persistence, self.0.operator, event).await?;
        let deleted = noting.delete_connection(&self.0.integration, &name, kind).await?;
        let revision = deleted.ok_or(Refused::NotFound)?;
        self.log("a connection was deleted", kind, &name);
        self.0.management.settle(revision).await;
        Ok(())
    }

    /// The name, unless the configuration has the say over it.
    fn changeable(&self, kind: ConnectionType, name: &str) -> Result<ConnectionName, Refused> {
        let name = self.0.name(name)?;
        match self.0.declared(&name) {
            Some(declared) if declared.kind() == kind => Err(Refused::Declared),
            Some(_) => Err(Refused::NotFound),
            None => Ok(name),
        }
    }

    async fn of_kind(
        &self,
        kind: ConnectionType,
        name: &ConnectionName,
    ) -> Result<ConnectionRecord, Refused> {
        let record = self.0.record(name).await?;
        if record.kind() == kind { Ok(record) } else { Err(Refused::NotFound) }
    }

    fn log(&self, message: &str, kind: ConnectionType, name: &ConnectionName) {
        let ReadAccess { operator, integration, .. } = &self.0;
        tracing::info!(
            operator = &*operator.caller().name,
            integration = integration.as_str(),
            connection.name = name.as_str(),
            connection.type = kind.as_str(),
            "{message}"
        );
    }
}

impl Management {
    pub(super) fn shown(&self, connection: &Connection) -> Option<ConnectionView> {
        let since = self.settings().read_at;
        Some(ConnectionView {
            name: connection.name().clone(),
            allowed_domain: connection.allowed_domain()?.clone(),
            detail: connection.detail().clone(),
            options: Arc::clone(connection.options()),
            old_secret_until: None,
            sessions: SessionsView::of_declared(connection),
            created_at: since,
            updated_at: since,
            declared: true,
            defect: connection.defect().map(Unusable::Rules),
        })
    }

    /// A time of change: now, and later than the one before.
    pub(super) fn moved(&self, before: Timestamp) -> Timestamp {
        let later = before.saturating_add(SignedDuration::from_micros(1));
        let now = whole_microseconds(self.clock.now());
        later.map_or(now, |later| now.max(later))
    }
}

impl ConnectionView {
    /// Shows a static connection; `None` of one by OAuth.
    pub(super) fn of(record: &ConnectionRecord, vault: &Vault) -> Option<Self> {
        if record.grant().is_some() {
            return None;
        }
        let opened = vault.open_connection(record);
        let old = opened.as_ref().ok().and_then(|secrets| secrets.old.as_ref());
        Some(Self {
            name: record.name.clone(),
            allowed_domain: record.allowed_domain.clone()?,
            detail: record.detail.clone(),
            options: Arc::clone(&record.options),
            old_secret_until: old.map(|old| old.until),
            sessions: SessionsView::of(record, opened.as_ref().ok()),
            created_at: record.created_at,
            updated_at: record.updated_at,
            declared: false,
            defect: Unusable::of(record, opened.as_ref().err()),
        })
    }
}

pub(super) fn seal(
    persistence: &Persistence,
    context: &Context<'_>,
    secret: &Secret,
) -> Result<Sealed, Refused> {
    persistence.vault().seal(context, secret).map_err(|error| {
        tracing::error!(error = %chain(&error), "a secret was not stored: it can't be sealed");
        Refused::Internal
    })
}

impl From<store::Error> for Refused {
    /// Tells an operator as much of the store's failure as they can act on; the rest is logged.
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Conflict => Self::Taken,
            error if error.is_transient() => {
                tracing::warn!(
                    error = %chain(&error),
                    "a management request failed: the store can't be used now; it may be tried again"
                );
                Self::Unavailable
            }
            error => {
                tracing::error!(
                    error = %chain(&error),
                    "a management request failed: the store has failed, and that does not pass by \
                     itself; its operator must act"
                );
                Self::Internal
            }
        }
    }
}

/// The number of times a change is tried against changes of others.
const ATTEMPTS: usize = 4;
