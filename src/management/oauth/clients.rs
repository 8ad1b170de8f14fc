//! OAuth clients: made, shown, changed and deleted (ZIS spec §4.5).

use serde_json::Value;
use uuid::Uuid;

use super::change::{ChangedClient, ClientChange};
use super::draft::ClientDraft;
use super::revocation::{Revocation, RevocationOutcome};
use crate::management::connections::{ReadAccess, WriteAccess, seal};
use crate::management::events::{EventDraft, snapshot_of_client};
use crate::management::fault::{Refused, no_randomness};
use crate::management::listing::{ListPage, cut, is_within, readable};
use crate::model::event::EventKind;
use crate::model::name::ClientName;
use crate::model::oauth::client::ClientRecord;
use crate::model::record::{new_id, whole_microseconds};
use crate::model::sealed::Sealed;
use crate::secret::Secret;
use crate::state::Persistence;
use crate::store::PageRange;
use crate::wire::{Document, NewOAuthClient, OAuthClientChange};

/// A client as it may be shown: everything but its secret.
#[derive(Clone, Debug)]
pub struct ClientView(ClientRecord);

impl ClientView {
    pub(in crate::management) fn of(record: ClientRecord) -> Self {
        Self(record)
    }

    /// The record of the client, in which the secret is sealed.
    #[must_use]
    pub fn record(&self) -> &ClientRecord {
        &self.0
    }
}

impl ReadAccess<'_> {
    /// The integration's clients within the window, in the order of their names.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn list_clients(&self, window: &PageRange) -> Result<ListPage<ClientView>, Refused> {
        let nothing = ListPage { items: Vec::new(), has_more: false };
        let Some(persistence) = self.management.persistence().ok().filter(|_| !self.is_foreign())
        else {
            return Ok(nothing);
        };
        let mut page = persistence.store().clients(&self.integration, window).await?;
        let (has_more, ends) = (page.has_more, page.ends.take());
        let ends = ends.filter(|_ends| has_more);
        let mut items = readable(page);
        // The account's own client takes its place among the stored ones, as far as those are read.
        if let Some(own) = persistence.account_client(&self.integration)
            && is_within(window, ends.as_ref(), own.name.as_str())
        {
            items.retain(|client| client.name != own.name);
            items.push(own);
            items.sort_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        }
        Ok(cut(items.into_iter().map(ClientView).collect(), window, has_more))
    }

    /// The client with this uuid.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when there is none; and when the store fails.
    pub async fn show_client(&self, uuid: &str) -> Result<ClientView, Refused> {
        self.client(uuid).await.map(ClientView)
    }

    async fn client(&self, uuid: &str) -> Result<ClientRecord, Refused> {
        self.client_of(Uuid::try_parse(uuid).map_err(|_rule| Refused::NotFound)?).await
    }

    /// The client with this uuid, if the token has a part in the integration's clients.
    pub(super) async fn client_of(&self, uuid: Uuid) -> Result<ClientRecord, Refused> {
        let Some(persistence) = self.management.persistence().ok().filter(|_| !self.is_foreign())
        else {
            return Err(Refused::NotFound);
        };
        persistence.client(&self.integration, uuid).await?.ok_or(Refused::NotFound)
    }

    /// Tells whether the token names connections, and none of this integration: then it has no part
    /// in its clients either.
    fn is_foreign(&self) -> bool {
        self.operator.listed(&self.integration).is_some_and(|names| names.is_empty())
    }
}

