//! The interface of both backends: transactions, statements with `$1` placeholders, and rows.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use sqlx::query::Query;
use sqlx::{Encode, Type};

use super::error::TooLate;
use super::events::PendingEvent;
use super::postgres::{self, ChangeListener, Postgres};
use super::row::{SqlRow, SqlValue};
use super::sqlite::Sqlite;
use super::transaction::BackendTransaction;
use super::writability::Writability;
use super::{Error, Revision};
use crate::random;

pub(super) enum Database {
    Postgres(Postgres),
    Sqlite(Sqlite),
}

/// A transaction. Dropping it undoes it.
pub(super) struct DbTransaction {
    backend: Backend,
    /// The event that is stored when it commits.
    event: Option<PendingEvent>,
}

enum Backend {
    Postgres(BackendTransaction<sqlx::Postgres>),
    Sqlite(BackendTransaction<sqlx::Sqlite>),
}

impl Database {
    pub(super) async fn read(&self) -> Result<DbTransaction, Error> {
        match self {
            Self::Postgres(database) => database.read().await.map(Into::into),
            Self::Sqlite(database) => database.read().await.map(Into::into),
        }
    }

    pub(super) async fn write(&self) -> Result<DbTransaction, Error> {
        match self {
            Self::Postgres(database) => database.write().await.map(Into::into),
            Self::Sqlite(database) => database.write().await.map(Into::into),
        }
    }

    pub(super) fn writability(&self) -> &Arc<Writability> {
        match self {
            Self::Postgres(database) => database.writability(),
            Self::Sqlite(database) => database.writability(),
        }
    }

    pub(super) fn listen(&self) -> ChangeListener {
        match self {
            Self::Postgres(database) => database.listen(),
            Self::Sqlite(_) => ChangeListener::silent(),
        }
    }

    pub(super) async fn close(&self) {
        match self {
            Self::Postgres(database) => database.close().await,
            Self::Sqlite(database) => database.close().await,
        }
    }
}

impl From<BackendTransaction<sqlx::Postgres>> for DbTransaction {
    fn from(work: BackendTransaction<sqlx::Postgres>) -> Self {
        Self { backend: Backend::Postgres(work), event: None }
    }
}

impl From<BackendTransaction<sqlx::Sqlite>> for DbTransaction {
    fn from(work: BackendTransaction<sqlx::Sqlite>) -> Self {
        Self { backend: Backend::Sqlite(work), event: None }
    }
}

impl DbTransaction {
    /// The same transaction, with which this event is stored.
    pub(super) fn with_event(self, event: Option<PendingEvent>) -> Self {
        Self { event, ..self }
    }

    /// Runs a statement and gives its rows.
    pub(super) async fn rows<const N: usize>(
        &mut self,
        sql: &'static str,
        values: [SqlValue; N],
    ) -> Result<Vec<SqlRow>, Error> {
        match &mut self.backend {
            Backend::Postgres(work) => {
                let query = bind_values(sql, values).persistent(false);
                let rows = work.run_on(|conn| query.fetch_all(conn).boxed()).await?;
                Ok(rows.into_iter().map(SqlRow::Postgres).collect())
            }
            Backend::Sqlite(work) => {
                let rows =
                    work.run_on(|conn| bind_values(sql, values).fetch_all(conn).boxed()).await?;
                Ok(rows.into_iter().map(SqlRow::Sqlite).collect())
            }
        }
    }

    /// Runs a statement and gives its first row.
    pub(super) async fn row<const N: usize>(
        &mut self,
        sql: &'static str,
        values: [SqlValue; N],
    ) -> Result<Option<SqlRow>, Error> {
        Ok(self.rows(sql, values).await?.into_iter().next())
    }

    /// Runs a statement and gives the number of affected rows.
    pub(super) async fn execute<const N: usize>(
        &mut self,
        sql: &'static str,
        values: [SqlValue; N],
    ) -> Result<u64, Error> {
        match &mut self.backend {
            Backend::Postgres(work) => {
                let query = bind_values(sql, values).persistent(false);
                let done = work.run_on(|conn| query.execute(conn).boxed()).await?;
                Ok(done.rows_affected())
            }
            Backend::Sqlite(work) => {
                let done =
                    work.run_on(|conn| bind_values(sql, values).execute(conn).boxed()).await?;
                Ok(done.rows_affected())
            }
        }
    }

