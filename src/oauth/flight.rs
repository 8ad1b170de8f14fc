//! One refresh: lease, read again, ask, seal, keep, and only then in force. It goes on whoever
//! waits for it or does not.

use std::time::Duration;

use super::ask::Question;
use super::failure::Failure;
use super::provider::{Provider, Unsuccessful};
use super::tokens::{Cause, Wanted};
use super::{Shelf, Step};
use crate::clock::Clock;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::grant::{Grant, GrantType, Lapse, LapseReason};
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::{ConnectionRecord, Detail, new_id, whole_microseconds};
use crate::store::{self, Begun, Left, Revision};

/// What a refresh needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flight<'a> {
    pub(super) shelf: &'a dyn Shelf,
    pub(super) provider: &'a Provider,
    pub(super) clock: &'a Clock,
    pub(super) wanted: &'a Wanted,
}

/// The connection under the lease.
struct Under {
    holder: String,
    record: Box<ConnectionRecord>,
    /// Whether an earlier refresh was asked for, and its answer never arrived.
    unanswered: bool,
}

/// How far it is with the lease.
enum Entered {
    /// There are newer tokens already, in force by this revision.
    Newer(i64, Revision),
    /// It is ours to refresh.
    Under(Under),
}

impl Flight<'_> {
    /// Flies; gives the set of tokens that is in force then.
    pub(super) async fn fly(&self) -> Result<i64, Unsuccessful> {
        let (generation, revision) = match self.enter().await? {
            Entered::Newer(generation, revision) => (generation, revision),
            Entered::Under(under) => self.refresh(under).await?,
        };
        if !self.shelf.in_force(revision).await {
            tracing::warn!("tokens were refreshed, and are not in force on this instance yet");
        }
        Ok(generation)
    }

    /// Waits for the lease, unless somebody else brings newer tokens meanwhile.
    async fn enter(&self) -> Result<Entered, Failure> {
        let holder = new_id().map_err(|_silent| Failure::Seal)?.to_string();
        loop {
            if let Some(newer) = self.look().await? {
                return Ok(newer);
            }
            let store = self.shelf.store();
            let begun = store.begin_refresh(self.wanted.uuid, &holder, LEASE).await;
            match begun.map_err(|error| store_failed(&error))? {
                Begun::Held => tokio::time::sleep(GLANCE).await,
                Begun::Granted { record: None, .. } => {
                    self.leave(&holder, Left::Nothing).await;
                    return Err(Failure::Gone);
                }
                Begun::Granted { record: Some(record), unanswered } => {
                    return Ok(Entered::Under(Under { holder, record, unanswered }));
                }
            }
        }
    }

    /// What the store has, without the lease.
    async fn look(&self) -> Result<Option<Entered>, Failure> {
        let Wanted { integration, name, uuid, newer_than, cause } = self.wanted;
        let found = self.shelf.store().connection_as_of(integration, name).await;
        let (record, revision) = found.map_err(|error| store_failed(&error))?;
        let record = record.filter(|record| record.uuid == *uuid).ok_or(Failure::Gone)?;
        let grant = record.grant().ok_or(Failure::Gone)?;
        if grant.generation > *newer_than {
            return Ok(Some(Entered::Newer(grant.generation, revision)));
        }
        // An operator may know that the provider has changed its mind.
        if grant.lapse.is_some() && *cause != Cause::Operator {
            return Err(Failure::Lapsed);
        }
        Ok(None)
    }

    /// Asks the provider and keeps what it gives.
    async fn refresh(&self, under: Under) -> Result<(i64, Revision), Unsuccessful> {
        let Under { holder, record, unanswered } = &under;
        let grant = record.grant().ok_or(Failure::Gone)?;
        if grant.generation > self.wanted.newer_than {
            let generation = grant.generation;
            self.leave(holder, Left::Nothing).await;
            let newer = self.look().await?;
            return match newer {
                Some(Entered::Newer(generation, revision)) => Ok((generation, revision)),
                _ => Ok((generation, Revision::ZERO)),
            };
        }
        let asked = match self.prepare(record, grant).await {
            Ok((client, before)) if has_moved(&client, grant, &before) => {
                return self.lapse(&under, LapseReason::ClientMoved).await.map_err(Into::into);
            }
            Ok((client, before)) => self.ask(&under, &client, grant, &before).await,
            Err(failure) => Err(failure.into()),
        };
        match asked {
            Ok(tokens) => self.keep(record, grant, tokens).await.map_err(Unsuccessful::from),
            Err(why) if why.failure.is_invalid_grant() => {
                let reason =
                    if *unanswered { LapseReason::AnswerLost } else { LapseReason::InvalidGrant };
                self.lapse(&under, reason).await.map_err(Unsuccessful::from)
            }
            Err(why) => {
                let left = match why.failure {
                    Failure::Unanswered(_) => Left::Unanswered,
                    _ => Left::Nothing,
                };
                self.leave(holder, left).await;
                Err(why)
            }
        }
    }

    /// The client, and the tokens that there are.
    async fn prepare(
        &self,
        record: &ConnectionRecord,
        grant: &Grant,
    ) -> Result<(ClientRecord, TokenSet), Failure> {
        let packed = self.shelf.vault().open(&record.context(), &record.sealed);
        let tokens = packed.ok().and_then(|packed| TokenSet::unpack(&packed));
        let tokens = tokens.ok_or(Failure::Seal)?;
        let client = self.shelf.store().client(&record.integration, grant.client).await;
        let client = client.map_err(|error| store_failed(&error))?.ok_or(Failure::Gone)?;
        Ok((client, tokens))
    }

    /// Asks, and keeps the lease meanwhile.
    async fn ask(
        &self,
        under: &Under,
        client: &ClientRecord,
        grant: &Grant,
        before: &TokenSet,
    ) -> Result<TokenSet, Unsuccessful> {
        let question = match (grant.grant_type, &before.refresh_token) {
            (GrantType::ClientCredentials, _) => {
                Question::ClientCredentials { scopes: &grant.scopes }
            }
            (GrantType::AuthorizationCode, Some(refresh_token)) => {
                Question::Refresh { refresh_token }
            }
            (GrantType::AuthorizationCode, None) => return Err(Failure::NoRefreshToken.into()),
        };
        let subdomain = grant.subdomain.as_ref();
        let mut asking = Box::pin(self.provider.ask(client, subdomain, &question, &before.scope));
        let mut fresh = loop {
            tokio::select! {
                answer = &mut asking => break answer?,
                () = tokio::time::sleep(BEAT) => self.hold(&under.holder).await,
            }
        };
        fresh.refresh_token = match grant.grant_type {
            // A provider that gives no other means the same one (RFC 6749 §6).
            GrantType::AuthorizationCode => {
                fresh.refresh_token.or_else(|| before.refresh_token.clone())
            }
            // There should be none (RFC 6749 §4.4.3).
            GrantType::ClientCredentials => None,
        };
        Ok(fresh)
    }

    /// Keeps the tokens, however long that takes: what the provider has replaced is nowhere else.
    async fn keep(
        &self,
        before: &ConnectionRecord,
        grant: &Grant,
        tokens: TokenSet,
    ) -> Result<(i64, Revision), Failure> {
        let mut after = before.clone();
        let generation = grant.generation + 1;
        after.detail = Detail::OAuth(Box::new(Grant { generation, lapse: None, ..grant.clone() }));
        after.updated_at = whole_microseconds(self.clock.now()).max(before.updated_at);
        let sealed = self.shelf.vault().seal(&after.context(), &tokens.pack());
        after.sealed = sealed.map_err(|_why| Failure::Seal)?;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.shelf.store().finish_refresh(before, &after).await {
                Ok(Some(revision)) => return Ok((generation, revision)),
                Ok(None) => return self.overtaken(&after).await,
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::error!(
                        error,
                        connection = format!("{}.{}", before.integration, before.name),
                        "refreshed tokens can't be kept yet; they are not used before"
                    );
                }
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
            if let Ok((Some(record), revision)) =
                self.shelf.store().connection_as_of(&before.integration, &before.name).await
                && record.sealed.payload == after.sealed.payload
            {
                return Ok((generation, revision));
            }
        }
    }

    /// What was to be replaced is not there any more: the write before was done after all, or
    /// somebody else has brought tokens, or the connection is gone.
    async fn overtaken(&self, after: &ConnectionRecord) -> Result<(i64, Revision), Failure> {
        let found = self.shelf.store().connection_as_of(&after.integration, &after.name).await;
        let (record, revision) = found.map_err(|error| store_failed(&error))?;
        let record = record.filter(|record| record.uuid == after.uuid).ok_or(Failure::Gone)?;
        let grant = record.grant().ok_or(Failure::Gone)?;
        Ok((grant.generation, revision))
    }

    /// The grant is no more, as it seems. Before that is believed, the store is read once
    /// more: somebody else may have spent the same refresh token just before.
    async fn lapse(&self, under: &Under, reason: LapseReason) -> Result<(i64, Revision), Failure> {
        let before = &under.record;
        match self.look().await {
            Ok(Some(Entered::Newer(generation, revision))) => {
                self.leave(&under.holder, Left::Nothing).await;
                return Ok((generation, revision));
            }
            Ok(_) | Err(Failure::Lapsed) => {}
            Err(other) => return Err(other),
        }
        let grant = before.grant().ok_or(Failure::Gone)?;
        let lapse = Lapse { since: whole_microseconds(self.clock.now()), reason };
        let mut after = ConnectionRecord::clone(before);
        after.detail = Detail::OAuth(Box::new(Grant { lapse: Some(lapse), ..grant.clone() }));
        after.updated_at = lapse.since.max(before.updated_at);
        let (integration, name) = (&before.integration, before.name.as_str());
        let step = Step {
            step: "lapse",
            operator: "keyferry",
            integration,
            client: None,
            connection: Some(name),
        };
        step.log(Some(reason.as_sentence()));
        tracing::error!(
            connection = format!("{integration}.{name}"),
            reason = reason.as_str(),
            "the connection needs to be authorised again: start a flow for it"
        );
        let kept = self.shelf.store().lapse_grant(before, &after).await;
        match kept.map_err(|error| store_failed(&error))? {
            Some(revision) => {
                self.shelf.in_force(revision).await;
                Err(Failure::Lapsed)
            }
            // Somebody was faster after all.
            None => self.overtaken(&after).await,
        }
    }

    async fn hold(&self, holder: &str) {
        let held = self.shelf.store().extend_refresh(self.wanted.uuid, holder, LEASE).await;
        match held {
            Ok(true) => {}
            Ok(false) => tracing::warn!("the lease to refresh is another's by now"),
            Err(error) => tracing::warn!(error = %error, "the lease to refresh can't be extended"),
        }
    }

    async fn leave(&self, holder: &str, left: Left) {
        let left = self.shelf.store().leave_refresh(self.wanted.uuid, holder, left).await;
        if let Err(error) = left {
            tracing::warn!(error = %error, "the lease to refresh ends by itself");
        }
    }
}

/// Whether the refresh token would go to another host than the one that it came from: whoever may
/// change the client's URL, must not have others' tokens sent there.
fn has_moved(client: &ClientRecord, grant: &Grant, before: &TokenSet) -> bool {
    let endpoint = client.token_url.resolve(grant.subdomain.as_ref());
    let there = endpoint.map(|endpoint| endpoint.origin().to_string());
    grant.grant_type == GrantType::AuthorizationCode
        && before.refresh_token.is_some()
        && there.is_ok_and(|there| there != *before.issuer)
}

fn store_failed(error: &store::Error) -> Failure {
    let error = error as &dyn std::error::Error;
    tracing::warn!(error, "tokens can't be refreshed: the store can't be used");
    Failure::Store
}

/// How long a lease counts after its holder was last heard of.
const LEASE: Duration = Duration::from_secs(6);

/// How often the holder is heard of.
const BEAT: Duration = Duration::from_secs(2);

/// How often is looked at what another instance brings.
const GLANCE: Duration = Duration::from_millis(150);

const FIRST_PAUSE: Duration = Duration::from_millis(100);

const LONGEST_PAUSE: Duration = Duration::from_secs(2);
