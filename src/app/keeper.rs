//! What is kept beyond the process, as the management plane needs it, and whoever refreshes tokens.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::backing::Backing;
use super::follower::Follower;
use super::keys::KeysError;
use crate::error::chain;
use crate::management::{Keeping, Refused};
use crate::model::sealed::{Context, Sealed};
use crate::oauth::{Provider, RefreshHandle, Shelf};
use crate::secret::Secret;
use crate::store::{Revision, Store};
use crate::vault::{OpenError, Vault};

/// The store, the keys, and the follower that puts in force what is written.
#[derive(Clone, Debug)]
pub(super) struct Kept {
    pub(super) backing: Backing,
    pub(super) follower: Arc<Follower>,
}

/// The same, with whoever asks for tokens.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) kept: Kept,
    pub(super) tokens: RefreshHandle,
    pub(super) provider: Arc<Provider>,
}

impl Shelf for Kept {
    fn store(&self) -> &Store {
        &self.backing.store
    }

    fn vault(&self) -> Arc<Vault> {
        self.backing.keys.vault()
    }

    fn open<'a>(
        &'a self,
        whose: String,
        context: Context<'a>,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Secret, OpenError>> {
        let open = async move {
            let vault = self.vault_with(&sealed.key_id).await;
            vault.open(&context, sealed).inspect_err(|error| self.follower.alarm(&whose, error))
        };
        open.boxed()
    }

    fn in_force(&self, revision: Revision) -> BoxFuture<'_, bool> {
        self.follower.reached(revision).boxed()
    }
}

impl Kept {
    /// The vault, after a look for the key of this id, if it is not in it.
    async fn vault_with(&self, key_id: &str) -> Arc<Vault> {
        let Backing { store, keys } = &self.backing;
        if keys.vault().keyring().ids().all(|known| known != key_id) {
            match keys.reread(store).await {
                Ok(true) => self.follower.begin_afresh(),
                Ok(false) => {}
                Err(error) => {
                    tracing::warn!(error = %chain(&error), "the master keys can't be read again");
                }
            }
        }
        keys.vault()
    }
}

impl Shelf for Keeper {
    fn store(&self) -> &Store {
        self.kept.store()
    }

    fn vault(&self) -> Arc<Vault> {
        self.kept.vault()
    }

    fn open<'a>(
        &'a self,
        whose: String,
        context: Context<'a>,
        sealed: &'a Sealed,
    ) -> BoxFuture<'a, Result<Secret, OpenError>> {
        self.kept.open(whose, context, sealed)
    }

    fn in_force(&self, revision: Revision) -> BoxFuture<'_, bool> {
        self.kept.in_force(revision)
    }
}

impl Keeping for Keeper {
    fn renew_keys(&self) -> BoxFuture<'_, Result<(), Refused>> {
        let Backing { store, keys } = &self.kept.backing;
        let reread = keys.reread_for_rotation(store).map(|reread| {
            if matches!(reread, Ok(true)) {
                self.kept.follower.begin_afresh();
            }
            reread
        });
        let refused = |error| match error {
            KeysError::Environment => Refused::KeysFromEnvironment,
            error @ KeysError::Needed(..) => Refused::KeysNeeded(error.to_string()),
            error => Refused::KeysUnreadable(chain(&error).to_string()),
        };
        reread.map(move |reread| reread.map(drop).map_err(refused)).boxed()
    }

    fn keys_in_file(&self) -> Option<Vec<String>> {
        self.kept.backing.keys.in_file()
    }

    fn tokens(&self) -> &RefreshHandle {
        &self.tokens
    }

    fn provider(&self) -> &Provider {
        &self.provider
    }
}
