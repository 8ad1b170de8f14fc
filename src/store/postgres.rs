//! PostgreSQL: one database for many processes, which tell each other what they write.
//!
//! Everything works through a pooler in transaction mode, where each transaction may come to
//! another server conn: nothing is set for a session, no statement has a name, and what is written
//! is found by looking where no notification comes through.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgPool, Row as _, Transaction};

use super::Error;
use super::database::within;
use super::migrate;
use crate::secret::Secret;

/// The database, opened.
pub(super) struct Postgres {
    pool: PgPool,
    options: Box<PgConnectOptions>,
}

/// Tells when another process may have written.
pub struct Listener {
    pools: Option<Pools>,
    ear: Option<PgListener>,
    /// There was a pooler when it was last tried, which was told.
    is_deaf: bool,
}

/// The conns of a listener.
struct Pools {
    /// Of its own, with one connection: who listens keeps one for good.
    own: PgPool,
    /// Those of the store, to find a pooler with.
    others: PgPool,
}

/// A reason to look at the store.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Notice {
    /// Another process may have written.
    Written,
    /// Notifications do not come through, as with a pooler in transaction mode: only looking tells
    /// what others have written.
    Unheard,
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
        let pool = pool(CONNECTIONS, &options);
        let database = Self { pool, options: Box::new(options) };
        database.migrate().await?;
        Ok(database)
    }

    pub(super) async fn begin(
        &self,
        how: &'static str,
    ) -> Result<Transaction<'static, sqlx::Postgres>, Error> {
        within(self.pool.begin_with(how)).await
    }

    pub(super) fn listen(&self) -> Listener {
        let pools = Pools { own: pool(1, &self.options), others: self.pool.clone() };
        Listener { pools: Some(pools), ear: None, is_deaf: false }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Those that begin at the same time do so one after the other.
    async fn migrate(&self) -> Result<(), Error> {
        let mut work = self.begin(WRITE).await?;
        within(work.execute("SET LOCAL lock_timeout = '15s'")).await?;
        within(
            sqlx::query("SELECT pg_advisory_xact_lock($1)")
                .bind(LOCK)
                .persistent(false)
                .execute(&mut *work),
        )
        .await?;
        let found = version(&mut work).await?;
        for step in migrate::missing(found)? {
            within(work.execute(sqlx::raw_sql(step.postgres))).await?;
        }
        if found < migrate::newest() {
            let stamp = "INSERT INTO keyferry_schema (only_one, version) VALUES (1, $1) \
                ON CONFLICT (only_one) DO UPDATE SET version = $1";
            within(
                sqlx::query(stamp).bind(migrate::newest()).persistent(false).execute(&mut *work),
            )
            .await?;
        }
        within(work.commit()).await
    }
}

impl Listener {
    /// What never hears anything: nobody else writes.
    pub(super) fn of_nobody() -> Self {
        Self { pools: None, ear: None, is_deaf: false }
    }

    /// Waits until another process may have written: it said so, or the line to it was lost and
    /// is there again. Once it tells that nothing can be heard. Never returns where nobody else can
    /// write. Cancel-safe.
    pub async fn changed(&mut self) -> Notice {
        let Some(pools) = &self.pools else { return std::future::pending().await };
        loop {
            if let Some(ear) = &mut self.ear {
                match ear.try_recv().await {
                    Ok(Some(_notice)) => return Notice::Written,
                    Ok(None) | Err(_) => self.ear = None,
                }
            }
            if self.is_deaf {
                tokio::time::sleep(DEAF_INTERVAL).await;
            }
            match listen(pools).await {
                // Whatever was said until now was said to nobody.
                Ok(Some(ear)) => {
                    (self.ear, self.is_deaf) = (Some(ear), false);
                    return Notice::Written;
                }
                Ok(None) if !self.is_deaf => {
                    self.is_deaf = true;
                    return Notice::Unheard;
                }
                Ok(None) => {}
                Err(_unreachable) => tokio::time::sleep(BREATH).await,
            }
        }
    }
}

impl fmt::Debug for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listener").field("hears", &self.ear.is_some()).finish_non_exhaustive()
    }
}

/// Listens; `None` behind a pooler, where what listens stays behind on a conn that is then others'.
async fn listen(pools: &Pools) -> Result<Option<PgListener>, sqlx::Error> {
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
async fn shares_backends(pools: &Pools) -> Result<bool, sqlx::Error> {
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

fn pool(connections: u32, options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_WAIT)
        .connect_lazy_with(options.clone())
}

/// The version of the schema; 0 where there is none. Other tables may be beside ours, but none
/// that are called as ours are.
async fn version(conn: &mut PgConnection) -> Result<i64, Error> {
    let ours = "SELECT to_regclass('keyferry_schema') IS NOT NULL";
    let ours: bool =
        within(sqlx::query_scalar(ours).persistent(false).fetch_one(&mut *conn)).await?;
    if ours {
        let version = "SELECT version FROM keyferry_schema";
        return within(sqlx::query_scalar(version).persistent(false).fetch_one(conn)).await;
    }
    let taken = "SELECT to_regclass('revision') IS NOT NULL OR to_regclass('changes') IS NOT NULL \
        OR to_regclass('connections') IS NOT NULL OR to_regclass('tokens') IS NOT NULL \
        OR to_regclass('key_check') IS NOT NULL";
    let taken: bool = within(sqlx::query_scalar(taken).persistent(false).fetch_one(conn)).await?;
    if taken { Err(Error::Foreign) } else { Ok(0) }
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
pub(super) const READ: &str = begin!("REPEATABLE READ, READ ONLY");

/// What waits for the revision sees what was written while it waited.
pub(super) const WRITE: &str = begin!("READ COMMITTED, READ WRITE");

/// Where writers say that they have written.
pub(super) const CHANNEL: &str = "keyferry_changes";

/// How many transactions are held open to find a pooler.
const PROBES: usize = 3;

const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// How often it is tried again whether there is a pooler.
const DEAF_INTERVAL: Duration = Duration::from_mins(10);

/// "Kfry", which no other program's lock is likely to be.
const LOCK: i64 = 0x4b66_7279;

const CONNECTIONS: u32 = 8;

const CONNECT_WAIT: Duration = Duration::from_secs(5);

const BREATH: Duration = Duration::from_millis(500);
