//! The master keys: from the environment or a file, made on the first start, checked against what
//! the store was sealed with.

mod file_watch;
mod missing;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use arc_swap::ArcSwap;
use tokio::sync::Mutex;

use self::file_watch::LastLook;
use self::missing::Missing;
use crate::model::sealed::{Context, KeyId};
use crate::secret::Secret;
use crate::secret::file::{self, SecretFileError};
use crate::store::{self, PageRange, SealedTable, Store};
use crate::vault::{Keyring, KeyringError, SealError, Vault};

/// The master keys in use.
#[derive(Debug)]
pub struct MasterKeys {
    source: KeySource,
    vault: ArcSwap<Vault>,
    rereading: Mutex<()>,
    missing: Missing,
    last_look: LastLook,
}

/// The place of the master keys: the variable, or the file where it is not set.
#[derive(Debug)]
pub struct KeyLocation {
    /// The text of the environment variable.
    pub variable: Option<Secret>,
    /// The path of the file.
    pub file: PathBuf,
}

#[derive(Debug)]
enum KeySource {
    Environment,
    File(PathBuf),
}

/// The reason why there are no master keys to work with; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum KeysError {
    /// The key file can't be used.
    #[error(transparent)]
    File(#[from] SecretFileError),
    /// Others may read or change the key file, without which what it has sealed can't be opened.
    #[error(
        "others can read or change the master key file {}: run chmod 600 on it; if somebody may \
         have read it, put a new key on the first line, keep this one below it, and run `keyferry \
         key rotate`",
        .0.display()
    )]
    Exposed(PathBuf),
    /// The key file is gone while the server runs.
    #[error(
        "there is no key file {}: put it back, with the line of each key that records need ({})",
        .0.display(), .1
    )]
    Gone(PathBuf, String),
    /// The text that was read is not a keyring.
    #[error("the master keys in {place} can't be used: {why}")]
    Keyring {
        /// The place that it was read from.
        place: String,
        /// The fault.
        why: KeyringError,
    },
    /// The store was sealed before, and there is no key.
    #[error(
        "the store holds secrets, and there is no master key in {}: bring back the key that they \
         were sealed with ({}), or set {MASTER_KEY_VARIABLE}",
        .0.display(), .1
    )]
    Missing(PathBuf, String),
    /// The store was sealed with a key that is not among those at hand.
    #[error(
        "the store was sealed with the master key {id}, and {place} holds other master keys: put \
         the line of {id} into it as well"
    )]
    Lacking {
        /// The place that the keys were read from.
        place: String,
        /// The key that is not there.
        id: KeyId,
    },
    /// Records need keys that the file does not have.
    #[error(
        "{} lacks what records still need, {}: put each such key back into the file as it was, on \
         a line below the first; if one is lost, delete what it sealed",
        .0.display(), in_words(.1)
    )]
    Needed(PathBuf, Vec<(KeyId, u64)>),
    /// The store was sealed with another key.
    #[error(
        "the store was sealed with other master keys than those in {0}: bring back the key that \
         was used, as a line of its own"
    )]
    Wrong(String),
    /// The environment stays the same for as long as the process lives.
    #[error(
        "the master keys come from {MASTER_KEY_VARIABLE}, which can't change while the server runs: write \
         them to seal.master_key_file with the new key on the first line, restart without the \
         variable, and rotate then"
    )]
    Environment,
    /// The store can't be asked.
    #[error("the store can't be asked which key it was sealed with")]
    Store(#[source] store::Error),
    /// The key check can't be sealed.
    #[error("the store can't be marked with its key")]
    Seal(#[source] SealError),
}

impl MasterKeys {
    /// The keys that are there, or a new one where neither keys nor a sealed store are.
    ///
    /// # Errors
    /// [`KeysError`] when the keys can't be read, or are not those that the store was sealed with.
    pub async fn open(location: KeyLocation, store: &Store) -> Result<Self, KeysError> {
        let (source, keyring) = match location.variable {
            Some(text) => (KeySource::Environment, parse(&text, MASTER_KEY_VARIABLE)?),
            None => match read_file(&location.file)? {
                Some(keyring) => (KeySource::File(location.file), keyring),
                None => return Self::make(location.file, store).await,
            },
        };
        let keys = Self::new(source, keyring);
        keys.check(&keys.vault(), store).await?;
        Ok(keys)
    }

    fn new(source: KeySource, keyring: Keyring) -> Self {
        let (missing, last_look) = (Missing::default(), LastLook::default());
        let vault = ArcSwap::from_pointee(Vault::new(keyring));
        Self { source, vault, rereading: Mutex::default(), missing, last_look }
    }

    /// The keys in use.
    pub fn vault(&self) -> Arc<Vault> {
        self.vault.load_full()
    }

    /// Reads the file again, and uses its keys if they open the store, with those in use that it
    /// lacks while records need any of them. Tells whether they are others than before.
    ///
    /// # Errors
    /// [`KeysError`] as at the start, and where the file has another key under the id of one in use
    /// that records need; the keys in use stay so then.
    pub(super) async fn reread(&self, store: &Store) -> Result<bool, KeysError> {
        // One reading at a time, so that an older file never replaces a newer one.
        let _turn = self.rereading.lock().await;
        let (path, mut vault) = self.read_again(store).await?;
        let in_use = self.vault();
        let mut lacking = lacking(&vault, &in_use, store).await?;
        // One that is not in use either can't be given up.
        lacking.retain(|(id, _)| in_use.keyring().has(id.as_str()));
        if !lacking.is_empty() {
            lacking.retain(|(id, _)| vault.keyring().has(id.as_str()));
            let place = || path.display().to_string();
            let all = vault.keyring().with_rest_of(in_use.keyring());
            vault = Vault::new(all.map_err(|why| KeysError::Keyring { place: place(), why })?);
        }
        self.check(&vault, store).await?;
        self.replace(path, vault, lacking)
    }

    /// The same for a rotation, after which the old keys are expected to be needed no more: the
    /// file must have every key that a record needs.
    ///
    /// # Errors
    /// [`KeysError`] as at the start, and where the file lacks a key that records need; the keys
    /// in use stay so then.
    pub(super) async fn reread_for_rotation(&self, store: &Store) -> Result<bool, KeysError> {
        let _turn = self.rereading.lock().await;
        let (path, vault) = self.read_again(store).await?;
        let lacking = lacking(&vault, &self.vault(), store).await?;
        if lacking.is_empty() {
            self.check(&vault, store).await?;
        }
        self.replace(path, vault, lacking)
    }

    async fn read_again(&self, store: &Store) -> Result<(&Path, Vault), KeysError> {
        let KeySource::File(path) = &self.source else { return Err(KeysError::Environment) };
        self.missing.note_read(path);
        match read_file(path)? {
            Some(keyring) => Ok((path, Vault::new(keyring))),
            None => Err(KeysError::Gone(path.clone(), used_keys(store).await?)),
        }
    }

    /// Uses these keys from now on, unless they lack any of those.
    fn replace(
        &self,
        path: &Path,
        vault: Vault,
        lacking: Vec<(KeyId, u64)>,
    ) -> Result<bool, KeysError> {
        if !lacking.is_empty() {
            return Err(KeysError::Needed(path.to_path_buf(), lacking));
        }
        let vault = Arc::new(vault);
        let before = self.vault.swap(Arc::clone(&vault));
        Ok(!before.keyring().ids().eq(vault.keyring().ids()))
    }

    /// A key is never made over old data; and it is on the disk before anything is sealed with it.
    async fn make(path: PathBuf, store: &Store) -> Result<Self, KeysError> {
        // The key check is one of the records that count.
        let used = used_keys(store).await?;
        if !used.is_empty() {
            return Err(KeysError::Missing(path, used));
        }
        let place = path.display().to_string();
        let keyring = Keyring::generate().map_err(|why| KeysError::Keyring { place, why })?;
        file::write(&path, keyring.to_text().expose())?;
        let keys = Self::new(KeySource::File(path.clone()), keyring);
        match keys.check(&keys.vault(), store).await {
            Err(KeysError::Wrong(_) | KeysError::Lacking { .. }) => {
                // Another instance was first; this key has sealed nothing.
                std::fs::remove_file(&path)
                    .map_err(|why| SecretFileError::Unusable(path.clone(), why))?;
                Err(KeysError::Missing(path, used_keys(store).await?))
            }
            checked => checked.map(|()| keys),
        }
    }

    /// Checks that the store was sealed with one of `vault`'s keys; a store that was never sealed
    /// is from now on.
    async fn check(&self, vault: &Vault, store: &Store) -> Result<(), KeysError> {
        let kept = if let Some(kept) = store.key_check().await.map_err(KeysError::Store)? {
            kept
        } else if !self.opens_some(vault, store).await.map_err(KeysError::Store)? {
            return Err(KeysError::Wrong(self.source.to_string()));
        } else {
            let mark = Secret::new(MARK);
            let sealed = vault.seal(&Context::KeyCheck, &mark).map_err(KeysError::Seal)?;
            store.keep_key_check(&sealed).await.map_err(KeysError::Store)?
        };
        let place = self.source.to_string();
        match vault.open(&Context::KeyCheck, &kept).map_err(|error| error.missing_key()) {
            Ok(_mark) => Ok(()),
            Err(Some(id)) => Err(KeysError::Lacking { place, id }),
            Err(None) => Err(KeysError::Wrong(place)),
        }
    }

    /// A store that has records and no key check was restored in part, or tampered with: what is
    /// there must show that the keys are the right ones. Whether it does, or nothing is there.
    async fn opens_some(&self, vault: &Vault, store: &Store) -> Result<bool, store::Error> {
        let is_empty = store.key_usage().await?.is_empty();
        // Another instance may have begun at the same time: then its key check tells.
        if is_empty || store.key_check().await?.is_some() {
            return Ok(true);
        }
        let first = PageRange { after: None, before: None, limit: 1 };
        for table in SealedTable::ALL {
            let mut page = store.sealed_under_other_keys(table, "", &first).await?;
            let record = page.items.pop().and_then(Result::ok);
            if record.is_some_and(|record| {
                let (_, sealed, context) = record.parts();
                vault.open(&context, sealed).is_ok()
            }) {
                return Ok(true);
            }
        }
        let token = store.tokens_under_other_keys("", &first).await?.items.pop();
        let token = token.and_then(Result::ok);
        Ok(token.is_some_and(|record| vault.verify(&record.claims(), &record.mac).is_ok()))
    }
}

impl std::fmt::Display for KeySource {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Environment => f.write_str(MASTER_KEY_VARIABLE),
            Self::File(path) => path.display().fmt(f),
        }
    }
}

