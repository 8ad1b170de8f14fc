//! Records of the store are opened, and put into a registry or left out of it.

use std::collections::HashSet;
use std::sync::Arc;

use super::Persistence;
use crate::clock::Clock;
use crate::error::chain;
use crate::model::caller::Caller;
use crate::model::connection::Connection;
use crate::model::record::{ConnectionRecord, TokenRecord};
use crate::state::{DuplicateNames, Holder, Registry};
use crate::store::{self, RecordChange};
use crate::vault::{OpenError, Vault};

impl Persistence {
    pub(super) fn apply(&self, registry: &mut Registry, changes: Vec<RecordChange>) {
        let vault = self.kept.keys.vault();
        for change in changes {
            match change {
                RecordChange::Connection { now: Ok(Some(record)), .. } => {
                    if let Err(duplicate) = self.insert_connection(registry, &vault, record) {
                        tracing::error!(error = %chain(&duplicate), "{NOT_IN_FORCE}");
                    }
                }
                RecordChange::Connection { integration, name, now } => {
                    registry.remove_connection(&integration, &name);
                    self.report(now);
                }
                RecordChange::Authorities | RecordChange::Key { .. } => {}
                RecordChange::Token { now: Ok(Some(record)), .. } => {
                    self.insert_token(registry, &vault, record);
                }
                RecordChange::Token { id, now } => {
                    registry.remove_token(id);
                    self.report(now);
                }
            }
        }
    }

    /// Opens a connection's secret. One that can't be opened is in force as such, so that requests
    /// that name it fail, and say why.
    pub(super) fn insert_connection(
        &self,
        registry: &mut Registry,
        vault: &Vault,
        record: ConnectionRecord,
    ) -> Result<(), DuplicateNames> {
        let opened = vault.open(&record.context(), &record.sealed);
        let missing = opened.as_ref().err().and_then(OpenError::missing_key);
        let integration = registry.share(record.integration);
        let record = ConnectionRecord { integration, ..record };
        let connection =
            Connection::from_record(record, opened.ok().as_ref()).with_missing_key(missing);
        if connection.credential().is_none() {
            self.alarm_of_connection(&connection);
        }
        registry.insert_connection(connection, &self.metrics)
    }

    fn alarm_of_connection(&self, connection: &Connection) {
        self.metrics.count_seal_failure();
        let name = format!("{}.{}", connection.integration(), connection.name());
        if let Some(key) = connection.missing_key() {
            let advice = self.kept.keys.note_missing(key);
            tracing::error!(
                connection = name, %key,
                "the connection's secret can't be opened, and requests for it are refused, until \
                 its master key is there: {advice}"
            );
        } else {
            tracing::error!(
                connection = name,
                "the connection's secret can't be opened: its record was changed by hand; requests \
                 for it are refused"
            );
        }
    }

    pub(super) fn insert_token(&self, registry: &mut Registry, vault: &Vault, record: TokenRecord) {
        // Only a token that a holder of the master key wrote counts.
        if let Err(error) = vault.verify(&record.claims(), &record.mac) {
            self.metrics.count_seal_failure();
            if let Some(key) = error.missing_key() {
                let advice = self.kept.keys.note_missing(key);
                tracing::error!(
                    token.id = %record.id, %key,
                    "the access token is ignored until its master key is there: {advice}"
                );
            } else {
                tracing::error!(
                    token.id = %record.id,
                    "the access token is ignored: its MAC does not verify, so that its record was \
                     written or changed by hand"
                );
            }
            registry.remove_token(record.id);
            return;
        }
        let caller = Caller {
            name: record.name.into(),
            reach: record.reach,
            scopes: record.scopes,
            expires_at: record.expires_at,
            rules: record.rules,
        };
        registry.insert_token(record.digest, record.id, caller);
    }

    /// Says which tokens of the store have the name of a live token that is not of the store: those
    /// are made one by one, and nobody is asked before a name is declared.
    pub(super) fn warn_of_namesakes(&self) {
        let (in_force, now) = (self.live.load_full(), Clock::system().now());
        let live = || in_force.registry.holders().filter(|it| !it.caller.has_expired(now));
        let name = |holder: &Holder| {
            (holder.caller.reach.integration().to_owned(), Arc::clone(&holder.caller.name))
        };
        let declared = live().filter(|holder| holder.id().is_none());
        let declared: HashSet<_> = declared.map(|holder| name(holder)).collect();
        for holder in live() {
            let Some(id) = holder.id() else { continue };
            if declared.contains(&name(holder)) {
                tracing::warn!(
                    token.name = &*holder.caller.name,
                    integration = holder.caller.reach.integration(),
                    token.id = %id,
                    "a token of the store has the name of one that the configuration declares, or \
                     of the operator's own, so that the log can't tell the two apart: revoke it, \
                     or declare the other one by another name"
                );
            }
        }
    }

    /// Something that the store has sealed can't be opened.
    pub(super) fn alarm(&self, whose: &str, error: &OpenError) {
        self.metrics.count_seal_failure();
        if let Some(key) = error.missing_key() {
            let advice = self.kept.keys.note_missing(key);
            tracing::error!(
                whose, %key,
                "what is sealed can't be opened until its master key is there: {advice}"
            );
        } else {
            tracing::error!(
                whose,
                "what is sealed can't be opened: its record was changed by hand; nothing is done \
                 with it"
            );
        }
    }

    /// Reports a row that can't be read: it counts as one that was changed by hand.
    pub(super) fn report<T>(&self, read: Result<T, store::Error>) {
        if let Err(error) = read {
            self.metrics.count_seal_failure();
            tracing::error!(error = %chain(&error), "a row of the store was ignored: it was changed by hand, or a newer version wrote it");
        }
    }
}

pub(super) const NOT_IN_FORCE: &str = "a connection of the store was ignored, because this instance's \
     configuration declares its name: delete one of the two";
