//! Counts of requests, and the health of connections, as each instance writes them: rows of its own,
//! which it writes again whole, so that a write that is repeated counts nothing twice.
//!
//! They are kept beside the audit trail, whose failures don't affect records.

use jiff::Timestamp;
use serde_json::json;

use super::{Error, Store};
use crate::model::connection_health::{ConnectionHealth, PERIOD_SECONDS};
use crate::model::request_counts::RequestCounts;

/// The key of counts: what they are of, and when.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct CountKey {
    /// The length of time.
    pub span: CountSpan,
    /// The subject.
    pub subject: CountSubject,
    /// The integration; empty where it is not known.
    pub integration: Box<str>,
    /// The connection; empty where the subject is none.
    pub connection: Box<str>,
    /// The caller; empty where it is not known, or not told apart.
    pub caller: Box<str>,
    /// The start, in seconds since the Unix epoch.
    pub start: i64,
}

/// The length of time that counts are for.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CountSpan {
    /// A minute.
    Minute,
    /// An hour.
    Hour,
}

/// The subject of counts.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum CountSubject {
    /// All requests of an integration.
    Integration,
    /// The requests of a connection by a caller.
    Connection,
    /// The requests of a caller.
    Caller,
}

/// Selects counts.
#[derive(Clone, Debug)]
pub struct CountQuery {
    /// The length of time of each.
    pub span: CountSpan,
    /// The integration; `None` for all.
    pub integration: Option<String>,
    /// The connection; `None` where they are not told apart.
    pub connection: Option<String>,
    /// The caller; `None` for all.
    pub caller: Option<String>,
    /// Tells whether the counts of callers are wanted apart.
    pub by_caller: bool,
    /// The start of the first, and the end of the last, in seconds since the Unix epoch.
    pub seconds: (i64, i64),
}

/// Counts of an instance.
#[derive(Clone, Debug)]
pub struct CountRow {
    /// The start, in seconds since the Unix epoch.
    pub start: i64,
    /// The caller; empty where it is not known, or not told apart.
    pub caller: String,
    /// The counts.
    pub counts: RequestCounts,
}

/// The health of a connection, as an instance knows it.
#[derive(Clone, Debug)]
pub struct HealthRow {
    /// The integration.
    pub integration: Box<str>,
    /// The connection.
    pub connection: Box<str>,
    /// The health.
    pub health: ConnectionHealth,
    /// Tells whether what any instance has stored before is void.
    pub is_afresh: bool,
}

impl CountSpan {
    /// The length in seconds.
    pub fn seconds(self) -> i64 {
        match self {
            Self::Minute => 60,
            Self::Hour => 3600,
        }
    }
}

impl CountSubject {
    fn number(self) -> i64 {
        match self {
            Self::Integration => 0,
            Self::Connection => 1,
            Self::Caller => 2,
        }
    }
}

impl Store {
    /// Stores counts, and the health of connections, in the place of what this instance has stored
    /// under the same keys.
    ///
    /// # Errors
    /// Any error of the trail. After an error they may have been stored or not.
    pub async fn write_stats(
        &self,
        instance: &str,
        now: Timestamp,
        counts: &[(CountKey, RequestCounts)],
        health: &[HealthRow],
    ) -> Result<(), Error> {
        let written = async {
            let mut work = self.write_trail().await?;
            // 1. Counts.
            for part in counts.chunks(ROWS_AT_ONCE) {
                let rows: Vec<_> = part
                    .iter()
                    .map(|(key, counts)| {
                        let CountKey { integration, connection, caller, start, .. } = key;
                        let (span, subject) = (key.span.seconds(), key.subject.number());
                        let counts = counts.to_text();
                        json!([span, subject, integration, connection, start, caller, counts])
                    })
                    .collect();
                let sql = work.pick(COUNTS_IN_SQLITE, COUNTS_IN_POSTGRES);
                let rows = serde_json::Value::from(rows).to_string();
                work.execute(sql, [rows.into(), instance.into()]).await?;
            }
            // 2. Health.
            for row in health.iter().filter(|row| row.is_afresh) {
                let names = [(&*row.integration).into(), (&*row.connection).into()];
                let [integration, connection] = names;
                work.execute(FORGET_HEALTH, [integration, connection, now.as_second().into()])
                    .await?;
            }
            for part in health.chunks(ROWS_AT_ONCE) {
                let used = part.iter().filter(|row| row.health.last_noted() > 0);
                let rows: Vec<_> = used
                    .map(|HealthRow { integration, connection, health, .. }| {
                        let text = serde_json::to_string(health).unwrap_or_default();
                        json!([integration, connection, stored_time(health), text])
                    })
                    .collect();
                let sql = work.pick(HEALTH_IN_SQLITE, HEALTH_IN_POSTGRES);
                let rows = serde_json::Value::from(rows).to_string();
                work.execute(sql, [rows.into(), instance.into()]).await?;
            }
            work.commit().await
        };
        self.end_trail(Box::pin(written).await).await
    }

