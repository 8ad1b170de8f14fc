//! The audit trail: entries of requests, stored in batches. The oldest are deleted by age and by
//! total size.
//!
//! With SQLite it has a file of its own, so that its failures don't affect the store. In PostgreSQL
//! it is a table.

mod file;
mod index;
mod line;
mod search;
mod table;
mod upkeep;

use std::fmt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;

use self::file::TrailFile;
pub use self::index::EntryFilter;
use self::index::IndexRow;
pub use self::line::path_at_origin;
pub use self::search::{EntryRange, FoundEntries};
use super::database::{Database, DbTransaction};
use super::{Error, Store};

/// Entries that were stored together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditBatch {
    /// The id, greater than that of every earlier batch.
    pub id: i64,
    /// The entries, oldest first, each a line of JSON.
    pub lines: String,
}

/// The position of an entry in the trail.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct AuditPosition {
    /// The id of its batch.
    pub batch: i64,
    /// The number of its line in the batch.
    pub line: usize,
}

/// The place and the limit of the trail.
pub(super) struct AuditTrail {
    /// `None` where the trail is a table of the store's database.
    file: Option<TrailFile>,
    max_bytes: AtomicU64,
}

impl AuditTrail {
    /// A trail in a file beside that of the store, or in a table of its database.
    pub(super) fn new(store: Option<&Path>) -> Self {
        Self { file: store.map(TrailFile::beside), max_bytes: AtomicU64::new(MAX_BYTES) }
    }

    pub(super) async fn close(&self) {
        if let Some(file) = &self.file {
            file.close().await;
        }
    }

    pub(super) fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Relaxed)
    }
}

impl fmt::Display for AuditPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.batch, self.line)
    }
}

impl Store {
    /// Sets the limit of the trail in bytes.
    pub fn limit_audit(&self, max_bytes: u64) {
        self.trail.max_bytes.store(max_bytes, Relaxed);
    }

    /// Stores entries, each a line of JSON, the last of them from `last`. Deletes the oldest
    /// batches where they would exceed the limit.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when the limit is smaller than the entries; any other error of the trail.
    /// After an error the entries may have been stored or not.
    pub async fn append_audit(&self, lines: &str, last: Timestamp) -> Result<(), Error> {
        if let Some(file) = &self.trail.file {
            return file.append(lines, last, self.trail.max_bytes()).await;
        }
        let mut work = self.write().await?;
        insert(&mut work, lines, last).await?;
        work.commit().await
    }

    /// Reads batches from the newest to the oldest, of those before the batch `before`.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditBatch>, Error> {
        self.batches(NEWEST, before.unwrap_or(i64::MAX), limit).await
    }

    /// Reads batches from the oldest to the newest, of those after the batch `after`.
    pub async fn audit_after(&self, after: i64, limit: u32) -> Result<Vec<AuditBatch>, Error> {
        self.batches(OLDEST, after, limit).await
    }

    /// Deletes batches of which every entry is older than `time`, and those beyond the limit.
    /// Returns free space to the disk.
    pub async fn prune_audit(&self, time: Timestamp) -> Result<(), Error> {
        if let Some(file) = &self.trail.file {
            return file.prune(time).await;
        }
        while self.execute(PRUNE, [time.into(), PRUNED_AT_ONCE.into()]).await? > 0 {}
        self.execute(PRUNE_INDEX, []).await?;
        self.trim_audit().await
    }

    /// Deletes the oldest batches of a table that exceeds the limit. A file is trimmed by each
    /// append instead.
    pub async fn trim_audit(&self) -> Result<(), Error> {
        match &*self.database {
            Database::Postgres(database) => table::trim(database, self.trail.max_bytes()).await,
            Database::Sqlite(_) => Ok(()),
        }
    }

    /// Begins a transaction that reads from where the trail is.
    pub(super) async fn read_trail(&self) -> Result<DbTransaction, Error> {
        match &self.trail.file {
            Some(file) => file.read().await,
            None => self.read().await,
        }
    }

    /// Begins a transaction that writes there.
    pub(super) async fn write_trail(&self) -> Result<DbTransaction, Error> {
        match &self.trail.file {
            Some(file) => file.write().await,
            None => self.write().await,
        }
    }

    /// Notes how work on the trail has ended: a file is opened again after a failure.
    pub(super) async fn end_trail<T>(&self, outcome: Result<T, Error>) -> Result<T, Error> {
        match &self.trail.file {
            Some(file) => file.reopen_after_failure(outcome).await,
            None => outcome,
        }
    }

    async fn batches(
        &self,
        sql: &'static str,
        end: i64,
        limit: u32,
    ) -> Result<Vec<AuditBatch>, Error> {
        match &self.trail.file {
            Some(file) => file.batches(sql, end, limit).await,
            None => read_batches(self.read().await?, sql, end, limit).await,
        }
    }
}

