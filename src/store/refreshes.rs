//! Leases for refreshes: of all instances one at a time refreshes a connection's tokens, and an
//! interrupted refresh leaves a note.

use std::collections::HashMap;
use std::time::Duration;

use jiff::Timestamp;
use uuid::Uuid;

use super::row::Columns;
use super::{Error, Revision, SqlValue, Store, clients, connections};
use crate::model::name::IntegrationName;
use crate::model::oauth::refusal::RefreshFailure;
use crate::model::record::ConnectionRecord;

/// The result of asking for a lease.
#[derive(Debug)]
pub enum RefreshStart {
    /// The lease is granted. The record was read under it.
    Granted {
        /// The connection.
        record: Box<ConnectionRecord>,
        /// Set when an earlier refresh has asked the provider and its answer was lost.
        unanswered: bool,
        /// The failures since the last refresh that has brought tokens.
        failure: Option<Box<RefreshFailure>>,
    },
    /// Another holder has the lease.
    Held,
    /// The connection does not exist.
    Gone,
}

/// The time that a refresh may be silent before another instance takes it over.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefreshLease {
    /// The length before the provider is asked: no refresh token is used yet.
    pub before_asking: Duration,
    /// The length after the provider was asked: using the same refresh token again may end the
    /// grant.
    pub after_asking: Duration,
}

/// The note of a refresh that brought no tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leftover {
    /// The provider was not asked, or has answered: the refresh token is unchanged.
    Nothing,
    /// The provider was asked and its answer was lost: it may have replaced the refresh token.
    Unanswered,
}

impl Store {
    /// Takes the lease to refresh a connection's tokens, if it is free. Taking it also shows that
    /// the store is writable, before a refresh token is used.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]; [`Error::Inconsistent`] when the connection's
    /// record can't be read.
    pub async fn begin_refresh(
        &self,
        uuid: Uuid,
        holder: &str,
        length: Duration,
    ) -> Result<RefreshStart, Error> {
        // 1. Take the lease.
        let uuid = uuid.to_string();
        let mut work = self.write().await?;
        let now = work.database_time().await?;
        let values = [(&*uuid).into(), holder.into(), micros_after(now, length).into(), now.into()];
        let Some(row) = work.row(BEGIN, values).await? else {
            work.roll_back().await?;
            return Ok(RefreshStart::Held);
        };
        let unanswered = row.of(TABLE).number("unanswered")? != 0;
        let failure = read_failure(row.of(TABLE))?.map(Box::new);
        // 2. Read the record under it.
        let Some(record) = work.row(connections::BY_UUID, [uuid.into()]).await? else {
            work.roll_back().await?;
            return Ok(RefreshStart::Gone);
        };
        work.commit().await?;
        let record = Box::new(connections::read(&record)?);
        Ok(RefreshStart::Granted { record, unanswered, failure })
    }

    /// Notes that the provider is about to be asked, and extends the lease to `length` from now.
    /// `false` when another holder has it: then the provider must not be asked.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]; then it may have been noted or not.
    pub async fn note_asked(
        &self,
        uuid: Uuid,
        holder: &str,
        length: Duration,
    ) -> Result<bool, Error> {
        let mut work = self.write().await?;
        let now = work.database_time().await?;
        let values = [uuid.to_string().into(), holder.into(), micros_after(now, length).into()];
        let noted = work.execute(ASK, values).await? > 0;
        work.commit().await?;
        Ok(noted)
    }

    /// Extends the lease. `false` when another holder has it.
    pub async fn extend_refresh(
        &self,
        uuid: Uuid,
        holder: &str,
        lease: RefreshLease,
    ) -> Result<bool, Error> {
        let mut work = self.write().await?;
        let now = work.database_time().await?;
        let values = [
            uuid.to_string().into(),
            holder.into(),
            micros_after(now, lease.before_asking).into(),
            micros_after(now, lease.after_asking).into(),
        ];
        let extended = work.execute(EXTEND, values).await? > 0;
        work.commit().await?;
        Ok(extended)
    }

    /// Stores the tokens of a refresh and returns the lease, in one transaction. `None` when the
    /// connection's tokens are not those of `before` any more; then nothing changes. Of a grant that
    /// has a user, the client is noted to refresh well.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]; then it may have been done or not.
    pub async fn finish_refresh(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let values = [
            before.uuid.to_string().into(),
            (&*before.sealed.payload).into(),
            super::detail::write(&after.detail).into(),
            (&*after.sealed.key_id).into(),
            (&*after.sealed.wrapped).into(),
            (&*after.sealed.payload).into(),
            after.updated_at.into(),
        ];
        let has_user = after.grant().filter(|grant| grant.grant_type.has_user());
        let noted = has_user.map(|grant| (grant.client, after.updated_at));
        self.end_refresh(before, FINISH, values, noted).await
    }

    /// Stores that a grant has lapsed and returns the lease, in one transaction. `None` when the
    /// connection's tokens are not those of `before` any more.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]; then it may have been done or not.
    pub async fn lapse_grant(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let values = [
            before.uuid.to_string().into(),
            (&*before.sealed.payload).into(),
            super::detail::write(&after.detail).into(),
            after.updated_at.into(),
        ];
        self.end_refresh(before, LAPSE, values, None).await
    }

    /// Changes the connection and returns the lease, if the connection is as it was; then notes of a
    /// client the time at which it was refreshed.
    async fn end_refresh<const N: usize>(
        &self,
        before: &ConnectionRecord,
        sql: &'static str,
        values: [SqlValue; N],
        refreshed: Option<(Uuid, Timestamp)>,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = connections::revise(&mut work, &before.integration, &before.name).await?;
        let changed = work.execute(sql, values).await? > 0;
        if let Some((client, time)) = refreshed.filter(|_| changed) {
            work.execute(NOTE_CLIENT, [client.to_string().into(), time.into()]).await?;
        }
        work.execute(FORGET, [before.uuid.to_string().into()]).await?;
        work.commit_if(changed, revision).await
    }

