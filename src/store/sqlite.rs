//! SQLite: one file for one process; one conn writes, a few read.

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
use super::database::within;
use super::migrate::{self, Schema};
use super::transaction::BackendTransaction;
use super::writability::Writability;

/// The file, opened.
pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
    writability: Arc<Writability>,
}

impl Sqlite {
    /// Opens the file, makes it where there is none, and brings its schema up to date.
    pub(super) async fn open(path: &Path, schema: &Schema) -> Result<Self, Error> {
        make(path)?;
        let plain = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(LOCK_WAIT)
            .disable_statement_logging();
        let is_alone = is_without_log(path);
        // Judged before anything is set that would change somebody else's file.
        let mut first = within(plain.connect()).await?;
        let found = version(&mut first, schema).await;
        within(first.close()).await?;
        let found = found?;
        if found == 0 && is_alone {
            return Err(Error::Hollow(path.to_path_buf()));
        }
        let (auto_vacuum, synchronous) = if schema.is_trail {
            (SqliteAutoVacuum::Incremental, SqliteSynchronous::Normal)
        } else {
            (SqliteAutoVacuum::None, SqliteSynchronous::Full)
        };
        let options = plain
            // Before all else: it counts only while the file is empty.
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
        // A file that is up to date is opened without a write, which a full disk would refuse.
        if found < schema.newest() {
            database.migrate(schema).await?;
        }
        Ok(database)
    }

    pub(super) async fn read(&self) -> Result<BackendTransaction<sqlx::Sqlite>, Error> {
        let conn = within(self.readers.acquire()).await.map_err(waited_in_vain)?;
        let mut work = BackendTransaction::on(conn, None);
        work.execute("BEGIN").await?;
        Ok(work)
    }

    /// The right to write is taken at once: to ask for it later could fail at any statement.
    pub(super) async fn write(&self) -> Result<BackendTransaction<sqlx::Sqlite>, Error> {
        let mut work = self.alone().await?;
        work.execute("BEGIN IMMEDIATE").await?;
        Ok(work)
    }

    /// Carries out a statement that is not for a transaction.
    pub(super) async fn maintain(&self, sql: &'static str) -> Result<(), Error> {
        let mut work = self.alone().await?;
        work.execute(sql).await?;
        work.finish();
        Ok(())
    }

    pub(super) fn writability(&self) -> &Arc<Writability> {
        &self.writability
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    /// The conn that writes, without a transaction.
    async fn alone(&self) -> Result<BackendTransaction<sqlx::Sqlite>, Error> {
        let conn = within(self.writer.acquire()).await.map_err(waited_in_vain);
        let conn = conn.inspect_err(|error| self.writability.note_failure(error))?;
        Ok(BackendTransaction::on(conn, Some(Arc::clone(&self.writability))))
    }

    /// A step may take long where there is much, so nothing here has a deadline.
    async fn migrate(&self, schema: &Schema) -> Result<(), Error> {
        let mut conn = self.writer.acquire().await.map_err(Error::of)?;
        let mut work = conn.begin_with("BEGIN IMMEDIATE").await.map_err(Error::of)?;
        let found = version(&mut work, schema).await?;
        for step in schema.missing(found)? {
            sqlx::raw_sql(step.sqlite).execute(&mut *work).await.map_err(Error::of)?;
        }
        let stamp = format!(
            "PRAGMA application_id = {}; PRAGMA user_version = {}",
            schema.application,
            schema.newest()
        );
        let stamp = sqlx::raw_sql(sqlx::AssertSqlSafe(stamp));
        stamp.execute(&mut *work).await.map_err(Error::of)?;
        work.commit().await.map_err(Error::of)?;
        if (1..migrate::WITHOUT_TRAIL).contains(&found) {
            // What the trail has taken goes back to the disk. Where there is no room for that, its
            // pages are used again.
            let _full = sqlx::raw_sql("VACUUM").execute(&mut *conn).await;
            // What has failed there leaves nothing behind on a conn that is used again.
            drop(conn.detach());
        }
        // Else the conn stays open: the last one that closes puts the log of writes into the file,
        // and a copy of the file alone could then not be told from an empty store.
        Ok(())
    }
}

/// The version of the schema; 0 for a database in which there is nothing.
pub(super) async fn version(conn: &mut SqliteConnection, schema: &Schema) -> Result<i64, Error> {
    let mut number = async |sql: &'static str| -> Result<i64, Error> {
        within(sqlx::query_scalar(sql).fetch_one(&mut *conn)).await
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

/// Makes the file when there is none, for its owner alone; those beside it get the same mode.
fn make(path: &Path) -> Result<(), Error> {
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

/// Says whether the file holds something, and has no log of writes beside it. Without a table in
/// it, it is then what is left of a database that was copied without its log.
fn is_without_log(path: &Path) -> bool {
    let holds_something = fs::metadata(path).is_ok_and(|found| found.len() > 0);
    holds_something && !["-wal", "-journal"].iter().any(|log| beside(path, log).exists())
}

/// A queue that is too long means a busy database, not one that is away.
fn waited_in_vain(error: Error) -> Error {
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

/// A megabyte of 4 KiB pages: the log of writes is put into the file once it has so many.
const WAL_PAGES: &str = "256";