/// Stores entries in rows of whole lines, each with its index.
async fn insert(work: &mut DbTransaction, lines: &str, last: Timestamp) -> Result<(), Error> {
    let mut rest = lines;
    while !rest.is_empty() {
        let (part, next) = rest.split_at(part_len(rest));
        let row = work.row(APPEND, [last.into(), part.into()]).await?;
        let row = row.ok_or(Error::Inconsistent { table: "audit", column: "id" })?;
        insert_index(work, &IndexRow::of(row.of("audit").number("id")?, part), last, 0).await?;
        rest = next;
    }
    Ok(())
}

async fn insert_index(
    work: &mut DbTransaction,
    row: &IndexRow,
    stored: Timestamp,
    joined: i64,
) -> Result<(), Error> {
    let values = [
        row.batches.1.into(),
        row.batches.0.into(),
        row.seconds.0.into(),
        row.seconds.1.into(),
        stored.into(),
        joined.into(),
        row.data.as_slice().into(),
    ];
    work.execute(APPEND_INDEX, values).await.map(drop)
}

/// The length of the lines that make the next row.
fn part_len(lines: &str) -> usize {
    let end = lines.as_bytes().get(ROW_LEN..).and_then(|beyond| memchr::memchr(b'\n', beyond));
    end.map_or(lines.len(), |end| ROW_LEN + end + 1)
}

async fn read_batches(
    mut work: DbTransaction,
    sql: &'static str,
    end: i64,
    limit: u32,
) -> Result<Vec<AuditBatch>, Error> {
    let rows = work.rows(sql, [end.into(), i64::from(limit).into()]).await?;
    work.roll_back().await?;
    let batches = rows.iter().map(|row| {
        let columns = row.of("audit");
        Ok(AuditBatch { id: columns.number("id")?, lines: columns.text("entries")? })
    });
    batches.collect()
}

const APPEND: &str = "INSERT INTO audit (last, entries, indexed) VALUES ($1, $2, 1) RETURNING id";

const APPEND_INDEX: &str = "INSERT INTO audit_index \
    (last_batch, first_batch, oldest, newest, stored, joined, data) \
    VALUES ($1, $2, $3, $4, $5, $6, $7)";

const NEWEST: &str = "SELECT id, entries FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2";

const OLDEST: &str = "SELECT id, entries FROM audit WHERE id > $1 ORDER BY id LIMIT $2";

const PRUNE: &str = "DELETE FROM audit WHERE id IN \
    (SELECT id FROM audit WHERE last < $1 ORDER BY last LIMIT $2)";

/// Deletes the index of batches that were deleted.
const PRUNE_INDEX: &str = "DELETE FROM audit_index WHERE last_batch < \
    coalesce((SELECT min(id) FROM audit), 9223372036854775807)";

/// The length of the lines of a row, in bytes: an entry that was found is read with its whole row.
const ROW_LEN: usize = 64 << 10;

/// The number of batches deleted in one transaction, small so that other writers wait shortly.
const PRUNED_AT_ONCE: i64 = 100;

/// The default limit in bytes.
const MAX_BYTES: u64 = 1 << 30;