    /// Reads counts; there may be several of the same time and caller.
    pub async fn counts(&self, query: &CountQuery) -> Result<Vec<CountRow>, Error> {
        // 1. The rows are of a connection, of a caller, or of an integration.
        let is_by_caller = query.by_caller || query.caller.is_some();
        let subject = match (&query.connection, is_by_caller) {
            (Some(_), _) => CountSubject::Connection,
            (None, true) => CountSubject::Caller,
            (None, false) => CountSubject::Integration,
        };
        let values = [
            query.span.seconds().into(),
            subject.number().into(),
            query.integration.clone().into(),
            query.connection.clone().unwrap_or_default().into(),
            query.caller.clone().into(),
            query.seconds.0.into(),
            query.seconds.1.into(),
        ];
        let sql = if query.integration.is_some() { READ_COUNTS } else { READ_ALL_COUNTS };
        // 2. Their counts.
        let read = async {
            let mut work = self.read_trail().await?;
            let rows = work.rows(sql, values).await?;
            work.roll_back().await?;
            let counts = rows.iter().map(|row| {
                let columns = row.of("request_counts");
                let counts = RequestCounts::of_text(&columns.text("counts")?);
                let counts = counts.ok_or_else(|| columns.inconsistent("counts"))?;
                let (start, caller) = (columns.number("start")?, columns.text("caller")?);
                Ok(CountRow { start, caller, counts })
            });
            counts.collect()
        };
        self.end_trail(Box::pin(read).await).await
    }

    /// Reads the health of connections, of an integration or of all, as other instances than this
    /// one know it; of a connection there may be several rows.
    pub async fn health(
        &self,
        integration: Option<&str>,
        connection: Option<&str>,
        except: &str,
    ) -> Result<Vec<HealthRow>, Error> {
        let named = |name: Option<&str>| name.map(str::to_owned).into();
        let values = [named(integration), named(connection), except.into()];
        let read = async {
            let mut work = self.read_trail().await?;
            let rows = work.rows(READ_HEALTH, values).await?;
            work.roll_back().await?;
            let health = rows.iter().map(|row| {
                let columns = row.of("connection_health");
                Ok(HealthRow {
                    integration: columns.text("integration")?.into(),
                    connection: columns.text("connection")?.into(),
                    health: columns.parsed("health", |text| serde_json::from_str(text))?,
                    is_afresh: false,
                })
            });
            health.collect()
        };
        self.end_trail(Box::pin(read).await).await
    }

    /// Deletes counts that are older than these times, the oldest beyond an eighth of the trail's
    /// limit, and health that says nothing any more.
    pub async fn prune_stats(
        &self,
        now: Timestamp,
        minutes_since: Timestamp,
        hours_since: Timestamp,
    ) -> Result<(), Error> {
        let most = self.trail.max_bytes() / COUNTS_PART / USUAL_ROW_LEN;
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        let pruned = async {
            let mut work = self.write_trail().await?;
            // 1. Counts.
            for (span, since) in
                [(CountSpan::Minute, minutes_since), (CountSpan::Hour, hours_since)]
            {
                let span = span.seconds();
                work.execute(PRUNE_COUNTS, [span.into(), since.as_second().into()]).await?;
                work.execute(TRIM_COUNTS, [span.into(), (most / 2).into()]).await?;
            }
            // 2. Health.
            let second = now.as_second();
            let old = second - HEALTH_SECONDS;
            let replaced = second - 2 * PERIOD_SECONDS;
            work.execute(PRUNE_HEALTH, [old.into(), replaced.into(), (2 * PERIOD_SECONDS).into()])
                .await?;
            work.commit().await
        };
        self.end_trail(Box::pin(pruned).await).await
    }
}