impl KeyLocation {
    /// Names the place of the master keys, and the ids of those that can be read there.
    pub fn inspect(self) -> (String, Vec<String>) {
        let (place, keyring) = match self.variable {
            Some(text) => (MASTER_KEY_VARIABLE.to_owned(), parse(&text, MASTER_KEY_VARIABLE).ok()),
            None => (self.file.display().to_string(), read_file(&self.file).ok().flatten()),
        };
        (place, keyring.iter().flat_map(Keyring::ids).map(str::to_owned).collect())
    }
}

/// The ids of the keys under which the store has records, in a row.
async fn used_keys(store: &Store) -> Result<String, KeysError> {
    let used = store.key_usage().await.map_err(KeysError::Store)?;
    let ids: Vec<_> = used.iter().filter_map(|(id, _)| KeyId::parse(id)).collect();
    Ok(ids.iter().map(KeyId::as_str).collect::<Vec<_>>().join(", "))
}

/// The keys that records need and that `vault` does not have as they are in use, and how many
/// records need each. What can't be the id of a key was written by hand, and no key file can have
/// it.
async fn lacking(
    vault: &Vault,
    in_use: &Vault,
    store: &Store,
) -> Result<Vec<(KeyId, u64)>, KeysError> {
    let used = store.key_usage().await.map_err(KeysError::Store)?;
    let has = |id: &str| vault.keyring().has_as(id, in_use.keyring());
    let lacking = used.into_iter().filter(|(id, _)| !has(id));
    Ok(lacking.filter_map(|(id, records)| Some((KeyId::parse(&id)?, records))).collect())
}

