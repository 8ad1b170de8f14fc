//! The records of connections.

use uuid::Uuid;

use super::changes::revision;
use super::page::{ListQuery, Page, PageRange, list_query};
use super::row::{Columns, SqlRow};
use super::{DbTransaction, Error, Record, Revision, Store, clients, detail, refreshes};
use crate::model::connection::ConnectionType;
use crate::model::domain::AllowedDomain;
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::options::ConnectionOptions;
use crate::model::record::ConnectionRecord;
use crate::model::sealed::Sealed;

impl Store {
    /// Stores a new connection.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the integration has a connection of that name, of any type;
    /// [`Error::Orphan`] when its OAuth client does not exist.
    pub async fn create_connection(&self, record: &ConnectionRecord) -> Result<Revision, Error> {
        let mut work = self.write().await?;
        let revision = revise(&mut work, &record.integration, &record.name).await?;
        clients::check_client(&mut work, record).await?;
        let values = [
            record.uuid.to_string().into(),
            record.integration.as_str().into(),
            record.name.as_str().into(),
            record.kind().as_str().into(),
            write_domain(record).into(),
            detail::write(&record.detail).into(),
            (&*record.sealed.key_id).into(),
            (&*record.sealed.wrapped).into(),
            (&*record.sealed.payload).into(),
            record.created_at.into(),
            record.updated_at.into(),
            write_client(record).into(),
            record.options.encode().into(),
        ];
        work.execute(CREATE, values).await?;
        work.commit().await?;
        Ok(revision)
    }

    /// The connection of this name.
    pub async fn connection(
        &self,
        integration: &IntegrationName,
        name: &ConnectionName,
    ) -> Result<Option<ConnectionRecord>, Error> {
        let rows = self.query(FIND, [integration.as_str().into(), name.as_str().into()]).await?;
        rows.first().map(read).transpose()
    }

    /// The connection of this name, and the revision at which it was read.
    pub async fn connection_as_of(
        &self,
        integration: &IntegrationName,
        name: &ConnectionName,
    ) -> Result<(Option<ConnectionRecord>, Revision), Error> {
        let mut work = self.read().await?;
        let revision = revision(&mut work).await?;
        let record = find(&mut work, integration.as_str(), name.as_str()).await;
        work.roll_back().await?;
        Ok((record?, revision))
    }

    /// The connection with this uuid.
    pub async fn connection_by_uuid(&self, uuid: Uuid) -> Result<Option<ConnectionRecord>, Error> {
        let rows = self.query(BY_UUID, [uuid.to_string().into()]).await?;
        rows.first().map(read).transpose()
    }

    /// A page of an integration's connections, of all types, in the order of the bytes of their
    /// names.
    pub async fn connections(
        &self,
        integration: &IntegrationName,
        window: &PageRange,
    ) -> Result<Page<ConnectionRecord>, Error> {
        let mut work = self.read().await?;
        let page = OF_INTEGRATION.page(&mut work, integration.as_str(), window, read).await;
        work.roll_back().await?;
        page
    }

    /// Replaces `before` by `after`. `None` when the record is gone or was changed meanwhile; then
    /// nothing changes. Its uuid, name and time of creation stay. A rewrap does not count as a
    /// change.
    pub async fn replace_connection(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = revise(&mut work, &before.integration, &before.name).await?;
        let replaced = replace(&mut work, before, after).await?;
        work.commit_if(replaced, revision).await
    }

    /// Deletes the connection of this name and type. `None` when it does not exist.
    pub async fn delete_connection(
        &self,
        integration: &IntegrationName,
        name: &ConnectionName,
        kind: ConnectionType,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = revise(&mut work, integration, name).await?;
        let values = [integration.as_str().into(), name.as_str().into(), kind.as_str().into()];
        let deleted = work.row(DELETE, values).await?;
        if let Some(row) = &deleted {
            let uuid = row.of(TABLE).text("uuid")?;
            work.execute(refreshes::FORGET, [uuid.into()]).await?;
        }
        work.commit_if(deleted.is_some(), revision).await
    }
}

/// The kind of a change.
pub(super) const KIND: &str = "connection";

pub(super) const TABLE: &str = "connections";

pub(super) async fn revise(
    work: &mut DbTransaction,
    integration: &IntegrationName,
    name: &ConnectionName,
) -> Result<Revision, Error> {
    work.take_revision(KIND, integration.as_str(), name.as_str()).await
}

