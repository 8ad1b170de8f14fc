//! Records of the store are opened, and put into a registry or left out of it.

use super::Follower;
use crate::error::chain;
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::record::{ConnectionRecord, TokenRecord};
use crate::registry::{Registry, Taken};
use crate::store::{self, Change};
use crate::vault::Vault;

impl Follower {
    pub(super) fn apply(&self, registry: &mut Registry, changes: Vec<Change>) {
        let vault = self.backing.keys.vault();
        for change in changes {
            match change {
                Change::Connection { now: Ok(Some(record)), .. } => {
                    if let Err(taken) = self.put(registry, &vault, record) {
                        tracing::error!(error = %chain(&taken), "{NOT_IN_FORCE}");
                    }
                }
                Change::Connection { integration, name, now } => {
                    registry.withdraw(&integration, &name);
                    self.report(now);
                }
                Change::Authorities | Change::Key { .. } => {}
                Change::Token { now: Ok(Some(record)), .. } => self.admit(registry, &vault, record),
                Change::Token { id, now } => {
                    registry.dismiss(id);
                    self.report(now);
                }
            }
        }
    }

    /// Opens a connection's secret. One that can't be opened is in force as such, so that requests
    /// that name it fail, and say why.
    pub(super) fn put(
        &self,
        registry: &mut Registry,
        vault: &Vault,
        record: ConnectionRecord,
    ) -> Result<(), Taken> {
        let opened = vault.open(&record.context(), &record.sealed);
        let integration = registry.share(record.integration);
        let record = ConnectionRecord { integration, ..record };
        let connection = Connection::of_record(record, opened.ok().as_ref());
        if connection.credential().is_none() {
            self.metrics.count_seal_failure();
            tracing::error!(
                connection = format!("{}.{}", connection.integration(), connection.name()),
                "the connection's secret can't be opened: its row was changed by hand, or its \
                 master key is missing; requests for it are refused"
            );
        }
        registry.put(connection, &self.metrics)
    }

    pub(super) fn admit(&self, registry: &mut Registry, vault: &Vault, record: TokenRecord) {
        if vault.verify(&record.claims(), &record.mac).is_err() {
            self.metrics.count_seal_failure();
            tracing::error!(
                token.id = %record.id,
                "a token of the store was not written by a holder of the master key; it is no token"
            );
            registry.dismiss(record.id);
            return;
        }
        let caller = Caller {
            name: record.name.into(),
            reach: record.reach,
            scopes: record.scopes,
            expires_at: record.expires_at,
        };
        registry.admit(record.digest, record.id, caller);
    }

    /// Something that the store has sealed can't be opened.
    pub(in crate::app) fn alarm(&self, whose: &str) {
        self.metrics.count_seal_failure();
        tracing::error!(
            whose,
            "what is sealed can't be opened: its row was changed by hand, or its master key is \
             missing; nothing is done with it"
        );
    }

    /// A row that is no record counts as one that was changed by hand.
    pub(super) fn report<T>(&self, read: Result<T, store::Error>) {
        if let Err(error) = read {
            self.metrics.count_seal_failure();
            tracing::error!(error = %chain(&error), "a row of the store can't be read; it is not in force");
        }
    }
}

pub(super) const NOT_IN_FORCE: &str = "what the store has is not in force here";
