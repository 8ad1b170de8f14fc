//! Events: what an operator does is noted in the same transaction as what it changes, and read by
//! those who may.

mod check;
mod reader;
mod shown;

use std::net::IpAddr;
use std::sync::Arc;

use serde_json::Value;
use uuid::Uuid;

pub use self::reader::{EventQuery, EventReader};
pub(super) use self::shown::{snapshot_of_client, snapshot_of_token, value};
use super::Management;
use super::connections::ReadAccess;
use super::fault::Refused;
use super::operator::Operator;
use crate::error::chain;
use crate::model::event::EventKind;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::record::{ConnectionRecord, whole_microseconds};
use crate::model::session::Person;
use crate::state::Persistence;
use crate::store::{self, EventNote, Store};
use crate::wire::{EventContent, EventPerson, time};

/// The operator who did something, and the address from which.
#[derive(Clone, Debug)]
pub(super) struct Actor {
    pub(super) name: Box<str>,
    /// The id of the token, if it is kept in the store.
    pub(super) token_id: Option<Uuid>,
    pub(super) address: Option<IpAddr>,
    /// The person, where it was one.
    pub(super) person: Option<EventPerson>,
}

/// An event as what is done says it.
#[derive(Clone, Debug)]
pub(super) struct EventDraft {
    kind: EventKind,
    integration: String,
    connection: String,
    subject: String,
    is_secret_changed: bool,
    failure: Option<String>,
    before: Option<Value>,
    after: Option<Value>,
}

impl From<&Operator> for Actor {
    fn from(operator: &Operator) -> Self {
        let (name, token_id) = (operator.name().into(), operator.id());
        let person = operator.person().map(EventPerson::from);
        Self { name, token_id, address: operator.address(), person }
    }
}

impl EventDraft {
    /// An event about something of this integration, which is empty where it is of all.
    pub(super) fn new(kind: EventKind, integration: &str, subject: &impl ToString) -> Self {
        Self {
            kind,
            integration: integration.to_owned(),
            connection: String::new(),
            subject: subject.to_string(),
            is_secret_changed: false,
            failure: None,
            before: None,
            after: None,
        }
    }

    /// An event about a connection.
    pub(super) fn about(
        kind: EventKind,
        integration: &IntegrationName,
        name: &ConnectionName,
    ) -> Self {
        Self::new(kind, integration.as_str(), name).of_connection(Some(name))
    }

    /// The same about this connection, if there is one.
    pub(super) fn of_connection(self, name: Option<&ConnectionName>) -> Self {
        Self { connection: name.map(ToString::to_string).unwrap_or_default(), ..self }
    }

    pub(super) fn before(self, before: Option<Value>) -> Self {
        Self { before, ..self }
    }

    pub(super) fn after(self, after: Option<Value>) -> Self {
        Self { after, ..self }
    }

    /// The same with a secret that has replaced another.
    pub(super) fn secret_changed(self, is_secret_changed: bool) -> Self {
        Self { is_secret_changed, ..self }
    }

    pub(super) fn failure(self, failure: impl Into<String>) -> Self {
        Self { failure: Some(failure.into()), ..self }
    }
}

impl Management {
    /// The store for one write, which is one transaction with this event.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn noting(
        &self,
        persistence: &Persistence,
        actor: impl Into<Actor>,
        draft: EventDraft,
    ) -> Result<Store, Refused> {
        let note = self.note_of(persistence, actor.into(), draft).await?;
        Ok(persistence.store().noting(note))
    }

    /// Notes something that changes no record of the store.
    ///
    /// # Errors
    /// The store fails. What was to be noted must not be done then.
    pub(super) async fn note(
        &self,
        persistence: &Persistence,
        actor: impl Into<Actor>,
        draft: EventDraft,
    ) -> Result<(), Refused> {
        let note = self.note_of(persistence, actor.into(), draft).await?;
        Ok(persistence.store().note_event(note).await?)
    }

    /// Notes several things that change no record of the store: all of them, or none.
    ///
    /// # Errors
    /// The store fails. What was to be noted must not be done then.
    pub(super) async fn note_all(
        &self,
        persistence: &Persistence,
        actor: impl Into<Actor>,
        drafts: Vec<EventDraft>,
    ) -> Result<(), Refused> {
        let (actor, mut notes) = (actor.into(), Vec::with_capacity(drafts.len()));
        for draft in drafts {
            notes.push(self.note_of(persistence, actor.clone(), draft).await?);
        }
        Ok(persistence.store().note_events(notes).await?)
    }

    /// Notes something that has happened already. A failure is logged.
    pub(super) async fn note_afterwards(
        &self,
        persistence: &Persistence,
        actor: impl Into<Actor>,
        draft: EventDraft,
    ) {
        let kind = draft.kind.as_str();
        let note = self.note_of(persistence, actor.into(), draft).await;
        let kept = match note {
            Ok(note) => persistence.store().note_event(note).await,
            Err(error) => Err(error),
        };
        if let Err(error) = kept {
            tracing::error!(error = %chain(&error), kind, "an event was not kept");
        }
    }

    pub(super) async fn note_of(
        &self,
        persistence: &Persistence,
        actor: Actor,
        draft: EventDraft,
    ) -> Result<EventNote, store::Error> {
        // 1. The keys that sign it, and the time.
        let signer = persistence.event_signer().await?;
        let now = whole_microseconds(self.clock.now());
        // 2. Who did what.
        let content = EventContent {
            time: time(now),
            kind: draft.kind.as_str().to_owned(),
            operator: actor.name.into(),
            token_id: actor.token_id.map(|id| id.to_string()),
            person: actor.person,
            address: actor.address.map(|address| address.to_string()).unwrap_or_default(),
            instance: self.instance.to_string(),
            integration: draft.integration,
            connection: draft.connection,
            subject: draft.subject,
            secret_changed: draft.is_secret_changed,
            failure: draft.failure,
            before: draft.before,
            after: draft.after,
        };
        Ok(EventNote { time: now, content, signer: signer as Arc<_> })
    }
}

impl From<&Person> for EventPerson {
    fn from(person: &Person) -> Self {
        Self {
            issuer: person.issuer.to_string(),
            subject: person.subject.to_string(),
            email: person.email.as_deref().map(str::to_owned),
        }
    }
}

impl ReadAccess<'_> {
    /// The event of a connection of the integration.
    pub(super) fn event(&self, kind: EventKind, name: &ConnectionName) -> EventDraft {
        EventDraft::about(kind, &self.integration, name)
    }

    /// The store for one change of a connection, with its event.
    ///
    /// # Errors
    /// The store fails.
    pub(super) async fn noting_change(
        &self,
        persistence: &Persistence,
        event: EventDraft,
        (before, after): (&ConnectionRecord, &ConnectionRecord),
    ) -> Result<Store, Refused> {
        let Self { management, operator, .. } = self;
        let event = event.before(management.snapshot(before)).after(management.snapshot(after));
        management.noting(persistence, *operator, event).await
    }
}
