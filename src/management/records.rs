//! Records of static connections, sealed as they are made and changed.

use jiff::Timestamp;

use super::Management;
use super::connections::seal;
use super::draft::{ConnectionChange, ConnectionDraft};
use super::fault::{Refused, no_randomness};
use crate::model::connection::FormerConnection;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::name::IntegrationName;
use crate::model::record::{ConnectionRecord, new_id, whole_microseconds};
use crate::model::sealed::Context;
use crate::state::Persistence;

impl Management {
    /// The record of a connection that is to be made, with its secret sealed.
    pub(super) fn seal_draft(
        &self,
        persistence: &Persistence,
        integration: &IntegrationName,
        draft: ConnectionDraft,
    ) -> Result<ConnectionRecord, Refused> {
        let uuid = new_id().map_err(|error| no_randomness(&error))?;
        let now = whole_microseconds(self.clock.now());
        let ConnectionDraft { name, allowed_domain, detail, options, secrets } = draft;
        // The secret is bound to everything that decides where it may be sent.
        let context = Context::Connection {
            uuid,
            integration,
            name: &name,
            allowed_domain: Some(&allowed_domain),
            detail: &detail,
            options: &options,
        };
        let sealed = seal(persistence, &context, &secrets.pack())?;
        let integration = integration.clone();
        Ok(ConnectionRecord {
            uuid,
            integration,
            name,
            allowed_domain: Some(allowed_domain),
            detail,
            options: options.shared(),
            sealed,
            created_at: now,
            updated_at: now,
        })
    }

    /// Tells whether an origin refuses the connection's present secret, as far as this instance has
    /// seen, while the one before is still good.
    fn is_refused(&self, record: &ConnectionRecord, now: Timestamp) -> bool {
        let in_force = self.live.load();
        let mut known = in_force.registry.listed_in(record.integration.as_str());
        let found = known.find(|known| known.connection.is_of(record));
        let former = found.and_then(|known| known.connection.former(now));
        former.is_some_and(FormerConnection::is_used)
    }

    /// The record as the change makes it: sealed again, since the context may be another.
    pub(super) async fn changed(
        &self,
        persistence: &Persistence,
        before: &ConnectionRecord,
        change: &ConnectionChange,
    ) -> Result<ConnectionRecord, Refused> {
        // Opened even where another secret takes its place: a row that was edited by hand would
        // else have the new one sealed for a place of the editor's choice.
        let secrets = persistence.open_connection(before).await?;
        let mut after = before.clone();
        after.detail = change.detail.clone();
        after.allowed_domain.clone_from(&change.allowed_domain);
        let now = whole_microseconds(self.clock.now());
        let secrets = match &change.secret {
            Some(secret) => {
                let kept = change.keep_old_for.filter(|time| !time.is_zero());
                let until = kept.and_then(|time| now.checked_add(time).ok());
                let is_refused = self.is_refused(before, now);
                let secret = secret.over(&secrets.secret, &after.detail);
                secrets.replaced_by(secret.ok_or(Refused::SealBroken)?, until, is_refused)
            }
            None => secrets,
        };
        // An old secret goes with what it was used with, whatever else was entered: who gives the
        // present one again must not take the one before it to another host. It may also be
        // forgotten early.
        let goes_elsewhere =
            after.detail != before.detail || after.allowed_domain != before.allowed_domain;
        let secrets = if goes_elsewhere || change.forgets_old() {
            ConnectionSecrets { old: None, ..secrets }
        } else {
            secrets
        };
        let secrets = secrets.with_client_key(change.client_key.clone(), &change.options);
        after.options = change.options.clone().shared();
        after.updated_at = self.moved(before.updated_at);
        after.sealed = seal(persistence, &after.context(), &secrets.pack())?;
        Ok(after)
    }
}
