//! Who refreshes which connection's tokens: a lease, so that of all instances one is at it; and
//! what it leaves behind when it is broken off.

use std::time::Duration;

use uuid::Uuid;

use super::{Error, Revision, Store, clients, connections};
use crate::model::record::ConnectionRecord;

/// What became of the wish to refresh.
#[derive(Debug)]
pub enum RefreshStart {
    /// The lease is the holder's, and this is the record as it is under it.
    Granted {
        /// The connection.
        record: Box<ConnectionRecord>,
        /// Whether an earlier refresh asked the provider and nobody knows the answer.
        unanswered: bool,
    },
    /// Somebody else is at it.
    Held,
    /// There is no such connection.
    Gone,
}

/// The time that a refresh may be silent before another instance takes it over.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct RefreshLease {
    /// The length before the provider was asked: nothing has been spent yet.
    pub before_asking: Duration,
    /// The length after the provider was asked: asking again with the same refresh token may end
    /// the grant.
    pub after_asking: Duration,
}

/// What is left of a refresh that brought no tokens.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Leftover {
    /// The provider was not asked, or has answered: it has replaced nothing.
    Nothing,
    /// The provider was asked, and its answer is lost: it may have replaced the refresh token.
    Unanswered,
}

impl Store {
    /// Takes the lease to refresh a connection's tokens, if nobody has it. That it can be taken
    /// shows too that the store can be written to, before a refresh token is spent.
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
        let uuid = uuid.to_string();
        let mut work = self.write().await?;
        let now = work.now().await?;
        let values = [(&*uuid).into(), holder.into(), after(now, length).into(), now.into()];
        let Some(row) = work.row(BEGIN, values).await? else {
            work.end().await?;
            return Ok(RefreshStart::Held);
        };
        let unanswered = row.of(TABLE).number("unanswered")? != 0;
        let Some(record) = work.row(CONNECTION, [uuid.into()]).await? else {
            work.end().await?;
            return Ok(RefreshStart::Gone);
        };
        work.commit().await?;
        Ok(RefreshStart::Granted { record: Box::new(connections::read(&record)?), unanswered })
    }

    /// Notes that the provider is about to be asked, and has the lease count for `length` from
    /// now. `false` when the lease is another holder's: then the provider must not be asked.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]: it may have been noted or not.
    pub async fn note_asked(
        &self,
        uuid: Uuid,
        holder: &str,
        length: Duration,
    ) -> Result<bool, Error> {
        let mut work = self.write().await?;
        let now = work.now().await?;
        let values = [uuid.to_string().into(), holder.into(), after(now, length).into()];
        let noted = work.run(ASK, values).await? > 0;
        work.commit().await?;
        Ok(noted)
    }

    /// Has the lease count for longer; `false` when it is another holder's.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn extend_refresh(
        &self,
        uuid: Uuid,
        holder: &str,
        lease: RefreshLease,
    ) -> Result<bool, Error> {
        let mut work = self.write().await?;
        let now = work.now().await?;
        let values = [
            uuid.to_string().into(),
            holder.into(),
            after(now, lease.before_asking).into(),
            after(now, lease.after_asking).into(),
        ];
        let extended = work.run(EXTEND, values).await? > 0;
        work.commit().await?;
        Ok(extended)
    }

    /// Keeps what a refresh has brought, and gives the lease back: one write. `None` when the
    /// connection's tokens are not those of `before` any more; then nothing is done.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]: it may have been done or not.
    pub async fn finish_refresh(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = connections::revise(&mut work, &before.integration, &before.name).await?;
        let values = [
            before.uuid.to_string().into(),
            (&*before.sealed.payload).into(),
            super::detail::write(&after.detail).into(),
            (&*after.sealed.key_id).into(),
            (&*after.sealed.wrapped).into(),
            (&*after.sealed.payload).into(),
            after.updated_at.into(),
        ];
        let kept = work.run(FINISH, values).await? > 0;
        work.run(FORGET, [before.uuid.to_string().into()]).await?;
        work.keep_if(kept, revision).await
    }

    /// Keeps that a grant has lapsed, and gives the lease back: one write. `None` when the
    /// connection's tokens are not those of `before` any more.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]: it may have been done or not.
    pub async fn lapse_grant(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = connections::revise(&mut work, &before.integration, &before.name).await?;
        let values = [
            before.uuid.to_string().into(),
            (&*before.sealed.payload).into(),
            super::detail::write(&after.detail).into(),
            after.updated_at.into(),
        ];
        let kept = work.run(LAPSE, values).await? > 0;
        work.run(FORGET, [before.uuid.to_string().into()]).await?;
        work.keep_if(kept, revision).await
    }

    /// Gives the lease back without anything having changed.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`]: the lease ends by itself then.
    pub async fn leave_refresh(
        &self,
        uuid: Uuid,
        holder: &str,
        left: Leftover,
    ) -> Result<(), Error> {
        let mut work = self.write().await?;
        let asked = i64::from(left == Leftover::Unanswered);
        work.run(LEAVE, [uuid.to_string().into(), holder.into(), asked.into()]).await?;
        work.commit().await
    }

    /// Puts the tokens of another grant in the place of those that a connection had, unless it is
    /// gone or was changed meanwhile: then nothing is done, and `None` says so.
    ///
    /// # Errors
    /// [`Error::Orphan`] when the client is gone; [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn authorize_again(
        &self,
        before: &ConnectionRecord,
        after: &ConnectionRecord,
    ) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let revision = connections::revise(&mut work, &before.integration, &before.name).await?;
        clients::check_client(&mut work, after).await?;
        let replaced = connections::replace(&mut work, before, after).await?;
        work.run(FORGET, [before.uuid.to_string().into()]).await?;
        work.keep_if(replaced, revision).await
    }
}

fn after(now: i64, length: Duration) -> i64 {
    now.saturating_add(i64::try_from(length.as_micros()).unwrap_or(i64::MAX))
}

const TABLE: &str = "oauth_refreshes";

/// What was asked and not answered is not forgotten until there is an answer that counts.
const BEGIN: &str = "INSERT INTO oauth_refreshes (uuid, holder, ends_at, asked, unanswered) \
    VALUES ($1, $2, $3, 0, 0) ON CONFLICT (uuid) DO UPDATE SET holder = $2, ends_at = $3, \
    unanswered = CASE WHEN oauth_refreshes.asked = 1 THEN 1 ELSE oauth_refreshes.unanswered END, \
    asked = 0 WHERE oauth_refreshes.ends_at <= $4 RETURNING unanswered";

const ASK: &str =
    "UPDATE oauth_refreshes SET asked = 1, ends_at = $3 WHERE uuid = $1 AND holder = $2";

const EXTEND: &str = "UPDATE oauth_refreshes SET ends_at = CASE WHEN asked = 1 THEN $4 ELSE $3 END \
    WHERE uuid = $1 AND holder = $2";

const LEAVE: &str =
    "UPDATE oauth_refreshes SET ends_at = 0, asked = $3 WHERE uuid = $1 AND holder = $2";

pub(super) const FORGET: &str = "DELETE FROM oauth_refreshes WHERE uuid = $1";

const CONNECTION: &str = "SELECT * FROM connections WHERE uuid = $1";

const LAPSE: &str =
    "UPDATE connections SET detail = $3, updated_at = $4 WHERE uuid = $1 AND payload = $2";

const FINISH: &str = "UPDATE connections SET detail = $3, key_id = $4, wrapped = $5, \
    payload = $6, updated_at = $7 WHERE uuid = $1 AND payload = $2";
