//! PostgreSQL: one database for many processes, which tell each other what they write.
//!
//! Everything works through a pooler in transaction mode, where each transaction may come to
//! another server conn: nothing is set for a session, no statement has a name, and what is written
//! is found by looking where no notification comes through.

use std::fmt;
use std::str::FromStr as _;
use std::sync::Arc;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use sqlx::pool::PoolConnection;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgPool, Row as _};
use tokio::sync::watch;

use super::Error;
use super::database::within;
use super::error::ReadOnlyServer;
use super::migrate;
use super::transaction::BackendTransaction;
use super::writability::Writability;
use crate::clock;
use crate::secret::Secret;

/// The database, opened.
pub(super) struct Postgres {
    readers: PgPool,
    writers: PgPool,
    options: Box<PgConnectOptions>,
    primary: Arc<PrimaryServer>,
    writability: Arc<Writability>,
}

/// Where the address of the database has led to, as the last write has seen it: a failover may
/// have put another server there, and conns that were made before may lead to the one before.
struct PrimaryServer {
    /// Conns that are older are not used again.
    conns_since: Mutex<Instant>,
    /// Tells whether the last one was writable; who listens is told when that changes.
    was_writable: watch::Sender<bool>,
}

/// Tells when another process may have written.
pub struct ChangeListener {
    pools: Option<ListenerPools>,
    /// Tells when the conn may lead to another server than the primary.
    moved: Option<watch::Receiver<bool>>,
    ear: Option<PgListener>,
    /// There was a pooler when it was last tried, which was told.
    is_deaf: bool,
}

/// The conns of a listener.
struct ListenerPools {
    /// Of its own, with one connection: who listens keeps one for good.
    own: PgPool,
    /// Those of the store, to find a pooler with.
    others: PgPool,
}

/// A reason to look at the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ChangeNotice {
    /// Another process may have written.
    Written,
    /// Notifications do not come through, as with a pooler in transaction mode: only looking tells
    /// what others have written.
    Unheard,
}

impl PrimaryServer {
    fn new() -> Self {
        Self { conns_since: Mutex::new(clock::instant()), was_writable: watch::Sender::new(true) }
    }

    /// Notes what a new transaction has found. Where that is not what the last one found, all
    /// conns are made anew.
    fn note(&self, is_writable: bool) {
        self.was_writable.send_if_modified(|was_writable| {
            let has_changed = std::mem::replace(was_writable, is_writable) != is_writable;
            if has_changed {
                *self.conns_since.lock() = clock::instant();
            }
            has_changed
        });
    }

    /// Tells whether a conn of this age may be used.
    fn allows(&self, age: Duration) -> bool {
        let age_allowed = clock::instant().duration_since(*self.conns_since.lock());
        age <= age_allowed
    }
}

impl Postgres {
    pub(super) async fn open(url: &Secret) -> Result<Self, Error> {
        let text = std::str::from_utf8(url.expose()).map_err(|_silent| Error::Url)?;
        let scheme = text.split_once("://").map(|(scheme, _)| scheme);
        if !matches!(scheme, Some("postgres" | "postgresql")) {
            return Err(Error::Url);
        }
        let options = PgConnectOptions::from_str(text).map_err(|_silent| Error::Url)?;
        let options = options.application_name("keyferry").disable_statement_logging();
        // Poolers refuse conns that set this, and nothing here has fractions.
        let options = options.extra_float_digits(None);
        let primary = Arc::new(PrimaryServer::new());
        let database = Self {
            readers: pool(READERS, &options, &primary),
            writers: pool(WRITERS, &options, &primary),
            options: Box::new(options),
            primary,
            writability: Arc::default(),
        };
        // A schema that is up to date needs no write, so that a standby will do.
        let mut look = database.read().await?;
        let found = look.ask(|conn| Box::pin(version(conn))).await;
        if found.is_ok() {
            look.end().await?;
        }
        match found {
            Ok(Ok(found)) if found >= migrate::STORE.newest() => {}
            Ok(Err(newer @ Error::Newer { .. })) => return Err(newer),
            // Everything else, failures included, may come of another instance that is making the
            // schema just now: its tables are seen, and what is in them is not. Under the lock it is
            // judged again.
            _ => database.migrate().await?,
        }
        Ok(database)
    }

    pub(super) async fn read(&self) -> Result<BackendTransaction<sqlx::Postgres>, Error> {
        let conn = self.acquire(&self.readers).await?;
        let mut work = BackendTransaction::on(conn, None);
        work.execute(READ).await?;
        Ok(work)
    }

