//! The records of OAuth clients.

use uuid::Uuid;

use super::page::{ListQuery, Page, PageRange};
use super::row::SqlRow;
use super::{DbTransaction, Error, Revision, Store, connections, refreshes};
use crate::model::name::{ClientName, IntegrationName};
use crate::model::oauth::client::{AccountClient, AuthMethod, ClientRecord};
use crate::model::oauth::endpoint::EndpointTemplate;
use crate::model::oauth::grant::GrantType;
use crate::model::oauth::profile::Profile;
use crate::model::record::ConnectionRecord;

impl Store {
    /// Stores a new client. It changes nothing that is in force, so it has no revision.
    ///
    /// # Errors
    /// [`Error::Conflict`] when the integration has a client of that name.
    pub async fn create_client(&self, record: &ClientRecord) -> Result<(), Error> {
        let mut work = self.write().await?;
        let values = [
            record.uuid.to_string().into(),
            record.integration.as_str().into(),
            record.name.as_str().into(),
            (&*record.client_id).into(),
            record.auth_url.as_ref().map(|url| url.as_str().to_owned()).into(),
            record.token_url.as_str().into(),
            (&*record.default_scopes).into(),
            record.grant_type.as_str().into(),
            record.auth_method.as_str().into(),
            (&*record.created_by).into(),
            (&*record.sealed.key_id).into(),
            (&*record.sealed.wrapped).into(),
            (&*record.sealed.payload).into(),
            record.created_at.into(),
            record.updated_at.into(),
            record.profile.encode().into(),
        ];
        work.execute(CREATE, values).await?;
        work.commit().await
    }

    /// The client of this integration with this uuid.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when its record can't be read.
    pub async fn client(
        &self,
        integration: &IntegrationName,
        uuid: Uuid,
    ) -> Result<Option<ClientRecord>, Error> {
        self.find_client(BY_UUID, [integration.as_str(), &uuid.to_string()]).await
    }

    /// The client of this integration with this name.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when its record can't be read.
    pub async fn client_by_name(
        &self,
        integration: &IntegrationName,
        name: &ClientName,
    ) -> Result<Option<ClientRecord>, Error> {
        self.find_client(BY_NAME, [integration.as_str(), name.as_str()]).await
    }

    async fn find_client(
        &self,
        sql: &'static str,
        values: [&str; 2],
    ) -> Result<Option<ClientRecord>, Error> {
        let mut work = self.read().await?;
        let row = work.row(sql, values.map(Into::into)).await;
        work.roll_back().await?;
        row?.as_ref().map(read).transpose()
    }

    /// A page of an integration's clients, in the order of the bytes of their names.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn clients(
        &self,
        integration: &IntegrationName,
        window: &PageRange,
    ) -> Result<Page<ClientRecord>, Error> {
        let mut work = self.read().await?;
        let page = OF_INTEGRATION.page(&mut work, integration.as_str(), window, read).await;
        work.roll_back().await?;
        page
    }

    /// Replaces `before` by `after`. `false` when the record is gone or was changed meanwhile. Its
    /// uuid, name and time of creation stay.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn replace_client(
        &self,
        before: &ClientRecord,
        after: &ClientRecord,
    ) -> Result<bool, Error> {
        let mut work = self.write().await?;
        let values = [
            before.uuid.to_string().into(),
            (&*before.sealed.payload).into(),
            before.updated_at.into(),
            (&*after.client_id).into(),
            after.auth_url.as_ref().map(|url| url.as_str().to_owned()).into(),
            after.token_url.as_str().into(),
            (&*after.default_scopes).into(),
            after.auth_method.as_str().into(),
            (&*after.sealed.key_id).into(),
            (&*after.sealed.wrapped).into(),
            (&*after.sealed.payload).into(),
            after.updated_at.into(),
            after.profile.encode().into(),
        ];
        let replaced = work.execute(REPLACE, values).await? > 0;
        // Without a change nothing is noted.
        if replaced {
            work.commit().await?;
        } else {
            work.roll_back().await?;
        }
        Ok(replaced)
    }

    /// Deletes a client, its flows and its connections. Gives the number of connections and the
    /// revision of the last one; `None` when the client does not exist.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn delete_client(
        &self,
        integration: &IntegrationName,
        uuid: Uuid,
    ) -> Result<Option<(usize, Option<Revision>)>, Error> {
        let uuid = uuid.to_string();
        let mut work = self.write().await?;
        // The lock orders this with creating a connection: one that comes before is deleted too,
        // one that comes after is refused.
        work.hold_revision().await?;
        let deleted = work.execute(DELETE, [integration.as_str().into(), (&*uuid).into()]).await?;
        if deleted == 0 {
            work.roll_back().await?;
            return Ok(None);
        }
        let rows = work.rows(ITS_CONNECTIONS, [(&*uuid).into()]).await?;
        let mut last = None;
        for row in &rows {
            last = Some(forget_connection(&mut work, row).await?);
        }
        work.execute("DELETE FROM oauth_flows WHERE client = $1", [(&*uuid).into()]).await?;
        work.commit().await?;
        Ok(Some((rows.len(), last)))
    }
}

