//! Old secrets, forgotten when their time is over.

use std::sync::Arc;

use jiff::Timestamp;

use super::Persistence;
use crate::error::chain;
use crate::model::connection::Connection;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::record::ConnectionRecord;

impl Persistence {
    /// Seals each connection without its old secret whose time is over at `now`, and by the store's
    /// clock. Where the store
    /// fails, that is tried again at the next call; the old secret is not used any more meanwhile.
    pub async fn forget_old_secrets(&self, now: Timestamp) {
        let ended: Vec<_> = {
            let in_force = self.live.load();
            let all = in_force.registry.stored();
            all.filter(|connection| connection.has_outlived_former(now)).map(Arc::clone).collect()
        };
        // An instance whose clock is ahead must not take them from the others: the store's says too
        // that their time is over.
        let Some(first) = ended.first() else { return };
        let now = match self.store().time().await {
            Ok(time) => now.min(time),
            Err(error) => return say_later(first, &error),
        };
        for connection in ended {
            self.forget_old_secret(&connection, now).await;
        }
    }

    async fn forget_old_secret(&self, connection: &Connection, now: Timestamp) {
        let (integration, name) = (connection.integration(), connection.name());
        // 1. The record as it is now: another instance may have been first.
        let found = match self.store().connection(integration, name).await {
            Ok(found) => found.filter(|record| connection.is_of(record)),
            Err(error) => return say_later(connection, &error),
        };
        let Some(before) = found else { return };
        let Some(after) = self.without_old_secret(&before, now) else { return };
        // 2. The same without it, unless it was changed meanwhile.
        match self.store().replace_connection(&before, &after).await {
            Ok(Some(_revision)) => tracing::info!(
                integration = integration.as_str(),
                connection.name = name.as_str(),
                "the old secret of a connection was forgotten, as keep_old_for says"
            ),
            Ok(None) => {}
            Err(error) => say_later(connection, &error),
        }
    }

    fn without_old_secret(
        &self,
        before: &ConnectionRecord,
        now: Timestamp,
    ) -> Option<ConnectionRecord> {
        let vault = self.vault();
        let secrets = vault.open_connection(before).ok()?;
        secrets.old.as_ref().filter(|old| old.until <= now)?;
        let secret = ConnectionSecrets { old: None, ..secrets }.pack();
        let sealed = vault.seal(&before.context(), &secret).ok()?;
        Some(ConnectionRecord { sealed, ..before.clone() })
    }
}

fn say_later(connection: &Connection, error: &crate::store::Error) {
    tracing::warn!(
        integration = connection.integration().as_str(),
        connection.name = connection.name().as_str(),
        error = %chain(error),
        "the old secret of a connection is still in the store, though it is not used any more: it \
         is taken out as soon as the store can be written"
    );
}
