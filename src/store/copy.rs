//! Copies of an SQLite database: of one state, for their owner alone, and never over another file.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{ConnectOptions as _, Connection as _, SqliteConnection};

use super::{Error, migrate, sqlite};

/// The contents of a database that was copied.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CopyContents {
    /// The number of connections.
    pub connections: u64,
    /// The number of access tokens.
    pub tokens: u64,
    /// The ids of the master keys that it takes to use them.
    pub key_ids: Vec<Box<str>>,
}

/// The reason why a database can't be copied; each sentence says what to do.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// The database is damaged.
    #[error("the database {} is damaged: {}; take another copy", .0.display(), .1)]
    Damaged(PathBuf, String),
    /// There is a file of that name.
    #[error("{} exists, and nothing is overwritten: name another file", .0.display())]
    Exists(PathBuf),
    /// It is a directory.
    #[error("{} is a directory: name the file in it that is the backup", .0.display())]
    Directory(PathBuf),
    /// It is another program's database, or holds nothing.
    #[error(
        "{} is not a database of Keyferry's, or only a part of one: name another file",
        .0.display()
    )]
    Foreign(PathBuf),
    /// There is no backup of that name.
    #[error("there is no file {}: name one that `keyferry backup` has made", .0.display())]
    NoBackup(PathBuf),
    /// There is no database to copy.
    #[error(
        "there is no store at {}, so there is nothing to back up: name the server's data directory \
         with --data-dir, or its configuration with --config",
        .0.display()
    )]
    NoStore(PathBuf),
    /// The copy can't be read, or it can't be made.
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
/// [`CopyError`] says what stands in the way; then there is no new file.
pub async fn back_up_sqlite(from: &Path, to: &Path) -> Result<CopyContents, CopyError> {
    // SQLite would take a name that does not exist for a new database.
    find(from, CopyError::NoStore)?;
    let mut conn = open(from, options(from)).await?;
    let contents = contents(&mut conn).await.map_err(|why| of(from, why))?;
    write(&mut conn, from, to).await?;
    close(conn, from).await?;
    Ok(contents)
}

/// Copies the backup `from`, if it is whole, into the new database `to`.
///
/// # Errors
/// [`CopyError`] says what stands in the way; then there is no new database.
pub async fn restore_sqlite(from: &Path, to: &Path) -> Result<CopyContents, CopyError> {
    if find(from, CopyError::NoBackup)?.is_dir() {
        return Err(CopyError::Directory(from.to_path_buf()));
    }
    // A backup is one file and nothing beside it is touched; a raw copy may have brought its log.
    let has_log = beside(from, "-wal").exists();
    let mut conn = open(from, options(from).read_only(true).immutable(!has_log)).await?;
    let checked = sqlx::query_scalar("PRAGMA integrity_check(1)").fetch_one(&mut conn).await;
    let checked: String = checked.map_err(|why| of(from, why))?;
    if checked != "ok" {
        return Err(CopyError::Damaged(from.to_path_buf(), checked));
    }
    let contents = contents(&mut conn).await.map_err(|why| of(from, why))?;
    // Half a copy never has the database's name.
    let draft = beside(to, ".restoring");
    match fs::remove_file(&draft) {
        Err(why) if why.kind() != io::ErrorKind::NotFound => {
            return Err(CopyError::File(draft, why));
        }
        _ => {}
    }
    write(&mut conn, from, &draft).await?;
    close(conn, from).await?;
    if to.exists() {
        return Err(CopyError::Exists(to.to_path_buf()));
    }
    let named = fs::rename(&draft, to).and_then(|()| sync_name(to));
    named.map_err(|why| CopyError::File(to.to_path_buf(), why))?;
    Ok(contents)
}

/// The facts of a file that is there; `missing` where it is not.
fn find(path: &Path, missing: fn(PathBuf) -> CopyError) -> Result<Metadata, CopyError> {
    fs::metadata(path).map_err(|why| match why.kind() {
        io::ErrorKind::NotFound => missing(path.to_path_buf()),
        _ => CopyError::File(path.to_path_buf(), why),
    })
}

