//! A transaction on a conn of its own, which is discarded unless the transaction has ended
//! regularly.
//!
//! A database may roll back by itself (SQLite on a full or failing disk, or without memory), a
//! commit may fail, and a future may be dropped while a statement runs. The state of the conn is
//! not known then, so it is not reused: the pool opens another one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Executor};

use super::Error;
use super::database::with_timeout;
use super::writability::Writability;

/// A transaction of one backend. Dropping it discards its conn, which undoes it.
pub(super) struct BackendTransaction<D: Database> {
    /// `None` once it was returned to the pool.
    conn: Option<PoolConnection<D>>,
    /// False while a statement runs, and after one that has failed or was dropped.
    is_settled: bool,
    /// Notified of the result of a transaction that writes.
    writability: Option<Arc<Writability>>,
}

/// An earlier statement of the transaction has failed.
#[derive(Debug, thiserror::Error)]
#[error("an earlier statement of the transaction failed")]
struct EarlierFailure;

impl<D: Database> BackendTransaction<D> {
    /// Takes a conn on which no transaction has begun.
    pub(super) fn from_conn(
        conn: PoolConnection<D>,
        writability: Option<Arc<Writability>>,
    ) -> Self {
        Self { conn: Some(conn), is_settled: true, writability }
    }

    /// Runs one statement on the conn. Dropping the future discards the conn.
    pub(super) async fn run_on<T>(
        &mut self,
        statement: impl for<'c> FnOnce(&'c mut D::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        let was_settled = std::mem::replace(&mut self.is_settled, false);
        let Some(conn) = self.conn.as_deref_mut().filter(|_| was_settled) else {
            return Err(Error::Unavailable(Box::new(EarlierFailure)));
        };
        let answer = with_timeout(statement(conn)).await;
        self.is_settled = answer.is_ok();
        if let (Err(error), Some(writability)) = (&answer, &self.writability) {
            writability.note_failure(error);
        }
        answer
    }

    /// Returns the conn to its pool, if its state is known.
    pub(super) fn release(mut self) {
        if self.is_settled {
            drop(self.conn.take());
        }
    }
}

impl<D: Database> BackendTransaction<D>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    /// Runs a statement without values and rows.
    pub(super) async fn execute(&mut self, sql: &'static str) -> Result<(), Error> {
        self.run_on(|conn| Box::pin(async move { conn.execute(sql).await.map(drop) })).await
    }

    /// Commits. After an error the transaction may have been committed or not.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.execute("COMMIT").await?;
        if let Some(writability) = &self.writability {
            writability.note_success();
        }
        self.release();
        Ok(())
    }

    pub(super) async fn roll_back(mut self) -> Result<(), Error> {
        // A failed transaction is undone by discarding its conn.
        if self.is_settled {
            self.execute("ROLLBACK").await?;
        }
        self.release();
        Ok(())
    }
}

impl<D: Database> Drop for BackendTransaction<D> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(conn.detach());
        }
    }
}
