//! Master keys that something needs and that are not at hand: the file is looked at until they are.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::time::Duration;

use parking_lot::Mutex;

use super::{KeySource, KeysError, MASTER_KEY_VARIABLE, MasterKeys};
use crate::error::chain;
use crate::model::sealed::KeyId;
use crate::store::Store;

/// The keys that something in force needs, and the state of the file when it was last read.
#[derive(Debug, Default)]
pub(super) struct Missing {
    ids: Mutex<Vec<KeyId>>,
    read: Mutex<Option<Stamp>>,
}

/// A state of a file, as far as it can be told without reading it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Stamp {
    file: (u64, u64),
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Missing {
    /// Notes that the file is about to be read. Noted before, a change during the reading counts
    /// as one after it.
    pub(super) fn note_read(&self, path: &Path) {
        *self.read.lock() = Stamp::of(path);
    }
}

impl Stamp {
    pub(super) fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            file: (found.dev(), found.ino()),
            size: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

impl MasterKeys {
    /// Notes that something is sealed under this key, which is not at hand, and says what is to be
    /// done about it.
    pub(in crate::state) fn note_missing(&self, id: KeyId) -> String {
        let mut ids = self.missing.ids.lock();
        if !ids.contains(&id) {
            ids.push(id);
        }
        match &self.source {
            KeySource::File(path) => format!(
                "put the line of the master key {id} into {}; the file is read again by itself",
                path.display()
            ),
            KeySource::Environment => {
                format!(
                    "add the line of the master key {id} to {MASTER_KEY_VARIABLE} and restart the server"
                )
            }
        }
    }

    /// Forgets which keys are missing: everything that needs one is about to be read again.
    pub(in crate::state) fn forget_missing(&self) {
        self.missing.ids.lock().clear();
    }

    /// Waits until a key is at hand that was missing. While one is missing the file is looked at
    /// again and again, and read when it has changed.
    pub(in crate::state) async fn arrival(&self, store: &Store) {
        loop {
            tokio::time::sleep(LOOK_INTERVAL).await;
            if self.missing.ids.lock().is_empty() {
                continue;
            }
            self.read_if_changed(store).await;
            if self.take_found() {
                return;
            }
        }
    }

    async fn read_if_changed(&self, store: &Store) {
        let KeySource::File(path) = &self.source else { return };
        if Stamp::of(path) == *self.missing.read.lock() {
            return;
        }
        match self.reread(store).await {
            Ok(_are_others) => {}
            // Nothing is wrong with the file: it is read again the next time.
            Err(KeysError::Store(_)) => *self.missing.read.lock() = None,
            Err(error) => {
                let error = chain(&error);
                tracing::warn!(%error, "the master key file has changed and can't be used");
            }
        }
    }

    /// Takes the keys that are at hand off the list, and says whether there are any.
    fn take_found(&self) -> bool {
        let (vault, mut ids) = (self.vault(), self.missing.ids.lock());
        let before = ids.len();
        ids.retain(|id| !vault.keyring().has(id.as_str()));
        ids.len() < before
    }
}

pub(super) const LOOK_INTERVAL: Duration = Duration::from_millis(250);
