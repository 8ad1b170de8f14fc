//! The records of flows between two steps. Each step removes the record, so that it runs once.

use jiff::Timestamp;
use uuid::Uuid;

use super::row::SqlRow;
use super::{Error, Store, connections};
use crate::model::name::IntegrationName;
use crate::model::oauth::flow::{FlowRecord, FlowStep};

impl Store {
    /// Stores a flow until its next step, or until it expires.
    pub async fn keep_flow(&self, record: &FlowRecord) -> Result<(), Error> {
        let values = [
            record.id.to_string().into(),
            record.integration.as_str().into(),
            record.client.to_string().into(),
            record.step.as_str().into(),
            record.digest.as_slice().into(),
            record.ends_at.into(),
            (&*record.sealed.key_id).into(),
            (&*record.sealed.wrapped).into(),
            (&*record.sealed.payload).into(),
        ];
        self.execute(KEEP, values).await.map(drop)
    }

    /// Removes and gives the flow that waits for the one-time token with this digest, so that only
    /// the first caller gets it. A flow of another integration than `of` is left alone. `None` when
    /// there is none, or it has expired at `now`.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when its record can't be read. It is removed all the same.
    pub async fn take_flow(
        &self,
        step: FlowStep,
        digest: &[u8; 32],
        of: Option<&IntegrationName>,
        now: Timestamp,
    ) -> Result<Option<FlowRecord>, Error> {
        let of = of.map(|integration| integration.as_str().to_owned());
        let values = || [step.as_str().into(), digest.as_slice().into(), of.clone().into()];
        // 1. Look first: unauthenticated callers reach this, and must not cause writes.
        if self.query(WAITS, values()).await?.is_empty() {
            return Ok(None);
        }
        // 2. Remove it.
        let mut work = self.write().await?;
        let row = work.row(TAKE, values()).await?;
        if row.is_none() {
            work.roll_back().await?;
            return Ok(None);
        }
        work.commit().await?;
        let record = row.as_ref().map(read).transpose()?;
        Ok(record.filter(|record| record.ends_at > now))
    }

    /// Gives the flow without removing it. `None` as for [`Store::take_flow`].
    pub async fn flow(
        &self,
        step: FlowStep,
        digest: &[u8; 32],
        of: Option<&IntegrationName>,
        now: Timestamp,
    ) -> Result<Option<FlowRecord>, Error> {
        let of = of.map(|integration| integration.as_str().to_owned());
        let values = [step.as_str().into(), digest.as_slice().into(), of.into()];
        let record = self.query(LOOK, values).await?.first().map(read).transpose()?;
        Ok(record.filter(|record| record.ends_at > now))
    }

    /// Deletes expired flows.
    pub async fn prune_flows(&self, now: Timestamp) -> Result<(), Error> {
        let expired = "DELETE FROM oauth_flows WHERE ends_at <= $1";
        self.execute(expired, [now.into()]).await.map(drop)
    }
}

pub(super) fn read(row: &SqlRow) -> Result<FlowRecord, Error> {
    let columns = row.of(TABLE);
    let digest = columns.bytes("digest")?;
    Ok(FlowRecord {
        id: columns.parsed("id", Uuid::parse_str)?,
        integration: columns.parsed("integration", IntegrationName::parse)?,
        client: columns.parsed("client", Uuid::parse_str)?,
        step: columns.parsed("step", FlowStep::parse)?,
        digest: digest.try_into().map_err(|_length| columns.inconsistent("digest"))?,
        ends_at: columns.time("ends_at")?,
        sealed: connections::read_sealed(columns)?,
    })
}

pub(super) const TABLE: &str = "oauth_flows";

const KEEP: &str = "INSERT INTO oauth_flows (id, integration, client, step, digest, ends_at, \
    key_id, wrapped, payload) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)";

const LOOK: &str = "SELECT * FROM oauth_flows WHERE step = $1 AND digest = $2 \
    AND ($3 IS NULL OR integration = $3)";

const WAITS: &str = "SELECT id FROM oauth_flows WHERE step = $1 AND digest = $2 \
    AND ($3 IS NULL OR integration = $3)";

const TAKE: &str = "DELETE FROM oauth_flows WHERE step = $1 AND digest = $2 \
    AND ($3 IS NULL OR integration = $3) RETURNING *";