/// Replaces `before` by `after`. `false` when the record was changed meanwhile.
pub(super) async fn replace(
    work: &mut DbTransaction,
    before: &ConnectionRecord,
    after: &ConnectionRecord,
) -> Result<bool, Error> {
    let values = [
        before.uuid.to_string().into(),
        before.kind().as_str().into(),
        write_domain(before).into(),
        detail::write(&before.detail).into(),
        (&*before.sealed.payload).into(),
        before.updated_at.into(),
        after.kind().as_str().into(),
        write_domain(after).into(),
        detail::write(&after.detail).into(),
        (&*after.sealed.key_id).into(),
        (&*after.sealed.wrapped).into(),
        (&*after.sealed.payload).into(),
        after.updated_at.into(),
        write_client(after).into(),
        before.options.encode().into(),
        after.options.encode().into(),
    ];
    Ok(work.execute(REPLACE, values).await? > 0)
}

pub(super) async fn find(
    work: &mut DbTransaction,
    integration: &str,
    name: &str,
) -> Result<Option<ConnectionRecord>, Error> {
    let row = work.row(FIND, [integration.into(), name.into()]).await?;
    row.as_ref().map(read).transpose()
}

/// Calls `visit` with up to `limit` connections after the uuid `last`, and gives the last uuid;
/// `None` at the end.
pub(super) async fn page(
    work: &mut DbTransaction,
    last: &str,
    limit: i64,
    visit: &mut impl FnMut(Record),
) -> Result<Option<String>, Error> {
    let rows = work.rows(PAGE, [last.into(), limit.into()]).await?;
    for row in &rows {
        visit(Record::Connection(read(row)));
    }
    rows.last().map(|row| row.of(TABLE).text("uuid")).transpose()
}

pub(super) fn read(row: &SqlRow) -> Result<ConnectionRecord, Error> {
    let columns = row.of(TABLE);
    Ok(ConnectionRecord {
        uuid: columns.parsed("uuid", Uuid::parse_str)?,
        integration: columns.parsed("integration", IntegrationName::parse)?,
        name: columns.parsed("name", ConnectionName::parse)?,
        allowed_domain: read_domain(columns)?,
        detail: detail::read(columns)?,
        options: read_options(columns)?.shared(),
        sealed: read_sealed(columns)?,
        created_at: columns.time("created_at")?,
        updated_at: columns.time("updated_at")?,
    })
}

/// Reads the allowed domain, which only an OAuth connection may be without.
fn read_domain(columns: Columns<'_>) -> Result<Option<AllowedDomain>, Error> {
    let domain = columns.optional_text("allowed_domain")?;
    let is_oauth = columns.text("type")? == ConnectionType::OAuth.as_str();
    match domain.map(|text| AllowedDomain::read_kept(&text)).transpose() {
        Ok(None) if !is_oauth => Err(columns.inconsistent("allowed_domain")),
        Ok(domain) => Ok(domain),
        Err(_rule) => Err(columns.inconsistent("allowed_domain")),
    }
}

fn read_options(columns: Columns<'_>) -> Result<ConnectionOptions, Error> {
    match columns.optional_text("options")? {
        None => Ok(ConnectionOptions::default()),
        Some(text) => {
            ConnectionOptions::decode(&text).ok_or_else(|| columns.inconsistent("options"))
        }
    }
}

fn write_domain(record: &ConnectionRecord) -> Option<String> {
    record.allowed_domain.as_ref().map(ToString::to_string)
}

fn write_client(record: &ConnectionRecord) -> Option<String> {
    record.grant().map(|grant| grant.client.to_string())
}

pub(super) fn read_sealed(columns: Columns<'_>) -> Result<Sealed, Error> {
    Ok(Sealed {
        key_id: columns.text("key_id")?.into(),
        wrapped: columns.bytes("wrapped")?.into(),
        payload: columns.bytes("payload")?.into(),
    })
}

const CREATE: &str = "INSERT INTO connections \
    (uuid, integration, name, type, allowed_domain, detail, key_id, wrapped, payload, created_at, \
    updated_at, client, options) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13)";

pub(super) const BY_UUID: &str = "SELECT * FROM connections WHERE uuid = $1";

const FIND: &str = "SELECT * FROM connections WHERE integration = $1 AND name = $2";

const REPLACE: &str = "UPDATE connections SET type = $7, allowed_domain = $8, detail = $9, \
    key_id = $10, wrapped = $11, payload = $12, updated_at = $13, client = $14, options = $16 WHERE uuid = $1 \
    AND type = $2 AND allowed_domain IS NOT DISTINCT FROM $3 AND detail = $4 AND payload = $5 \
    AND updated_at = $6 AND options IS NOT DISTINCT FROM $15";

const DELETE: &str =
    "DELETE FROM connections WHERE integration = $1 AND name = $2 AND type = $3 RETURNING uuid";

const OF_INTEGRATION: ListQuery = list_query!("connections" by "name" where "integration = $1");

const PAGE: &str = "SELECT * FROM connections WHERE uuid > $1 ORDER BY uuid LIMIT $2";
