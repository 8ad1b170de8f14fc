//! The notices of the webhook, and the lease by which one instance sends them.

use std::time::Duration;

use jiff::Timestamp;

use super::row::SqlRow;
use super::{Error, Store};

/// A connection of which the webhook was told, or is to be told, something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct WebhookNotice {
    /// The integration.
    pub integration: Box<str>,
    /// The connection's name.
    pub connection: Box<str>,
    /// The webhook knows it as one that needs attention.
    pub told: bool,
    /// It needs attention.
    pub needs: bool,
    /// The id of the message that says so.
    pub id: Box<str>,
    /// The time of the change.
    pub changed_at: Timestamp,
    /// The number of attempts to send the message.
    pub attempts: u32,
    /// The time of the next attempt.
    pub next_at: Timestamp,
}

impl Store {
    /// Takes the lease of this name for `length`, or renews it; `false` while another holder has it.
    pub async fn take_lease(
        &self,
        name: &str,
        holder: &str,
        length: Duration,
    ) -> Result<bool, Error> {
        let mut work = self.write().await?;
        let now = work.database_time().await?;
        let length = i64::try_from(length.as_micros()).unwrap_or(i64::MAX);
        let values = [name.into(), holder.into(), now.saturating_add(length).into(), now.into()];
        let taken = work.execute(TAKE, values).await? == 1;
        work.commit().await?;
        Ok(taken)
    }

    /// Gives the lease of this name back, if `holder` has it.
    pub async fn release_lease(&self, name: &str, holder: &str) -> Result<(), Error> {
        let values = [name.into(), holder.into()];
        self.execute("DELETE FROM leases WHERE name = $1 AND holder = $2", values).await.map(drop)
    }

    /// All notices.
    pub async fn webhook_notices(&self) -> Result<Vec<WebhookNotice>, Error> {
        let rows = self.query("SELECT * FROM webhook_notices", []).await?;
        rows.iter().map(read).collect()
    }

    /// Stores notices, in one transaction. One of which nothing is left to tell, and that says that
    /// nobody must act, is deleted.
    pub async fn store_webhook_notices(&self, notices: &[WebhookNotice]) -> Result<(), Error> {
        let mut work = self.write().await?;
        for notice in notices {
            let (integration, connection) = (&*notice.integration, &*notice.connection);
            if !notice.told && !notice.needs {
                work.execute(DELETE, [integration.into(), connection.into()]).await?;
                continue;
            }
            let values = [
                integration.into(),
                connection.into(),
                i64::from(notice.told).into(),
                i64::from(notice.needs).into(),
                (&*notice.id).into(),
                notice.changed_at.into(),
                i64::from(notice.attempts).into(),
                notice.next_at.into(),
            ];
            work.execute(STORE, values).await?;
        }
        work.commit().await
    }
}

fn read(row: &SqlRow) -> Result<WebhookNotice, Error> {
    let columns = row.of("webhook_notices");
    let flag = |column| columns.number(column).map(|number| number != 0);
    let attempts = u32::try_from(columns.number("attempts")?);
    Ok(WebhookNotice {
        integration: columns.text("integration")?.into(),
        connection: columns.text("connection")?.into(),
        told: flag("told")?,
        needs: flag("needs")?,
        id: columns.text("notice_id")?.into(),
        changed_at: columns.time("changed_at")?,
        attempts: attempts.map_err(|_beyond| columns.inconsistent("attempts"))?,
        next_at: columns.time("next_at")?,
    })
}

const TAKE: &str = "INSERT INTO leases (name, holder, ends_at) VALUES ($1, $2, $3) \
    ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, ends_at = excluded.ends_at \
    WHERE leases.holder = excluded.holder OR leases.ends_at < $4";

const STORE: &str = "INSERT INTO webhook_notices (integration, connection, told, needs, notice_id, \
    changed_at, attempts, next_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8) \
    ON CONFLICT (integration, connection) DO UPDATE SET told = excluded.told, \
    needs = excluded.needs, notice_id = excluded.notice_id, changed_at = excluded.changed_at, \
    attempts = excluded.attempts, next_at = excluded.next_at";

const DELETE: &str = "DELETE FROM webhook_notices WHERE integration = $1 AND connection = $2";
