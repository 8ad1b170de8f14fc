//! The trail as a table of PostgreSQL.

use sqlx::Row as _;

use crate::store::Error;
use crate::store::postgres::Postgres;

/// Forgets the oldest batches when those that there are take more than `max_bytes`, and has the
/// room used again. One instance at a time does so.
pub(super) async fn trim(database: &Postgres, max_bytes: u64) -> Result<(), Error> {
    let most = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let mut work = database.write().await?;
    let asked = work.ask(|conn| {
        Box::pin(async move {
            let size =
                sqlx::query_scalar::<_, i64>(SIZE).persistent(false).fetch_one(&mut *conn).await?;
            let lock = sqlx::query_scalar::<_, bool>(LOCK).bind(LOCK_KEY).persistent(false);
            Ok(size > most && lock.fetch_one(conn).await?)
        })
    });
    if !asked.await? {
        return work.end().await;
    }
    // What was forgotten before still counts in the size of the table until it is used again, so
    // it is the batches that are counted. A sixteenth more goes than must, so that this is rare.
    let counted = work.ask(|conn| {
        Box::pin(async move {
            let row =
                sqlx::query(COUNT).bind(most / 16 * 15).persistent(false).fetch_one(conn).await?;
            Ok((row.try_get::<i64, _>("bytes")?, row.try_get::<Option<i64>, _>("last")?))
        })
    });
    let (bytes, last) = counted.await?;
    let Some(last) = last.filter(|_| bytes > most) else { return work.end().await };
    work.ask(|conn| Box::pin(sqlx::query(FORGET).bind(last).persistent(false).execute(conn)))
        .await?;
    work.commit().await?;
    database.maintain(VACUUM).await
}

/// Everything that the table takes on the disk.
const SIZE: &str = "SELECT pg_total_relation_size('audit')";

const LOCK: &str = "SELECT pg_try_advisory_xact_lock($1)";

/// "Kfra".
const LOCK_KEY: i64 = 0x4b66_7261;

/// The bytes of all batches as they are stored, and the newest of those that are too many.
const COUNT: &str = "WITH sized AS (SELECT id, sum(pg_column_size(entries) + 64) \
    OVER (ORDER BY id DESC) AS bytes FROM audit) \
    SELECT coalesce(max(bytes), 0)::bigint AS bytes, \
    max(id) FILTER (WHERE bytes > $1) AS last FROM sized";

const FORGET: &str = "DELETE FROM audit WHERE id <= $1";

/// Has the room of what was forgotten used again, and gives back what is at the end of the table.
const VACUUM: &str = "VACUUM (SKIP_LOCKED) audit";
