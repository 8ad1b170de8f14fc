//! Copies SQLite databases: one state, readable by the owner only, and never over an existing file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::{Error, migrate, sqlite};
use crate::secret::file::sync_parent;

/// The contents of a database that was copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyContents {
    /// The number of connections.
    pub connections: u64,
    /// The number of access tokens.
    pub tokens: u64,
    /// The ids of the master keys that its records need.
    pub key_ids: Vec<Box<str>>,
}

/// The reason why a database can't be copied. Each text says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The database is damaged.
    #[error("the database {} is damaged: {}; take another copy", .0.display(), .1)]
    Damaged(PathBuf, String),
    /// The target exists.
    #[error("{} exists, and nothing is overwritten: name another file", .0.display())]
    Exists(PathBuf),
    /// The backup is a directory.
    #[error("{} is a directory: name the file in it that is the backup", .0.display())]
    Directory(PathBuf),
    /// The file is another program's database, or has no tables.
    #[error(
        "{} is not a database of Keyferry's, or only a part of one: name another file",
        .0.display()
    )]
    Foreign(PathBuf),
    /// The backup does not exist.
    #[error("there is no file {}: name one that `keyferry backup` has made", .0.display())]
    NoBackup(PathBuf),
    /// The database to copy does not exist.
    #[error(
        "there is no store at {}, so there is nothing to back up: name the server's data directory \
         with --data-dir, or its configuration with --config",
        .0.display()
    )]
    NoStore(PathBuf),
    /// Reading or writing a database has failed.
    #[error("the database {} can't be copied", .0.display())]
    Database(PathBuf, #[source] Error),
    /// A file can't be read or written.
    #[error(
        "the file {} can't be used: see that it and its directory are there and are yours, or name \
         another",
        .0.display()
    )]
    File(PathBuf, #[source] io::Error),
}

/// Copies the database `from`, which a server may be using, into the new file `to`.
///
/// # Errors
/// [`CopyError`] says what failed. Then there is no new file.
pub async fn back_up_sqlite(from: &Path, to: &Path) -> Result<CopyContents, CopyError> {
    // SQLite would create a database that does not exist.
    find(from, CopyError::NoStore)?;
    let mut conn = open(from, options(from)).await?;
    let contents = contents(&mut conn).await.map_err(|why| database_error(from, why))?;
    write(&mut conn, from, to).await?;
    close(conn, from).await?;
    Ok(contents)
}

/// Copies the backup `from` into the new database `to`, if it passes an integrity check.
///
/// # Errors
/// [`CopyError`] says what failed. Then there is no new database.
pub async fn restore_sqlite(from: &Path, to: &Path) -> Result<CopyContents, CopyError> {
    if find(from, CopyError::NoBackup)?.is_dir() {
        return Err(CopyError::Directory(from.to_path_buf()));
    }
    // 1. Open it without creating files beside it. A raw copy may have a WAL, which must be read.
    let has_log = beside(from, "-wal").exists();
    let mut conn = open(from, options(from).read_only(true).immutable(!has_log)).await?;
    let checked = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut conn).await;
    let checked: String = checked.map_err(|why| database_error(from, why))?;
    if checked != "ok" {
        return Err(CopyError::Damaged(from.to_path_buf(), checked));
    }
    let contents = contents(&mut conn).await.map_err(|why| database_error(from, why))?;
    // 2. Copy it under another name, so that an incomplete copy never has the database's name.
    let draft = beside(to, ".restoring");
    match fs::remove_file(&draft) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            return Err(CopyError::File(draft, why));
        }
        _ => {}
    }
    write(&mut conn, from, &draft).await?;
    close(conn, from).await?;
    // 3. Rename the complete copy.
    if to.exists() {
        return Err(CopyError::Exists(to.to_path_buf()));
    }
    let named = fs::rename(&draft, to).and_then(|()| sync_parent(to));
    named.map_err(|why| CopyError::File(to.to_path_buf(), why))?;
    Ok(contents)
}

