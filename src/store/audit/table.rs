//! The audit trail as a table of PostgreSQL.

use sqlx::Row as _;

use super::PRUNE_INDEX;
use crate::store::Error;
use crate::store::postgres::Postgres;

/// Deletes the oldest batches when the table exceeds `max_bytes`, and vacuums it. An advisory lock
/// lets one instance at a time do so.
pub(super) async fn trim(database: &Postgres, max_bytes: u64) -> Result<(), Error> {
    let most = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let mut work = database.write().await?;
    // 1. A cheap check of the size on disk first.
    let asked = work.run_on(|conn| {
        Box::pin(async move {
            let size =
                sqlx::query_scalar::<_, i64>(SIZE).persistent(false).fetch_one(&mut *conn).await?;
            let lock = sqlx::query_scalar::<_, bool>(LOCK).bind(LOCK_KEY).persistent(false);
            Ok(size > most && lock.fetch_one(conn).await?)
        })
    });
    if !asked.await? {
        return work.roll_back().await;
    }
    // 2. Count the batches themselves: the table keeps its size after deletions. Delete a sixteenth
    // more than needed, so that this happens rarely.
    let counted = work.run_on(|conn| {
        Box::pin(async move {
            let row =
                sqlx::query(COUNT).bind(most / 16 * 15).persistent(false).fetch_one(conn).await?;
            Ok((row.try_get::<i64, _>("bytes")?, row.try_get::<Option<i64>, _>("last")?))
        })
    });
    let (bytes, last) = counted.await?;
    let Some(last) = last.filter(|_| bytes > most) else { return work.roll_back().await };
    // 3. Delete them, and let their space be reused.
    work.run_on(|conn| Box::pin(sqlx::query(FORGET).bind(last).persistent(false).execute(conn)))
        .await?;
    work.execute(PRUNE_INDEX).await?;
    work.commit().await?;
    database.maintain(VACUUM).await
}

/// The size on disk of the table and of its index.
const SIZE: &str = "SELECT pg_total_relation_size('audit') + pg_total_relation_size('audit_index')";

const LOCK: &str = "SELECT pg_try_advisory_xact_lock($1)";

/// The key of the advisory lock, "Kfra".
const LOCK_KEY: i64 = 0x4b66_7261;

/// The stored bytes of all batches and of their index, and the newest batch beyond the limit.
const COUNT: &str = "WITH sized AS (SELECT id, sum(pg_column_size(entries) + 64) \
    OVER (ORDER BY id DESC) \
    + (SELECT coalesce(sum(pg_column_size(data) + 64), 0) FROM audit_index) AS bytes FROM audit) \
    SELECT coalesce(max(bytes), 0)::bigint AS bytes, \
    max(id) FILTER (WHERE bytes > $1) AS last FROM sized";

const FORGET: &str = "DELETE FROM audit WHERE id <= $1";

/// Lets the space of deleted batches be reused, and truncates the table.
const VACUUM: &str = "VACUUM (SKIP_LOCKED) audit, audit_index";
