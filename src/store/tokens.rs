//! The records of caller tokens.

use jiff::Timestamp;
use serde_json::Value as Json;
use uuid::Uuid;

use super::page::{ListQuery, Page, PageRange, list_query};
use super::row::{Columns, SqlRow};
use super::{DbTransaction, Error, Record, Revision, Store};
use crate::model::caller::Reach;
use crate::model::options::encoded;
use crate::model::record::TokenRecord;
use crate::model::rules::Rules;
use crate::model::sealed::Mac;
use crate::model::token::{Scopes, TokenDigest};

/// The last use of a token.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct TokenUse {
    /// The token.
    pub id: Uuid,
    /// The time.
    pub time: Timestamp,
    /// The full name of the connection that it was last used for, where that is known.
    pub connection: Option<String>,
}

impl Store {
    /// Stores a new token.
    ///
    /// # Errors
    /// [`Error::Conflict`] when its id or digest is taken, or another live token of the integration
    /// has its name.
    pub async fn create_token(&self, record: &TokenRecord) -> Result<Revision, Error> {
        let mut work = self.write().await?;
        let id = record.id.to_string();
        let revision = work.take_revision(KIND, "", &id).await?;
        // The revision's row is locked until the end, so no other token can be added meanwhile.
        let integration = record.reach.integration();
        let wanted = [integration.into(), (&*record.name).into(), record.created_at.into()];
        if work.row(LIVE_NAMESAKE, wanted).await?.is_some() {
            work.roll_back().await?;
            return Err(Error::Conflict);
        }
        let names: Vec<_> = record.scopes.names().collect();
        let values = [
            id.into(),
            (&*record.name).into(),
            integration.into(),
            record.reach.connections().map(|names| Json::from(names).to_string()).into(),
            names.join(" ").into(),
            record.created_at.into(),
            record.expires_at.into(),
            record.last_used_at.into(),
            record.digest.as_bytes().as_slice().into(),
            (&*record.mac.key_id).into(),
            record.mac.code.as_slice().into(),
            write_rules(&record.rules).into(),
        ];
        work.execute(CREATE, values).await?;
        work.commit().await?;
        Ok(revision)
    }

    /// A page of the tokens, in the order of their ids.
    pub async fn tokens(&self, window: &PageRange) -> Result<Page<TokenRecord>, Error> {
        let mut work = self.read().await?;
        let page = EVERY.page(&mut work, "", window, read).await;
        work.roll_back().await?;
        page
    }

    /// The token of this id.
    pub async fn token(&self, id: Uuid) -> Result<Option<TokenRecord>, Error> {
        let rows = self.query(FIND, [id.to_string().into()]).await?;
        rows.first().map(read).transpose()
    }

    /// Deletes a token. `None` when it does not exist.
    pub async fn delete_token(&self, id: Uuid) -> Result<Option<Revision>, Error> {
        let mut work = self.write().await?;
        let id = id.to_string();
        let revision = work.take_revision(KIND, "", &id).await?;
        let deleted = work.execute("DELETE FROM tokens WHERE id = $1", [id.into()]).await?;
        work.commit_if(deleted > 0, revision).await
    }

    /// Stores the last uses of tokens. An earlier time than the stored one is ignored. Nothing in
    /// force changes, so this has no revision.
    pub async fn touch_tokens(&self, used: &[TokenUse]) -> Result<(), Error> {
        let mut work = self.write().await?;
        let mut used: Vec<_> = used.iter().collect();
        // A fixed order prevents deadlocks between two instances.
        used.sort_unstable();
        for TokenUse { id, time, connection } in used {
            let values = [id.to_string().into(), (*time).into(), connection.clone().into()];
            work.execute(TOUCH, values).await?;
        }
        work.commit().await
    }

