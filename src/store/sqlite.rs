//! The SQLite backend: one file for one process, one conn that writes and a few that read.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteAutoVacuum, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool};

use super::Error;
use super::copy::beside;
use super::database::with_timeout;
use super::migrate::{self, Schema};
use super::transaction::BackendTransaction;
use super::writability::Writability;

pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    writability: Arc<Writability>,
}

impl Sqlite {
    /// Opens the file, creates it where there is none, and updates its schema.
    pub(super) async fn open(path: &Path, schema: &Schema) -> Result<Self, Error> {
        // 1. The file must be ours alone.
        create_if_missing(path)?;
        let plain = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(LOCK_WAIT)
            .disable_statement_logging();
        let is_alone = has_no_wal(path);
        // 2. Read its version before any setting changes it: it may belong to another program.
        let mut first = with_timeout(plain.connect()).await?;
        let found = schema_version(&mut first, schema).await;
        with_timeout(first.close()).await?;
        let found = found?;
        if found == 0 && is_alone {
            return Err(Error::Hollow(path.to_path_buf()));
        }
        // 3. The settings of every conn.
        let (auto_vacuum, synchronous) = if schema.is_trail {
            (SqliteAutoVacuum::Incremental, SqliteSynchronous::Normal)
        } else {
            (SqliteAutoVacuum::None, SqliteSynchronous::Full)
        };
        let options = plain
            // First of all, because it has an effect only while the file is empty.
            .auto_vacuum(auto_vacuum)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(synchronous)
            .foreign_keys(true)
            .pragma("trusted_schema", "OFF")
            .pragma("wal_autocheckpoint", WAL_PAGES);
        let pool = |conns: u32| {
            SqlitePoolOptions::new()
                .max_connections(conns)
                .acquire_timeout(LOCK_WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        let database = Self { writer, readers, writability: Arc::default() };
        // 4. Migrate only if needed: a write could fail on a full disk.
        if found < schema.newest() {
            database.migrate(schema).await?;
        }
        Ok(database)
    }

    pub(super) async fn read(&self) -> Result<BackendTransaction<sqlx::Sqlite>, Error> {
        let conn = with_timeout(self.readers.acquire()).await.map_err(busy_if_timed_out)?;
        let mut work = BackendTransaction::from_conn(conn, None);
        work.execute("BEGIN").await?;
        Ok(work)
    }

    /// Begins a transaction with the write lock, so that no later statement can fail for it.
    pub(super) async fn write(&self) -> Result<BackendTransaction<sqlx::Sqlite>, Error> {
        let mut work = self.writer().await?;
        work.execute("BEGIN IMMEDIATE").await?;
        Ok(work)
    }

    pub(super) async fn maintain(&self, sql: &'static str) -> Result<(), Error> {
        let mut work = self.writer().await?;
        work.execute(sql).await?;
        work.release();
        Ok(())
    }

    pub(super) fn writability(&self) -> &Arc<Writability> {
        &self.writability
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The writing conn, without a transaction.
    async fn writer(&self) -> Result<BackendTransaction<sqlx::Sqlite>, Error> {
        let conn = with_timeout(self.writer.acquire()).await.map_err(busy_if_timed_out);
        let conn = conn.inspect_err(|error| self.writability.note_failure(error))?;
        Ok(BackendTransaction::from_conn(conn, Some(Arc::clone(&self.writability))))
    }

    /// Runs the missing migrations. They may take long with many records, so there is no deadline.
    async fn migrate(&self, schema: &Schema) -> Result<(), Error> {
        let mut conn = self.writer.acquire().await.map_err(Error::from_driver)?;
        let mut work = conn.begin_with("BEGIN IMMEDIATE").await.map_err(Error::from_driver)?;
        let found = schema_version(&mut work, schema).await?;
        for step in schema.missing(found)? {
            sqlx::raw_sql(step.sqlite).execute(&mut *work).await.map_err(Error::from_driver)?;
        }
        let stamp = format!(
            "PRAGMA application_id = {}; PRAGMA user_version = {}",
            schema.application,
            schema.newest()
        );
        let stamp = sqlx::raw_sql(sqlx::AssertSqlSafe(stamp));
        stamp.execute(&mut *work).await.map_err(Error::from_driver)?;
        work.commit().await.map_err(Error::from_driver)?;
        if (1..migrate::WITHOUT_TRAIL).contains(&found) {
            // Returns the pages of the audit trail, which has moved to its own file, to the disk.
            // On a full disk that fails, and the pages are reused instead.
            let _full = sqlx::raw_sql("VACUUM").execute(&mut *conn).await;
            // The conn is not reused, since VACUUM may have failed on it.
            drop(conn.detach());
        }
        // Otherwise the conn stays open: closing the last one would checkpoint the WAL into the
        // file, and `Error::Hollow` relies on the WAL beside a file without tables.
        Ok(())
    }
}

/// The version of the schema; 0 for an empty database.
pub(super) async fn schema_version(
    conn: &mut SqliteConnection,
    schema: &Schema,
) -> Result<i64, Error> {
    let mut number = async |sql: &'static str| -> Result<i64, Error> {
        with_timeout(sqlx::query_scalar(sql).fetch_one(&mut *conn)).await
    };
    let application = number("SELECT application_id FROM pragma_application_id").await?;
    let version = number("SELECT user_version FROM pragma_user_version").await?;
    let tables = number("SELECT count(*) FROM sqlite_schema").await?;
    match (application, version, tables) {
        (ours, 1.., _) if ours == schema.application => {
            schema.missing(version).map(|_steps| version)
        }
        (0, 0, 0) => Ok(0),
        _ => Err(Error::Foreign),
    }
}

/// Creates the file if there is none, readable by its owner only. SQLite gives its WAL the same
/// mode.
fn create_if_missing(path: &Path) -> Result<(), Error> {
    let unusable = |why: io::Error| match why.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => Error::Full(Box::new(why)),
        _ => Error::File(path.to_path_buf(), why),
    };
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_file) => return Ok(()),
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {}
        Err(why) => return Err(unusable(why)),
    }
    let metadata = fs::metadata(path).map_err(unusable)?;
    if metadata.mode() & 0o077 != 0 {
        return Err(Error::Open(path.to_path_buf()));
    }
    Ok(())
}

/// Tells whether the file is not empty and has no WAL or journal beside it. If it has no tables
/// either, it is a copy that was made without its WAL.
fn has_no_wal(path: &Path) -> bool {
    let holds_something = fs::metadata(path).is_ok_and(|found| found.len() > 0);
    holds_something && !["-wal", "-journal"].iter().any(|log| beside(path, log).exists())
}

/// Turns a timeout of the pool into [`Error::Busy`]: the conns are in use, not unreachable.
fn busy_if_timed_out(error: Error) -> Error {
    match error {
        Error::Unavailable(why)
            if matches!(why.downcast_ref(), Some(sqlx::Error::PoolTimedOut)) =>
        {
            Error::Busy
        }
        other => other,
    }
}

const READERS: u32 = 4;

const LOCK_WAIT: Duration = Duration::from_secs(10);

/// The number of pages at which the WAL is checkpointed: 1 MiB of 4 KiB pages.
const WAL_PAGES: &str = "256";
