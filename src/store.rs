//! Stores connections, caller tokens, clients, flows, CAs, sessions, events, what the
//! webhook was told, and the history of changes.
//!
//! Owns the database, promises that an acknowledged write survives any crash and that every
//! instance learns of it, and must never know a secret in clear, nor anything of HTTP.
//!
//! There are two backends behind one interface: SQLite for one process, PostgreSQL for many. A
//! future that is dropped has done its work as a whole or not at all. The audit trail is separate,
//! so that its failures don't affect records.

mod audit;
mod authorities;
mod changes;
mod clients;
mod connections;
mod copy;
mod database;
mod detail;
mod error;
mod events;
mod flows;
mod keys;
mod migrate;
mod page;
mod postgres;
mod refreshes;
mod row;
mod sessions;
mod sqlite;
mod stats;
mod tokens;
mod transaction;
mod webhook;
mod writability;

use std::cmp::Ordering;
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicI64;

use jiff::Timestamp;

use self::audit::AuditTrail;
pub use self::audit::{
    AuditBatch, AuditPosition, EntryFilter, EntryRange, FoundEntries, path_at_origin,
};
pub use self::changes::{Changes, Record, RecordChange, RecordKey, StoreSnapshot};
pub use self::copy::{CopyContents, CopyError, back_up_sqlite, beside, restore_sqlite};
use self::database::{Database, DbTransaction};
pub use self::error::Error;
use self::events::PendingEvent;
pub use self::events::{EventColumns, EventFilter, EventNote, StoredChain, StoredEvent};
pub use self::keys::{RewrappedSecret, RewrittenMac, SealedRecord, SealedTable};
pub use self::page::{Page, PageRange};
pub use self::postgres::{ChangeListener, ChangeNotice};
pub use self::refreshes::{Leftover, RefreshLease, RefreshStart};
use self::row::{SqlRow, SqlValue};
pub use self::sessions::{SessionLimits, SpentSignIn};
pub use self::stats::{CountKey, CountQuery, CountRow, CountSpan, CountSubject, HealthRow};
pub use self::tokens::TokenUse;
pub use self::webhook::WebhookNotice;
pub use self::writability::Unwritable;
use crate::secret::Secret;

/// The store. It must be used on the runtime that has opened it.
pub struct Store {
    database: Arc<Database>,
    trail: Arc<AuditTrail>,
    /// The greatest number of an event that was seen.
    seen_event: Arc<AtomicI64>,
    /// The event that goes along with the next write.
    note: Option<Arc<EventNote>>,
}

/// A write that changes what is in force. It has a number, greater than that of every earlier
/// write, and a random identity.
///
/// A database that was restored, or a standby that was promoted without the last writes, gives the
/// same numbers to other writes. The identity tells them apart.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, PartialEq)]
pub struct Revision {
    number: i64,
    /// 0 for a write of an older version, which gave none.
    identity: i64,
}

impl Store {
    /// Opens the SQLite database in this file, and creates it if there is none.
    ///
    /// # Errors
    /// [`Error::Foreign`], [`Error::Newer`] or [`Error::Open`] when the file must not be used;
    /// [`Error::File`] or [`Error::Unavailable`] when it can't be.
    pub async fn open_sqlite(path: &Path) -> Result<Self, Error> {
        let database = sqlite::Sqlite::open(path, &migrate::STORE).await?;
        Ok(Self::over(Database::Sqlite(database), AuditTrail::new(Some(path))))
    }

    /// Opens the PostgreSQL database at this URL, which may contain a password.
    ///
    /// # Errors
    /// [`Error::Url`] when the URL is not one of PostgreSQL, [`Error::Foreign`] or [`Error::Newer`]
    /// when the database must not be used, [`Error::Unavailable`] when it can't be reached.
    pub async fn open_postgres(url: &Secret) -> Result<Self, Error> {
        let database = postgres::Postgres::open(url).await?;
        Ok(Self::over(Database::Postgres(database), AuditTrail::new(None)))
    }

    fn over(database: Database, trail: AuditTrail) -> Self {
        let (database, trail) = (Arc::new(database), Arc::new(trail));
        Self { database, trail, seen_event: Arc::default(), note: None }
    }

    /// Waits for running transactions and closes the database.
    pub async fn close(&self) {
        self.trail.close().await;
        self.database.close().await;
    }

    /// A listener for the writes of other processes.
    pub fn listen(&self) -> ChangeListener {
        self.database.listen()
    }

    /// The database's time, which all instances share.
    pub async fn time(&self) -> Result<Timestamp, Error> {
        let mut work = self.read().await?;
        let time = work.database_time().await;
        work.roll_back().await?;
        let wrong = |_beyond| Error::Inconsistent { table: "", column: "now" };
        Timestamp::from_microsecond(time?).map_err(wrong)
    }

    /// Begins a read-only transaction, which sees one state of the database.
    async fn read(&self) -> Result<DbTransaction, Error> {
        self.database.read().await
    }

    /// Begins a transaction, with which the event is stored if there is one.
    async fn write(&self) -> Result<DbTransaction, Error> {
        let event = self.note.as_ref().map(|note| PendingEvent {
            note: Arc::clone(note),
            seen: Arc::clone(&self.seen_event),
        });
        Ok(self.database.write().await?.with_event(event))
    }

    /// Runs one statement that reads, in a transaction of its own.
    async fn query<const N: usize>(
        &self,
        sql: &'static str,
        values: [SqlValue; N],
    ) -> Result<Vec<SqlRow>, Error> {
        let mut work = self.read().await?;
        let rows = work.rows(sql, values).await;
        work.roll_back().await?;
        rows
    }

    /// Runs one statement that writes, in a transaction of its own, and gives the number of affected
    /// rows.
    async fn execute<const N: usize>(
        &self,
        sql: &'static str,
        values: [SqlValue; N],
    ) -> Result<u64, Error> {
        let mut work = self.write().await?;
        let affected = work.execute(sql, values).await?;
        work.commit().await?;
        Ok(affected)
    }
}

impl Revision {
    /// The revision of an empty store.
    pub const ZERO: Self = Self { number: 0, identity: 0 };

    /// The number.
    pub fn number(self) -> i64 {
        self.number
    }
}

/// Two writes of the same number belong to different histories, so neither is earlier.
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
        f.write_str(match *self.database {
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