/// Checks that the client of a connection exists. The transaction holds the revision, so the client
/// can't be deleted before it ends.
///
/// # Errors
/// [`Error::Orphan`] when the client does not exist.
pub(super) async fn check_client(
    work: &mut DbTransaction,
    record: &ConnectionRecord,
) -> Result<(), Error> {
    let Some(grant) = record.grant() else { return Ok(()) };
    // The account's own is not stored.
    if grant.client == AccountClient::UUID {
        return Ok(());
    }
    let values = [record.integration.as_str().into(), grant.client.to_string().into()];
    work.row(BY_UUID, values).await?.map(drop).ok_or(Error::Orphan)
}

async fn forget_connection(work: &mut DbTransaction, row: &SqlRow) -> Result<Revision, Error> {
    let columns = row.of(connections::TABLE);
    let (integration, name) = (columns.text("integration")?, columns.text("name")?);
    let revision = work.take_revision(connections::KIND, &integration, &name).await?;
    let uuid = columns.text("uuid")?;
    work.execute(refreshes::FORGET, [(&*uuid).into()]).await?;
    work.execute("DELETE FROM connections WHERE uuid = $1", [uuid.into()]).await?;
    Ok(revision)
}

pub(super) fn read(row: &SqlRow) -> Result<ClientRecord, Error> {
    let columns = row.of(TABLE);
    let auth_url = columns.optional_text("auth_url")?;
    let auth_url = auth_url.map(|text| EndpointTemplate::parse(&text)).transpose();
    let profile = columns.optional_text("profile")?;
    let profile = profile.map_or_else(|| Some(Profile::default()), |text| Profile::decode(&text));
    Ok(ClientRecord {
        uuid: columns.parsed("uuid", Uuid::parse_str)?,
        integration: columns.parsed("integration", IntegrationName::parse)?,
        name: columns.parsed("name", ClientName::parse)?,
        client_id: columns.text("client_id")?.into(),
        auth_url: auth_url.map_err(|_rule| columns.inconsistent("auth_url"))?,
        token_url: columns.parsed("token_url", EndpointTemplate::parse)?,
        default_scopes: columns.text("default_scopes")?.into(),
        grant_type: columns.parsed("grant_type", GrantType::parse)?,
        auth_method: columns.parsed("auth_method", AuthMethod::parse)?,
        profile: Box::new(profile.ok_or_else(|| columns.inconsistent("profile"))?),
        created_by: columns.text("created_by")?.into(),
        sealed: connections::read_sealed(columns)?,
        created_at: columns.time("created_at")?,
        updated_at: columns.time("updated_at")?,
    })
}

pub(super) const TABLE: &str = "oauth_clients";

const CREATE: &str = "INSERT INTO oauth_clients (uuid, integration, name, client_id, auth_url, \
    token_url, default_scopes, grant_type, auth_method, created_by, key_id, wrapped, payload, \
    created_at, updated_at, profile) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16)";

const BY_UUID: &str = "SELECT * FROM oauth_clients WHERE integration = $1 AND uuid = $2";

const BY_NAME: &str = "SELECT * FROM oauth_clients WHERE integration = $1 AND name = $2";

const REPLACE: &str = "UPDATE oauth_clients SET client_id = $4, auth_url = $5, token_url = $6, \
    default_scopes = $7, auth_method = $8, key_id = $9, wrapped = $10, payload = $11, \
    updated_at = $12, profile = $13 WHERE uuid = $1 AND payload = $2 AND updated_at = $3";

const DELETE: &str = "DELETE FROM oauth_clients WHERE integration = $1 AND uuid = $2";

const ITS_CONNECTIONS: &str = "SELECT uuid, integration, name FROM connections WHERE client = $1";

const OF_INTEGRATION: ListQuery = ListQuery {
    forward: "SELECT * FROM oauth_clients WHERE integration = $1 \
        AND ($2 IS NULL OR name > $2) AND ($3 IS NULL OR name < $3) ORDER BY name LIMIT $4",
    backward: "SELECT * FROM oauth_clients WHERE integration = $1 \
        AND ($2 IS NULL OR name > $2) AND ($3 IS NULL OR name < $3) ORDER BY name DESC LIMIT $4",
    key: "name",
    table: TABLE,
};
