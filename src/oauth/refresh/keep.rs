//! The end of a refresh: what it has brought is kept in the store, in the place of what was there.

use std::time::Duration;

use super::{Refresh, Refreshed};
use crate::model::aws::access::AwsSecrets;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::oauth::grant::Grant;
use crate::model::oauth::tokens::TokenSet;
use crate::model::record::{ConnectionRecord, Detail, whole_microseconds};
use crate::oauth::failure::TokenFailure;
use crate::store::Revision;

/// Everything that a refresh has brought, as it is kept.
#[derive(Debug)]
pub(super) enum NextTokens {
    /// The tokens of a grant.
    Granted(Box<Grant>, Box<TokenSet>),
    /// Keys with another session of their role.
    Session(Box<AwsSecrets>),
}

impl NextTokens {
    fn generation(&self) -> i64 {
        match self {
            Self::Granted(grant, _) => grant.generation,
            Self::Session(secrets) => secrets.sessions.generation,
        }
    }

    /// Puts them into a connection and its secrets.
    fn put_into(&self, record: &mut ConnectionRecord, secrets: &mut ConnectionSecrets) {
        match self {
            Self::Granted(grant, tokens) => {
                record.detail = Detail::OAuth(grant.clone());
                secrets.secret = tokens.pack();
            }
            Self::Session(renewed) => secrets.secret = renewed.pack(),
        }
    }
}

impl Refresh<'_> {
    /// Keeps the tokens, however long that takes and whatever else is changed of the connection
    /// meanwhile: what the provider has replaced is nowhere else. Only what is of another grant or
    /// other keys, or newer, is left as it is.
    pub(super) async fn keep(
        &self,
        read: &ConnectionRecord,
        next: &NextTokens,
    ) -> Result<(Refreshed, Revision), TokenFailure> {
        let mut before = read.clone();
        let mut pause = FIRST_RETRY_PAUSE;
        loop {
            // 1. They are kept, if the connection is still as it was read.
            let ours = Refreshed { generation: next.generation(), is_ours: true };
            let after = match self.renewed(&before, next).await {
                Ok(after) => after,
                // The key file may be behind; what was renewed is nowhere else.
                Err(error @ TokenFailure::KeyMissing(_)) => {
                    cant_keep(&before, &error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_RETRY_PAUSE);
                    continue;
                }
                Err(other) => return Err(other),
            };
            match self.persistence.store().finish_refresh(&before, &after).await {
                Ok(Some(revision)) => return Ok((ours, revision)),
                Ok(None) => {}
                Err(error) => {
                    cant_keep(&before, &error);
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(MAX_RETRY_PAUSE);
                }
            }
            // 2. Otherwise it is read again.
            let (found, revision) = match self.read().await {
                Ok(found) => found,
                Err(TokenFailure::Store | TokenFailure::StoreFaulty) => continue,
                Err(other) => return Err(other),
            };
            // The write that seemed to fail was done after all.
            if found.sealed.payload == after.sealed.payload {
                return Ok((ours, revision));
            }
            if let Some(theirs) = self.replaced_by(&before, &found)? {
                return Ok((theirs, revision));
            }
            before = found;
        }
    }

    /// The tokens that somebody else has put in the place of those of `before`; `None` where they
    /// are still there.
    ///
    /// # Errors
    /// [`TokenFailure::Overtaken`] when there are other keys, which have no session yet.
    fn replaced_by(
        &self,
        before: &ConnectionRecord,
        found: &ConnectionRecord,
    ) -> Result<Option<Refreshed>, TokenFailure> {
        if let Detail::AwsSigV4(_) = &found.detail {
            let (ours, theirs) = (self.secrets_of(before)?, self.secrets_of(found)?);
            let is_same = before.detail == found.detail
                && ours.sessions.generation == theirs.sessions.generation
                && ours.has_keys_of(&theirs);
            return match theirs.sessions {
                _ if is_same => Ok(None),
                sessions if sessions.current.is_some() => {
                    Ok(Some(Refreshed::elsewhere(sessions.generation)))
                }
                _ => Err(TokenFailure::Overtaken),
            };
        }
        let (ours, theirs) = before.grant().zip(found.grant()).ok_or(TokenFailure::Gone)?;
        Ok((!ours.is_same_set(theirs)).then(|| Refreshed::elsewhere(theirs.generation)))
    }

    /// The record with other tokens.
    async fn renewed(
        &self,
        before: &ConnectionRecord,
        next: &NextTokens,
    ) -> Result<ConnectionRecord, TokenFailure> {
        let mut after = before.clone();
        after.updated_at = whole_microseconds(self.clock.now()).max(before.updated_at);
        // The key of its client certificate is sealed with them.
        let mut secrets = self.persistence.open_connection(before).await?;
        next.put_into(&mut after, &mut secrets);
        let sealed = self.persistence.vault().seal(&after.context(), &secrets.pack());
        after.sealed = sealed.map_err(|_why| TokenFailure::Seal)?;
        Ok(after)
    }
}

fn cant_keep(record: &ConnectionRecord, error: &(dyn std::error::Error + 'static)) {
    tracing::error!(
        error,
        connection = format!("{}.{}", record.integration, record.name),
        "refreshed tokens can't be kept yet; they are not used before"
    );
}

const FIRST_RETRY_PAUSE: Duration = Duration::from_millis(100);

/// So that what could not be kept is kept within a second of the store being back.
const MAX_RETRY_PAUSE: Duration = Duration::from_millis(500);
