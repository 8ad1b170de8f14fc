//! The records of sessions at the console.

use jiff::Timestamp;

use super::row::SqlRow;
use super::{Error, Store};
use crate::model::sealed::Mac;
use crate::model::session::{SessionDigest, SessionRecord};
use crate::model::token::TokenDigest;

/// The most sessions that are kept.
#[derive(Clone, Copy, Debug)]
pub struct SessionLimits {
    /// Of one principal, beyond which the one that was seen longest ago goes.
    pub of_principal: u32,
    /// Of all.
    pub all: u32,
}

/// A sign-in whose code was exchanged: it must not be taken again.
#[derive(Clone, Copy, Debug)]
pub struct SpentSignIn {
    /// Its digest.
    pub digest: [u8; 32],
    /// The time from which it is not taken anyway.
    pub ends_at: Timestamp,
}

impl Store {
    /// Stores that a sign-in is spent.
    ///
    /// # Errors
    /// [`Error::Conflict`] when it was spent before.
    pub async fn spend_sign_in(&self, spent: SpentSignIn) -> Result<(), Error> {
        let SpentSignIn { digest, ends_at } = spent;
        let values = [digest.as_slice().into(), ends_at.into()];
        if self.execute(SPEND, values).await? == 0 { Err(Error::Conflict) } else { Ok(()) }
    }

    /// Stores a new session of this principal, and deletes what is beyond the limits.
    pub async fn begin_session(
        &self,
        record: &SessionRecord,
        principal: &TokenDigest,
        limits: SessionLimits,
    ) -> Result<(), Error> {
        let mut work = self.write().await?;
        // 1. The session.
        let principal = || principal.as_bytes().as_slice();
        let digest = || record.digest.as_bytes().as_slice();
        let values = [
            digest().into(),
            principal().into(),
            (&*record.holder).into(),
            record.begun_at.into(),
            record.seen_at.into(),
            (&*record.mac.key_id).into(),
            record.mac.code.as_slice().into(),
        ];
        work.execute(BEGIN, values).await?;
        // 2. Others go: of the same principal first.
        let others = |limit: u32| i64::from(limit.saturating_sub(1)).into();
        let values = [digest().into(), others(limits.of_principal), principal().into()];
        work.execute(LIMIT_PRINCIPAL, values).await?;
        work.execute(LIMIT_ALL, [digest().into(), others(limits.all)]).await?;
        work.commit().await
    }

    /// The session with this digest.
    pub async fn session(&self, digest: SessionDigest) -> Result<Option<SessionRecord>, Error> {
        let rows = self.query(FIND, [digest.as_bytes().as_slice().into()]).await?;
        rows.first().map(read).transpose()
    }

    /// Stores that a session was seen. An earlier time than the stored one is ignored.
    pub async fn touch_session(&self, record: &SessionRecord) -> Result<(), Error> {
        let values = [
            record.digest.as_bytes().as_slice().into(),
            record.seen_at.into(),
            (&*record.mac.key_id).into(),
            record.mac.code.as_slice().into(),
        ];
        self.execute(TOUCH, values).await.map(drop)
    }

    /// Deletes a session, if there is one.
    pub async fn end_session(&self, digest: SessionDigest) -> Result<(), Error> {
        let values = [digest.as_bytes().as_slice().into()];
        self.execute("DELETE FROM sessions WHERE digest = $1", values).await.map(drop)
    }

    /// Deletes the sessions that began or were seen before these times, and the sign-ins that are
    /// not taken at `now` anyway.
    pub async fn prune_sessions(
        &self,
        (begun, seen): (Timestamp, Timestamp),
        now: Timestamp,
    ) -> Result<(), Error> {
        let mut work = self.write().await?;
        let ended = "DELETE FROM sessions WHERE begun_at < $1 OR seen_at < $2";
        work.execute(ended, [begun.into(), seen.into()]).await?;
        work.execute("DELETE FROM spent_sign_ins WHERE ends_at < $1", [now.into()]).await?;
        work.commit().await
    }
}

fn read(row: &SqlRow) -> Result<SessionRecord, Error> {
    let columns = row.of("sessions");
    let fixed = |column: &'static str| {
        columns.bytes(column)?.try_into().map_err(|_length| columns.inconsistent(column))
    };
    Ok(SessionRecord {
        digest: SessionDigest::from_bytes(fixed("digest")?),
        holder: columns.text("holder")?.into(),
        begun_at: columns.time("begun_at")?,
        seen_at: columns.time("seen_at")?,
        mac: Mac { key_id: columns.text("key_id")?.into(), code: fixed("mac")? },
    })
}

const SPEND: &str = "INSERT INTO spent_sign_ins (digest, ends_at) VALUES ($1, $2) \
    ON CONFLICT (digest) DO NOTHING";

const BEGIN: &str = "INSERT INTO sessions (digest, principal, holder, begun_at, seen_at, key_id, \
    mac) VALUES ($1, $2, $3, $4, $5, $6, $7)";

const FIND: &str = "SELECT * FROM sessions WHERE digest = $1";

const TOUCH: &str = "UPDATE sessions SET seen_at = $2, key_id = $3, mac = $4 \
    WHERE digest = $1 AND seen_at < $2";

const LIMIT_PRINCIPAL: &str = "DELETE FROM sessions WHERE principal = $3 AND digest <> $1 \
    AND digest NOT IN (SELECT digest FROM sessions WHERE principal = $3 AND digest <> $1 \
    ORDER BY seen_at DESC LIMIT $2)";

const LIMIT_ALL: &str = "DELETE FROM sessions WHERE digest <> $1 AND digest NOT IN \
    (SELECT digest FROM sessions WHERE digest <> $1 ORDER BY seen_at DESC LIMIT $2)";
