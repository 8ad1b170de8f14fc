//! Connections by OAuth: shown, bound to a domain, refreshed, deleted.

use std::sync::Arc;

use uuid::Uuid;

use super::own_account::{OwnAccount, is_own};
use super::revocation::RevocationOutcome;
use super::standing::RefreshStanding;
use crate::management::Management;
use crate::management::connections::{ReadAccess, WriteAccess, seal};
use crate::management::draft::NEVER_CHANGES;
use crate::management::fault::{About, Refused};
use crate::management::member_reader::{MemberReader, named};
use crate::management::options;
use crate::management::unusable::Unusable;
use crate::model::connection::ConnectionType;
use crate::model::domain::AllowedDomain;
use crate::model::event::EventKind;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::oauth::grant::Grant;
use crate::model::oauth::tokens::TokenSet;
use crate::model::options::ConnectionOptions;
use crate::model::record::ConnectionRecord;
use crate::oauth::{Cause, RefreshRequest};
use crate::secret::Secret;
use crate::wire::{Document, Member, OAuthConnectionChange, OPTION_MEMBERS};

/// A connection by OAuth as it may be shown.
#[derive(Debug)]
pub struct OAuthConnectionView {
    /// The uuid of the connection.
    pub uuid: Uuid,
    /// The integration that it belongs to.
    pub integration: IntegrationName,
    /// The name that it is listed under.
    pub name: ConnectionName,
    /// The hosts that its tokens may be sent to, once that is set.
    pub allowed_domain: Option<AllowedDomain>,
    /// Its options.
    pub options: Arc<ConnectionOptions>,
    /// The grant, and the client that has it.
    pub grant: Grant,
    /// Its tokens; `None` when they can't be opened.
    pub tokens: Option<TokenSet>,
    /// Tells whether the tokens may be shown in clear.
    pub in_clear: bool,
    /// Tells whether only a new flow helps.
    pub needs_reauthorization: bool,
    /// The reason why it can't be used, where it can't.
    pub defect: Option<Unusable>,
    /// The number of the account.
    pub account_id: u64,
    /// The standing of its refreshes, where they fail or can't be tried any more.
    pub standing: Option<RefreshStanding>,
}

impl OAuthConnectionView {
    /// Tells whether there are tokens that are shown in clear.
    pub(in crate::management) fn has_tokens_in_clear(&self) -> bool {
        self.in_clear && self.tokens.is_some()
    }
}

/// Names a connection by OAuth.
#[derive(Clone, Debug)]
pub struct ConnectionRef {
    /// By its name.
    pub name: Option<String>,
    /// By its uuid.
    pub uuid: Option<String>,
}

impl Management {
    /// Shows a connection by OAuth to somebody who may see its tokens, or not; `None` of one of
    /// another type.
    pub(in crate::management) fn authorized(
        &self,
        record: &ConnectionRecord,
        may_see_tokens: bool,
    ) -> Option<OAuthConnectionView> {
        let grant = record.grant()?;
        let persistence = self.persistence().ok()?;
        // Tokens that can't be opened leave the rest to be shown.
        let opened = persistence.vault().open_connection(record);
        let tokens = opened.as_ref().ok().and_then(|it| TokenSet::unpack(&it.secret));
        let unusable = Unusable::of(record, opened.as_ref().err());
        let settings = self.settings();
        let now = self.clock.now();
        // Without a way to refresh them, expired tokens need a new flow.
        let expired = tokens.as_ref().and_then(|tokens| tokens.expires_at);
        let expired = expired.is_some_and(|end| now >= end);
        let refreshes = tokens.as_ref().is_some_and(|tokens| tokens.refresh_token.is_some());
        let mut shown = OAuthConnectionView {
            uuid: record.uuid,
            integration: record.integration.clone(),
            name: record.name.clone(),
            allowed_domain: record.allowed_domain.clone(),
            options: Arc::clone(&record.options),
            needs_reauthorization: grant.lapse.is_some()
                || (expired && !grant.is_renewable(refreshes)),
            grant: grant.clone(),
            defect: unusable.or_else(|| tokens.is_none().then_some(Unusable::SealBroken)),
            tokens,
            in_clear: may_see_tokens && !settings.redact_tokens,
            account_id: settings.account_id,
            standing: None,
        };
        shown.note_failure(None);
        Some(shown)
    }
}