    /// Begins to write, on a server that can be written: a conn that leads to another one is
    /// thrown away, and once more a new one is tried.
    pub(super) async fn write(&self) -> Result<BackendTransaction<sqlx::Postgres>, Error> {
        for _again in 0..2 {
            let conn = self.acquire(&self.writers).await;
            let conn = conn.inspect_err(|error| self.writability.note_failure(error))?;
            let mut work = BackendTransaction::on(conn, Some(Arc::clone(&self.writability)));
            let begun = work.ask(|conn| {
                Box::pin(async {
                    let rows = conn.fetch_all(sqlx::raw_sql(WRITE)).await?;
                    let row = rows.last().ok_or(sqlx::Error::RowNotFound)?;
                    row.try_get::<String, _>("transaction_read_only")
                })
            });
            let is_writable = begun.await? != "on";
            self.primary.note(is_writable);
            if is_writable {
                return Ok(work);
            }
        }
        let error = Error::ReadOnly(Box::new(ReadOnlyServer));
        self.writability.note_failure(&error);
        Err(error)
    }

    /// Carries out a statement that is not for a transaction and may take long.
    pub(super) async fn maintain(&self, sql: &'static str) -> Result<(), Error> {
        let mut work = BackendTransaction::on(self.acquire(&self.writers).await?, None);
        work.execute(sql).await?;
        work.finish();
        Ok(())
    }

    pub(super) fn listen(&self) -> ChangeListener {
        let own = pool(1, &self.options, &self.primary);
        ChangeListener {
            pools: Some(ListenerPools { own, others: self.readers.clone() }),
            moved: Some(self.primary.was_writable.subscribe()),
            ear: None,
            is_deaf: false,
        }
    }

    pub(super) fn writability(&self) -> &Arc<Writability> {
        &self.writability
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writers.close().await;
    }

    async fn acquire(&self, pool: &PgPool) -> Result<PoolConnection<sqlx::Postgres>, Error> {
        let error = match within(pool.acquire()).await {
            Ok(conn) => return Ok(conn),
            Err(error) => error,
        };
        let Error::Unavailable(why) = &error else { return Err(error) };
        if !matches!(why.downcast_ref(), Some(sqlx::Error::PoolTimedOut)) {
            return Err(error);
        }
        // The pool tries until its time is over and forgets what it has met, so one more try is
        // to say it.
        match tokio::time::timeout(REASON_WAIT, self.options.connect()).await {
            Ok(Ok(conn)) => {
                drop(conn);
                Err(Error::Busy)
            }
            Ok(Err(error)) => Err(Error::of(error)),
            Err(_elapsed) => Err(error),
        }
    }

    /// Those that begin at the same time do so one after the other.
    async fn migrate(&self) -> Result<(), Error> {
        let schema = &migrate::STORE;
        let mut work = self.write().await?;
        work.execute("SET LOCAL lock_timeout = '15s'").await?;
        let lock = sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).persistent(false);
        work.ask(|conn| Box::pin(lock.execute(conn))).await?;
        let found = work.ask(|conn| Box::pin(version(conn))).await??;
        for step in schema.missing(found)? {
            work.ask(|conn| Box::pin(conn.execute(sqlx::raw_sql(step.postgres)))).await?;
        }
        if found < schema.newest() {
            let stamp = "INSERT INTO keyferry_schema (only_one, version) VALUES (1, $1) \
                ON CONFLICT (only_one) DO UPDATE SET version = $1";
            let stamp = sqlx::query(stamp).bind(schema.newest()).persistent(false);
            work.ask(|conn| Box::pin(stamp.execute(conn))).await?;
        }
        work.commit().await
    }
}

impl ChangeListener {
    /// What never hears anything: nobody else writes.
    pub(super) fn of_nobody() -> Self {
        Self { pools: None, moved: None, ear: None, is_deaf: false }
    }

