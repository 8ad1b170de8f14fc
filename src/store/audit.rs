//! The audit trail: entries of requests, kept by the batch and forgotten by their age.

use jiff::Timestamp;

use super::{Error, Store};

/// Entries that were kept together.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Batch {
    /// Greater than that of all batches that were kept before.
    pub id: i64,
    /// The entries, oldest first, each a line of JSON.
    pub lines: String,
}

impl Store {
    /// Keeps entries, each a line of JSON, of which the last was written at `last`.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]; then they may have been kept or not.
    pub async fn append_audit(&self, lines: &str, last: Timestamp) -> Result<(), Error> {
        let mut work = self.write().await?;
        work.run(APPEND, [last.into(), lines.into()]).await?;
        work.commit().await
    }

    /// The newest batches, the newest first; only those before the batch `before`, if it is given.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn audit(&self, before: Option<i64>, limit: u32) -> Result<Vec<Batch>, Error> {
        self.batches(NEWEST, before.unwrap_or(i64::MAX), limit).await
    }

    /// The oldest batches after the batch `after`, the oldest first.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn audit_after(&self, after: i64, limit: u32) -> Result<Vec<Batch>, Error> {
        self.batches(OLDEST, after, limit).await
    }

    async fn batches(&self, sql: &'static str, end: i64, limit: u32) -> Result<Vec<Batch>, Error> {
        let mut work = self.read().await?;
        let rows = work.rows(sql, [end.into(), i64::from(limit).into()]).await?;
        work.end().await?;
        let batches = rows.iter().map(|row| {
            let columns = row.of("audit");
            Ok(Batch { id: columns.number("id")?, lines: columns.text("entries")? })
        });
        batches.collect()
    }

    /// Forgets batches of which every entry is older than `time`, a bounded number at once; how
    /// many.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn prune_audit(&self, time: Timestamp) -> Result<u64, Error> {
        let mut work = self.write().await?;
        let forgotten = work.run(PRUNE, [time.into(), AT_ONCE.into()]).await?;
        work.commit().await?;
        Ok(forgotten)
    }
}

const APPEND: &str = "INSERT INTO audit (last, entries) VALUES ($1, $2)";

const NEWEST: &str = "SELECT id, entries FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2";

const OLDEST: &str = "SELECT id, entries FROM audit WHERE id > $1 ORDER BY id LIMIT $2";

const PRUNE: &str = "DELETE FROM audit WHERE id IN \
    (SELECT id FROM audit WHERE last < $1 ORDER BY last LIMIT $2)";

/// Few enough that nobody waits long for the right to write.
const AT_ONCE: i64 = 1000;
