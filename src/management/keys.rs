//! Master keys: which there are and what they wrap, and everything under the newest of them.

use super::Management;
use super::events::EventDraft;
use super::fault::{Refused, Scope};
use super::operator::Operator;
use crate::error::chain;
use crate::model::event::EventKind;
use crate::model::sealed::Context;
use crate::store::{self, PageRange, RewrappedSecret, RewrittenMac, SealedTable, Store};
use crate::vault::Vault;
use crate::wire::{KeyRotation, KeyView};

impl Management {
    /// The master keys.
    ///
    /// # Errors
    /// When the token lacks the scope `admin` or is of one integration, or the store fails.
    pub async fn keys(&self, operator: &Operator) -> Result<Vec<KeyView>, Refused> {
        operator.need(Scope::Admin)?;
        operator.need_everything()?;
        let Ok(persistence) = self.persistence() else { return Ok(Vec::new()) };
        let used = persistence.store().key_usage().await?;
        let (vault, in_file) = (persistence.vault(), persistence.keys_in_file());
        let keyring = vault.keyring();
        // Those in use come first, in their order, then what the file alone has, then what records
        // alone name.
        let mut ids: Vec<&str> = keyring.ids().collect();
        let others = in_file.iter().flatten().map(String::as_str);
        for id in others.chain(used.iter().map(|(id, _)| &**id)) {
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        let is_in_file = |id| in_file.as_ref().map(|ids| ids.iter().any(|known| known == id));
        let keys = ids.into_iter().map(|id| KeyView {
            id: id.to_owned(),
            active: id == keyring.first_id(),
            present: keyring.has(id),
            in_file: is_in_file(id).filter(|is| *is != keyring.has(id)),
            records: used.iter().find(|(key, _)| **key == *id).map_or(0, |(_, records)| *records),
        });
        Ok(keys.collect())
    }

    /// Takes up the newest master key and brings every record under it, page by page. What is
    /// there can be used all the time; a rotation that is broken off is taken up by the next one.
    ///
    /// # Errors
    /// When the token lacks the scope `admin` or is of one integration, the keys can't be read
    /// again, or the store fails.
    pub async fn rotate(&self, operator: &Operator) -> Result<KeyRotation, Refused> {
        operator.need(Scope::Admin)?;
        operator.need_everything()?;
        let persistence = self.persistence()?;
        persistence.reread_keys().await?;
        let vault = persistence.vault();
        let key = vault.keyring().first_id().to_owned();
        // It is noted first: a walk that is broken off has changed records all the same.
        let event = EventDraft::new(EventKind::KeyRotate, "", &key);
        self.note(persistence, operator, event).await?;
        let mut walk = Walk { store: persistence.store(), vault: &vault, rewrapped: 0, failed: 0 };
        walk.everything(&key).await?;
        let Walk { rewrapped, failed, .. } = walk;
        let operator = &*operator.caller().name;
        tracing::info!(operator, key, rewrapped, failed, "the master key was rotated");
        Ok(KeyRotation { key, rewrapped, failed })
    }
}

/// A walk over everything that is under other keys.
struct Walk<'a> {
    store: &'a Store,
    vault: &'a Vault,
    rewrapped: u64,
    failed: u64,
}

impl Walk<'_> {
    async fn everything(&mut self, key: &str) -> Result<(), store::Error> {
        for table in SealedTable::ALL {
            self.secrets(table, key).await?;
        }
        self.tokens(key).await?;
        self.key_check().await
    }

    async fn secrets(&mut self, table: SealedTable, key: &str) -> Result<(), store::Error> {
        let mut window = PageRange { after: None, before: None, limit: AT_ONCE };
        loop {
            let page = self.store.sealed_under_other_keys(table, key, &window).await?;
            let mut batch = Vec::new();
            // One that fails doesn't stop the others.
            for record in page.items {
                let Some(record) = self.readable(record) else { continue };
                let (uuid, before, context) = record.parts();
                match self.vault.rewrap(&context, before) {
                    Ok(Some(after)) => {
                        batch.push(RewrappedSecret { uuid, before: before.clone(), after });
                    }
                    Ok(None) => {}
                    Err(error) => self.fail(&record.to_string(), &error),
                }
            }
            // Each is written only if it is still as it was read.
            self.rewrapped += self.store.rewrap(table, &batch).await?;
            match page.ends {
                Some((_, last)) if page.has_more => window.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn tokens(&mut self, key: &str) -> Result<(), store::Error> {
        let mut window = PageRange { after: None, before: None, limit: AT_ONCE };
        loop {
            let page = self.store.tokens_under_other_keys(key, &window).await?;
            let mut batch = Vec::new();
            for record in page.items {
                let Some(record) = self.readable(record) else { continue };
                match self.vault.renew_mac(&record.claims(), &record.mac) {
                    Ok(Some(after)) => {
                        batch.push(RewrittenMac { id: record.id, before: record.mac, after });
                    }
                    Ok(None) => {}
                    Err(error) => self.fail(&format!("the token {}", record.name), &error),
                }
            }
            self.rewrapped += self.store.renew_macs(&batch).await?;
            match page.ends {
                Some((_, last)) if page.has_more => window.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn key_check(&mut self) -> Result<(), store::Error> {
        let Some(before) = self.store.key_check().await? else { return Ok(()) };
        match self.vault.rewrap(&Context::KeyCheck, &before) {
            Ok(Some(after)) => {
                self.rewrapped += 1;
                self.store.rewrap_key_check(&before, &after).await
            }
            Ok(None) => Ok(()),
            Err(error) => {
                self.fail("the key check", &error);
                Ok(())
            }
        }
    }

    fn readable<T>(&mut self, record: Result<T, store::Error>) -> Option<T> {
        record.map_err(|error| self.fail("a record that can't be read", &error)).ok()
    }

    fn fail(&mut self, what: &str, error: &dyn std::error::Error) {
        self.failed += 1;
        tracing::error!(
            what,
            error = %chain(error),
            "a record was not brought under the new master key and needs its old one: delete it if \
             it was changed by hand"
        );
    }
}

/// The number of records that are brought under the new key at once.
const AT_ONCE: u32 = 200;