    /// Returns the lease of a refresh that brought no tokens. Its failure is remembered, if there
    /// is one to remember; else what is remembered stays.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]; then the lease expires by itself.
    pub async fn leave_refresh(
        &self,
        uuid: Uuid,
        holder: &str,
        left: Leftover,
        failure: Option<&RefreshFailure>,
    ) -> Result<(), Error> {
        let asked = i64::from(left == Leftover::Unanswered);
        let failure = failure.and_then(RefreshFailure::encode);
        let values = [uuid.to_string().into(), holder.into(), asked.into(), failure.into()];
        self.execute(LEAVE, values).await.map(drop)
    }

    /// The failures of a connection's refreshes since the last that has brought tokens.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when they can't be read.
    pub async fn refresh_failure(&self, uuid: Uuid) -> Result<Option<RefreshFailure>, Error> {
        let mut work = self.read().await?;
        let row = work.row(FAILURE, [uuid.to_string().into()]).await;
        work.roll_back().await?;
        row?.map_or(Ok(None), |row| read_failure(row.of(TABLE)))
    }

    /// The failures of the refreshes of an integration's connections, by the connection's uuid.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when they can't be read.
    pub async fn refresh_failures(
        &self,
        integration: &IntegrationName,
    ) -> Result<HashMap<Uuid, RefreshFailure>, Error> {
        let mut work = self.read().await?;
        let rows = work.rows(FAILURES, [integration.as_str().into()]).await;
        work.roll_back().await?;
        let mut failures = HashMap::new();
        for row in &rows? {
            let columns = row.of(TABLE);
            let uuid = columns.parsed("uuid", Uuid::parse_str)?;
            failures.extend(read_failure(columns)?.map(|failure| (uuid, failure)));
        }
        Ok(failures)
    }

    /// The time at which a refresh has last brought tokens of this client's; `None` for never.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn client_refreshed_at(&self, client: Uuid) -> Result<Option<Timestamp>, Error> {
        let mut work = self.read().await?;
        let row = work.row(CLIENT_REFRESHED, [client.to_string().into()]).await;
        work.roll_back().await?;
        row?.map_or(Ok(None), |row| row.of(clients::TABLE).optional_time("refreshed_at"))
    }

    /// Replaces a connection's tokens by those of another grant. `None` when the connection is gone
    /// or was changed meanwhile; then nothing changes.
    ///
    /// # Errors
    /// [`Error::Orphan`] when the client does not exist; [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn reauthorize(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = connections::revise(&mut work, &before.integration, &before.name).await?;
        clients::check_client(&mut work, after).await?;
        let replaced = connections::replace(&mut work, before, after).await?;
        work.execute(FORGET, [before.uuid.to_string().into()]).await?;
        work.commit_if(replaced, revision).await
    }
}

fn read_failure(columns: Columns<'_>) -> Result<Option<RefreshFailure>, Error> {
    let Some(text) = columns.optional_text("failure")? else { return Ok(None) };
    RefreshFailure::decode(&text).map(Some).ok_or_else(|| columns.inconsistent("failure"))
}

fn micros_after(now: i64, length: Duration) -> i64 {
    now.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

const TABLE: &str = "oauth_refreshes";

/// Takes the lease. An unanswered request stays noted until a refresh has succeeded.
const BEGIN: &str = "INSERT INTO oauth_refreshes (uuid, holder, ends_at, asked, unanswered) \
    VALUES ($1, $2, $3, 0, 0) ON CONFLICT (uuid) DO UPDATE SET holder = $2, ends_at = $3, \
    unanswered = CASE WHEN oauth_refreshes.asked = 1 THEN 1 ELSE oauth_refreshes.unanswered END, \
    asked = 0 WHERE oauth_refreshes.ends_at <= $4 RETURNING unanswered, failure";

const ASK: &str =
    "UPDATE oauth_refreshes SET asked = 1, ends_at = $3 WHERE uuid = $1 AND holder = $2";

const EXTEND: &str = "UPDATE oauth_refreshes SET ends_at = CASE WHEN asked = 1 THEN $4 ELSE $3 END \
    WHERE uuid = $1 AND holder = $2";

const LEAVE: &str = "UPDATE oauth_refreshes SET ends_at = 0, asked = $3, \
    failure = COALESCE($4, failure) WHERE uuid = $1 AND holder = $2";

const FAILURE: &str = "SELECT failure FROM oauth_refreshes WHERE uuid = $1";

const FAILURES: &str = "SELECT oauth_refreshes.uuid AS uuid, failure FROM oauth_refreshes \
    JOIN connections ON connections.uuid = oauth_refreshes.uuid \
    WHERE connections.integration = $1 AND failure IS NOT NULL";

const NOTE_CLIENT: &str = "UPDATE oauth_clients SET refreshed_at = $2 WHERE uuid = $1";

const CLIENT_REFRESHED: &str = "SELECT refreshed_at FROM oauth_clients WHERE uuid = $1";

pub(super) const FORGET: &str = "DELETE FROM oauth_refreshes WHERE uuid = $1";

const LAPSE: &str =
    "UPDATE connections SET detail = $3, updated_at = $4 WHERE uuid = $1 AND payload = $2";

const FINISH: &str = "UPDATE connections SET detail = $3, key_id = $4, wrapped = $5, \
    payload = $6, updated_at = $7 WHERE uuid = $1 AND payload = $2";
