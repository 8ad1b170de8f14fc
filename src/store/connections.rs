//! The records of connections.

use serde_json::{Map, Value as Json};
use uuid::Uuid;

use super::page::{List, Page, Window};
use super::row::{Columns, Row};
use super::{Error, Revision, Store, Work};
use crate::model::connection::ConnectionType;
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::record::{ConnectionRecord, Detail};
use crate::model::sealed::Sealed;

impl Store {
    /// Keeps a new connection.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the integration has a connection of that name, of whatever type.
    pub async fn create_connection(&self, record: &ConnectionRecord) -> Result<Revision, Error> {
        let mut work = self.write().await?;
        let revision = revise(&mut work, &record.integration, &record.name).await?;
        let values = [
            record.uuid.to_string().into(),
            record.integration.as_str().into(),
            record.name.as_str().into(),
            record.kind().as_str().into(),
            record.allowed_domain.to_string().into(),
            write_detail(&record.detail).into(),
            (&*record.sealed.key_id).into(),
            (&*record.sealed.wrapped).into(),
            (&*record.sealed.payload).into(),
            record.created_at.into(),
            record.updated_at.into(),
        ];
        work.run(CREATE, values).await?;
        work.commit().await?;
        Ok(revision)
    }

    /// The connection of this name.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when its record can't be read.
    pub async fn connection(
        &self,
        integration: &IntegrationName,
        name: &ConnectionName,
    ) -> Result<Option<ConnectionRecord>, Error> {
        let mut work = self.read().await?;
        let record = find(&mut work, integration.as_str(), name.as_str()).await;
        work.end().await?;
        record
    }

    /// A page of an integration's connections, of all types, in the order of the bytes of their
    /// names.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn connections(
        &self,
        integration: &IntegrationName,
        window: &Window,
    ) -> Result<Page<ConnectionRecord>, Error> {
        let mut work = self.read().await?;
        let page = OF_INTEGRATION.page(&mut work, integration.as_str(), window, read).await;
        work.end().await?;
        page
    }

    /// Puts `after` in the place of `before`, unless the record is gone or was changed meanwhile:
    /// then nothing is done, and `None` says so. Which connection it is, its name and its time of
    /// creation stay. A re-wrap in between is no change.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn replace_connection(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = revise(&mut work, &before.integration, &before.name).await?;
        let values = [
            before.uuid.to_string().into(),
            before.kind().as_str().into(),
            before.allowed_domain.to_string().into(),
            write_detail(&before.detail).into(),
            (&*before.sealed.payload).into(),
            before.updated_at.into(),
            after.kind().as_str().into(),
            after.allowed_domain.to_string().into(),
            write_detail(&after.detail).into(),
            (&*after.sealed.key_id).into(),
            (&*after.sealed.wrapped).into(),
            (&*after.sealed.payload).into(),
            after.updated_at.into(),
        ];
        let replaced = work.run(REPLACE, values).await?;
        work.keep_if(replaced > 0, revision).await
    }

    /// Deletes the connection of this name and type. `None` when there is none.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn delete_connection(
        &self,
        integration: &IntegrationName,
        name: &ConnectionName,
        kind: ConnectionType,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = revise(&mut work, integration, name).await?;
        let values = [integration.as_str().into(), name.as_str().into(), kind.as_str().into()];
        let deleted = work.run(DELETE, values).await?;
        work.keep_if(deleted > 0, revision).await
    }
}

/// The kind of a change.
pub(super) const KIND: &str = "connection";

pub(super) const TABLE: &str = "connections";

async fn revise(
    work: &mut Work,
    integration: &IntegrationName,
    name: &ConnectionName,
) -> Result<Revision, Error> {
    work.revise(KIND, integration.as_str(), name.as_str()).await
}

pub(super) async fn find(
    work: &mut Work,
    integration: &str,
    name: &str,
) -> Result<Option<ConnectionRecord>, Error> {
    let row = work.row(FIND, [integration.into(), name.into()]).await?;
    row.as_ref().map(read).transpose()
}

pub(super) async fn all(work: &mut Work) -> Result<Vec<Result<ConnectionRecord, Error>>, Error> {
    Ok(work.rows(ALL, []).await?.iter().map(read).collect())
}

pub(super) fn read(row: &Row) -> Result<ConnectionRecord, Error> {
    let columns = row.of(TABLE);
    Ok(ConnectionRecord {
        uuid: columns.parsed("uuid", Uuid::parse_str)?,
        integration: columns.parsed("integration", IntegrationName::parse)?,
        name: columns.parsed("name", ConnectionName::parse)?,
        allowed_domain: columns.parsed("allowed_domain", AllowedDomain::parse)?,
        detail: read_detail(columns)?,
        sealed: read_sealed(columns)?,
        created_at: columns.time("created_at")?,
        updated_at: columns.time("updated_at")?,
    })
}

pub(super) fn read_sealed(columns: Columns<'_>) -> Result<Sealed, Error> {
    Ok(Sealed {
        key_id: columns.text("key_id")?.into(),
        wrapped: columns.bytes("wrapped")?.into(),
        payload: columns.bytes("payload")?.into(),
    })
}

fn read_detail(columns: Columns<'_>) -> Result<Detail, Error> {
    let kind = columns.parsed("type", |text| ConnectionType::parse(text).ok_or(()))?;
    columns.parsed("detail", |text| {
        let detail: Map<String, Json> = serde_json::from_str(text).map_err(|_wordy| ())?;
        let text = |key: &str| detail.get(key).and_then(Json::as_str).map(Into::into).ok_or(());
        Ok::<_, ()>(match kind {
            ConnectionType::ApiKey => Detail::ApiKey { header_name: text(HEADER_NAME)? },
            ConnectionType::BasicAuth => Detail::BasicAuth { username: text(USERNAME)? },
            ConnectionType::BearerToken => Detail::BearerToken,
        })
    })
}

fn write_detail(detail: &Detail) -> String {
    let of = |key: &str, text: &str| Json::Object(Map::from_iter([(key.into(), text.into())]));
    let detail = match detail {
        Detail::ApiKey { header_name } => of(HEADER_NAME, header_name),
        Detail::BasicAuth { username } => of(USERNAME, username),
        Detail::BearerToken => Json::Object(Map::new()),
    };
    detail.to_string()
}

const HEADER_NAME: &str = "header_name";

const USERNAME: &str = "username";

const CREATE: &str = "INSERT INTO connections \
    (uuid, integration, name, type, allowed_domain, detail, key_id, wrapped, payload, created_at, \
    updated_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)";

const FIND: &str = "SELECT * FROM connections WHERE integration = $1 AND name = $2";

const ALL: &str = "SELECT * FROM connections ORDER BY integration, name";

const REPLACE: &str = "UPDATE connections SET type = $7, allowed_domain = $8, detail = $9, \
    key_id = $10, wrapped = $11, payload = $12, updated_at = $13 WHERE uuid = $1 AND type = $2 \
    AND allowed_domain = $3 AND detail = $4 AND payload = $5 AND updated_at = $6";

const DELETE: &str = "DELETE FROM connections WHERE integration = $1 AND name = $2 AND type = $3";

const OF_INTEGRATION: List = List {
    forward: "SELECT * FROM connections WHERE integration = $1 \
        AND ($2 IS NULL OR name > $2) AND ($3 IS NULL OR name < $3) ORDER BY name LIMIT $4",
    backward: "SELECT * FROM connections WHERE integration = $1 \
        AND ($2 IS NULL OR name > $2) AND ($3 IS NULL OR name < $3) ORDER BY name DESC LIMIT $4",
    key: "name",
    table: TABLE,
};
