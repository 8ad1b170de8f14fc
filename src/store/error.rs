//! What can go wrong with the store.

use std::io;
use std::path::PathBuf;

/// Why the store did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Others were at the same records for too long; it may be tried again.
    #[error("the store is busy")]
    Busy,
    /// There is a record of that name already.
    #[error("there is a record of that name already")]
    Conflict,
    /// The file of the database can't be made or read.
    #[error("the file {} can't be used", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The database holds something else; nothing in it was changed.
    #[error(
        "the database is not Keyferry's: it holds something else; name another one in store.url"
    )]
    Foreign,
    /// The file of the database holds nothing, and is not new either.
    #[error(
        "the database {path} holds nothing, and is not new either: it was copied without \
         {path}-wal. Bring that file along, or restore a backup with keyferry restore; to begin \
         with an empty store, delete {path} and start again",
        path = .0.display()
    )]
    Hollow(PathBuf),
    /// A record holds what nobody here wrote.
    #[error("the column {column} of {table} holds what it can't")]
    Inconsistent {
        /// The table.
        table: &'static str,
        /// The column.
        column: &'static str,
    },
    /// The database was written by a newer version.
    #[error(
        "the database is from a newer version (its schema is {found}, and {known} is the newest \
         known here): install that version, or name another database in store.url"
    )]
    Newer {
        /// The version of its schema.
        found: i64,
        /// The newest version that is known.
        known: i64,
    },
    /// Others may read or change the file of the database.
    #[error(
        "others can read or change the database {}: run chmod 600 on it",
        .0.display()
    )]
    Open(PathBuf),
    /// The OAuth client of a connection is gone.
    #[error("the connection's OAuth client is gone")]
    Orphan,
    /// The database can't be reached, or it failed. A write may have been done or not.
    #[error("the database can't be used just now")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// Not a URL of PostgreSQL. What it is instead is not said: it may contain a password.
    #[error("store.url is no URL of PostgreSQL: it looks like postgres://user@host/database")]
    Url,
}

/// The database did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("it did not answer in time")]
pub(super) struct TooLate;

impl Error {
    /// What a driver's error means.
    pub(super) fn of(error: sqlx::Error) -> Self {
        let sqlx::Error::Database(reported) = &error else {
            return Self::Unavailable(Box::new(error));
        };
        if reported.is_unique_violation() {
            return Self::Conflict;
        }
        let code = reported.code().unwrap_or_default();
        if BUSY.contains(&&*code) || code.parse().is_ok_and(is_busy_in_sqlite) {
            return Self::Busy;
        }
        if code == NOT_A_DATABASE {
            return Self::Foreign;
        }
        Self::Unavailable(Box::new(error))
    }
}

/// The low byte of an extended result code is the primary one: `SQLITE_BUSY`, `SQLITE_LOCKED`.
/// PostgreSQL's codes have five characters.
fn is_busy_in_sqlite(code: u32) -> bool {
    code < 10_000 && matches!(code & 0xff, 5 | 6)
}

/// PostgreSQL: serialisation failure, deadlock, lock not available, cancelled by a timeout.
const BUSY: [&str; 4] = ["40001", "40P01", "55P03", "57014"];

/// SQLite: `SQLITE_NOTADB`.
const NOT_A_DATABASE: &str = "26";
