//! The key file while the server runs: a key that is taken out of it is missing only after the next
//! start, when it may be gone for good, so the log says it at once.

use std::path::Path;

use parking_lot::Mutex;

use super::missing::{LOOK_INTERVAL, Stamp};
use super::{KeySource, MasterKeys, read_file};
use crate::error::chain;
use crate::store::Store;
use crate::vault::Keyring;

/// The state of the key file when it was last compared with the keys in use.
#[derive(Debug, Default)]
pub(super) struct LastLook(Mutex<Option<Stamp>>);

impl MasterKeys {
    /// The ids of the keys that the key file has now; `None` where it can't be read, or the keys
    /// come from the environment. Another key under the id of one in use is not that one.
    pub(in crate::state) fn in_file(&self) -> Option<Vec<String>> {
        let KeySource::File(path) = &self.source else { return None };
        let (keyring, vault) = (read_file(path).ok()?, self.vault());
        let ids = |keyring: &Keyring| {
            let ids = keyring.ids().filter(|id| keyring.has_as(id, vault.keyring()));
            ids.map(str::to_owned).collect()
        };
        Some(keyring.as_ref().map(ids).unwrap_or_default())
    }

    /// Looks at the key file again and again, and warns when it lacks a key in use that records
    /// need.
    pub(in crate::state) async fn watch_file(&self, store: &Store) {
        let KeySource::File(path) = &self.source else { return };
        let mut before = Stamp::of(path);
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            let now = Stamp::of(path);
            // A file that is being written is compared once it has come to rest.
            let rests = std::mem::replace(&mut before, now) == now;
            if rests && *self.last_look.0.lock() != now && self.compare(path, store).await {
                *self.last_look.0.lock() = now;
            }
        }
    }

    /// Compares the file with the keys in use. `false` where the store can't say what is needed.
    async fn compare(&self, path: &Path, store: &Store) -> bool {
        let Ok(used) = store.key_usage().await else { return false };
        let in_file = match read_file(path) {
            Ok(in_file) => in_file,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(%error, "the master key file can't be read: the next start would fail");
                return true;
            }
        };
        // Keys that only the program has, and that records need, are said.
        let vault = self.vault();
        let is_gone =
            |id: &str| in_file.as_ref().is_none_or(|file| !file.has_as(id, vault.keyring()));
        for (key, records) in used {
            if vault.keyring().has(&key) && is_gone(&key) {
                tracing::warn!(
                    key = &*key,
                    records,
                    "a master key that records need is not in the key file any more: from the next \
                     start on they can't be opened; put its line back into {}",
                    path.display()
                );
            }
        }
        true
    }
}
