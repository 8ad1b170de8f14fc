//! Backups of the embedded store, and the way back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use super::data_dir::{DataDir, DataDirError};
use super::open_store::key_location;
use crate::config::{Config, Environment, StoreUrl};
use crate::secret::file::is_ours;
use crate::store::{CopyContents, CopyError, back_up_sqlite, beside, restore_sqlite};

/// The store was copied.
#[derive(Debug)]
pub struct Copied {
    /// The database of the data directory.
    pub database: PathBuf,
    /// The contents of it.
    pub contents: CopyContents,
    /// The master keys that it takes and that are not at hand.
    pub missing_keys: Vec<Box<str>>,
    /// The place of the master keys.
    pub keys: String,
}

/// The reason why the store is not copied; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the text of each variant says it")]
pub enum CopiesError {
    #[error(transparent)]
    DataDir(#[from] DataDirError),
    #[error(transparent)]
    Copy(#[from] CopyError),
    #[error("{} belongs to another user: run this as the user that runs the server", .0.display())]
    Foreign(PathBuf),
    #[error("store.url is \"memory:\", so that nothing is kept: there is nothing to copy")]
    Memory,
    #[error(
        "the data directory has a store: restore into one without (--data-dir), or stop the server \
         and move {} and what begins with its name away first",
        .0.display()
    )]
    Occupied(PathBuf),
    #[error(
        "the store is a PostgreSQL database, which has tools of its own: back it up with pg_dump, and \
         bring it back with pg_restore or psql; docs/how-to/operate.md says what else to keep"
    )]
    Postgres,
    #[error("a thread can't be started")]
    Thread(#[source] io::Error),
}

/// Copies the embedded store into the new file `to`. A server may be running meanwhile.
///
/// # Errors
/// [`CopiesError`] tells why not; then there is no new file.
pub fn back_up(
    config: &Config,
    environment: &Environment,
    to: &Path,
) -> Result<Copied, CopiesError> {
    let database = database(config)?;
    // Files that are made beside the database as somebody else would keep the server out.
    if fs::metadata(&database).is_ok_and(|found| !is_ours(&found)) {
        return Err(CopiesError::Foreign(database));
    }
    let contents = runtime()?.block_on(back_up_sqlite(&database, to))?;
    Ok(copied(config, environment, database, contents))
}

/// Copies the backup `from` into the data directory, which is made where there is none, and must
/// not have a store.
///
/// # Errors
/// [`CopiesError`] tells why not; then there is no store as before.
pub fn restore(
    config: &Config,
    environment: &Environment,
    from: &Path,
) -> Result<Copied, CopiesError> {
    let database = database(config)?;
    // Held, so that no server begins meanwhile.
    let _held = DataDir::open(&config.data_dir)?;
    let files = ["", "-wal", "-shm", "-journal"].map(|ending| beside(&database, ending));
    if files.iter().any(|file| file.exists()) {
        return Err(CopiesError::Occupied(database));
    }
    let contents = runtime()?.block_on(restore_sqlite(from, &database))?;
    Ok(copied(config, environment, database, contents))
}

fn database(config: &Config) -> Result<PathBuf, CopiesError> {
    match &config.store.url {
        StoreUrl::Memory => Err(CopiesError::Memory),
        StoreUrl::Postgres(_) => Err(CopiesError::Postgres),
        StoreUrl::Sqlite(path) => Ok(config.data_dir.join(path)),
    }
}

fn copied(
    config: &Config,
    environment: &Environment,
    database: PathBuf,
    contents: CopyContents,
) -> Copied {
    let (keys, known) = key_location(config, environment).inspect();
    let is_missing = |id: &str| !known.iter().any(|known| known == id);
    let missing_keys = contents.key_ids.iter().filter(|id| is_missing(id)).cloned().collect();
    Copied { database, contents, missing_keys, keys }
}

fn runtime() -> Result<tokio::runtime::Runtime, CopiesError> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(CopiesError::Thread)
}
