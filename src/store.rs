//! What is kept beyond the life of a process: connections, access tokens, and what changed when.
//!
//! Owns the database, promises that a write which was acknowledged is there after any crash and
//! that everybody hears of it, and must never know a secret in clear, nor anything of HTTP.
//!
//! There are two backends behind one contract: SQLite for one process, PostgreSQL for many. A
//! future that is dropped has done its work whole or not at all. The audit trail is beside it, and
//! whatever becomes of that, records are kept.

mod audit;
mod authorities;
mod changes;
mod clients;
mod connections;
mod copy;
mod database;
mod detail;
mod error;
mod flows;
mod keys;
mod migrate;
mod page;
mod postgres;
mod refreshes;
mod row;
mod sqlite;
mod tokens;
mod transaction;
mod writability;

use std::cmp::Ordering;
use std::fmt;
use std::path::Path;

pub use self::audit::AuditBatch;
use self::audit::AuditTrail;
pub use self::changes::{Changes, Record, RecordChange, RecordKey, StoreSnapshot};
pub use self::copy::{CopyContents, CopyError, back_up_sqlite, beside, restore_sqlite};
use self::database::{Database, DbTransaction};
pub use self::error::Error;
pub use self::keys::{RewrappedSecret, RewrittenMac};
pub use self::page::{Page, PageRange};
pub use self::postgres::{ChangeListener, ChangeNotice};
pub use self::refreshes::{Leftover, RefreshLease, RefreshStart};
pub use self::writability::Unwritable;
use crate::secret::Secret;

/// The store. It is used on the runtime that opened it.
pub struct Store {
    database: Database,
    trail: AuditTrail,
}

/// A write that changes what is in force: its number, which is greater than those of all writes
/// before it, and its random identity.
///
/// A database that was put back, or a standby that was promoted without the last writes, gives the
/// same numbers to other writes; the identity tells them apart.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Revision {
    number: i64,
    /// 0 for a write of a version that gave none.
    identity: i64,
}

impl Store {
    /// Opens the SQLite database in this file, and makes it if there is none.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Newer`] or [`Error::Open`] when the file is not to be used;
    /// [`Error::File`] or [`Error::Unavailable`] when it can't be.
    pub async fn open_sqlite(path: &Path) -> Result<Self, Error> {
        let database = sqlite::Sqlite::open(path, &migrate::STORE).await?;
        Ok(Self { database: Database::Sqlite(database), trail: AuditTrail::beside(path) })
    }

    /// Opens the PostgreSQL database at this URL, which may contain a password.
    ///
    /// # Errors
    /// [`Error::Url`] when it is no such URL, [`Error::Foreign`] or [`Error::Newer`] when the
    /// database is not to be used, [`Error::Unavailable`] when it can't be reached.
    pub async fn open_postgres(url: &Secret) -> Result<Self, Error> {
        let database = postgres::Postgres::open(url).await?;
        Ok(Self { database: Database::Postgres(database), trail: AuditTrail::within() })
    }

    /// Ends all work and gives the database back.
    pub async fn close(&self) {
        self.trail.close().await;
        self.database.close().await;
    }

    /// Something that tells when another process may have written.
    #[must_use]
    pub fn listen(&self) -> ChangeListener {
        self.database.listen()
    }

    /// Work that sees one state of the database and changes nothing.
    async fn read(&self) -> Result<DbTransaction, Error> {
        self.database.read().await
    }

    /// Work that is done whole or not at all.
    async fn write(&self) -> Result<DbTransaction, Error> {
        self.database.write().await
    }
}

impl Revision {
    /// The revision of a store in which nothing was ever written.
    pub const ZERO: Self = Self { number: 0, identity: 0 };

    /// The number.
    #[must_use]
    pub fn number(self) -> i64 {
        self.number
    }
}

/// Two writes of one number are of two histories, and neither comes first.
impl PartialOrd for Revision {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        match self.number.cmp(&other.number) {
            Ordering::Equal if self.identity != other.identity => None,
            order => Some(order),
        }
    }
}

impl fmt::Debug for Store {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.database {
            Database::Postgres(_) => "Store(PostgreSQL)",
            Database::Sqlite(_) => "Store(SQLite)",
        })
    }
}

impl fmt::Display for Revision {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.number, f)
    }
}
