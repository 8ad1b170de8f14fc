//! The audit trail: entries of requests, kept by the batch; the oldest go first, by their age and
//! when there are too many bytes of them.
//!
//! Beside a file of SQLite it has a file of its own, so that whatever happens to it happens to
//! nothing else. In PostgreSQL it is a table.

mod file;
mod table;

use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use jiff::Timestamp;

use self::file::TrailFile;
use super::database::{Database, DbTransaction};
use super::{Error, Store};

/// Entries that were kept together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AuditBatch {
    /// Greater than that of all batches that were kept before.
    pub id: i64,
    /// The entries, oldest first, each a line of JSON.
    pub lines: String,
}

/// Where the trail is kept, and how much of it.
pub(super) struct AuditTrail {
    /// `None` where it is a table of the store's database.
    file: Option<TrailFile>,
    max_bytes: AtomicU64,
}

impl AuditTrail {
    /// In a file beside the store's.
    pub(super) fn beside(store: &Path) -> Self {
        Self { file: Some(TrailFile::beside(store)), max_bytes: AtomicU64::new(MAX_BYTES) }
    }

    /// In a table of the store's database.
    pub(super) fn within() -> Self {
        Self { file: None, max_bytes: AtomicU64::new(MAX_BYTES) }
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
    /// Sets how many bytes the trail may take.
    pub fn limit_audit(&self, max_bytes: u64) {
        self.trail.max_bytes.store(max_bytes, Relaxed);
    }

    /// Keeps entries, each a line of JSON, of which the last was written at `last`. Where they
    /// would be too many, the oldest go.
    ///
    /// # Errors
    /// [`Error::NoRoom`] when there is none even so; what else keeps the trail from being written.
    /// Then they may have been kept or not.
    pub async fn append_audit(&self, lines: &str, last: Timestamp) -> Result<(), Error> {
        if let Some(file) = &self.trail.file {
            return file.append(lines, last, self.trail.max_bytes()).await;
        }
        let mut work = self.write().await?;
        work.run(APPEND, [last.into(), lines.into()]).await?;
        work.commit().await
    }

    /// The newest batches, the newest first; only those before the batch `before`, if it is given.
    ///
    /// # Errors
    /// The fault that keeps the trail from being read.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<AuditBatch>, Error> {
        self.batches(NEWEST, before.unwrap_or(i64::MAX), limit).await
    }

    /// The oldest batches after the batch `after`, the oldest first.
    ///
    /// # Errors
    /// The fault that keeps the trail from being read.
    pub async fn audit_after(&self, after: i64, limit: u32) -> Result<Vec<AuditBatch>, Error> {
        self.batches(OLDEST, after, limit).await
    }

    /// Forgets batches of which every entry is older than `time`, and what is beyond the trail's
    /// bytes; gives the room back.
    ///
    /// # Errors
    /// The fault that keeps the trail from being written.
    pub async fn prune_audit(&self, time: Timestamp) -> Result<(), Error> {
        if let Some(file) = &self.trail.file {
            return file.prune(time).await;
        }
        while self.forget_before(time).await? > 0 {}
        self.trim_audit().await
    }

    /// Forgets the oldest batches of a table that has become too large. A file is kept within its
    /// bytes by every batch that it gets.
    ///
    /// # Errors
    /// The fault that keeps the trail from being written.
    pub async fn trim_audit(&self) -> Result<(), Error> {
        match &self.database {
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

    async fn forget_before(&self, time: Timestamp) -> Result<u64, Error> {
        let mut work = self.write().await?;
        let forgotten = work.run(PRUNE, [time.into(), PRUNED_AT_ONCE.into()]).await?;
        work.commit().await?;
        Ok(forgotten)
    }
}

async fn read_batches(
    mut work: DbTransaction,
    sql: &'static str,
    end: i64,
    limit: u32,
) -> Result<Vec<AuditBatch>, Error> {
    let rows = work.rows(sql, [end.into(), i64::from(limit).into()]).await?;
    work.end().await?;
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

/// Few enough that nobody waits long for the right to write.
const PRUNED_AT_ONCE: i64 = 100;

/// What the trail may take where nobody has said otherwise.
const MAX_BYTES: u64 = 1 << 30;
