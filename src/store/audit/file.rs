//! The audit trail in a file of its own beside the store's.
//!
//! The file is opened at its first use, and again after a failure, so that a damaged file that was
//! moved away is replaced by a new one without a restart.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::Mutex;

use super::{AuditBatch, PRUNE, PRUNE_INDEX, PRUNED_AT_ONCE, insert, read_batches};
use crate::store::Error;
use crate::store::database::DbTransaction;
use crate::store::migrate;
use crate::store::sqlite::Sqlite;

/// The file of the trail, opened on demand.
pub(super) struct TrailFile {
    path: PathBuf,
    opened: Mutex<Option<Arc<Sqlite>>>,
}

/// The numbers of all pages of the file and of its free ones.
#[derive(Clone, Copy)]
struct FilePages {
    all: u64,
    free: u64,
    /// The size of a page in bytes.
    size: u64,
}

impl TrailFile {
    /// The trail of a store: `keyferry-audit.db` beside `keyferry.db`.
    pub(super) fn beside(store: &Path) -> Self {
        let mut name = OsString::from(store.file_stem().unwrap_or_default());
        name.push("-audit");
        if let Some(extension) = store.extension() {
            name.push(".");
            name.push(extension);
        }
        Self { path: store.with_file_name(name), opened: Mutex::default() }
    }

    pub(super) async fn append(
        &self,
        lines: &str,
        last: Timestamp,
        max_bytes: u64,
    ) -> Result<(), Error> {
        let done = async {
            let file = self.opened().await?;
            let mut work = DbTransaction::from(file.write().await?);
            self.make_room(&mut work, lines.len() as u64, max_bytes).await?;
            insert(&mut work, lines, last).await?;
            let pages = FilePages::of(&mut work).await?;
            work.commit().await?;
            pages.give_back(&file).await
        };
        self.reopen_after_failure(done.await).await
    }

    /// Deletes batches of which every entry is older than `time`.
    pub(super) async fn prune(&self, time: Timestamp) -> Result<(), Error> {
        let done = async {
            let file = self.opened().await?;
            loop {
                let mut work = DbTransaction::from(file.write().await?);
                let forgotten = work.execute(PRUNE, [time.into(), PRUNED_AT_ONCE.into()]).await?;
                work.execute(PRUNE_INDEX, []).await?;
                let pages = FilePages::of(&mut work).await?;
                work.commit().await?;
                if forgotten == 0 {
                    return pages.give_back(&file).await;
                }
            }
        };
        self.reopen_after_failure(done.await).await
    }

    pub(super) async fn batches(
        &self,
        sql: &'static str,
        end: i64,
        limit: u32,
    ) -> Result<Vec<AuditBatch>, Error> {
        let read = async {
            let file = self.opened().await?;
            read_batches(file.read().await?.into(), sql, end, limit).await
        };
        self.reopen_after_failure(read.await).await
    }

    /// Begins a transaction that reads.
    pub(super) async fn read(&self) -> Result<DbTransaction, Error> {
        let begun = async { Ok(self.opened().await?.read().await?.into()) };
        self.reopen_after_failure(begun.await).await
    }

    /// Begins a transaction that writes.
    pub(super) async fn write(&self) -> Result<DbTransaction, Error> {
        let begun = async { Ok(self.opened().await?.write().await?.into()) };
        self.reopen_after_failure(begun.await).await
    }

    pub(super) async fn close(&self) {
        let opened = self.opened.lock().await.take();
        if let Some(file) = opened {
            file.close().await;
        }
    }

    async fn opened(&self) -> Result<Arc<Sqlite>, Error> {
        let mut opened = self.opened.lock().await;
        if let Some(file) = &*opened {
            return Ok(Arc::clone(file));
        }
        let file = Arc::new(Sqlite::open(&self.path, &migrate::TRAIL).await?);
        Ok(Arc::clone(opened.insert(file)))
    }

    /// Has the file opened again after a failure.
    pub(super) async fn reopen_after_failure<T>(
        &self,
        outcome: Result<T, Error>,
    ) -> Result<T, Error> {
        if matches!(&outcome, Err(error) if !matches!(error, Error::Busy | Error::Full(_))) {
            drop(self.opened.lock().await.take());
        }
        outcome
    }

