//! A database of either kind, and records to keep in it.

use std::path::PathBuf;

use jiff::Timestamp;
use keyferry::model::caller::Reach;
use keyferry::model::domain::AllowedDomain;
use keyferry::model::name::{ConnectionName, IntegrationName};
use keyferry::model::record::{ConnectionRecord, Detail, TokenRecord, new_id};
use keyferry::model::sealed::{Mac, Sealed};
use keyferry::model::token::{Scopes, TokenDigest};
use keyferry::store::{PageRange, Store};
use sqlx::sqlite::SqliteConnectOptions;
use sqlx::{AssertSqlSafe, ConnectOptions as _, Connection as _, Executor as _};
use tempfile::TempDir;

use crate::support::postgres::Postgres;

/// Where a store is kept.
pub(super) enum Home {
    Postgres(Box<Postgres>),
    Sqlite(TempDir),
}

impl Home {
    pub(super) fn sqlite() -> Self {
        Self::Sqlite(TempDir::new().unwrap())
    }

    pub(super) async fn postgres() -> Self {
        Self::Postgres(Box::new(Postgres::start().await))
    }

    /// One more store on this database.
    pub(super) async fn open(&self) -> Store {
        self.try_open().await.unwrap()
    }

    pub(super) async fn try_open(&self) -> Result<Store, keyferry::store::Error> {
        match self {
            Self::Postgres(server) => Store::open_postgres(&server.url()).await,
            Self::Sqlite(_) => Store::open_sqlite(&self.file()).await,
        }
    }

    /// The database's file, if it is one.
    pub(super) fn file(&self) -> PathBuf {
        let Self::Sqlite(directory) = self else { panic!("PostgreSQL has no file") };
        directory.path().join("keyferry.db")
    }

    /// Does what somebody with access to the database could do.
    pub(super) async fn by_hand(&self, sql: &str) {
        let sql = sqlx::raw_sql(AssertSqlSafe(sql.to_owned()));
        match self {
            Self::Postgres(server) => {
                let mut conn = server.connect().await;
                conn.execute(sql).await.unwrap();
                conn.close().await.unwrap();
            }
            Self::Sqlite(_) => {
                let file = SqliteConnectOptions::new().filename(self.file());
                let mut conn = file.create_if_missing(true).connect().await.unwrap();
                conn.execute(sql).await.unwrap();
                conn.close().await.unwrap();
            }
        }
    }
}

/// A connection of the integration `acme`, with secrets and ids of its own.
pub(super) fn connection(name: &str) -> ConnectionRecord {
    let uuid = new_id().unwrap();
    ConnectionRecord {
        options: std::sync::Arc::default(),
        uuid,
        integration: IntegrationName::parse("acme").unwrap(),
        name: self::name(name),
        allowed_domain: Some(AllowedDomain::parse("*.example.com").unwrap()),
        detail: Detail::ApiKey { header_name: "X-Api-Key".into() },
        sealed: sealed("k1"),
        created_at: Timestamp::from_microsecond(1_800_000_000_123_456).unwrap(),
        updated_at: Timestamp::from_microsecond(1_800_000_000_123_457).unwrap(),
    }
}

/// Ciphertext that no other has.
pub(super) fn sealed(key_id: &str) -> Sealed {
    Sealed {
        key_id: key_id.into(),
        wrapped: new_id().unwrap().as_bytes().as_slice().into(),
        payload: new_id().unwrap().as_bytes().as_slice().into(),
    }
}

pub(super) fn token(name: &str) -> TokenRecord {
    let id = new_id().unwrap();
    let mut digest = [0; 32];
    digest[..16].copy_from_slice(id.as_bytes());
    TokenRecord {
        rules: keyferry::model::rules::Rules::default(),
        id,
        name: name.into(),
        reach: Reach::parse("acme", Some(&["billing", "mail-2"])).unwrap(),
        scopes: Scopes::parse(["read", "proxy"]).unwrap(),
        created_at: Timestamp::from_microsecond(1_800_000_000_000_001).unwrap(),
        expires_at: Timestamp::from_microsecond(1_900_000_000_000_001).ok(),
        last_used_at: None,
        last_used_for: None,
        digest: TokenDigest::from_bytes(digest),
        mac: Mac { key_id: "k1".into(), code: [9; 32] },
    }
}

pub(super) fn name(text: &str) -> ConnectionName {
    ConnectionName::parse(text).unwrap()
}

/// As much of a list as a page can hold.
pub(super) fn whole() -> PageRange {
    PageRange { after: None, before: None, limit: 100 }
}

/// Takes back what the migrations after version 4 have added to tables that were there before; the
/// version is to be set along with it.
pub(super) const BACK_TO_4: &str = "ALTER TABLE changes DROP COLUMN identity; \
    ALTER TABLE oauth_clients DROP COLUMN profile; \
    ALTER TABLE oauth_clients DROP COLUMN refreshed_at; \
    ALTER TABLE connections DROP COLUMN options; ALTER TABLE tokens DROP COLUMN rules; \
    ALTER TABLE oauth_refreshes DROP COLUMN failure; \
    DROP TABLE events; DROP TABLE event_chain; DROP TABLE sessions; DROP TABLE spent_sign_ins; \
    DROP TABLE webhook_notices; DROP TABLE leases; \
    ALTER TABLE tokens DROP COLUMN last_used_for; ";
