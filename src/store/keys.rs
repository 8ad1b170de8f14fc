//! The use of master keys, and rewrapping all secrets by another key, page by page.

use uuid::Uuid;

use super::page::{ListQuery, Page, PageRange};
use super::{DbTransaction, Error, Revision, Store, clients, connections, flows, tokens};
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowRecord;
use crate::model::record::{ConnectionRecord, TokenRecord};
use crate::model::sealed::{Mac, Sealed};

/// A sealed secret before and after rewrapping.
#[derive(Debug)]
pub struct RewrappedSecret {
    /// The id of the record.
    pub uuid: Uuid,
    /// The sealed secret before.
    pub before: Sealed,
    /// The sealed secret after, with the same payload.
    pub after: Sealed,
}

/// A token's MAC before and after a change of the master key.
#[derive(Debug)]
pub struct RewrittenMac {
    /// The id of the token.
    pub id: Uuid,
    /// The MAC before.
    pub before: Mac,
    /// The MAC after.
    pub after: Mac,
}

impl Store {
    /// The sealed constant that shows whether a master key is the right one.
    ///
    /// # Errors
    /// [`Error::Inconsistent`] when it can't be read.
    pub async fn key_check(&self) -> Result<Option<Sealed>, Error> {
        let mut work = self.read().await?;
        let check = key_check(&mut work).await;
        work.roll_back().await?;
        check
    }

    /// Stores the constant if there is none, and gives the stored one. Of several processes that
    /// start at once, the first wins.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn keep_key_check(&self, check: &Sealed) -> Result<Sealed, Error> {
        let mut work = self.write().await?;
        let values = [(&*check.key_id).into(), (&*check.wrapped).into(), (&*check.payload).into()];
        work.execute(KEEP_CHECK, values).await?;
        let kept = key_check(&mut work).await?;
        work.commit().await?;
        kept.ok_or(Error::Inconsistent { table: CHECK, column: "only_one" })
    }

    /// Rewraps the constant, unless that was done meanwhile, and notifies all instances that this
    /// master key is to seal from now on.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_key_check(&self, before: &Sealed, after: &Sealed) -> Result<(), Error> {
        let mut work = self.write().await?;
        let values = [(&*before.wrapped).into(), (&*after.key_id).into(), (&*after.wrapped).into()];
        if work.execute(REWRAP_CHECK, values).await? > 0 {
            work.take_revision(KIND, "", &after.key_id).await?;
        }
        work.commit().await
    }

    /// The number of records that need each master key, the key check included. Keys that are not
    /// listed are not needed.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn key_usage(&self) -> Result<Vec<(Box<str>, u64)>, Error> {
        let mut work = self.read().await?;
        let rows = work.rows(USAGE, []).await?;
        work.roll_back().await?;
        let usage = rows.iter().map(|row| {
            let columns = row.of(connections::TABLE);
            let records = u64::try_from(columns.number("records")?).unwrap_or_default();
            Ok((columns.text("key_id")?.into(), records))
        });
        usage.collect()
    }

    /// A page of the connections that other master keys than this one seal, in the order of their
    /// uuids. Rewrapped ones leave the list, so an interrupted walk continues where it ended.
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
        work.roll_back().await?;
        page
    }

    /// The same list of tokens by the key of their MAC, in the order of their ids.
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
        work.roll_back().await?;
        page
    }

    /// Stores rewrapped secrets of connections in one transaction, and gives their number. A record
    /// that was changed or deleted meanwhile is left alone. Nothing in force changes, so this has
    /// no revision.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_connections(&self, rewrapped: &[RewrappedSecret]) -> Result<u64, Error> {
        self.rewrap(REWRAP, rewrapped).await
    }

    /// The same list of clients, in the order of their uuids.
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
        work.roll_back().await?;
        page
    }

    /// The same list of flows, in the order of their ids.
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
        work.roll_back().await?;
        page
    }

    /// Stores rewrapped secrets of clients, like those of connections.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn rewrap_clients(&self, rewrapped: &[RewrappedSecret]) -> Result<u64, Error> {
        self.rewrap(REWRAP_CLIENT, rewrapped).await
    }

    /// Stores rewrapped payloads of flows, like secrets of connections.
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
            count += work.execute(statement, values).await?;
        }
        work.commit().await?;
        Ok(count)
    }

    /// Stores tokens' MACs by another master key, like secrets of connections.
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
            count += work.execute(RENEW, values).await?;
        }
        work.commit().await?;
        Ok(count)
    }
}

impl DbTransaction {
    /// Commits and gives the revision if `done`, else rolls back.
    pub(super) async fn commit_if(
        self,
        done: bool,
        revision: Revision,
    ) -> Result<Option<Revision>, Error> {
        if done {
            self.commit().await?;
            Ok(Some(revision))
        } else {
            self.roll_back().await?;
            Ok(None)
        }
    }
}

async fn key_check(work: &mut DbTransaction) -> Result<Option<Sealed>, Error> {
    let row = work.row("SELECT key_id, wrapped, payload FROM key_check", []).await?;
    row.map(|row| connections::read_sealed(row.of(CHECK))).transpose()
}

/// The kind of a change of the master key.
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