    /// Deletes the oldest batches until `bytes` more fit into the limit. A part of the disk is left
    /// to the store, because its credentials matter more than the trail.
    async fn make_room(
        &self,
        work: &mut DbTransaction,
        bytes: u64,
        max_bytes: u64,
    ) -> Result<(), Error> {
        // 1. The pages that may be used, by the limit and by the disk.
        let mut pages = FilePages::of(work).await?;
        // An index, and rows that begin on a page of their own, go with them.
        let needed = (bytes + bytes / 4) / pages.size + PAGES_BESIDE;
        let grown = pages.all + self.free_bytes() / pages.size;
        let allowed = (max_bytes.saturating_sub(LOG_BYTES) / pages.size).min(grown);
        // 2. Delete in growing steps, since one batch or thousands may be too many.
        let mut at_once = 1_i64;
        while pages.used() + needed > allowed {
            if work.execute(FORGET_OLDEST, [at_once.into()]).await? == 0 {
                return Err(Error::NoRoom);
            }
            work.execute(PRUNE_INDEX, []).await?;
            at_once = (at_once * 2).min(FORGOTTEN_AT_ONCE);
            pages = FilePages::of(work).await?;
        }
        Ok(())
    }

    /// The bytes by which the file may grow on its disk.
    fn free_bytes(&self) -> u64 {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        // Where free space is not known, a full disk refuses the write.
        let Ok(disk) = rustix::fs::statvfs(directory.unwrap_or_else(|| Path::new("."))) else {
            return u64::MAX / 2;
        };
        let (all, free) = (disk.f_blocks * disk.f_frsize, disk.f_bavail * disk.f_frsize);
        let log = OsString::from_iter([self.path.as_os_str(), OsStr::new("-wal")]);
        let log = std::fs::metadata(log).map_or(0, |log| log.len());
        let reserved =
            (all / RESERVED_PART).min(MAX_RESERVED) + (LOG_BYTES / 2).saturating_sub(log);
        free.saturating_sub(reserved)
    }
}

impl FilePages {
    async fn of(work: &mut DbTransaction) -> Result<Self, Error> {
        let row = work.row(PAGES, []).await?;
        let row = row.ok_or(Error::Inconsistent { table: "audit", column: "page_count" })?;
        let number = |name| row.of("audit").number(name).map(i64::unsigned_abs);
        Ok(Self {
            all: number("page_count")?,
            free: number("freelist_count")?,
            size: number("page_size")?.max(512),
        })
    }

    fn used(self) -> u64 {
        self.all.saturating_sub(self.free)
    }

    /// Returns free pages to the disk when there are many. A few are kept for the next batches.
    async fn give_back(self, file: &Sqlite) -> Result<(), Error> {
        let mut free = self.free;
        let kept = (self.used() / 8).max(MIN_FREE_PAGES);
        if free <= 2 * kept {
            return Ok(());
        }
        while free > kept {
            file.maintain(GIVE_BACK).await?;
            file.maintain(EMPTY_LOG).await?;
            free = free.saturating_sub(GIVEN_BACK_AT_ONCE);
        }
        Ok(())
    }
}

const PAGES: &str = "SELECT page_count, freelist_count, page_size \
    FROM pragma_page_count, pragma_freelist_count, pragma_page_size";

const FORGET_OLDEST: &str =
    "DELETE FROM audit WHERE id IN (SELECT id FROM audit ORDER BY id LIMIT $1)";

const FORGOTTEN_AT_ONCE: i64 = 128;

/// Moves pages from the end of the file to free ones, and truncates the file.
const GIVE_BACK: &str = "PRAGMA incremental_vacuum(256)";

const GIVEN_BACK_AT_ONCE: u64 = 256;

const EMPTY_LOG: &str = "PRAGMA wal_checkpoint(TRUNCATE)";

/// The number of free pages that are always kept.
const MIN_FREE_PAGES: u64 = 256;

/// The pages that a batch takes beside its bytes, in the table, the index and the page map.
const PAGES_BESIDE: u64 = 8;

/// The size that the WAL may have: the checkpoint at 1 MiB, and one write more.
const LOG_BYTES: u64 = 4 << 20;

/// The divisor of the part of the disk that the trail leaves free, and its largest size in bytes.
const RESERVED_PART: u64 = 8;

const MAX_RESERVED: u64 = 256 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_trail_is_named_after_the_store() {
        for (store, trail) in [
            ("/data/keyferry.db", "/data/keyferry-audit.db"),
            ("keys", "keys-audit"),
            ("a.b/c.d.sqlite", "a.b/c.d-audit.sqlite"),
        ] {
            assert_eq!(TrailFile::beside(Path::new(store)).path, Path::new(trail));
        }
    }
}
