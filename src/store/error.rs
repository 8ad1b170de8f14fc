//! Errors of the store.

use std::io;
use std::path::PathBuf;

/// The reason why the store has failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Other transactions have held locks for too long. It may be tried again.
    #[error("the store is busy")]
    Busy,
    /// A record of that name exists already.
    #[error("there is a record of that name already")]
    Conflict,
    /// The database is damaged or misconfigured, or lacks privileges, which does not pass by
    /// itself.
    #[error(
        "the database is not as it must be: restore it, or give the user of store.url what it lacks"
    )]
    Faulty(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file of the database can't be created or read.
    #[error("the file {} can't be used", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The database belongs to another program. Nothing in it was changed.
    #[error(
        "the database is not Keyferry's: it holds something else; name another one in store.url"
    )]
    Foreign,
    /// The database has no room left. Nothing was stored.
    #[error("the database has no room left: free some on its disk")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file of the database is a copy without its WAL, so it has no tables.
    #[error(
        "the database {path} holds nothing, and is not new either: it was copied without \
         {path}-wal. Bring that file along, or restore a backup with keyferry restore; to begin \
         with an empty store, delete {path} and start again",
        path = .0.display()
    )]
    Hollow(PathBuf),
    /// A record has a value that this program has not written.
    #[error(
        "the column {column} of {table} has an invalid value: restore the record from a backup"
    )]
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
        /// The newest known version.
        known: i64,
    },
    /// The limit of the audit trail is smaller than one batch of entries.
    #[error(
        "the audit trail has no room for one batch of entries: raise audit.max_bytes, or free some \
         of its disk"
    )]
    NoRoom,
    /// Other users may read or change the file of the database.
    #[error(
        "others can read or change the database {}: run chmod 600 on it",
        .0.display()
    )]
    Open(PathBuf),
    /// The OAuth client of a connection does not exist.
    #[error("the connection's OAuth client is gone")]
    Orphan,
    /// The database is read-only: a standby, or a server or file that was made so.
    #[error("the database is read-only: make it writable, or have store.url lead to one that is")]
    ReadOnly(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The database can't be reached, or has failed. A write may have been done or not.
    #[error("the database can't be reached, or has failed")]
    Unavailable(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The URL is not one of PostgreSQL. It is not repeated, because it may contain a password.
    #[error("store.url is no URL of PostgreSQL: it looks like postgres://user@host/database")]
    Url,
}

/// The database did not answer in time.
#[derive(Debug, thiserror::Error)]
#[error("it did not answer in time")]
pub(super) struct TooLate;

/// The server has reported that it is read-only.
#[derive(Debug, thiserror::Error)]
#[error("the server's transaction_read_only is on: it is a standby, or was made read-only")]
pub(super) struct ReadOnlyServer;

impl Error {
    pub(super) fn from_driver(error: sqlx::Error) -> Self {
        let reported = match &error {
            sqlx::Error::Database(reported) => reported,
            sqlx::Error::ColumnDecode { .. }
            | sqlx::Error::ColumnNotFound(_)
            | sqlx::Error::Configuration(_)
            | sqlx::Error::Decode(_)
            | sqlx::Error::TypeNotFound { .. } => return Self::Faulty(Box::new(error)),
            _ => return Self::Unavailable(Box::new(error)),
        };
        if reported.is_unique_violation() {
            return Self::Conflict;
        }
        let code = reported.code().unwrap_or_default();
        let kind = match code.parse() {
            // PostgreSQL's codes have five characters.
            Ok(code) if code < 10_000_u32 && reported.code().is_some_and(|code| code.len() < 5) => {
                sqlite_kind(code)
            }
            _ => postgres_kind(&code),
        };
        match kind {
            DriverErrorKind::Busy => Self::Busy,
            DriverErrorKind::Faulty => Self::Faulty(Box::new(error)),
            DriverErrorKind::Foreign => Self::Foreign,
            DriverErrorKind::Full => Self::Full(Box::new(error)),
            DriverErrorKind::ReadOnly => Self::ReadOnly(Box::new(error)),
            DriverErrorKind::Unavailable => Self::Unavailable(Box::new(error)),
        }
    }

    /// Tells whether the same may be tried again, because the error passes by itself or is fixed
    /// outside of the database.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Full(_) | Self::ReadOnly(_) | Self::Unavailable(_))
    }

    /// The reason in a few words, for callers, who can't read the log.
    pub(super) fn reason(&self) -> &'static str {
        match self {
            Self::Busy => "it is busy",
            Self::Full(_) => "it has no room left",
            Self::ReadOnly(_) => "it is read-only",
            Self::Unavailable(_) => "it can't be reached, or it fails; the server's log says why",
            _ => "it is not as it must be; the server's log says why",
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DriverErrorKind {
    Busy,
    Faulty,
    Foreign,
    Full,
    ReadOnly,
    Unavailable,
}

/// The kind of an SQLite error, by its primary result code: the low byte of an extended one.
fn sqlite_kind(code: u32) -> DriverErrorKind {
    match code & 0xff {
        // SQLITE_BUSY, SQLITE_LOCKED
        5 | 6 => DriverErrorKind::Busy,
        // SQLITE_READONLY
        8 => DriverErrorKind::ReadOnly,
        // SQLITE_FULL
        13 => DriverErrorKind::Full,
        // SQLITE_NOTADB
        26 => DriverErrorKind::Foreign,
        // SQLITE_ERROR (no such table), PERM, CORRUPT, TOOBIG, CONSTRAINT, MISMATCH, MISUSE, AUTH,
        // RANGE
        1 | 3 | 11 | 18 | 19 | 20 | 21 | 23 | 25 => DriverErrorKind::Faulty,
        _ => DriverErrorKind::Unavailable,
    }
}

/// The kind of a PostgreSQL error, by its SQLSTATE.
fn postgres_kind(code: &str) -> DriverErrorKind {
    match code {
        // Serialization failure, deadlock, lock not available, canceled by a timeout.
        "40001" | "40P01" | "55P03" | "57014" => DriverErrorKind::Busy,
        // Read-only transaction.
        "25006" => DriverErrorKind::ReadOnly,
        // Disk full.
        "53100" => DriverErrorKind::Full,
        // Database dropped, data corrupted, index corrupted.
        "57P04" | "XX001" | "XX002" => DriverErrorKind::Faulty,
        // Unsupported, bad data, constraints, wrong password, no such database or schema, and no
        // such table or no privilege.
        _ if ["0A", "22", "23", "28", "3D", "3F", "42"]
            .iter()
            .any(|class| code.starts_with(class)) =>
        {
            DriverErrorKind::Faulty
        }
        _ => DriverErrorKind::Unavailable,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_passes_by_itself_is_told_from_what_does_not() {
        for (code, kind) in [
            (5, DriverErrorKind::Busy),
            (261, DriverErrorKind::Busy),
            (8, DriverErrorKind::ReadOnly),
            (10, DriverErrorKind::Unavailable),
            (7, DriverErrorKind::Unavailable),
            (778, DriverErrorKind::Unavailable),
            (13, DriverErrorKind::Full),
            (11, DriverErrorKind::Faulty),
            (267, DriverErrorKind::Faulty),
            (1, DriverErrorKind::Faulty),
            (26, DriverErrorKind::Foreign),
        ] {
            assert_eq!(sqlite_kind(code), kind, "{code}");
        }
        for (code, kind) in [
            ("25006", DriverErrorKind::ReadOnly),
            ("53100", DriverErrorKind::Full),
            ("53300", DriverErrorKind::Unavailable),
            ("57P01", DriverErrorKind::Unavailable),
            ("08006", DriverErrorKind::Unavailable),
            ("57014", DriverErrorKind::Busy),
            ("42P01", DriverErrorKind::Faulty),
            ("42501", DriverErrorKind::Faulty),
            ("28P01", DriverErrorKind::Faulty),
        ] {
            assert_eq!(postgres_kind(code), kind, "{code}");
        }
    }
}
