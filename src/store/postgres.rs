//! The PostgreSQL backend: one database for many processes, which notify each other of writes.
//!
//! Everything works behind a pooler in transaction mode, where each transaction may get another
//! server conn: nothing is set for a session, statements are not named, and writes are found by
//! polling where notifications don't arrive.

mod listener;

use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgPool, Row as _};
use tokio::sync::watch;

pub use self::listener::{ChangeListener, ChangeNotice};
use super::Error;
use super::database::with_timeout;
use super::error::ReadOnlyServer;
use super::migrate;
use super::transaction::BackendTransaction;
use super::writability::Writability;
use crate::clock;
use crate::secret::Secret;

pub(super) struct Postgres {
    readers: PgPool,
    writers: PgPool,
    options: Box<PgConnectOptions>,
    primary: Arc<PrimaryServer>,
    writability: Arc<Writability>,
}

/// The kind of server that the last write has found at the database's address. A failover changes
/// it, and older conns may still lead to the former primary.
struct PrimaryServer {
    /// Conns opened before this time are not reused.
    conns_since: Mutex<Instant>,
    /// Tells whether the last one was writable. Listeners watch it.
    was_writable: watch::Sender<bool>,
}

impl PrimaryServer {
    fn new() -> Self {
        Self { conns_since: Mutex::new(clock::instant()), was_writable: watch::Sender::new(true) }
    }

    /// Notes the finding of a new transaction. When it differs from the last one, all older conns
    /// are replaced.
    fn note_server(&self, is_writable: bool) {
        self.was_writable.send_if_modified(|was_writable| {
            let has_changed = std::mem::replace(was_writable, is_writable) != is_writable;
            if has_changed {
                *self.conns_since.lock() = clock::instant();
            }
            has_changed
        });
    }

    /// Tells whether a conn of this age may be reused.
    fn allows_age(&self, age: Duration) -> bool {
        let age_allowed = clock::instant().duration_since(*self.conns_since.lock());
        age <= age_allowed
    }
}

impl Postgres {
    pub(super) async fn open(url: &Secret) -> Result<Self, Error> {
        // 1. Parse the URL, whose text is never repeated: it may contain a password.
        let text = std::str::from_utf8(url.expose()).map_err(|_silent| Error::Url)?;
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("postgres" | "postgresql")) {
            return Err(Error::Url);
        }
        let options = PgConnectOptions::from_str(text).map_err(|_silent| Error::Url)?;
        let options = options.application_name("keyferry").disable_statement_logging();
        // Poolers refuse conns that set this, and no column has fractions.
        let options = options.extra_float_digits(None);
        let primary = Arc::new(PrimaryServer::new());
        let database = Self {
            readers: new_pool(READERS, &options, &primary),
            writers: new_pool(WRITERS, &options, &primary),
            options: Box::new(options),
            primary,
            writability: Arc::default(),
        };
        // 2. Migrate only if needed, so that a standby can be opened.
        let mut look = database.read().await?;
        let found = look.run_on(|conn| Box::pin(schema_version(conn))).await;
        if found.is_ok() {
            look.roll_back().await?;
        }
        match found {
            Ok(Ok(found)) if found >= migrate::STORE.newest() => {}
            Ok(Err(newer @ Error::Newer { .. })) => return Err(newer),
            // Any other result, a failure too, may be due to another instance that is migrating:
            // its tables are visible before their rows. It is checked again under the lock.
            _ => database.migrate().await?,
        }
        Ok(database)
    }

    pub(super) async fn read(&self) -> Result<BackendTransaction<sqlx::Postgres>, Error> {
        let conn = self.acquire(&self.readers).await?;
        let mut work = BackendTransaction::from_conn(conn, None);
        work.execute(READ).await?;
        Ok(work)
    }

    /// Begins a transaction that writes. A conn to a read-only server is discarded, and a new one
    /// is tried once.
    pub(super) async fn write(&self) -> Result<BackendTransaction<sqlx::Postgres>, Error> {
        for _again in 0..2 {
            let conn = self.acquire(&self.writers).await;
            let conn = conn.inspect_err(|error| self.writability.note_failure(error))?;
            let mut work = BackendTransaction::from_conn(conn, Some(Arc::clone(&self.writability)));
            let begun = work.run_on(|conn| {
                Box::pin(async {
                    let rows = conn.fetch_all(sqlx::raw_sql(WRITE)).await?;
                    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                    row.try_get::<String, _>("transaction_read_only")
                })
            });
            let is_writable = begun.await? != "on";
            self.primary.note_server(is_writable);
            if is_writable {
                return Ok(work);
            }
        }
        let error = Error::ReadOnly(Box::new(ReadOnlyServer));
        self.writability.note_failure(&error);
        Err(error)
    }

    /// Runs a statement outside of a transaction, which may take long.
    pub(super) async fn maintain(&self, sql: &'static str) -> Result<(), Error> {
        let mut work = BackendTransaction::from_conn(self.acquire(&self.writers).await?, None);
        work.execute(sql).await?;
        work.release();
        Ok(())
    }

    pub(super) fn listen(&self) -> ChangeListener {
        let own = new_pool(1, &self.options, &self.primary);
        ChangeListener::new(own, self.readers.clone(), self.primary.was_writable.subscribe())
    }

    pub(super) fn writability(&self) -> &Arc<Writability> {
        &self.writability
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    async fn acquire(&self, pool: &PgPool) -> Result<PoolConnection<sqlx::Postgres>, Error> {
        let error = match with_timeout(pool.acquire()).await {
            Ok(conn) => return Ok(conn),
            Err(error) => error,
        };
        let Error::Unavailable(why) = &error else { return Err(error) };
        if !matches!(why.downcast_ref(), Some(sqlx::Error::PoolTimedOut)) {
            return Err(error);
        }
        // The pool retries until its timeout and does not report the errors it has met, so one more
        // conn is opened to learn the reason.
        match tokio::time::timeout(REASON_WAIT, self.options.connect()).await {
            Ok(Ok(conn)) => {
                drop(conn);
                Err(Error::Busy)
            }
            Ok(Err(error)) => Err(Error::from_driver(error)),
            Err(_elapsed) => Err(error),
        }
    }

    /// Runs the missing migrations. An advisory lock lets one instance at a time do so.
    async fn migrate(&self) -> Result<(), Error> {
        let schema = &migrate::STORE;
        let mut work = self.write().await?;
        work.execute("SET LOCAL lock_timeout = '15s'").await?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).persistent(false);
        work.run_on(|conn| Box::pin(lock.execute(conn))).await?;
        let found = work.run_on(|conn| Box::pin(schema_version(conn))).await??;
        for step in schema.missing(found)? {
            work.run_on(|conn| Box::pin(conn.execute(sqlx::raw_sql(step.postgres)))).await?;
        }
        if found < schema.newest() {
            let stamp = "INSERT INTO keyferry_schema (only_one, version) VALUES (1, $1) \
                ON CONFLICT (only_one) DO UPDATE SET version = $1";
            let stamp = sqlx::query(stamp).bind(schema.newest()).persistent(false);
            work.run_on(|conn| Box::pin(stamp.execute(conn))).await?;
        }
        work.commit().await
    }
}

