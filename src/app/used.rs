//! Signs in the data directory that a store was used with it: then an empty store is a question,
//! not a start.

use std::path::PathBuf;

use super::ca::CERTIFICATE;
use crate::config::{Config, StoreUrl};
use crate::secret::file::{self, SecretFileError};
use crate::store::beside;

/// The files that show that a store was used; with all of them gone, an empty one may begin.
pub(super) fn signs(config: &Config) -> Vec<PathBuf> {
    let mark = config.data_dir.join(MARK);
    let certificate = config.data_dir.join(CERTIFICATE);
    let key = config.data_dir.join(&config.master_key_file);
    // A certificate alone may be that of a server that kept nothing, and a key alone one that was
    // put there for the first start. Data of versions that left no mark has both.
    let has_key = key.starts_with(&config.data_dir) && key.exists();
    let is_marked = mark.exists();
    let has_begun = is_marked || (has_key && certificate.exists());
    let mut signs = Vec::new();
    if has_begun {
        signs.extend([mark, certificate].into_iter().filter(|file| file.exists()));
    }
    // A log of writes without its database.
    if let StoreUrl::Sqlite(path) = &config.store.url {
        let database = config.data_dir.join(path);
        let log = beside(&database, "-wal");
        signs.extend(Some(log).filter(|log| log.exists() && !database.exists()));
    }
    signs
}

/// Leaves a sign that a store is used with this data directory.
pub(super) fn mark(config: &Config) -> Result<(), SecretFileError> {
    let mark = config.data_dir.join(MARK);
    if mark.exists() { Ok(()) } else { file::write(&mark, MEANING) }
}

const MARK: &str = "store.used";

const MEANING: &[u8] =
    b"Keyferry has used a store with this data directory. If it finds the store \
empty, it asks before it begins with it: delete this file to let it.\n";
