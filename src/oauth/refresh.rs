//! One refresh: lease, read again, ask, seal, keep, and only then in force. It goes on to its end
//! though nobody waits for it any more.

mod keep;
mod refused;
mod session;

use std::convert::Infallible;
use std::time::Duration;

use self::keep::NextTokens;
use super::failure::TokenFailure;
use super::handle::{Cause, RefreshRequest};
use super::life::refresh_token_life;
use super::provider::{Provider, Unsuccessful};
use super::request::{GrantParams, TokenRequest};
use crate::clock::{Clock, instant};
use crate::error::chain;
use crate::model::aws::access::AwsSecrets;
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::grant::{Grant, LapseReason};
use crate::model::oauth::refusal::RefreshFailure;
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::{ConnectionRecord, Detail, new_id};
use crate::state::Persistence;
use crate::store::{Leftover, RefreshLease, RefreshStart, Revision};

/// One refresh, with all that it needs.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refresh<'a> {
    pub(super) persistence: &'a Persistence,
    pub(super) provider: &'a Provider,
    pub(super) clock: &'a Clock,
    pub(super) request: &'a RefreshRequest,
    pub(super) lease: RefreshLease,
}

/// The connection under the lease.
struct Leased {
    holder: String,
    record: Box<ConnectionRecord>,
    /// Tells whether an earlier refresh was asked for, and its response never arrived.
    unanswered: bool,
    /// The failures that are remembered.
    failure: Option<Box<RefreshFailure>>,
}

/// The outcome of waiting for the lease.
enum Acquired {
    /// There are newer tokens already.
    Newer(Refreshed, Revision),
    /// It is ours to refresh.
    Leased(Leased),
}

/// The good end of a refresh.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Refreshed {
    /// The set of tokens that is in force.
    pub(super) generation: i64,
    /// Tells whether this refresh brought them.
    pub(super) is_ours: bool,
}

impl Refreshed {
    pub(super) fn elsewhere(generation: i64) -> Self {
        Self { generation, is_ours: false }
    }
}

