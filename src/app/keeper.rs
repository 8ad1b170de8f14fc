//! What is kept beyond the process, as the management plane needs it.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::backing::Backing;
use super::follower::Follower;
use super::keys::KeysError;
use crate::desk::{Keeping, Refused};
use crate::store::{Revision, Store};
use crate::vault::Vault;

/// The store, the keys, and the follower that puts in force what is written.
#[derive(Debug)]
pub(super) struct Keeper {
    pub(super) backing: Backing,
    pub(super) follower: Arc<Follower>,
}

impl Keeping for Keeper {
    fn store(&self) -> &Store {
        &self.backing.store
    }

    fn vault(&self) -> Arc<Vault> {
        self.backing.keys.vault()
    }

    fn renew_keys(&self) -> BoxFuture<'_, Result<(), Refused>> {
        let Backing { store, keys } = &self.backing;
        let reread = keys.reread(store).map(|reread| {
            if matches!(reread, Ok(true)) {
                self.follower.begin_afresh();
            }
            reread
        });
        let refused = |error| match error {
            KeysError::Environment => Refused::KeysFromEnvironment,
            error => Refused::KeysUnreadable(error.to_string()),
        };
        reread.map(move |reread| reread.map(drop).map_err(refused)).boxed()
    }

    fn in_force(&self, revision: Revision) -> BoxFuture<'_, bool> {
        self.follower.reached(revision).boxed()
    }
}
