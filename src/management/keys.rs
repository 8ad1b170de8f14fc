//! Master keys: which there are and what they wrap, and everything under the newest of them.

use uuid::Uuid;

use super::Management;
use super::connections::store_failed;
use super::fault::{Refused, Scope};
use super::operator::Operator;
use crate::error::chain;
use crate::model::sealed::{Context, Sealed};
use crate::store::{self, PageRange, RewrappedSecret, RewrittenMac, Store};
use crate::vault::{RewrapError, Vault};
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
        let used = persistence.store().key_usage().await.map_err(|error| store_failed(&error))?;
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
        let mut walk = Walk { store: persistence.store(), vault: &vault, rewrapped: 0, failed: 0 };
        walk.connections(&key).await.map_err(|error| store_failed(&error))?;
        walk.tokens(&key).await.map_err(|error| store_failed(&error))?;
        walk.authorities(&key).await.map_err(|error| store_failed(&error))?;
        walk.clients(&key).await.map_err(|error| store_failed(&error))?;
        walk.flows(&key).await.map_err(|error| store_failed(&error))?;
        walk.key_check().await.map_err(|error| store_failed(&error))?;
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
    async fn connections(&mut self, key: &str) -> Result<(), store::Error> {
        let mut window = PageRange { after: None, before: None, limit: AT_ONCE };
        loop {
            let page = self.store.connections_under_other_keys(key, &window).await?;
            let mut batch = Vec::new();
            for record in page.items {
                let rewrapped = record.map(|record| {
                    let after = self.vault.rewrap(&record.context(), &record.sealed);
                    let whose = format!("the connection {}.{}", record.integration, record.name);
                    (whose, record.uuid, record.sealed, after)
                });
                batch.extend(self.rewrapped("a connection", rewrapped));
            }
            self.rewrapped += self.store.rewrap_connections(&batch).await?;
            match page.ends {
                Some((_, last)) if page.has_more => window.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn clients(&mut self, key: &str) -> Result<(), store::Error> {
        let mut window = PageRange { after: None, before: None, limit: AT_ONCE };
        loop {
            let page = self.store.clients_under_other_keys(key, &window).await?;
            let mut batch = Vec::new();
            for record in page.items {
                let rewrapped = record.map(|record| {
                    let after = self.vault.rewrap(&record.context(), &record.sealed);
                    let whose = format!("the OAuth client {}.{}", record.integration, record.name);
                    (whose, record.uuid, record.sealed, after)
                });
                batch.extend(self.rewrapped("an OAuth client", rewrapped));
            }
            self.rewrapped += self.store.rewrap_clients(&batch).await?;
            match page.ends {
                Some((_, last)) if page.has_more => window.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn flows(&mut self, key: &str) -> Result<(), store::Error> {
        let mut window = PageRange { after: None, before: None, limit: AT_ONCE };
        loop {
            let page = self.store.flows_under_other_keys(key, &window).await?;
            let mut batch = Vec::new();
            for record in page.items {
                let rewrapped = record.map(|record| {
                    let after = self.vault.rewrap(&record.context(), &record.sealed);
                    let whose = format!("an OAuth flow of {}", record.integration);
                    (whose, record.id, record.sealed, after)
                });
                batch.extend(self.rewrapped("an OAuth flow", rewrapped));
            }
            self.rewrapped += self.store.rewrap_flows(&batch).await?;
            match page.ends {
                Some((_, last)) if page.has_more => window.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    /// One record's part of a batch, if it is under another key and can be brought under this one.
    /// A record that can't be read is `what`.
    fn rewrapped(
        &mut self,
        what: &str,
        read: Result<(String, Uuid, Sealed, Rewrap), store::Error>,
    ) -> Option<RewrappedSecret> {
        match read.map_err(|error| chain(&error).to_string()) {
            Ok((_, uuid, before, Ok(after))) => {
                Some(RewrappedSecret { uuid, before, after: after? })
            }
            Ok((whose, _, _, Err(error))) => {
                self.fail(&whose, &chain(&error).to_string());
                None
            }
            Err(error) => {
                self.fail(what, &error);
                None
            }
        }
    }

    async fn tokens(&mut self, key: &str) -> Result<(), store::Error> {
        let mut window = PageRange { after: None, before: None, limit: AT_ONCE };
        loop {
            let page = self.store.tokens_under_other_keys(key, &window).await?;
            let mut batch = Vec::new();
            for record in page.items {
                let renewed = record
                    .map(|record| (self.vault.renew_mac(&record.claims(), &record.mac), record));
                match renewed {
                    Ok((Ok(Some(after)), record)) => {
                        batch.push(RewrittenMac { id: record.id, before: record.mac, after });
                    }
                    Ok((Ok(None), _)) => {}
                    Ok((Err(error), record)) => {
                        self.fail(&format!("the token {}", record.name), &error.to_string());
                    }
                    Err(error) => self.fail("a token", &chain(&error).to_string()),
                }
            }
            self.rewrapped += self.store.renew_macs(&batch).await?;
            match page.ends {
                Some((_, last)) if page.has_more => window.after = Some(last),
                _ => return Ok(()),
            }
        }
    }

    async fn authorities(&mut self, key: &str) -> Result<(), store::Error> {
        let mut batch = Vec::new();
        // 1. All that are sealed under another key; one that fails doesn't stop the others.
        for record in self.store.authorities().await? {
            let record = match record {
                Ok(record) => record,
                Err(error) => {
                    self.fail("a CA", &chain(&error).to_string());
                    continue;
                }
            };
            if &*record.sealed.key_id == key {
                continue;
            }
            match self.vault.rewrap(&record.context(), &record.sealed) {
                Ok(Some(after)) => {
                    batch.push(RewrappedSecret { uuid: record.id, before: record.sealed, after });
                }
                Ok(None) => {}
                Err(error) => {
                    self.fail(&format!("the CA {}", record.id), &chain(&error).to_string());
                }
            }
        }
        // 2. Written in one transaction, each only if it is still as it was read.
        self.rewrapped += self.store.rewrap_authorities(&batch).await?;
        Ok(())
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
                self.fail("the key check", &chain(&error).to_string());
                Ok(())
            }
        }
    }

    fn fail(&mut self, what: &str, error: &str) {
        self.failed += 1;
        tracing::error!(
            what,
            error,
            "a record was not brought under the new master key and needs its old one: delete it if \
             it was changed by hand"
        );
    }
}

/// The result of bringing one record under the new key.
type Rewrap = Result<Option<Sealed>, RewrapError>;

/// The number of records that are brought under the new key at once.
const AT_ONCE: u32 = 200;
