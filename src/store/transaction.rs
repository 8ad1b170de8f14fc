//! A transaction on a conn that it has for itself, and that is thrown away unless the transaction
//! has ended as it was told to.
//!
//! A database may roll back by itself (SQLite when its disk is full or fails, or it is short of
//! memory), a commit may fail, and a future may be dropped while a statement runs. What such a conn
//! is at is not known then, so nobody uses it again: the pool opens another one.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Database, Executor};

use super::Error;
use super::database::within;
use super::writability::Writability;

/// A transaction. When it is dropped, nothing of it was done.
pub(super) struct BackendTransaction<D: Database> {
    /// `None` once it was given back.
    conn: Option<PoolConnection<D>>,
    /// False while a statement runs, and after one that failed or was dropped.
    is_settled: bool,
    /// Told what becomes of it, where it writes.
    writability: Option<Arc<Writability>>,
}

/// An earlier statement of the transaction has failed.
#[derive(Debug, thiserror::Error)]
#[error("an earlier statement of the transaction failed")]
struct EarlierFailure;

impl<D: Database> BackendTransaction<D> {
    /// A conn on which nothing has begun.
    pub(super) fn on(conn: PoolConnection<D>, writability: Option<Arc<Writability>>) -> Self {
        Self { conn: Some(conn), is_settled: true, writability }
    }

    /// Has the conn carry out one statement.
    pub(super) async fn ask<T>(
        &mut self,
        statement: impl for<'c> FnOnce(&'c mut D::Connection) -> BoxFuture<'c, Result<T, sqlx::Error>>,
    ) -> Result<T, Error> {
        let was_settled = std::mem::replace(&mut self.is_settled, false);
        let Some(conn) = self.conn.as_deref_mut().filter(|_| was_settled) else {
            return Err(Error::Unavailable(Box::new(EarlierFailure)));
        };
        let answer = within(statement(conn)).await;
        self.is_settled = answer.is_ok();
        if let (Err(error), Some(writability)) = (&answer, &self.writability) {
            writability.note_failure(error);
        }
        answer
    }

    /// Gives the conn back to its pool, if it is known what it is at.
    fn give_back(mut self) {
        if self.is_settled {
            drop(self.conn.take());
        }
    }
}

impl<D: Database> BackendTransaction<D>
where
    for<'c> &'c mut D::Connection: Executor<'c, Database = D>,
{
    /// Carries out a statement that gives no rows and has no values.
    pub(super) async fn execute(&mut self, sql: &'static str) -> Result<(), Error> {
        self.ask(|conn| Box::pin(async move { conn.execute(sql).await.map(drop) })).await
    }

    /// Makes it last. When this fails, it may have been done or not.
    pub(super) async fn commit(mut self) -> Result<(), Error> {
        self.execute("COMMIT").await?;
        if let Some(writability) = &self.writability {
            writability.note_success();
        }
        self.give_back();
        Ok(())
    }

    /// Undoes it.
    pub(super) async fn end(mut self) -> Result<(), Error> {
        // What has failed is undone with its conn; its own error says more than this could.
        if self.is_settled {
            self.execute("ROLLBACK").await?;
        }
        self.give_back();
        Ok(())
    }

    /// Ends what has been done without a transaction.
    pub(super) fn finish(self) {
        self.give_back();
    }
}

impl<D: Database> Drop for BackendTransaction<D> {
    fn drop(&mut self) {
        if let Some(conn) = self.conn.take() {
            drop(conn.detach());
        }
    }
}
