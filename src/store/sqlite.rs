//! SQLite: one file for one process; one connection writes, a few read.

use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::Path;
use std::time::Duration;

use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection, SqlitePool, Transaction};

use super::Error;
use super::copy::beside;
use super::database::within;
use super::migrate;

/// The file, opened.
pub(super) struct Sqlite {
    writer: SqlitePool,
    readers: SqlitePool,
}

impl Sqlite {
    pub(super) async fn open(path: &Path) -> Result<Self, Error> {
        make(path)?;
        let plain = SqliteConnectOptions::new()
            .filename(path)
            .busy_timeout(LOCK_WAIT)
            .disable_statement_logging();
        let is_alone = is_without_log(path);
        // Judged before anything is set that would change somebody else's file.
        let mut first = within(plain.connect()).await?;
        let found = version(&mut first).await;
        within(first.close()).await?;
        if found? == 0 && is_alone {
            return Err(Error::Hollow(path.to_path_buf()));
        }
        let options = plain
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("trusted_schema", "OFF");
        let pool = |connections: u32| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(LOCK_WAIT)
                .idle_timeout(None)
                .max_lifetime(None)
                .test_before_acquire(false)
        };
        let writer = pool(1).min_connections(1).connect_lazy_with(options.clone());
        let readers = pool(READERS).connect_lazy_with(options.pragma("query_only", "ON"));
        let database = Self { writer, readers };
        database.migrate().await?;
        Ok(database)
    }

    pub(super) async fn read(&self) -> Result<Transaction<'static, sqlx::Sqlite>, Error> {
        within(self.readers.begin()).await.map_err(waited_in_vain)
    }

    /// The right to write is taken at once: to ask for it later could fail at any statement.
    pub(super) async fn write(&self) -> Result<Transaction<'static, sqlx::Sqlite>, Error> {
        within(self.writer.begin_with("BEGIN IMMEDIATE")).await.map_err(waited_in_vain)
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }

    async fn migrate(&self) -> Result<(), Error> {
        let mut work = self.write().await?;
        let found = version(&mut work).await?;
        for step in migrate::missing(found)? {
            within(sqlx::raw_sql(step.sqlite).execute(&mut *work)).await?;
        }
        let stamp = format!(
            "PRAGMA application_id = {APPLICATION}; PRAGMA user_version = {}",
            migrate::newest()
        );
        within(sqlx::raw_sql(sqlx::AssertSqlSafe(stamp)).execute(&mut *work)).await?;
        within(work.commit()).await
    }
}

/// The version of the schema; 0 for a database in which there is nothing.
pub(super) async fn version(conn: &mut SqliteConnection) -> Result<i64, Error> {
    let mut number = async |sql: &'static str| -> Result<i64, Error> {
        within(sqlx::query_scalar(sql).fetch_one(&mut *conn)).await
    };
    let application = number("SELECT application_id FROM pragma_application_id").await?;
    let version = number("SELECT user_version FROM pragma_user_version").await?;
    let tables = number("SELECT count(*) FROM sqlite_schema").await?;
    match (application, version, tables) {
        (APPLICATION, 1.., _) => migrate::missing(version).map(|_steps| version),
        (0, 0, 0) => Ok(0),
        _ => Err(Error::Foreign),
    }
}

/// Makes the file when there is none, for its owner alone; those beside it get the same mode.
fn make(path: &Path) -> Result<(), Error> {
    let unusable = |why| Error::File(path.to_path_buf(), why);
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

/// "Kfry": marks the file as ours.
const APPLICATION: i64 = 0x4b66_7279;

const READERS: u32 = 4;

const LOCK_WAIT: Duration = Duration::from_secs(10);
