//! PostgreSQL: one database for many processes, which tell each other what they write.

use std::fmt;
use std::str::FromStr as _;
use std::time::Duration;

use sqlx::postgres::{PgConnectOptions, PgConnection, PgListener, PgPoolOptions};
use sqlx::{ConnectOptions as _, Executor as _, PgPool, Transaction};

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
    /// Of its own, with one connection: who listens keeps one for good.
    pool: Option<PgPool>,
    ear: Option<PgListener>,
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
        Listener { pool: Some(pool(1, &self.options)), ear: None }
    }

    pub(super) async fn close(&self) {
        self.pool.close().await;
    }

    /// Those that begin at the same time do so one after the other.
    async fn migrate(&self) -> Result<(), Error> {
        let mut work = self.begin(WRITE).await?;
        within(work.execute("SET LOCAL lock_timeout = '15s'")).await?;
        within(sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *work))
            .await?;
        let found = version(&mut work).await?;
        for step in migrate::missing(found)? {
            within(work.execute(sqlx::raw_sql(step.postgres))).await?;
        }
        if found < migrate::newest() {
            let stamp = "INSERT INTO keyferry_schema (only_one, version) VALUES (1, $1) \
                ON CONFLICT (only_one) DO UPDATE SET version = $1";
            within(sqlx::query(stamp).bind(migrate::newest()).execute(&mut *work)).await?;
        }
        within(work.commit()).await
    }
}

impl Listener {
    /// What never hears anything: nobody else writes.
    pub(super) fn of_nobody() -> Self {
        Self { pool: None, ear: None }
    }

    /// Waits until another process may have written: it said so, or the line to it was lost and
    /// is there again. Never returns where nobody else can write. Cancel-safe.
    pub async fn changed(&mut self) {
        let Some(pool) = &self.pool else { return std::future::pending().await };
        loop {
            if let Some(ear) = &mut self.ear {
                match ear.try_recv().await {
                    Ok(Some(_notice)) => return,
                    Ok(None) | Err(_) => self.ear = None,
                }
            }
            match listen(pool).await {
                // Whatever was said until now was said to nobody.
                Ok(ear) => {
                    self.ear = Some(ear);
                    return;
                }
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

async fn listen(pool: &PgPool) -> Result<PgListener, sqlx::Error> {
    let mut ear = PgListener::connect_with(pool).await?;
    ear.eager_reconnect(false);
    ear.listen(CHANNEL).await?;
    Ok(ear)
}

fn pool(connections: u32, options: &PgConnectOptions) -> PgPool {
    PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(CONNECT_WAIT)
        .after_connect(|conn, _| {
            Box::pin(async move {
                conn.execute(SETTINGS).await?;
                Ok(())
            })
        })
        .connect_lazy_with(options.clone())
}

/// The version of the schema; 0 where there is none. Other tables may be beside ours, but none
/// that are called as ours are.
async fn version(conn: &mut PgConnection) -> Result<i64, Error> {
    let ours = "SELECT to_regclass('keyferry_schema') IS NOT NULL";
    let ours: bool = within(sqlx::query_scalar(ours).fetch_one(&mut *conn)).await?;
    if ours {
        let version = "SELECT version FROM keyferry_schema";
        return within(sqlx::query_scalar(version).fetch_one(conn)).await;
    }
    let taken = "SELECT to_regclass('revision') IS NOT NULL OR to_regclass('changes') IS NOT NULL \
        OR to_regclass('connections') IS NOT NULL OR to_regclass('tokens') IS NOT NULL \
        OR to_regclass('key_check') IS NOT NULL";
    let taken: bool = within(sqlx::query_scalar(taken).fetch_one(conn)).await?;
    if taken { Err(Error::Foreign) } else { Ok(0) }
}

/// What a reader sees is one state, whatever is written meanwhile.
pub(super) const READ: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// What waits for the revision sees what was written while it waited.
pub(super) const WRITE: &str = "BEGIN ISOLATION LEVEL READ COMMITTED, READ WRITE";

/// Where writers say that they have written.
pub(super) const CHANNEL: &str = "keyferry_changes";

/// A server that was told to acknowledge early is told otherwise, and nobody holds a lock who
/// has gone.
const SETTINGS: &str = "SET statement_timeout = '10s'; SET lock_timeout = '5s'; \
    SET idle_in_transaction_session_timeout = '15s'; \
    SELECT set_config('synchronous_commit', 'on', false) \
    WHERE current_setting('synchronous_commit') = 'off'";

/// "Kfry", which no other program's lock is likely to be.
const LOCK: i64 = 0x4b66_7279;

const CONNECTIONS: u32 = 8;

const CONNECT_WAIT: Duration = Duration::from_secs(5);

const BREATH: Duration = Duration::from_millis(500);