impl ReadAccess<'_> {
    /// Shows a connection by OAuth; `None` of one of another type.
    pub(in crate::management) fn authorized(
        &self,
        record: &ConnectionRecord,
    ) -> Option<OAuthConnectionView> {
        self.management.authorized(record, self.operator.sees_tokens())
    }

    /// The connection that is pointed at.
    ///
    /// # Errors
    /// [`Refused::NotFound`] when there is none by OAuth within the token's reach, or name and
    /// uuid are two connections'; [`Refused::Malformed`] when neither is given.
    pub async fn show_authorized(
        &self,
        pointer: &ConnectionRef,
    ) -> Result<OAuthConnectionView, Refused> {
        let record = self.pointed(pointer).await?;
        let mut shown = self.authorized(&record).ok_or(Refused::NotFound)?;
        shown.note_failure(self.failure_of(shown.uuid).await?);
        Ok(shown)
    }

    /// The same for somebody who is told its tokens, which is noted.
    ///
    /// # Errors
    /// As of [`Self::show_authorized`].
    pub async fn reveal_authorized(
        &self,
        pointer: &ConnectionRef,
    ) -> Result<OAuthConnectionView, Refused> {
        let shown = self.show_authorized(pointer).await?;
        if shown.has_tokens_in_clear() {
            let event = self.event(EventKind::ConnectionReveal, &shown.name);
            self.management.note(self.management.persistence()?, self.operator, event).await?;
        }
        Ok(shown)
    }

    /// The record of the connection by OAuth that is pointed at.
    pub(super) async fn pointed(
        &self,
        pointer: &ConnectionRef,
    ) -> Result<ConnectionRecord, Refused> {
        let Ok(persistence) = self.management.persistence() else { return Err(Refused::NotFound) };
        let uuid = pointer.uuid.as_deref().map(Uuid::try_parse).transpose();
        let uuid = uuid.map_err(|_rule| Refused::NotFound)?;
        // 1. The record, by its name, its uuid, or both.
        let record = match (&pointer.name, uuid) {
            (None, None) => return Err(Refused::Malformed),
            (Some(name), uuid) => {
                let record = self.record(&self.name(name)?).await?;
                if uuid.is_some_and(|uuid| uuid != record.uuid) {
                    return Err(Refused::Malformed);
                }
                record
            }
            (None, Some(uuid)) => {
                let found = persistence.store().connection_by_uuid(uuid).await?;
                found.ok_or(Refused::NotFound)?
            }
        };
        // 2. One out of reach, or of another type, does not exist.
        let ours = record.integration == self.integration
            && record.kind() == ConnectionType::OAuth
            && self.operator.reaches(&self.integration, &record.name);
        if ours { Ok(record) } else { Err(Refused::NotFound) }
    }
}

