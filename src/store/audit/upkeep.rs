//! The upkeep of the audit trail's index, beside requests: old batches are indexed, and rows joined.

use jiff::{SignedDuration, Timestamp};

use super::index::IndexRow;
use super::insert_index;
use crate::store::row::SqlRow;
use crate::store::{Error, Store};

impl Store {
    /// Indexes some batches of before there was an index, the newest first. `true` when there may be
    /// more.
    pub async fn index_old_entries(&self, now: Timestamp) -> Result<bool, Error> {
        let indexed = async {
            let mut work = self.write_trail().await?;
            let rows = work.rows(OLD, [OLD_AT_ONCE.into()]).await?;
            for row in &rows {
                let columns = row.of("audit");
                let (batch, lines) = (columns.number("id")?, columns.text("entries")?);
                // Another instance may have been first.
                if work.execute(MARK, [batch.into()]).await? > 0 {
                    insert_index(&mut work, &IndexRow::of(batch, &lines), now, 0).await?;
                }
            }
            work.commit().await?;
            Ok(!rows.is_empty())
        };
        self.end_trail(Box::pin(indexed).await).await
    }

    /// Joins rows of the index that were stored a while ago, so that a search reads few large ones.
    pub async fn join_index_rows(&self, now: Timestamp) -> Result<(), Error> {
        while self.end_trail(Box::pin(self.join_next_rows(now)).await).await? {}
        Ok(())
    }

    /// Joins the oldest rows that were not joined yet, up to a row that was. Rows that are young are
    /// left: on PostgreSQL one of an earlier batch may become visible yet. `false` when few are
    /// left.
    async fn join_next_rows(&self, now: Timestamp) -> Result<bool, Error> {
        let settled = now.checked_sub(SETTLED_AFTER).unwrap_or(Timestamp::MIN);
        let mut work = self.write_trail().await?;
        // 1. The rows.
        let rows = work.rows(UNJOINED, [JOINED_AT_ONCE.into()]).await?;
        let first = rows.first().map(|row| row.of(TABLE).number("last_batch")).transpose()?;
        let gap = work.row(GAP, [first.unwrap_or_default().into()]).await?;
        let gap = gap.map(|row| row.of("audit").optional_number("id")).transpose()?.flatten();
        let (mut joined, mut number, mut is_closed) = (IndexRow::default(), 0, false);
        for row in &rows {
            let columns = row.of(TABLE);
            is_closed = columns.number("joined")? != 0 || joined.data.len() >= JOINED_LEN;
            // A batch in between that has no index yet will have a row of its own.
            let is_beyond = gap.is_some_and(|gap| row_end(row).is_none_or(|end| end > gap));
            if is_closed || is_beyond || columns.time("stored")? >= settled {
                break;
            }
            joined.append(&read(row)?);
            number += 1;
        }
        // 2. A few are left until there are more, unless no more can come.
        if number == 0 || (number < MIN_JOINED && !is_closed) {
            work.roll_back().await?;
            return Ok(false);
        }
        // 3. One takes their place, unless another instance was first.
        let removed =
            work.execute(REMOVE, [joined.batches.0.into(), joined.batches.1.into()]).await?;
        if removed != number {
            work.roll_back().await?;
            return Ok(false);
        }
        insert_index(&mut work, &joined, now, 1).await?;
        work.commit().await?;
        Ok(true)
    }
}

fn row_end(row: &SqlRow) -> Option<i64> {
    row.of(TABLE).number("last_batch").ok()
}

fn read(row: &SqlRow) -> Result<IndexRow, Error> {
    let columns = row.of(TABLE);
    Ok(IndexRow {
        batches: (columns.number("first_batch")?, columns.number("last_batch")?),
        seconds: (columns.number("oldest")?, columns.number("newest")?),
        data: columns.bytes("data")?,
    })
}

const TABLE: &str = "audit_index";

const OLD: &str = "SELECT id, entries FROM audit WHERE indexed IS NULL ORDER BY id DESC LIMIT $1";

const MARK: &str = "UPDATE audit SET indexed = 1 WHERE id = $1 AND indexed IS NULL";

/// Rows from the oldest that was not joined.
const UNJOINED: &str = "SELECT * FROM audit_index WHERE last_batch >= \
    (SELECT min(last_batch) FROM audit_index WHERE joined = 0) ORDER BY last_batch LIMIT $1";

/// The first batch after `$1` without an index.
const GAP: &str = "SELECT min(id) AS id FROM audit WHERE indexed IS NULL AND id > $1";

const REMOVE: &str = "DELETE FROM audit_index WHERE first_batch >= $1 AND last_batch <= $2";

/// The number of old batches that are indexed in one transaction.
const OLD_AT_ONCE: i64 = 16;

const JOINED_AT_ONCE: i64 = 128;

/// The smallest number of rows that are joined.
const MIN_JOINED: u64 = 32;

/// The length at which a row is long enough, in bytes.
const JOINED_LEN: usize = 256 << 10;

/// The time after which a row's transaction, and those that began before, have ended.
const SETTLED_AFTER: SignedDuration = SignedDuration::from_secs(60);
