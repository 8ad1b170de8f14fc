//! Which master keys are in use, and how everything comes under another one, page by page.

use uuid::Uuid;

use super::page::{ListQuery, Page, PageRange};
use super::{DbTransaction, Error, Revision, Store, clients, connections, flows, tokens};
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowRecord;
use crate::model::record::{ConnectionRecord, TokenRecord};
use crate::model::sealed::{Mac, Sealed};

/// A connection's secret, or a CA's key, under another master key.
#[derive(Debug)]
pub struct RewrappedSecret {
    /// The connection, or the CA.
    pub uuid: Uuid,
    /// As it was.
    pub before: Sealed,
    /// As it is to be; its payload is the same.
    pub after: Sealed,
}

/// A token's code under another master key.
#[derive(Debug)]
pub struct RewrittenMac {
    /// The token.
    pub id: Uuid,
    /// As it was.
    pub before: Mac,
    /// As it is to be.
    pub after: Mac,
}

impl Store {
    /// The sealed constant that shows whether the master key is the right one.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when it can't be read.
    pub async fn key_check(&self) -> Result<Option<Sealed>, Error> {
        let mut work = self.read().await?;
        let check = key_check(&mut work).await;
        work.end().await?;
        check
    }

    /// Keeps the constant if there is none yet, and gives the one that is kept: of several
    /// processes that begin at once, one is first.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn keep_key_check(&self, check: &Sealed) -> Result<Sealed, Error> {
        let mut work = self.write().await?;
        let values = [(&*check.key_id).into(), (&*check.wrapped).into(), (&*check.payload).into()];
        work.run(KEEP_CHECK, values).await?;
        let kept = key_check(&mut work).await?;
        work.commit().await?;
        kept.ok_or(Error::Inconsistent { table: CHECK, column: "only_one" })
    }

    /// Brings the constant under another master key, unless somebody else has meanwhile, and tells
    /// everybody that it is the one to seal with from now on.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_key_check(&self, before: &Sealed, after: &Sealed) -> Result<(), Error> {
        let mut work = self.write().await?;
        let values = [(&*before.wrapped).into(), (&*after.key_id).into(), (&*after.wrapped).into()];
        if work.run(REWRAP_CHECK, values).await? > 0 {
            work.revise(KIND, "", &after.key_id).await?;
        }
        work.commit().await
    }

    /// How many records need each master key, by its id; the key check is one of them. A key that
    /// is not among them is needed no more.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn key_usage(&self) -> Result<Vec<(Box<str>, u64)>, Error> {
        let mut work = self.read().await?;
        let rows = work.rows(USAGE, []).await?;
        work.end().await?;
        let usage = rows.iter().map(|row| {
            let columns = row.of(connections::TABLE);
            let records = u64::try_from(columns.number("records")?).unwrap_or_default();
            Ok((columns.text("key_id")?.into(), records))
        });
        usage.collect()
    }

    /// A page of the connections that are sealed under another master key than this one, in the
    /// order of their uuids. Those that are re-wrapped leave the list, so a walk that was broken
    /// off begins again where it ended.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn connections_under_other_keys(
        &self,
        key_id: &str,
        window: &PageRange,
    ) -> Result<Page<ConnectionRecord>, Error> {
        let mut work = self.read().await?;
        let page = SEALED.page(&mut work, key_id, window, connections::read).await;
        work.end().await?;
        page
    }

    /// The same for tokens, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn tokens_under_other_keys(
        &self,
        key_id: &str,
        window: &PageRange,
    ) -> Result<Page<TokenRecord>, Error> {
        let mut work = self.read().await?;
        let page = SIGNED.page(&mut work, key_id, window, tokens::read).await;
        work.end().await?;
        page
    }

    /// Keeps connections' secrets under another master key, all or none, and says how many; one
    /// that was changed or deleted meanwhile is left alone. Nothing that is in force changes, so
    /// there is no revision.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_connections(&self, rewrapped: &[RewrappedSecret]) -> Result<u64, Error> {
        self.rewrap(REWRAP, rewrapped).await
    }

    /// A page of the clients that are sealed under another master key, in the order of their uuids.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn clients_under_other_keys(
        &self,
        key_id: &str,
        window: &PageRange,
    ) -> Result<Page<ClientRecord>, Error> {
        let mut work = self.read().await?;
        let page = CLIENTS.page(&mut work, key_id, window, clients::read).await;
        work.end().await?;
        page
    }

    /// A page of the flows that are sealed under another master key, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn flows_under_other_keys(
        &self,
        key_id: &str,
        window: &PageRange,
    ) -> Result<Page<FlowRecord>, Error> {
        let mut work = self.read().await?;
        let page = FLOWS.page(&mut work, key_id, window, flows::read).await;
        work.end().await?;
        page
    }

    /// Keeps clients' secrets under another master key, as connections' are.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_clients(&self, rewrapped: &[RewrappedSecret]) -> Result<u64, Error> {
        self.rewrap(REWRAP_CLIENT, rewrapped).await
    }

    /// Keeps flows under another master key, as connections are.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_flows(&self, rewrapped: &[RewrappedSecret]) -> Result<u64, Error> {
        self.rewrap(REWRAP_FLOW, rewrapped).await
    }

    pub(super) async fn rewrap(
        &self,
        statement: &'static str,
        rewrapped: &[RewrappedSecret],
    ) -> Result<u64, Error> {
        let mut work = self.write().await?;
        let mut count = 0;
        for RewrappedSecret { uuid, before, after } in rewrapped {
            let values = [
                uuid.to_string().into(),
                (&*before.wrapped).into(),
                (&*before.payload).into(),
                (&*after.key_id).into(),
                (&*after.wrapped).into(),
            ];
            count += work.run(statement, values).await?;
        }
        work.commit().await?;
        Ok(count)
    }

    /// The same for tokens' codes.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn renew_macs(&self, renewed: &[RewrittenMac]) -> Result<u64, Error> {
        let mut work = self.write().await?;
        let mut count = 0;
        for RewrittenMac { id, before, after } in renewed {
            let values = [
                id.to_string().into(),
                before.code.as_slice().into(),
                (&*after.key_id).into(),
                after.code.as_slice().into(),
            ];
            count += work.run(RENEW, values).await?;
        }
        work.commit().await?;
        Ok(count)
    }
}