impl WriteAccess<'_> {
    /// Asks the provider for new tokens now, even if the present ones are still good; returns when
    /// they are in force on this instance. Dropped in between, they are asked for all the same.
    ///
    /// # Errors
    /// [`Refused`]: there is no such connection, its grant can't be refreshed, or the provider or
    /// the store fails.
    pub async fn refresh(&self, pointer: &ConnectionRef) -> Result<OAuthConnectionView, Refused> {
        let record = self.0.pointed(pointer).await?;
        let grant = record.grant().ok_or(Refused::NotFound)?;
        let wanted = RefreshRequest {
            uuid: record.uuid,
            integration: record.integration.clone(),
            name: record.name.clone(),
            newer_than: grant.generation,
            cause: Cause::Operator,
        };
        // It is noted before the provider is asked, who may have changed the tokens in any case.
        let management = self.0.management;
        let event = self.0.event(EventKind::ConnectionRefresh, &record.name);
        management.note(management.persistence()?, self.0.operator, event).await?;
        let renewed = management.storage()?.refreshes.refresh(wanted).await;
        let failure = renewed.as_ref().err().map(ToString::to_string);
        self.0.log_step("refresh", None, Some(&record.name), failure.as_deref());
        if let Some(failure) = failure {
            let event = self.0.event(EventKind::ConnectionRefresh, &record.name).failure(failure);
            let persistence = management.persistence()?;
            management.note_afterwards(persistence, self.0.operator, event).await;
        }
        renewed?;
        self.0
            .show_authorized(&ConnectionRef { name: None, uuid: Some(record.uuid.to_string()) })
            .await
    }

    /// Binds a connection that has no allowed domain to one, this once, and changes options.
    ///
    /// # Errors
    /// [`Refused`]: there is no such connection, it has another domain, what is wrong with the
    /// request, or the store fails.
    pub async fn change_authorized(
        &self,
        pointer: &ConnectionRef,
        request: impl Into<Document<OAuthConnectionChange>>,
    ) -> Result<OAuthConnectionView, Refused> {
        let mut before = self.0.pointed(pointer).await?;
        let request = request.into();
        let persistence = self.0.management.persistence()?;
        for _again in 0..ATTEMPTS {
            // 1. The request is read against the record as it is now.
            let (domain, options, client_key) = read_change(request.clone(), &before)?;
            let domain = domain.map(|domain| self.bound_domain(&before, domain)).transpose()?;
            let mut after = before.clone();
            after.allowed_domain = domain.or(after.allowed_domain);
            after.options = options.shared();
            if after == before && client_key.is_none() {
                return self.masked(&before);
            }
            // 2. Its tokens are sealed for the domain and the options.
            let secrets = persistence.open_connection(&before).await?;
            let secrets = secrets.with_client_key(client_key.clone(), &after.options);
            after.updated_at = self.0.management.moved(before.updated_at);
            after.sealed = seal(persistence, &after.context(), &secrets.pack())?;
            let event = self.0.event(EventKind::ConnectionUpdate, &before.name);
            let event = event.secret_changed(client_key.is_some());
            let noting = self.0.noting_change(persistence, event, (&before, &after)).await?;
            if let Some(revision) = noting.replace_connection(&before, &after).await? {
                let is_bound = before.allowed_domain != after.allowed_domain;
                let step = if is_bound { "bind" } else { "change" };
                self.0.log_step(step, None, Some(&before.name), None);
                self.0.management.settle(revision).await;
                return self.masked(&after);
            }
            let uuid = Some(before.uuid.to_string());
            before = self.0.pointed(&ConnectionRef { name: None, uuid }).await?;
        }
        Err(Refused::Changed)
    }

    /// The domain that a connection may be bound to: any, this once; the connection `zendesk` to
    /// the account's own host.
    fn bound_domain(
        &self,
        record: &ConnectionRecord,
        domain: AllowedDomain,
    ) -> Result<AllowedDomain, Refused> {
        let domain = if is_own(Some(&record.name)) {
            let settings = self.0.management.settings();
            OwnAccount::of(&settings)?.domain(Some(&domain))?
        } else {
            domain
        };
        if record.allowed_domain.as_ref().is_some_and(|bound| *bound != domain) {
            let title = format!("allowed_domain: {NEVER_CHANGES}");
            return Err(Refused::of(About::AllowedDomain, title));
        }
        Ok(domain)
    }

    /// The connection without its tokens, which nobody has asked for.
    fn masked(&self, record: &ConnectionRecord) -> Result<OAuthConnectionView, Refused> {
        let authorized = self.0.authorized(record).ok_or(Refused::NotFound)?;
        Ok(OAuthConnectionView { in_clear: false, ..authorized })
    }

    /// Deletes a connection by OAuth, and returns when it is gone on this instance. Then the
    /// provider is told, which is waited for only a little; `None` where it has no way to be told.
    ///
    /// # Errors
    /// [`Refused`]: there is none, or the store fails.
    pub async fn delete_authorized(
        &self,
        pointer: &ConnectionRef,
    ) -> Result<Option<RevocationOutcome>, Refused> {
        let record = self.0.pointed(pointer).await?;
        let persistence = self.0.management.persistence()?;
        // 1. The tokens, which are nowhere else afterwards.
        let client = match record.grant() {
            Some(grant) => persistence.client(&record.integration, grant.client).await?,
            None => None,
        };
        let revocation = client.as_ref().and_then(|client| self.revocation_of(client, &record));
        // 2. The connection goes, whatever becomes of them.
        let event = self.0.event(EventKind::ConnectionDelete, &record.name);
        let event = event.before(self.0.management.snapshot(&record));
        let noting = self.0.management.noting(persistence, self.0.operator, event).await?;
        let deleted = noting
            .delete_connection(&record.integration, &record.name, ConnectionType::OAuth)
            .await?;
        let revision = deleted.ok_or(Refused::NotFound)?;
        self.0.log_step("delete", None, Some(&record.name), None);
        self.0.management.settle(revision).await;
        // 3. The provider is told.
        let Some((client, revocation)) = client.zip(revocation) else { return Ok(None) };
        Ok(self.revoke(client, vec![revocation]).await)
    }
}

/// Reads the domain that a connection is to be bound to, its options, and the key of its client
/// certificate. What never changes may be repeated as it is.
fn read_change(
    request: Document<OAuthConnectionChange>,
    record: &ConnectionRecord,
) -> Result<(Option<AllowedDomain>, ConnectionOptions, Option<Secret>), Refused> {
    let (mut request, mut reader) = MemberReader::of(request);
    let members = request.take_options();
    reader.refuse_nulls(|name| OPTION_MEMBERS.contains(&name));
    reader.repeated(named!(request.uuid), &record.uuid.to_string());
    reader.repeated(named!(request.integration), record.integration.as_str());
    reader.repeated(named!(request.name), record.name.as_str());
    if let Some(grant) = record.grant() {
        reader.repeated(named!(request.created_by), &grant.created_by);
        reader.repeated(named!(request.oauth_client_uuid), &grant.client.to_string());
    }
    let domain = named!(request.allowed_domain);
    // Without an option, the domain is meant.
    if request.client_key.is_redacted() && reader.is_sent_back() {
        request.client_key = Member::Absent;
    }
    if !members.are_given() && !request.client_key.is_given() {
        reader.demand(&domain);
    }
    let domain = reader.take(domain, About::AllowedDomain, AllowedDomain::parse);
    let options = options::read(members, &record.options, &mut reader);
    let both = (&*record.options, &options);
    let client_key = options::read_client_key(named!(request.client_key), both, &mut reader);
    reader.close(Some((domain, options, client_key)))
}

/// The number of times a change is tried against changes of others.
const ATTEMPTS: usize = 4;