/// The time by which stored health is kept: that of the last use or failure, which may take the
/// place of what others have noted before. Where callers were refused alone it is negative, since
/// that says nothing of the connection.
fn stored_time(health: &ConnectionHealth) -> i64 {
    match health.last_counted() {
        0 => -health.last_noted(),
        counted => counted,
    }
}

/// Stores the rows of the JSON array `$1` for the instance `$2`.
macro_rules! store_counts {
    ($rows:literal) => {
        concat!(
            "INSERT INTO request_counts \
            (span, subject, integration, connection, start, caller, instance, counts) \
            SELECT CAST(value ->> 0 AS BIGINT), CAST(value ->> 1 AS BIGINT), value ->> 2, \
            value ->> 3, CAST(value ->> 4 AS BIGINT), value ->> 5, $2, value ->> 6 FROM ",
            $rows,
            " WHERE true ON CONFLICT \
            (span, subject, integration, connection, start, caller, instance) \
            DO UPDATE SET counts = excluded.counts"
        )
    };
}

const COUNTS_IN_SQLITE: &str = store_counts!("json_each($1)");

const COUNTS_IN_POSTGRES: &str = store_counts!("json_array_elements(CAST($1 AS json))");

/// The same for health.
macro_rules! store_health {
    ($rows:literal) => {
        concat!(
            "INSERT INTO connection_health (integration, connection, instance, last_used, health) \
            SELECT value ->> 0, value ->> 1, $2, CAST(value ->> 2 AS BIGINT), value ->> 3 FROM ",
            $rows,
            " WHERE true ON CONFLICT (integration, connection, instance) \
            DO UPDATE SET last_used = excluded.last_used, health = excluded.health"
        )
    };
}

const HEALTH_IN_SQLITE: &str = store_health!("json_each($1)");

const HEALTH_IN_POSTGRES: &str = store_health!("json_array_elements(CAST($1 AS json))");

const FORGET_HEALTH: &str = "DELETE FROM connection_health \
    WHERE integration = $1 AND connection = $2 AND last_used <= $3";

const READ_COUNTS: &str = "SELECT start, caller, counts FROM request_counts \
    WHERE span = $1 AND subject = $2 AND integration = $3 AND connection = $4 \
    AND start >= $6 AND start < $7 AND ($5 IS NULL OR caller = $5)";

/// Those of all integrations, found by the primary key: by the start, SQLite would read the rows of
/// every subject.
const READ_ALL_COUNTS: &str = "SELECT start, caller, counts FROM request_counts \
    WHERE span = $1 AND subject = $2 AND $3 IS NULL AND connection = $4 \
    AND +start >= $6 AND +start < $7 AND ($5 IS NULL OR caller = $5)";

const READ_HEALTH: &str = "SELECT integration, connection, health FROM connection_health \
    WHERE ($1 IS NULL OR integration = $1) AND ($2 IS NULL OR connection = $2) \
    AND instance <> $3";

const PRUNE_COUNTS: &str = "DELETE FROM request_counts WHERE span = $1 AND start < $2";

/// Deletes the oldest rows of a span beyond `$2`, with all of the same start.
const TRIM_COUNTS: &str = "DELETE FROM request_counts WHERE span = $1 AND start <= \
    (SELECT start FROM request_counts WHERE span = $1 ORDER BY start DESC LIMIT 1 OFFSET $2)";

/// Deletes health of before `$1`; and of before `$2`, where another instance has noted a use or a
/// failure `$3` seconds later.
const PRUNE_HEALTH: &str = "DELETE FROM connection_health WHERE ABS(last_used) < $1 \
    OR (last_used >= 0 AND last_used < $2 AND EXISTS (SELECT 1 FROM connection_health AS newer \
    WHERE newer.integration = connection_health.integration \
    AND newer.connection = connection_health.connection \
    AND newer.last_used > connection_health.last_used + $3))";

/// The number of rows in one statement.
const ROWS_AT_ONCE: usize = 500;

/// The divisor of the part of the trail's limit that counts may take, and the usual length of a row
/// with its index, in bytes.
const COUNTS_PART: u64 = 8;

const USUAL_ROW_LEN: u64 = 512;

/// The time that the health of an unused connection is kept, in seconds.
const HEALTH_SECONDS: i64 = 90 * 86_400;
