//! The records of interception CAs. There are few, so all are read together.

use jiff::Timestamp;
use uuid::Uuid;

use super::row::SqlRow;
use super::{DbTransaction, Error, Revision, Store, connections};
use crate::model::record::CaRecord;

impl Store {
    /// All CAs in the order in which they sign, or the error of one that can't be read.
    pub async fn authorities(&self) -> Result<Vec<Result<CaRecord, Error>>, Error> {
        let rows = self.query("SELECT * FROM authorities ORDER BY signs_from, id", []).await?;
        Ok(rows.iter().map(read).collect())
    }

    /// Stores a CA if there is none yet. `false` when there is one. Of several processes that start
    /// at once, the first wins.
    pub async fn keep_first_authority(&self, record: &CaRecord) -> Result<bool, Error> {
        let mut work = self.write().await?;
        // The revision's lock keeps other processes from finding the table empty meanwhile.
        let revision = work.take_revision(KIND, "", &record.id.to_string()).await?;
        let is_first = work.row("SELECT id FROM authorities LIMIT 1", []).await?.is_none();
        if is_first {
            insert(&mut work, record).await?;
        }
        Ok(work.commit_if(is_first, revision).await?.is_some())
    }

    /// Stores another CA, and deletes those that no longer sign at `now`.
    pub async fn add_authority(
        &self,
        record: &CaRecord,
        now: Timestamp,
    ) -> Result<Revision, Error> {
        let mut work = self.write().await?;
        let revision = work.take_revision(KIND, "", &record.id.to_string()).await?;
        work.execute(FORGET, [now.into()]).await?;
        insert(&mut work, record).await?;
        work.commit().await?;
        Ok(revision)
    }
}

async fn insert(work: &mut DbTransaction, record: &CaRecord) -> Result<(), Error> {
    let values = [
        record.id.to_string().into(),
        (&*record.certificate).into(),
        record.signs_from.into(),
        (&*record.sealed.key_id).into(),
        (&*record.sealed.wrapped).into(),
        (&*record.sealed.payload).into(),
    ];
    work.execute(INSERT, values).await?;
    Ok(())
}

pub(super) fn read(row: &SqlRow) -> Result<CaRecord, Error> {
    let columns = row.of(TABLE);
    Ok(CaRecord {
        id: columns.parsed("id", Uuid::parse_str)?,
        certificate: columns.text("certificate")?.into(),
        signs_from: columns.time("signs_from")?,
        sealed: connections::read_sealed(columns)?,
    })
}

/// The kind of a change.
pub(super) const KIND: &str = "authority";

const TABLE: &str = "authorities";

const INSERT: &str = "INSERT INTO authorities (id, certificate, signs_from, key_id, wrapped, payload) \
    VALUES ($1, $2, $3, $4, $5, $6)";

const FORGET: &str = "DELETE FROM authorities WHERE signs_from < \
    (SELECT max(signs_from) FROM authorities WHERE signs_from <= $1)";