/// `the master key k1 (3 records) and the master key k2 (1 record)`
fn in_words(keys: &[(KeyId, u64)]) -> String {
    let key = |(id, records): &(KeyId, u64)| {
        let ending = if *records == 1 { "" } else { "s" };
        format!("the master key {id} ({records} record{ending})")
    };
    keys.iter().map(key).collect::<Vec<_>>().join(" and ")
}

fn read_file(path: &Path) -> Result<Option<Keyring>, KeysError> {
    let text = file::read(path, MAX_KEY_FILE_LEN).map_err(|error| match error {
        SecretFileError::Exposed(path) => KeysError::Exposed(path),
        other => KeysError::File(other),
    })?;
    text.map(|text| parse(&text, &path.display().to_string())).transpose()
}

fn parse(text: &Secret, place: &str) -> Result<Keyring, KeysError> {
    Keyring::parse(text).map_err(|why| KeysError::Keyring { place: place.to_owned(), why })
}

/// The environment variable that may hold the master keys.
pub const MASTER_KEY_VARIABLE: &str = "KEYFERRY_MASTER_KEY";

/// The key check's text; only that it opens counts.
const MARK: &str = "keyferry";

/// Many more keys than anybody rotates through.
const MAX_KEY_FILE_LEN: usize = 64 << 10;
