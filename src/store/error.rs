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
    /// The database is not as it must be, or does not allow what it must: that does not pass by
    /// itself.
    #[error(
        "the database is not as it must be: restore it, or give the user of store.url what it lacks"
    )]
    Faulty(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The file of the database can't be made or read.
    #[error("the file {} can't be used", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// The database holds something else; nothing in it was changed.
    #[error(
        "the database is not Keyferry's: it holds something else; name another one in store.url"
    )]
    Foreign,
    /// There is no room left for what is to be kept. It was not kept.
    #[error("the database has no room left: free some on its disk")]
    Full(#[source] Box<dyn std::error::Error + Send + Sync>),
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
    /// The audit trail may not take as much as one batch of entries does.
    #[error(
        "the audit trail has no room for one batch of entries: raise audit.max_bytes, or free some \
         of its disk"
    )]
    NoRoom,
    /// Others may read or change the file of the database.
    #[error(
        "others can read or change the database {}: run chmod 600 on it",
        .0.display()
    )]
    Open(PathBuf),
    /// The OAuth client of a connection is gone.
    #[error("the connection's OAuth client is gone")]
    Orphan,
    /// The database can be read only: a standby, or a server or file that was made so.
    #[error("the database is read-only: make it writable, or have store.url lead to one that is")]
    ReadOnly(#[source] Box<dyn std::error::Error + Send + Sync>),
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

/// The server said so itself.
#[derive(Debug, thiserror::Error)]
#[error("the server's transaction_read_only is on: it is a standby, or was made read-only")]
pub(super) struct ReadOnlyServer;

impl Error {
    /// What a driver's error means.
    pub(super) fn of(error: sqlx::Error) -> Self {
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
                of_sqlite(code)
            }
            _ => of_postgres(&code),
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

    /// Tells whether it passes by itself, or with what is done beside the database, so that the
    /// same may be tried again.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy | Self::Full(_) | Self::ReadOnly(_) | Self::Unavailable(_))
    }

    /// In a few words what is wrong, for those who may not read the log.
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

/// What an error of a driver is taken for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum DriverErrorKind {
    Busy,
    Faulty,
    Foreign,
    Full,
    ReadOnly,
    Unavailable,
}

/// By the primary result code, which is the low byte of an extended one.
fn of_sqlite(code: u32) -> DriverErrorKind {
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

/// By the SQLSTATE.
fn of_postgres(code: &str) -> DriverErrorKind {
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
            assert_eq!(of_sqlite(code), kind, "{code}");
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
            assert_eq!(of_postgres(code), kind, "{code}");
        }
    }
}
