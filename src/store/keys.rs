//! The use of master keys, and rewrapping all secrets by another key, page by page.

use std::fmt;

use uuid::Uuid;

use super::page::{ListQuery, Page, PageRange, list_query};
use super::row::SqlRow;
use super::{
    DbTransaction, Error, Revision, Store, authorities, clients, connections, flows, tokens,
};
use crate::model::oauth::client::ClientRecord;
use crate::model::oauth::flow::FlowRecord;
use crate::model::record::{CaRecord, ConnectionRecord, TokenRecord};
use crate::model::sealed::{Context, Mac, Sealed};

/// The tables whose records have a sealed secret.
#[derive(Clone, Copy, Debug)]
pub enum SealedTable {
    /// Interception CAs.
    Authorities,
    /// OAuth clients.
    Clients,
    /// Connections.
    Connections,
    /// OAuth flows.
    Flows,
}

/// A record that has a sealed secret.
#[derive(Debug)]
pub enum SealedRecord {
    /// An interception CA.
    Authority(CaRecord),
    /// An OAuth client.
    Client(ClientRecord),
    /// A connection.
    Connection(ConnectionRecord),
    /// An OAuth flow.
    Flow(FlowRecord),
}

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
    pub async fn key_check(&self) -> Result<Option<Sealed>, Error> {
        read_key_check(&self.query(KEY_CHECK, []).await?)
    }

    /// Stores the constant if there is none, and gives the stored one. Of several processes that
    /// start at once, the first wins.
    pub async fn keep_key_check(&self, check: &Sealed) -> Result<Sealed, Error> {
        let mut work = self.write().await?;
        let values = [(&*check.key_id).into(), (&*check.wrapped).into(), (&*check.payload).into()];
        work.execute(KEEP_CHECK, values).await?;
        let kept = read_key_check(&work.rows(KEY_CHECK, []).await?)?;
        work.commit().await?;
        kept.ok_or(Error::Inconsistent { table: CHECK, column: "only_one" })
    }

    /// Rewraps the constant, unless that was done meanwhile, and notifies all instances that this
    /// master key is to seal from now on.
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
    pub async fn key_usage(&self) -> Result<Vec<(Box<str>, u64)>, Error> {
        let rows = self.query(USAGE, []).await?;
        let usage = rows.iter().map(|row| {
            let columns = row.of(connections::TABLE);
            let records = u64::try_from(columns.number("records")?).unwrap_or_default();
            Ok((columns.text("key_id")?.into(), records))
        });
        usage.collect()
    }

    /// A page of the records of a table that other master keys than this one seal, in the order of
    /// their ids. Rewrapped ones leave the list, so an interrupted walk continues where it ended.
    pub async fn sealed_under_other_keys(
        &self,
        table: SealedTable,
        key_id: &str,
        window: &PageRange,
    ) -> Result<Page<SealedRecord>, Error> {
        let mut work = self.read().await?;
        let page = table.list().page(&mut work, key_id, window, |row| table.read(row)).await;
        work.roll_back().await?;
        page
    }

    /// The same list of tokens by the key of their MAC, in the order of their ids.
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

    /// Stores rewrapped secrets of a table in one transaction, and gives their number. A record that
    /// was changed or deleted meanwhile is left alone. Nothing in force changes, so this has no
    /// revision.
    pub async fn rewrap(
        &self,
        table: SealedTable,
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
            count += work.execute(table.rewrap(), values).await?;
        }
        work.commit().await?;
        Ok(count)
    }

    /// Stores tokens' MACs by another master key, like secrets of a table.
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

impl SealedTable {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Connections, Self::Authorities, Self::Clients, Self::Flows];

    fn list(self) -> ListQuery {
        match self {
            Self::Authorities => list_query!("authorities" by "id" where "key_id <> $1"),
            Self::Clients => list_query!("oauth_clients" by "uuid" where "key_id <> $1"),
            Self::Connections => list_query!("connections" by "uuid" where "key_id <> $1"),
            Self::Flows => list_query!("oauth_flows" by "id" where "key_id <> $1"),
        }
    }

    fn rewrap(self) -> &'static str {
        match self {
            Self::Authorities => rewrap!("authorities" by "id"),
            Self::Clients => rewrap!("oauth_clients" by "uuid"),
            Self::Connections => rewrap!("connections" by "uuid"),
            Self::Flows => rewrap!("oauth_flows" by "id"),
        }
    }

    fn read(self, row: &SqlRow) -> Result<SealedRecord, Error> {
        match self {
            Self::Authorities => authorities::read(row).map(SealedRecord::Authority),
            Self::Clients => clients::read(row).map(SealedRecord::Client),
            Self::Connections => connections::read(row).map(SealedRecord::Connection),
            Self::Flows => flows::read(row).map(SealedRecord::Flow),
        }
    }
}

impl SealedRecord {
    /// The record's id, the sealed secret, and the context that it is sealed for.
    pub fn parts(&self) -> (Uuid, &Sealed, Context<'_>) {
        match self {
            Self::Authority(record) => (record.id, &record.sealed, record.context()),
            Self::Client(record) => (record.uuid, &record.sealed, record.context()),
            Self::Connection(record) => (record.uuid, &record.sealed, record.context()),
            Self::Flow(record) => (record.id, &record.sealed, record.context()),
        }
    }
}

/// The record in words, as the log names it.
impl fmt::Display for SealedRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Authority(record) => write!(f, "the CA {}", record.id),
            Self::Client(record) => {
                write!(f, "the OAuth client {}.{}", record.integration, record.name)
            }
            Self::Connection(record) => {
                write!(f, "the connection {}.{}", record.integration, record.name)
            }
            Self::Flow(record) => write!(f, "an OAuth flow of {}", record.integration),
        }
    }
}

fn read_key_check(rows: &[SqlRow]) -> Result<Option<Sealed>, Error> {
    rows.first().map(|row| connections::read_sealed(row.of(CHECK))).transpose()
}

/// Stores a rewrapped key, unless the secret was changed meanwhile.
macro_rules! rewrap {
    ($table:literal by $key:literal) => {
        concat!(
            "UPDATE ",
            $table,
            " SET key_id = $4, wrapped = $5 WHERE ",
            $key,
            " = $1 AND wrapped = $2 AND payload = $3"
        )
    };
}
use rewrap;

/// The kind of a change of the master key.
pub(super) const KIND: &str = "key";

const CHECK: &str = "key_check";

const KEY_CHECK: &str = "SELECT key_id, wrapped, payload FROM key_check";

const KEEP_CHECK: &str = "INSERT INTO key_check (only_one, key_id, wrapped, payload) \
    VALUES (1, $1, $2, $3) ON CONFLICT (only_one) DO NOTHING";

const REWRAP_CHECK: &str = "UPDATE key_check SET key_id = $2, wrapped = $3 WHERE wrapped = $1";

const USAGE: &str = "SELECT key_id, count(*) AS records FROM \
    (SELECT key_id FROM connections UNION ALL SELECT key_id FROM tokens \
    UNION ALL SELECT key_id FROM authorities UNION ALL SELECT key_id FROM oauth_clients \
    UNION ALL SELECT key_id FROM oauth_flows UNION ALL SELECT key_id FROM key_check \
    UNION ALL SELECT key_id FROM event_chain WHERE key_id IS NOT NULL) AS used \
    GROUP BY key_id ORDER BY key_id";

const RENEW: &str = "UPDATE tokens SET key_id = $3, mac = $4 WHERE id = $1 AND mac = $2";

const SIGNED: ListQuery = list_query!("tokens" by "id" where "key_id <> $1");
