//! The audit trail: entries of requests, stored in batches. The oldest are deleted by age and by
//! total size.
//!
//! With SQLite it has a file of its own, so that its failures don't affect the store. In PostgreSQL
//! it is a table.

mod file;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;

use self::file::TrailFile;
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

    fn max_bytes(&self) -> u64 {
        self.max_bytes.load(Relaxed)
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
        self.execute(APPEND, [last.into(), lines.into()]).await.map(drop)
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

const APPEND: &str = "INSERT INTO audit (last, entries) VALUES ($1, $2)";

const NEWEST: &str = "SELECT id, entries FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2";

const OLDEST: &str = "SELECT id, entries FROM audit WHERE id > $1 ORDER BY id LIMIT $2";

const PRUNE: &str = "DELETE FROM audit WHERE id IN \
    (SELECT id FROM audit WHERE last < $1 ORDER BY last LIMIT $2)";

/// The number of batches deleted in one transaction, small so that other writers wait shortly.
const PRUNED_AT_ONCE: i64 = 100;

/// The default limit in bytes.
const MAX_BYTES: u64 = 1 << 30;