    /// The live token of this name in the integration, or under `*`, if there is one.
    pub async fn live_token(
        &self,
        integration: &str,
        name: &str,
        now: Timestamp,
    ) -> Result<Option<TokenRecord>, Error> {
        let rows = self.query(LIVE_NAMESAKE, [integration.into(), name.into(), now.into()]).await?;
        rows.first().map(read).transpose()
    }
}

/// The kind of a change.
pub(super) const KIND: &str = "token";

pub(super) const TABLE: &str = "tokens";

pub(super) async fn find(work: &mut DbTransaction, id: &str) -> Result<Option<TokenRecord>, Error> {
    let row = work.row(FIND, [id.into()]).await?;
    row.as_ref().map(read).transpose()
}

/// Shows the `limit` tokens whose ids come after `last`; the last of them, if there are any.
pub(super) async fn page(
    work: &mut DbTransaction,
    last: &str,
    limit: i64,
    visit: &mut impl FnMut(Record),
) -> Result<Option<String>, Error> {
    let rows = work.rows(PAGE, [last.into(), limit.into()]).await?;
    for row in &rows {
        visit(Record::Token(read(row)));
    }
    rows.last().map(|row| row.of(TABLE).text("id")).transpose()
}

pub(super) fn read(row: &SqlRow) -> Result<TokenRecord, Error> {
    let columns = row.of(TABLE);
    Ok(TokenRecord {
        id: columns.parsed("id", Uuid::parse_str)?,
        name: columns.text("name")?.into(),
        reach: read_reach(columns)?,
        scopes: columns.parsed("scopes", |text| Scopes::parse(text.split(' ')).ok_or(()))?,
        created_at: columns.time("created_at")?,
        expires_at: columns.optional_time("expires_at")?,
        rules: read_rules(columns)?,
        last_used_at: columns.optional_time("last_used_at")?,
        last_used_for: columns.optional_text("last_used_for")?.map(Into::into),
        digest: TokenDigest::from_bytes(fixed_bytes(columns, "digest")?),
        mac: Mac { key_id: columns.text("key_id")?.into(), code: fixed_bytes(columns, "mac")? },
    })
}

fn read_rules(columns: Columns<'_>) -> Result<Rules, Error> {
    let Some(rules) = columns.optional_text("rules")? else { return Ok(Rules::default()) };
    serde_json::from_str(&rules).map_err(|_wordy| columns.inconsistent("rules"))
}

fn write_rules(rules: &Rules) -> Option<String> {
    (!rules.is_empty()).then(|| encoded(rules))
}

fn read_reach(columns: Columns<'_>) -> Result<Reach, Error> {
    let listed = columns.optional_text("connections")?;
    let listed: Option<Vec<String>> = listed
        .map(|text| serde_json::from_str(&text))
        .transpose()
        .map_err(|_wordy| columns.inconsistent("connections"))?;
    columns.parsed("integration", |integration| Reach::parse(integration, listed.as_deref()))
}

fn fixed_bytes(columns: Columns<'_>, column: &'static str) -> Result<[u8; 32], Error> {
    columns.bytes(column)?.try_into().map_err(|_bytes| columns.inconsistent(column))
}

const CREATE: &str = "INSERT INTO tokens (id, name, integration, connections, scopes, created_at, \
    expires_at, last_used_at, digest, key_id, mac, rules) \
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)";

const LIVE_NAMESAKE: &str = "SELECT * FROM tokens WHERE integration = $1 AND name = $2 \
    AND (expires_at IS NULL OR expires_at > $3) LIMIT 1";

const TOUCH: &str = "UPDATE tokens SET last_used_at = $2, \
    last_used_for = coalesce($3, last_used_for) \
    WHERE id = $1 AND (last_used_at IS NULL OR last_used_at < $2)";

const EVERY: ListQuery = list_query!("tokens" by "id" where "$1 = ''");

const FIND: &str = "SELECT * FROM tokens WHERE id = $1";

const PAGE: &str = "SELECT * FROM tokens WHERE id > $1 ORDER BY id LIMIT $2";