    /// The statement for this backend.
    pub(super) fn pick(&self, sqlite: &'static str, postgres: &'static str) -> &'static str {
        match &self.backend {
            Backend::Postgres(_) => postgres,
            Backend::Sqlite(_) => sqlite,
        }
    }

    /// The database's time in microseconds, which all instances share.
    pub(super) async fn database_time(&mut self) -> Result<i64, Error> {
        let sql = match &self.backend {
            Backend::Postgres(_) => {
                "SELECT CAST(extract(epoch FROM clock_timestamp()) * 1000000 AS BIGINT) AS now"
            }
            Backend::Sqlite(_) => "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS now",
        };
        let row = self.row(sql, []).await?;
        let row = row.ok_or(Error::Inconsistent { table: "", column: "now" })?;
        row.of("").number("now")
    }

    /// Takes the next revision and notes the change. The revision's row stays locked until the
    /// transaction ends, so that revisions become visible in order.
    pub(super) async fn take_revision(
        &mut self,
        kind: &'static str,
        integration: &str,
        name: &str,
    ) -> Result<Revision, Error> {
        // 1. Count up, which waits for other writers.
        let next = "UPDATE revision SET revision = revision + 1 RETURNING revision";
        let next = self
            .row(next, [])
            .await?
            .ok_or(Error::Inconsistent { table: "revision", column: "only_one" })?;
        let next = next.of("revision").number("revision")?;
        // 2. Note the record that changes.
        let identity = new_identity()?;
        let change = "INSERT INTO changes (revision, identity, kind, integration, name) \
            VALUES ($1, $2, $3, $4, $5)";
        let values = [next.into(), identity.into(), kind.into(), integration.into(), name.into()];
        self.execute(change, values).await?;
        // 3. Notify other instances when the transaction commits.
        if let Backend::Postgres(_) = self.backend {
            let notice = [postgres::CHANNEL.into(), next.to_string().into()];
            self.rows("SELECT pg_notify($1, $2)", notice).await?;
        }
        Ok(Revision { number: next, identity })
    }

    /// Locks the revision without taking the next one, so that no other writer comes in between.
    pub(super) async fn hold_revision(&mut self) -> Result<(), Error> {
        self.execute("UPDATE revision SET revision = revision", []).await.map(drop)
    }

    /// Commits, with the event that goes along. After an error the transaction may have been
    /// committed or not.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        if let Some(event) = self.event.take() {
            event.append(&mut self).await?;
        }
        match self.backend {
            Backend::Postgres(work) => work.commit().await,
            Backend::Sqlite(work) => work.commit().await,
        }
    }

    pub(super) async fn roll_back(self) -> Result<(), Error> {
        match self.backend {
            Backend::Postgres(work) => work.roll_back().await,
            Backend::Sqlite(work) => work.roll_back().await,
        }
    }
}

fn new_identity() -> Result<i64, Error> {
    let bytes = random::bytes().map_err(|failed| Error::Unavailable(Box::new(failed)))?;
    Ok(i64::from_be_bytes(bytes))
}

/// Waits for the driver up to [`STATEMENT_TIMEOUT`]: a server that is gone does not answer. The
/// driver's futures are large, so they are boxed here.
pub(super) fn with_timeout<T>(
    answer: impl Future<Output = Result<T, sqlx::Error>> + Send,
) -> impl Future<Output = Result<T, Error>> + Send {
    let answer = tokio::time::timeout(STATEMENT_TIMEOUT, Box::pin(answer));
    async {
        match answer.await {
            Ok(answer) => answer.map_err(Error::from_driver),
            Err(_elapsed) => Err(Error::Unavailable(Box::new(TooLate))),
        }
    }
}

fn bind_values<D: sqlx::Database, const N: usize>(
    sql: &'static str,
    values: [SqlValue; N],
) -> Query<'static, D, D::Arguments>
where
    Option<String>: Encode<'static, D> + Type<D>,
    Option<i64>: Encode<'static, D> + Type<D>,
    Vec<u8>: Encode<'static, D> + Type<D>,
{
    let query = sqlx::query::<D>(sql);
    values.into_iter().fold(query, |query, value| match value {
        SqlValue::Bytes(bytes) => query.bind(bytes),
        SqlValue::Number(number) => query.bind(number),
        SqlValue::Text(text) => query.bind(text),
    })
}

/// The longest time for a statement, longer than the backends' own timeouts for locks and
/// statements.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(20);