fn new_pool(connections: u32, options: &PgConnectOptions, primary: &Arc<PrimaryServer>) -> PgPool {
    let primary = Arc::clone(primary);
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_WAIT)
        .before_acquire(move |_, conn| {
            let is_allowed = primary.allows_age(conn.age);
            Box::pin(async move { Ok(is_allowed) })
        })
        .connect_lazy_with(options.clone())
}

/// The version of the schema; 0 without one. Other programs may have tables in the database, but
/// none with our names.
async fn schema_version(conn: &mut PgConnection) -> Result<Result<i64, Error>, sqlx::Error> {
    let ours = "SELECT to_regclass('keyferry_schema') IS NOT NULL";
    let ours: bool = sqlx::query_scalar(ours).persistent(false).fetch_one(&mut *conn).await?;
    if ours {
        let version = "SELECT version FROM keyferry_schema";
        let found = sqlx::query_scalar(version).persistent(false).fetch_one(conn).await?;
        return Ok(migrate::STORE.missing(found).map(|_steps| found));
    }
    let taken = "SELECT to_regclass('revision') IS NOT NULL OR to_regclass('changes') IS NOT NULL \
        OR to_regclass('connections') IS NOT NULL OR to_regclass('tokens') IS NOT NULL \
        OR to_regclass('key_check') IS NOT NULL";
    let taken: bool = sqlx::query_scalar(taken).persistent(false).fetch_one(conn).await?;
    Ok(if taken { Err(Error::Foreign) } else { Ok(0) })
}

/// The statements that begin a transaction, sent as one message: with timeouts, so that a lost
/// client holds no lock, and with synchronous commits even where the server's default is to
/// acknowledge early.
macro_rules! begin {
    ($how:literal) => {
        concat!(
            "BEGIN ISOLATION LEVEL ",
            $how,
            "; SET LOCAL statement_timeout = '10s'; SET LOCAL lock_timeout = '5s'; ",
            "SET LOCAL idle_in_transaction_session_timeout = '15s'; ",
            "SELECT set_config('synchronous_commit', 'on', true) ",
            "WHERE current_setting('synchronous_commit') = 'off'"
        )
    };
}

/// Begins a transaction that sees one state of the database.
const READ: &str = begin!("REPEATABLE READ, READ ONLY");

/// Begins a transaction that writes. READ COMMITTED, because after waiting for the revision's lock
/// it must see the writes of meanwhile. It does not ask for READ WRITE, which would override an
/// operator who has set `default_transaction_read_only` for a switchover.
const WRITE: &str = concat!(begin!("READ COMMITTED"), "; SHOW transaction_read_only");

/// The channel of notifications.
pub(super) const CHANNEL: &str = "keyferry_changes";

/// The key of the advisory lock for migrations, "Kfry".
const LOCK: i64 = 0x4b66_7279;

/// The number of writing conns. Writers wait for each other's revision anyway.
const WRITERS: u32 = 4;

/// The number of reading conns. Detecting a pooler holds some of them for a moment.
const READERS: u32 = 6;

const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The longest time to learn why no conn could be opened.
const REASON_WAIT: Duration = Duration::from_secs(1);
