//! What is kept beyond the process: the store, and the keys that it was sealed with.

use std::sync::Arc;

use super::keys::{Keys, KeysError};
use crate::config::{Config, Environment, StoreUrl};
use crate::store::{self, Store};

/// The store and the master keys.
#[derive(Clone, Debug)]
pub(super) struct Backing {
    pub(super) store: Arc<Store>,
    pub(super) keys: Arc<Keys>,
}

/// Why the store can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum BackingError {
    /// The master keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The store.
    #[error("the store can't be opened: {0}")]
    Store(#[source] store::Error),
}

impl Backing {
    /// Opens the store, made and brought up to date where needed, and the keys that go with it.
    /// `None` for a store that keeps nothing.
    ///
    /// # Errors
    /// [`BackingError`] says what stands in the way.
    pub(super) async fn open(
        config: &Config,
        environment: &Environment,
    ) -> Result<Option<Self>, BackingError> {
        let store = match &config.store.url {
            StoreUrl::Memory => return Ok(None),
            StoreUrl::Sqlite(path) => Store::open_sqlite(&config.data_dir.join(path)).await,
            StoreUrl::Postgres(url) => Store::open_postgres(url).await,
        };
        let store = store.map_err(BackingError::Store)?;
        let keys = Keys::open(config, environment, &store).await?;
        Ok(Some(Self { store: Arc::new(store), keys: Arc::new(keys) }))
    }
}