impl Refresh<'_> {
    /// Runs to its end, and gives the set of tokens that is in force then.
    pub(super) async fn run(&self) -> Result<Refreshed, Unsuccessful> {
        let mut entries = 0;
        let (refreshed, revision) = loop {
            let done = match self.acquire_lease().await? {
                Acquired::Newer(refreshed, revision) => Ok((refreshed, revision)),
                Acquired::Leased(leased) => Box::pin(self.refresh_under_lease(leased)).await,
            };
            entries += 1;
            match done {
                // Another instance has the lease now: what it brings is waited for.
                Err(Unsuccessful { failure: TokenFailure::Overtaken, .. })
                    if entries < MAX_ENTRIES => {}
                done => break done?,
            }
        };
        if !self.persistence.wait_until_in_force(revision).await {
            tracing::warn!("tokens were refreshed, and are not in force on this instance yet");
        }
        Ok(refreshed)
    }

    /// Waits for the lease, unless somebody else brings newer tokens meanwhile.
    async fn acquire_lease(&self) -> Result<Acquired, Unsuccessful> {
        let holder = new_id().map_err(|_silent| TokenFailure::Seal)?.to_string();
        loop {
            if let Some((refreshed, revision)) = self.find_newer().await? {
                return Ok(Acquired::Newer(refreshed, revision));
            }
            self.check_refusals().await?;
            let store = self.persistence.store();
            let length = self.lease.before_asking;
            let begun = store.begin_refresh(self.request.uuid, &holder, length).await;
            match begun.map_err(|error| TokenFailure::of_store(&error))? {
                RefreshStart::Held => tokio::time::sleep(POLL_INTERVAL).await,
                RefreshStart::Gone => return Err(TokenFailure::Gone.into()),
                RefreshStart::Granted { record, unanswered, failure } => {
                    return Ok(Acquired::Leased(Leased { holder, record, unanswered, failure }));
                }
            }
        }
    }

    /// Reads the connection's record as it is now.
    async fn read(&self) -> Result<(ConnectionRecord, Revision), TokenFailure> {
        let RefreshRequest { integration, name, uuid, .. } = self.request;
        let found = self.persistence.store().connection_as_of(integration, name).await;
        let (record, revision) = found.map_err(|error| TokenFailure::of_store(&error))?;
        let record = record.filter(|record| record.uuid == *uuid).ok_or(TokenFailure::Gone)?;
        Ok((record, revision))
    }

    /// Looks for newer tokens, without the lease.
    async fn find_newer(&self) -> Result<Option<(Refreshed, Revision)>, TokenFailure> {
        let (record, revision) = self.read().await?;
        Ok(self.newer_in(&record)?.map(|newer| (newer, revision)))
    }

    /// The tokens of a record, if they are newer than those that are of no more use.
    ///
    /// # Errors
    /// [`TokenFailure::Lapsed`] when there will be none.
    fn newer_in(&self, record: &ConnectionRecord) -> Result<Option<Refreshed>, TokenFailure> {
        let before = self.request.newer_than;
        match &record.detail {
            Detail::OAuth(grant) if grant.generation > before => {
                Ok(Some(Refreshed::elsewhere(grant.generation)))
            }
            Detail::OAuth(grant) => match &grant.lapse {
                // An operator may know that the provider has changed its mind.
                Some(lapse) if self.request.cause != Cause::Operator => {
                    Err(TokenFailure::Lapsed(lapse.reason))
                }
                _ => Ok(None),
            },
            Detail::AwsSigV4(_) => {
                let sessions = self.secrets_of(record)?.sessions;
                let newer = sessions.are_newer_than(before);
                Ok(newer.then(|| Refreshed::elsewhere(sessions.generation)))
            }
            _ => Err(TokenFailure::Gone),
        }
    }

    /// The keys of a connection with a role, and its sessions.
    fn secrets_of(&self, record: &ConnectionRecord) -> Result<AwsSecrets, TokenFailure> {
        let secrets = self.persistence.vault().open_connection(record)?;
        AwsSecrets::unpack(&secrets.secret).ok_or(TokenFailure::Seal)
    }

    /// Refreshes, and has the lease count until that is over, however long it takes: nobody else
    /// may spend the refresh token while what it was changed for is not kept.
    async fn refresh_under_lease(
        &self,
        mut leased: Leased,
    ) -> Result<(Refreshed, Revision), Unsuccessful> {
        let holder = leased.holder.clone();
        let done = tokio::select! {
            done = self.refresh(&mut leased) => done,
            never = self.keep_lease(&holder) => match never {},
        };
        let left = match done {
            // It was given back along with what was kept.
            Ok((Refreshed { is_ours: true, .. }, _)) => return done,
            Err(Unsuccessful { failure, .. }) if failure.may_have_spent() => Leftover::Unanswered,
            _ => Leftover::Nothing,
        };
        self.release_lease(&holder, left, leased.failure.as_deref()).await;
        done
    }

    /// Asks the provider and keeps what it gives.
    async fn refresh(&self, leased: &mut Leased) -> Result<(Refreshed, Revision), Unsuccessful> {
        match leased.record.detail.clone() {
            Detail::OAuth(grant) => self.refresh_grant(leased, &grant).await,
            Detail::AwsSigV4(access) => self.refresh_session(leased, &access).await,
            _ => Err(TokenFailure::Gone.into()),
        }
    }

    async fn refresh_grant(
        &self,
        leased: &mut Leased,
        grant: &Grant,
    ) -> Result<(Refreshed, Revision), Unsuccessful> {
        if grant.generation > self.request.newer_than {
            let newer = self.find_newer().await?;
            return Ok(
                newer.unwrap_or_else(|| (Refreshed::elsewhere(grant.generation), Revision::ZERO))
            );
        }
        let (client, before) = self.prepare(&leased.record, grant).await?;
        // Another instance may have been refused meanwhile.
        self.recall(&mut leased.failure, client.updated_at)?;
        if client.has_moved(grant, &before) {
            return Ok(self.lapse(LapseReason::ClientMoved, None).await?);
        }
        match Box::pin(self.request_tokens(leased, &client, grant, &before)).await {
            Ok(tokens) => {
                let life = refresh_token_life(&tokens, &client.profile, Some((&before, grant)));
                let renewed = Grant {
                    generation: grant.generation + 1,
                    refresh_token_life: life,
                    lapse: None,
                    injection: client.injection(),
                    refresh_on_status: client.profile.refresh_on_status.clone(),
                    ..grant.clone()
                };
                let next = NextTokens::Granted(Box::new(renewed), Box::new(tokens));
                Ok(self.keep(&leased.record, &next).await?)
            }
            Err(why) => self.judge(leased, Some(grant), why).await,
        }
    }

    /// The client, and the tokens that there are.
    async fn prepare(
        &self,
        record: &ConnectionRecord,
        grant: &Grant,
    ) -> Result<(ClientRecord, TokenSet), TokenFailure> {
        let secrets = self.persistence.open_connection(record).await?;
        let tokens = TokenSet::unpack(&secrets.secret).ok_or(TokenFailure::Seal)?;
        Ok((self.client(record, grant).await?, tokens))
    }

    /// The client, as it is now.
    async fn client(
        &self,
        record: &ConnectionRecord,
        grant: &Grant,
    ) -> Result<ClientRecord, TokenFailure> {
        let client = self.persistence.client(&record.integration, grant.client).await;
        client.map_err(|error| TokenFailure::of_store(&error))?.ok_or(TokenFailure::Gone)
    }

    async fn request_tokens(
        &self,
        leased: &Leased,
        client: &ClientRecord,
        grant: &Grant,
        before: &TokenSet,
    ) -> Result<TokenSet, Unsuccessful> {
        let own = GrantParams::own(grant.grant_type, &grant.scopes);
        let kept = before.refresh_token.as_ref().map(|refresh_token| GrantParams::Refresh {
            refresh_token,
            access_token: &before.access_token,
            scopes: &grant.scopes,
        });
        let grant_params = own.or(kept).ok_or(TokenFailure::NoRefreshToken)?;
        let subdomain = grant.subdomain.as_ref();
        let token_request = TokenRequest { client, subdomain, grant_params, scopes: &before.scope };
        let asking = self.provider.ask(token_request, self.note_asked(&leased.holder));
        let asked = Box::pin(asking).await;
        let mut fresh = asked.map_err(|why| {
            let has_user = grant.grant_type.has_user();
            let failure = if has_user { why.failure } else { why.failure.of_client_itself() };
            Unsuccessful { failure, ..why }
        })?;
        fresh.refresh_token = if grant.grant_type.has_user() {
            // A provider that gives no other means the same one (RFC 6749 §6).
            fresh.refresh_token.or_else(|| before.refresh_token.clone())
        } else {
            // There should be none (RFC 6749 §4.4.3, RFC 7521 §4.1).
            None
        };
        Ok(fresh)
    }

    /// Notes in the store that the provider is asked from now on, if the lease is still ours: this
    /// instance may have been paused since it took it. Where so much time passes between the note
    /// and its answer that the lease may have ended meanwhile, it is noted again.
    async fn note_asked(&self, holder: &str) -> Result<(), TokenFailure> {
        let length = self.lease.after_asking;
        for _attempt in 0..MAX_NOTES {
            let begun = instant();
            let noted =
                self.persistence.store().note_asked(self.request.uuid, holder, length).await;
            if !noted.map_err(|error| TokenFailure::of_store(&error))? {
                tracing::warn!("the refresh was not asked for: another instance has its lease");
                return Err(TokenFailure::Overtaken);
            }
            if begun.elapsed() < length / 2 {
                return Ok(());
            }
        }
        Err(TokenFailure::Store)
    }

    /// Has the lease count for as long as this is polled.
    async fn keep_lease(&self, holder: &str) -> Infallible {
        let RefreshLease { before_asking, after_asking } = self.lease;
        let interval = before_asking.min(after_asking) / 3;
        loop {
            tokio::time::sleep(interval).await;
            let store = self.persistence.store();
            let held = store.extend_refresh(self.request.uuid, holder, self.lease).await;
            match held {
                Ok(true) => {}
                Ok(false) => tracing::warn!("another instance has taken the lease to refresh"),
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the lease to refresh can't be extended");
                }
            }
        }
    }

    async fn release_lease(&self, holder: &str, left: Leftover, failure: Option<&RefreshFailure>) {
        let store = self.persistence.store();
        if let Err(error) = store.leave_refresh(self.request.uuid, holder, left, failure).await {
            tracing::warn!(error = %chain(&error), "the lease to refresh ends by itself");
        }
    }
}

/// The times that one refresh takes the lease: it may be lost to another instance before the
/// provider is asked.
const MAX_ENTRIES: usize = 3;

/// The number of tries to note that the provider is asked.
const MAX_NOTES: usize = 3;

/// The interval at which newer tokens of another instance are looked for.
const POLL_INTERVAL: Duration = Duration::from_millis(150);