impl WriteAccess<'_> {
    /// Makes a client.
    ///
    /// # Errors
    /// [`Refused`]: what is wrong with the request, the name is taken, the token reaches only some
    /// connections, or the store fails.
    pub async fn create_client(
        &self,
        request: impl Into<Document<NewOAuthClient>>,
    ) -> Result<ClientView, Refused> {
        let ReadAccess { management, operator, integration } = &self.0;
        self.need_all()?;
        let settings = management.settings();
        // 1. The request is read, with what its issuer's metadata says.
        let mut request = request.into();
        Box::pin(self.fill_from_issuer(&mut request.members)).await?;
        let draft = ClientDraft::read(request, integration.as_str(), &settings)?;
        let persistence = management.persistence()?;
        let own = persistence.account_client(integration).map(|own| own.name);
        if own.is_some() && draft.name == own {
            return Err(Refused::Taken);
        }
        // 2. The record is made; a client without a name is called by its uuid.
        let uuid = new_id().map_err(|error| no_randomness(&error))?;
        let now = whole_microseconds(management.clock.now());
        let own_name = ClientName::parse(&uuid.to_string());
        let mut record = ClientRecord {
            uuid,
            integration: integration.clone(),
            name: draft.name.or_else(|| own_name.ok()).ok_or(Refused::Internal)?,
            client_id: draft.client_id,
            auth_url: draft.auth_url,
            token_url: draft.token_url,
            default_scopes: draft.default_scopes,
            grant_type: draft.grant_type,
            auth_method: draft.auth_method,
            profile: Box::new(draft.profile),
            created_by: Box::from(&*operator.caller().name),
            sealed: Sealed::default(),
            created_at: now,
            updated_at: now,
        };
        // 3. Its secret is sealed for it, and it is kept.
        record.sealed = seal(persistence, &record.context(), &draft.secret)?;
        let event = self.client_event(EventKind::ClientCreate, &record);
        let event = event.after(snapshot_of_client(&record));
        management.noting(persistence, *operator, event).await?.create_client(&record).await?;
        self.0.log_step("client_create", Some(&record), None, None);
        Ok(ClientView(record))
    }

    /// Changes a client. Tokens that it has got go on until they end.
    ///
    /// # Errors
    /// [`Refused`]: there is none, what is wrong with the request, or the store fails.
    pub async fn update_client(
        &self,
        uuid: &str,
        request: impl Into<Document<OAuthClientChange>>,
    ) -> Result<ClientView, Refused> {
        self.need_all()?;
        let mut before = self.0.client(uuid).await?;
        if before.is_declared() {
            return Err(Refused::Declared);
        }
        let settings = self.0.management.settings();
        let persistence = self.0.management.persistence()?;
        let operator = &*self.0.operator.caller().name;
        let request = request.into();
        for _again in 0..ATTEMPTS {
            // Opened even where another secret takes its place: a row that was edited by hand would
            // else have the new one sealed for a place of the editor's choice.
            let whose = format!("the OAuth client {} of {}", before.name, before.integration);
            let kept = persistence.open(&whose, before.context(), &before.sealed).await?;
            // The request is judged by the client as it is: others may change that meanwhile.
            let client = ChangedClient { record: &before, secret: &kept, operator };
            let change = ClientChange::read(client, request.clone(), &settings)?;
            let has_secret = change.secret.is_some();
            let after = self.changed_client(persistence, &before, (change, kept))?;
            let event = self.client_event(EventKind::ClientUpdate, &before);
            let event = event.secret_changed(has_secret).before(snapshot_of_client(&before));
            let event = event.after(snapshot_of_client(&after));
            let noting = self.0.management.noting(persistence, self.0.operator, event).await?;
            if noting.replace_client(&before, &after).await? {
                self.0.log_step("client_update", Some(&after), None, None);
                return Ok(ClientView(after));
            }
            before = self.0.client(uuid).await?;
        }
        Err(Refused::Changed)
    }

    /// Deletes a client and every connection that it has, and returns when they are gone on this
    /// instance. Then the provider is told, which is waited for only a little; `None` where it has
    /// no way to be told.
    ///
    /// # Errors
    /// [`Refused`]: there is none, or the store fails.
    pub async fn delete_client(&self, uuid: &str) -> Result<Option<RevocationOutcome>, Refused> {
        self.need_all()?;
        let record = self.0.client(uuid).await?;
        if record.is_declared() {
            return Err(Refused::Declared);
        }
        let persistence = self.0.management.persistence()?;
        // 1. The tokens, which are nowhere else afterwards.
        let revocations = match record.profile.revocation_url {
            Some(_) => self.revocations_of(&record).await,
            None => Vec::new(),
        };
        // 2. Client and connections go.
        let mut before = snapshot_of_client(&record);
        if let Some(Value::Object(members)) = &mut before {
            let names = self.0.of_client(&record.uuid.to_string()).await.unwrap_or_default();
            let names: Vec<_> = names.iter().map(ToString::to_string).collect();
            members.insert("connections".to_owned(), names.into());
        }
        let event = self.client_event(EventKind::ClientDelete, &record).before(before);
        let noting = self.0.management.noting(persistence, self.0.operator, event).await?;
        let deleted = noting.delete_client(&record.integration, record.uuid).await?;
        let (_connections, last) = deleted.ok_or(Refused::NotFound)?;
        self.0.log_step("client_delete", Some(&record), None, None);
        if let Some(revision) = last {
            self.0.management.settle(revision).await;
        }
        // 3. The provider is told.
        Ok(self.revoke(record, revocations).await)
    }

    fn client_event(&self, kind: EventKind, client: &ClientRecord) -> EventDraft {
        EventDraft::new(kind, self.0.integration.as_str(), &client.name)
    }

    /// The tokens of all connections of a client.
    async fn revocations_of(&self, client: &ClientRecord) -> Vec<Revocation> {
        let uuid = client.uuid.to_string();
        let names = self.0.of_client(&uuid).await.unwrap_or_default();
        let mut revocations = Vec::new();
        for name in names {
            let Ok(record) = self.0.record(&name).await else { continue };
            revocations.extend(self.revocation_of(client, &record));
        }
        revocations
    }

    /// The record as the change makes it, sealed again.
    fn changed_client(
        &self,
        persistence: &Persistence,
        before: &ClientRecord,
        (change, kept): (ClientChange, Secret),
    ) -> Result<ClientRecord, Refused> {
        let mut after = before.clone();
        let ClientChange {
            client_id,
            secret,
            auth_url,
            token_url,
            default_scopes,
            auth_method,
            profile,
        } = change;
        after.client_id = client_id.unwrap_or(after.client_id);
        after.auth_url = auth_url.or(after.auth_url);
        after.token_url = token_url.unwrap_or(after.token_url);
        after.default_scopes = default_scopes.unwrap_or(after.default_scopes);
        after.auth_method = auth_method.unwrap_or(after.auth_method);
        *after.profile = profile;
        after.updated_at = self.0.management.moved(before.updated_at);
        // A client that becomes a public one forgets its secret: it must not be sent any more.
        let secret = if after.is_public() { Secret::new("") } else { secret.unwrap_or(kept) };
        after.sealed = seal(persistence, &after.context(), &secret)?;
        Ok(after)
    }

    /// A client is all of its integration's: a token for some connections has no say.
    pub(super) fn need_all(&self) -> Result<(), Refused> {
        let ReadAccess { operator, integration, .. } = &self.0;
        if operator.listed(integration).is_some() { Err(Refused::OutOfReach) } else { Ok(()) }
    }
}

/// The number of times a change is tried against changes of others.
const ATTEMPTS: usize = 4;
