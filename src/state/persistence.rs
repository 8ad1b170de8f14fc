//! The store and its keys, kept in force: where the rooms above keep what they make.

mod clients;
mod comparison;
mod follower;
mod opening;
mod overlap;
mod silence;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use self::silence::LastHeard;
use super::{DuplicateNames, InterceptionCa, KeysError, Live, MasterKeys};
use crate::clock;
use crate::error::chain;
use crate::ledger::Metrics;
use crate::model::connection_secrets::ConnectionSecrets;
use crate::model::record::ConnectionRecord;
use crate::model::sealed::{Context, Sealed};
use crate::secret::Secret;
use crate::store::{self, RecordKey, Revision, Store};
use crate::vault::{OpenError, Vault};

/// The store, and the master keys that it was sealed with.
#[derive(Clone, Debug)]
pub struct StoreAndKeys {
    /// The records.
    pub store: Arc<Store>,
    /// The keys.
    pub keys: Arc<MasterKeys>,
}

/// Keeps records in the store, and the set in force abreast of it.
#[derive(Debug)]
pub struct Persistence {
    kept: StoreAndKeys,
    ca: Arc<InterceptionCa>,
    live: Arc<Live>,
    metrics: Arc<Metrics>,
    max_staleness: Duration,
    /// The point up to which the store's changes are in force here.
    reached: watch::Sender<Reached>,
    /// The number of looks at the store that have begun.
    looks: AtomicU64,
    /// Asked to look at once.
    nudged: Notify,
    heard: Mutex<LastHeard>,
    stale: Arc<AtomicBool>,
    /// Asked to take up everything, not only what has changed.
    afresh: AtomicBool,
    /// The records that a comparison has found to be in force otherwise than the store has them.
    suspects: Mutex<Vec<RecordKey>>,
}

/// The point up to which the store's changes are in force here.
#[derive(Clone, Copy, Debug, Default)]
struct Reached {
    revision: Revision,
    /// The number of the look that has come to this.
    look: u64,
}

/// The reason why the store's records can't be in force.
#[derive(Debug, thiserror::Error)]
pub enum FollowError {
    /// The store can't be read.
    #[error("the store can't be read")]
    Store(#[source] store::Error),
    /// The store has a connection of a declared name.
    #[error(transparent)]
    Duplicate(#[from] DuplicateNames),
}

impl Persistence {
    /// Puts the store's records in force, and is ready to follow it.
    ///
    /// # Errors
    /// When the store can't be read, or has a connection of a declared name.
    pub async fn start(
        kept: StoreAndKeys,
        ca: Arc<InterceptionCa>,
        live: Arc<Live>,
        metrics: Arc<Metrics>,
        max_staleness: Duration,
    ) -> Result<Self, FollowError> {
        let stale = Arc::clone(&live.load().stale);
        let persistence = Self {
            kept,
            ca,
            live,
            metrics,
            max_staleness,
            reached: watch::Sender::default(),
            looks: AtomicU64::new(0),
            nudged: Notify::new(),
            heard: Mutex::new(LastHeard::new(clock::instant())),
            stale,
            afresh: AtomicBool::new(false),
            suspects: Mutex::default(),
        };
        // From here on the store's records are in force.
        match persistence.take_up().await.map_err(FollowError::Store)? {
            None => Ok(persistence),
            Some(duplicate) => Err(FollowError::Duplicate(duplicate)),
        }
    }

    /// The store.
    pub fn store(&self) -> &Arc<Store> {
        &self.kept.store
    }

    /// The vault with the master keys that are in force.
    pub fn vault(&self) -> Arc<Vault> {
        self.kept.keys.vault()
    }

    /// Opens a sealed secret, after a look for its master key, if that is not at hand: another
    /// instance may be rotating the keys, and further than this one. `owner` names whose secret it
    /// is in the alarm that is raised where it can't be opened.
    ///
    /// # Errors
    /// [`OpenError`] when the key is missing, or the record was changed by hand.
    pub async fn open(
        &self,
        owner: &str,
        context: Context<'_>,
        sealed: &Sealed,
    ) -> Result<Secret, OpenError> {
        self.look_for_key(&sealed.key_id).await;
        let opened = self.vault().open(&context, sealed);
        opened.inspect_err(|error| self.alarm(owner, error))
    }

    /// The vault by which the next event is signed, after a look for the key that has signed the
    /// last one.
    ///
    /// # Errors
    /// When the store can't be read.
    pub async fn event_signer(&self) -> Result<Arc<Vault>, store::Error> {
        if let Some(key_id) = self.store().event_key().await? {
            self.look_for_key(&key_id).await;
        }
        Ok(self.vault())
    }

    /// The vault, after a look for this master key, if that is not at hand.
    pub async fn vault_with(&self, key_id: &str) -> Arc<Vault> {
        self.look_for_key(key_id).await;
        self.vault()
    }

    /// Reads the master keys again, if this one is not at hand.
    async fn look_for_key(&self, key_id: &str) {
        let StoreAndKeys { store, keys } = &self.kept;
        if keys.vault().keyring().has(key_id) {
            return;
        }
        match keys.reread(store).await {
            Ok(true) => self.take_up_soon(),
            Ok(false) => {}
            Err(error) => {
                tracing::warn!(error = %chain(&error), "the master keys can't be read again");
            }
        }
    }

    /// Opens everything secret of a connection in the same way.
    ///
    /// # Errors
    /// [`OpenError`] when it can't be opened.
    pub async fn open_connection(
        &self,
        record: &ConnectionRecord,
    ) -> Result<ConnectionSecrets, OpenError> {
        let whose = format!("the connection {}.{}", record.integration, record.name);
        let opened = self.open(&whose, record.context(), &record.sealed).await?;
        record.secrets(&opened).ok_or(OpenError::BROKEN)
    }

    /// Takes up a new first master key, if there is one.
    ///
    /// # Errors
    /// [`KeysError`] when the keys can't be read again, or one is missing that records need.
    /// Nothing has changed then.
    pub async fn reread_keys(&self) -> Result<(), KeysError> {
        let StoreAndKeys { store, keys } = &self.kept;
        if keys.reread_for_rotation(store).await? {
            self.take_up_soon();
        }
        Ok(())
    }

    /// The ids of the master keys that the key file has now, none where it can't be read; `None`
    /// where the keys come from the environment.
    pub fn keys_in_file(&self) -> Option<Vec<String>> {
        self.kept.keys.in_file()
    }
}
