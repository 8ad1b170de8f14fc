//! Opens the store and the master keys that it was sealed with.

use std::path::PathBuf;
use std::sync::Arc;

use super::used;
use crate::config::{Config, Environment, StoreUrl};
use crate::secret::Secret;
use crate::secret::file::SecretFileError;
use crate::state::{KeyLocation, KeysError, MASTER_KEY_VARIABLE, MasterKeys, StoreAndKeys};
use crate::store::{self, Store};

/// The reason why the store can't be worked with.
#[derive(Debug, thiserror::Error)]
pub enum OpenStoreError {
    /// The master keys.
    #[error(transparent)]
    Keys(#[from] KeysError),
    /// The mark of a store that is used can't be written.
    #[error(transparent)]
    Mark(#[from] SecretFileError),
    /// The store is empty, and one was used with this data directory.
    #[error(
        "the store is empty, but one was used with this data directory, as {signs} {tell}: bring it \
         back ({how}); or, to begin with an empty store, delete {signs} and start again"
    )]
    Lost {
        /// The files that show it.
        signs: String,
        /// The verb that goes with them.
        tell: &'static str,
        /// The way back.
        how: &'static str,
    },
    /// The store.
    #[error("the store can't be opened")]
    Store(#[source] store::Error),
}

/// Opens the store, made and brought up to date where needed, and the keys that go with it.
/// `None` for a store that keeps nothing.
pub(super) async fn open_store(
    config: &Config,
    environment: &Environment,
) -> Result<Option<StoreAndKeys>, OpenStoreError> {
    let signs = used::signs(config);
    let store = match &config.store.url {
        StoreUrl::Memory => return Ok(None),
        // Asked before a new file is made, which would stand in the way of a restore.
        StoreUrl::Sqlite(path) if !signs.is_empty() && !config.data_dir.join(path).exists() => {
            return Err(lost(config, &signs));
        }
        StoreUrl::Sqlite(path) => Store::open_sqlite(&config.data_dir.join(path)).await,
        StoreUrl::Postgres(url) => Store::open_postgres(url).await,
    };
    let store = store.map_err(OpenStoreError::Store)?;
    if !signs.is_empty() && store.key_usage().await.map_err(OpenStoreError::Store)?.is_empty() {
        return Err(lost(config, &signs));
    }
    let keys = MasterKeys::open(key_location(config, environment), &store).await?;
    used::mark(config)?;
    Ok(Some(StoreAndKeys { store: Arc::new(store), keys: Arc::new(keys) }))
}

/// The place of the master keys.
pub(super) fn key_location(config: &Config, environment: &Environment) -> KeyLocation {
    KeyLocation {
        variable: environment.text(MASTER_KEY_VARIABLE).map(Secret::new),
        file: config.data_dir.join(&config.master_key_file),
    }
}

fn lost(config: &Config, signs: &[PathBuf]) -> OpenStoreError {
    let tell = if signs.len() == 1 { "tells" } else { "tell" };
    let signs: Vec<_> = signs.iter().map(|file| file.display().to_string()).collect();
    let how = match config.store.url {
        StoreUrl::Postgres(_) => {
            "name the right database in store.url, or restore it by pg_restore"
        }
        _ => {
            "keyferry restore FILE from a backup, or the database with the -wal file beside it from \
             where it was"
        }
    };
    OpenStoreError::Lost { signs: signs.join(" and "), tell, how }
}