    /// Waits until another process may have written: it said so, or the line to it was lost and
    /// is there again. Once it tells that nothing can be heard. Never returns where nobody else can
    /// write. Cancel-safe.
    pub async fn changed(&mut self) -> ChangeNotice {
        let (Some(pools), Some(moved)) = (&self.pools, &mut self.moved) else {
            return std::future::pending().await;
        };
        loop {
            if let Some(ear) = &mut self.ear {
                tokio::select! {
                    heard = ear.try_recv() => match heard {
                        Ok(Some(_notice)) => return ChangeNotice::Written,
                        Ok(None) | Err(_) => self.ear = None,
                    },
                    // The store is closed with its last sender; then nobody is told anything.
                    Ok(()) = moved.changed() => self.ear = None,
                }
            }
            if self.is_deaf {
                tokio::time::sleep(UNHEARD_RECHECK_INTERVAL).await;
            }
            match listen(pools).await {
                // Whatever was said until now was said to nobody.
                Ok(Some(ear)) => {
                    (self.ear, self.is_deaf) = (Some(ear), false);
                    return ChangeNotice::Written;
                }
                Ok(None) if !self.is_deaf => {
                    self.is_deaf = true;
                    return ChangeNotice::Unheard;
                }
                Ok(None) => {}
                Err(_unreachable) => tokio::time::sleep(RELISTEN_PAUSE).await,
            }
        }
    }
}

impl fmt::Debug for ChangeListener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChangeListener").field("hears", &self.ear.is_some()).finish_non_exhaustive()
    }
}

/// Listens; `None` behind a pooler, where what listens stays behind on a conn that is then others'.
async fn listen(pools: &ListenerPools) -> Result<Option<PgListener>, sqlx::Error> {
    match tokio::time::timeout(PROBE_TIMEOUT, shares_backends(pools)).await {
        Ok(Ok(false)) => {}
        // A pooler whose conns are all in use has others wait.
        Ok(Ok(true)) | Err(_) => return Ok(None),
        Ok(Err(error)) => return Err(error),
    }
    let mut ear = PgListener::connect_with(&pools.own).await?;
    ear.eager_reconnect(false);
    ear.listen(CHANNEL).await?;
    Ok(Some(ear))
}

/// Says whether transactions of one conn come to several server processes, or those of several to
/// one, as behind a pooler in transaction mode. Some are held open, so that none is left over that
/// could come to the same by chance.
async fn shares_backends(pools: &ListenerPools) -> Result<bool, sqlx::Error> {
    let mut conn = pools.own.acquire().await?;
    let own = backend(&mut conn).await?;
    let mut held = Vec::new();
    for _ in 0..PROBES {
        let mut work = pools.others.begin().await?;
        let other = backend(&mut work).await?;
        held.push(work);
        if other == own || backend(&mut conn).await? != own {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The server process that serves a conn.
async fn backend(conn: &mut PgConnection) -> Result<i32, sqlx::Error> {
    conn.fetch_one("SELECT pg_backend_pid()").await?.try_get(0)
}

fn pool(connections: u32, options: &PgConnectOptions, primary: &Arc<PrimaryServer>) -> PgPool {
    let primary = Arc::clone(primary);
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_WAIT)
        .before_acquire(move |_, conn| {
            let is_allowed = primary.allows(conn.age);
            Box::pin(async move { Ok(is_allowed) })
        })
        .connect_lazy_with(options.clone())
}

/// The version of the schema; 0 where there is none. Other tables may be beside ours, but none
/// that are called as ours are.
async fn version(conn: &mut PgConnection) -> Result<Result<i64, Error>, sqlx::Error> {
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

/// Begins a transaction with limits of its own, so that nobody holds a lock who has gone. A server
/// that was told to acknowledge early is told otherwise. All of it is one message.
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

/// What a reader sees is one state, whatever is written meanwhile.
const READ: &str = begin!("REPEATABLE READ, READ ONLY");

/// What waits for the revision sees what was written while it waited. It is not asked to be READ
/// WRITE: who has made a server read-only by `default_transaction_read_only`, to switch over to
/// another, means that nothing is written there. It tells whether that is so.
const WRITE: &str = concat!(begin!("READ COMMITTED"), "; SHOW transaction_read_only");

/// Where writers say that they have written.
pub(super) const CHANNEL: &str = "keyferry_changes";

/// The number of transactions that are held open to find a pooler.
const PROBES: usize = 3;

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// The interval at which a pooler is looked for again.
const UNHEARD_RECHECK_INTERVAL: Duration = Duration::from_mins(10);

/// "Kfry", which no other program's lock is likely to be.
const LOCK: i64 = 0x4b66_7279;

/// Those who write wait for each other anyway.
const WRITERS: u32 = 4;

/// Some of them are held for a moment to find a pooler.
const READERS: u32 = 6;

const CONNECT_WAIT: Duration = Duration::from_secs(5);

/// The time that it may take to learn why there is no conn.
const REASON_WAIT: Duration = Duration::from_secs(1);

const RELISTEN_PAUSE: Duration = Duration::from_millis(500);