/// The file whose name is that of the database and this ending.
#[must_use]
pub fn beside(database: &Path, ending: &str) -> PathBuf {
    let mut name = database.as_os_str().to_owned();
    name.push(ending);
    name.into()
}

fn options(path: &Path) -> SqliteConnectOptions {
    let options = SqliteConnectOptions::new().filename(path).busy_timeout(LOCK_WAIT);
    options.pragma("trusted_schema", "OFF").disable_statement_logging()
}

/// Opens a database, which must be ours and of a version that is known.
async fn open(path: &Path, options: SqliteConnectOptions) -> Result<SqliteConnection, CopyError> {
    let mut conn = options.connect().await.map_err(|why| of(path, why))?;
    match sqlite::version(&mut conn, &migrate::STORE).await {
        Ok(1..) => Ok(conn),
        Ok(_) => Err(CopyError::Foreign(path.to_path_buf())),
        Err(error) => Err(meant(path, error)),
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

/// Writes one state of the whole database into the new file `to`, for its owner alone.
async fn write(conn: &mut SqliteConnection, from: &Path, to: &Path) -> Result<(), CopyError> {
    let unusable = |why| CopyError::File(to.to_path_buf(), why);
    // SQLite reads a name that begins with `file:` as a URL; an absolute one never does.
    let absolute = std::path::absolute(to).map_err(unusable)?;
    let Some(name) = absolute.to_str() else {
        return Err(unusable(io::Error::new(io::ErrorKind::InvalidInput, "not UTF-8")));
    };
    // SQLite fills an empty file that is there, and its mode stays.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(to) {
        Ok(_empty) => {}
        Err(why) if why.kind() == io::ErrorKind::AlreadyExists => {
            return Err(CopyError::Exists(to.to_path_buf()));
        }
        Err(why) => return Err(unusable(why)),
    }
    let copied = sqlx::query("VACUUM INTO $1").bind(name).execute(conn).await;
    let kept = match copied {
        Ok(_) => File::open(to)
            .and_then(|file| file.sync_all())
            .and_then(|()| sync_name(to))
            .map_err(unusable),
        Err(why) => Err(of(from, why)),
    };
    if kept.is_err() {
        let _nothing_more_to_do = fs::remove_file(to);
    }
    kept
}

async fn close(conn: SqliteConnection, path: &Path) -> Result<(), CopyError> {
    conn.close().await.map_err(|why| of(path, why))
}

fn of(path: &Path, error: sqlx::Error) -> CopyError {
    meant(path, Error::of(error))
}

fn meant(path: &Path, error: Error) -> CopyError {
    let path = path.to_path_buf();
    match error {
        Error::Foreign => CopyError::Foreign(path),
        Error::Faulty(why) if is_damage(&*why) => CopyError::Damaged(path, why.to_string()),
        error => CopyError::Database(path, error),
    }
}

/// Says whether SQLite has found that the file is no longer as it wrote it.
fn is_damage(why: &(dyn std::error::Error + Send + Sync + 'static)) -> bool {
    let reported = why.downcast_ref().and_then(sqlx::Error::as_database_error);
    let code = reported.and_then(|reported| reported.code()?.parse().ok());
    code.is_some_and(|code: u32| code & 0xff == CORRUPT)
}

/// A file whose name is lost after a crash is no copy.
fn sync_name(path: &Path) -> io::Result<()> {
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    File::open(parent.unwrap_or_else(|| Path::new(".")))?.sync_all()
}

const KEYS: &str = "SELECT key_id FROM connections UNION SELECT key_id FROM tokens \
    UNION SELECT key_id FROM key_check ORDER BY key_id";

/// `SQLITE_CORRUPT`, the low byte of an extended result code.
const CORRUPT: u32 = 11;

const LOCK_WAIT: Duration = Duration::from_secs(10);