/// The metadata of a file; the error `missing` where it does not exist.
fn find(path: &Path, missing: fn(PathBuf) -> CopyError) -> Result<Metadata, CopyError> {
    fs::metadata(path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => missing(path.to_path_buf()),
        _ => CopyError::File(path.to_path_buf(), why),
    })
}

/// The path of a file beside the database: its name with `ending` appended.
pub fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(LOCK_WAIT);
    options.pragma("trusted_schema", "OFF").disable_statement_logging()
}

/// Opens a database, which must be ours and of a known version.
async fn open(path: &Path, options: SqliteConnectOptions) -> Result<SqliteConnection, CopyError> {
    let mut conn = options.connect().await.map_err(|why| database_error(path, why))?;
    match sqlite::schema_version(&mut conn, &migrate::STORE).await {
        Ok(1..) => Ok(conn),
        Ok(_) => Err(CopyError::Foreign(path.to_path_buf())),
        Err(error) => Err(copy_error(path, error)),
    }
}

async fn contents(conn: &mut SqliteConnection) -> Result<CopyContents, sqlx::Error> {
    let count =
        async |conn: &mut SqliteConnection, sql: &'static str| -> Result<u64, sqlx::Error> {
            let count: i64 = sqlx::query_scalar(sql).fetch_one(conn).await?;
            Ok(u64::try_from(count).unwrap_or_default())
        };
    let connections = count(conn, "SELECT count(*) FROM connections").await?;
    let tokens = count(conn, "SELECT count(*) FROM tokens").await?;
    let key_ids: Vec<String> = sqlx::query_scalar(KEYS).fetch_all(conn).await?;
    let key_ids = key_ids.into_iter().map(Into::into).collect();
    Ok(CopyContents { connections, tokens, key_ids })
}

/// Writes one state of the database into the new file `to`, readable by its owner only.
async fn write(conn: &mut SqliteConnection, from: &Path, to: &Path) -> Result<(), CopyError> {
    let unusable = |why| CopyError::File(to.to_path_buf(), why);
    // 1. SQLite takes a name that begins with `file:` for a URL. An absolute path never does.
    let absolute = std::path::absolute(to).map_err(unusable)?;
    let Some(name) = absolute.to_str() else {
        return Err(unusable(io::Error::new(io::ErrorKind::InvalidInput, "not UTF-8")));
    };
    // 2. Create the file with its mode. SQLite fills an existing empty file.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(to) {
        Ok(_empty) => {}
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CopyError::Exists(to.to_path_buf()));
        }
        Err(why) => return Err(unusable(why)),
    }
    // 3. Copy, and make both the content and the name durable.
    let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(conn).await;
    let kept = match copied {
        Ok(_) => File::open(to)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_parent(to))
            .map_err(unusable),
        Err(why) => Err(database_error(from, why)),
    };
    if kept.is_err() {
        let _nothing_more_to_do = fs::remove_file(to);
    }
    kept
}

async fn close(conn: SqliteConnection, path: &Path) -> Result<(), CopyError> {
    conn.close().await.map_err(|why| database_error(path, why))
}

fn database_error(path: &Path, error: sqlx::Error) -> CopyError {
    copy_error(path, Error::from_driver(error))
}

fn copy_error(path: &Path, error: Error) -> CopyError {
    let path = path.to_path_buf();
    match error {
        Error::Foreign => CopyError::Foreign(path),
        Error::Faulty(why) if is_damage(&*why) => CopyError::Damaged(path, why.to_string()),
        error => CopyError::Database(path, error),
    }
}

/// Tells whether SQLite has reported a damaged file.
fn is_damage(why: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let reported = why.downcast_ref().and_then(sqlx::Error::as_database_error);
    let code = reported.and_then(|reported| reported.code()?.parse().ok());
    code.is_some_and(|code: u32| code & 0xff == CORRUPT)
}

const KEYS: &str = "SELECT key_id FROM connections UNION SELECT key_id FROM tokens \
    UNION SELECT key_id FROM key_check ORDER BY key_id";

/// `SQLITE_CORRUPT`, the low byte of an extended result code.
const CORRUPT: u32 = 11;

const LOCK_WAIT: Duration = Duration::from_secs(10);