impl DbTransaction {
    /// Commits what was done under this revision, or undoes it: then nothing has changed.
    pub(super) async fn keep_if(
        self,
        done: bool,
        revision: Revision,
    ) -> Result<Option<Revision>, Error> {
        if done {
            self.commit().await?;
            Ok(Some(revision))
        } else {
            self.end().await?;
            Ok(None)
        }
    }
}

async fn key_check(work: &mut DbTransaction) -> Result<Option<Sealed>, Error> {
    let row = work.row("SELECT key_id, wrapped, payload FROM key_check", []).await?;
    row.map(|row| connections::read_sealed(row.of(CHECK))).transpose()
}

/// What a new master key is called among the changes.
pub(super) const KIND: &str = "key";

const CHECK: &str = "key_check";

const KEEP_CHECK: &str = "INSERT INTO key_check (only_one, key_id, wrapped, payload) \
    VALUES (1, $1, $2, $3) ON CONFLICT (only_one) DO NOTHING";

const REWRAP_CHECK: &str = "UPDATE key_check SET key_id = $2, wrapped = $3 WHERE wrapped = $1";

const USAGE: &str = "SELECT key_id, count(*) AS records FROM \
    (SELECT key_id FROM connections UNION ALL SELECT key_id FROM tokens \
    UNION ALL SELECT key_id FROM authorities UNION ALL SELECT key_id FROM oauth_clients \
    UNION ALL SELECT key_id FROM oauth_flows UNION ALL SELECT key_id FROM key_check) AS used \
    GROUP BY key_id ORDER BY key_id";

const REWRAP: &str = "UPDATE connections SET key_id = $4, wrapped = $5 \
    WHERE uuid = $1 AND wrapped = $2 AND payload = $3";

const REWRAP_CLIENT: &str = "UPDATE oauth_clients SET key_id = $4, wrapped = $5 \
    WHERE uuid = $1 AND wrapped = $2 AND payload = $3";

const REWRAP_FLOW: &str = "UPDATE oauth_flows SET key_id = $4, wrapped = $5 \
    WHERE id = $1 AND wrapped = $2 AND payload = $3";

const CLIENTS: ListQuery = ListQuery {
    forward: "SELECT * FROM oauth_clients WHERE key_id <> $1 \
        AND ($2 IS NULL OR uuid > $2) AND ($3 IS NULL OR uuid < $3) ORDER BY uuid LIMIT $4",
    backward: "SELECT * FROM oauth_clients WHERE key_id <> $1 \
        AND ($2 IS NULL OR uuid > $2) AND ($3 IS NULL OR uuid < $3) ORDER BY uuid DESC LIMIT $4",
    key: "uuid",
    table: clients::TABLE,
};

const FLOWS: ListQuery = ListQuery {
    forward: "SELECT * FROM oauth_flows WHERE key_id <> $1 \
        AND ($2 IS NULL OR id > $2) AND ($3 IS NULL OR id < $3) ORDER BY id LIMIT $4",
    backward: "SELECT * FROM oauth_flows WHERE key_id <> $1 \
        AND ($2 IS NULL OR id > $2) AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
    key: "id",
    table: flows::TABLE,
};

const RENEW: &str = "UPDATE tokens SET key_id = $3, mac = $4 WHERE id = $1 AND mac = $2";

const SEALED: ListQuery = ListQuery {
    forward: "SELECT * FROM connections WHERE key_id <> $1 \
        AND ($2 IS NULL OR uuid > $2) AND ($3 IS NULL OR uuid < $3) ORDER BY uuid LIMIT $4",
    backward: "SELECT * FROM connections WHERE key_id <> $1 \
        AND ($2 IS NULL OR uuid > $2) AND ($3 IS NULL OR uuid < $3) ORDER BY uuid DESC LIMIT $4",
    key: "uuid",
    table: connections::TABLE,
};

const SIGNED: ListQuery = ListQuery {
    forward: "SELECT * FROM tokens WHERE key_id <> $1 \
        AND ($2 IS NULL OR id > $2) AND ($3 IS NULL OR id < $3) ORDER BY id LIMIT $4",
    backward: "SELECT * FROM tokens WHERE key_id <> $1 \
        AND ($2 IS NULL OR id > $2) AND ($3 IS NULL OR id < $3) ORDER BY id DESC LIMIT $4",
    key: "id",
    table: tokens::TABLE,
};
