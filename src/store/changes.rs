//! What changed when, and the whole as it is: how everybody comes to hold the same.

use uuid::Uuid;

use super::row::SqlRow;
use super::{DbTransaction, Error, Revision, Store, authorities, connections, keys, tokens};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::record::{ConnectionRecord, TokenRecord};

/// All that is in force, as of one revision.
#[derive(Debug)]
pub struct StoreSnapshot {
    /// The revision.
    pub revision: Revision,
    /// The connections; in place of one that can't be read, why not.
    pub connections: Vec<Result<ConnectionRecord, Error>>,
    /// The tokens; in place of one that can't be read, why not.
    pub tokens: Vec<Result<TokenRecord, Error>>,
}

/// A record of the store, or why it can't be read.
#[derive(Debug)]
pub enum Record {
    /// A connection.
    Connection(Result<ConnectionRecord, Error>),
    /// An access token.
    Token(Result<TokenRecord, Error>),
}

/// The key of a record that is in force.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum RecordKey {
    /// A connection's integration and name.
    Connection(IntegrationName, ConnectionName),
    /// A token's id.
    Token(Uuid),
}

/// What has happened since a revision.
#[derive(Debug)]
pub enum Changes {
    /// Too much, or so long ago that it is forgotten: only a snapshot tells.
    Behind,
    /// The store's history does not contain that revision: the database was put back, or a standby
    /// without the last writes was promoted. Only a snapshot tells what is there now.
    Diverged {
        /// The revision of the store.
        found: Revision,
    },
    /// These changes, up to this revision.
    Since {
        /// The revision that they lead to.
        revision: Revision,
        /// Each changed record once, in the order in which they were last changed.
        changes: Vec<RecordChange>,
    },
}

/// A record that was made, changed or deleted.
#[derive(Debug)]
pub enum RecordChange {
    /// The interception CAs: there is another one.
    Authorities,
    /// A connection.
    Connection {
        /// Its integration.
        integration: IntegrationName,
        /// Its name.
        name: ConnectionName,
        /// As it is now, `None` when it is gone, or why it can't be read.
        now: Result<Option<ConnectionRecord>, Error>,
    },
    /// Everything is to be sealed with another master key.
    Key {
        /// Its id.
        id: Box<str>,
    },
    /// An access token.
    Token {
        /// Its id.
        id: Uuid,
        /// As it is now, `None` when it is gone, or why it can't be read.
        now: Result<Option<TokenRecord>, Error>,
    },
}

impl Store {
    /// All that is in force.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn snapshot(&self) -> Result<StoreSnapshot, Error> {
        let (mut connections, mut tokens) = (Vec::new(), Vec::new());
        let revision = self
            .walk(|record| match record {
                Record::Connection(record) => connections.push(record),
                Record::Token(record) => tokens.push(record),
            })
            .await?;
        Ok(StoreSnapshot { revision, connections, tokens })
    }

    /// Shows all that is in force to `visit`, one record after the other, and gives the revision
    /// of it. Never more than a page is held at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn walk(&self, mut visit: impl FnMut(Record)) -> Result<Revision, Error> {
        let mut work = self.read().await?;
        let revision = revision(&mut work).await?;
        let mut last = String::new();
        while let Some(key) = connections::page(&mut work, &last, PAGE, &mut visit).await? {
            last = key;
        }
        last.clear();
        while let Some(key) = tokens::page(&mut work, &last, PAGE, &mut visit).await? {
            last = key;
        }
        work.end().await?;
        Ok(revision)
    }

    /// What has happened since `revision`.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn changes_since(&self, revision: Revision) -> Result<Changes, Error> {
        let mut work = self.read().await?;
        let changes = changes_since(&mut work, revision).await;
        work.end().await?;
        changes
    }

    /// The records of these keys as they are now, each as a change, and the revision of now.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn look_up(
        &self,
        keys: &[RecordKey],
    ) -> Result<(Revision, Vec<RecordChange>), Error> {
        let mut work = self.read().await?;
        let revision = revision(&mut work).await?;
        let mut found = Vec::with_capacity(keys.len());
        for key in keys {
            found.push(look_up(&mut work, key).await?);
        }
        work.end().await?;
        Ok((revision, found))
    }

    /// Forgets the history but for the last `keep` revisions. Who is further behind takes a
    /// snapshot.
    ///
    /// # Errors
    /// [`Error::Busy`] or [`Error::Unavailable`].
    pub async fn prune_changes(&self, keep: u32) -> Result<(), Error> {
        let mut work = self.write().await?;
        work.run(FORGET, [i64::from(keep).into()]).await?;
        work.run(PRUNE, []).await?;
        work.commit().await
    }
}

/// The revision of now.
pub(super) async fn revision(work: &mut DbTransaction) -> Result<Revision, Error> {
    Ok(position(work, Revision::ZERO).await?.revision)
}

/// The state of the history, as somebody at a revision needs it.
struct ChangePosition {
    /// The revision of now.
    revision: Revision,
    /// The number up to which the history is forgotten.
    pruned: i64,
    /// The identity of the write that has the number asked for, if it is there.
    known: Option<i64>,
}

async fn position(work: &mut DbTransaction, since: Revision) -> Result<ChangePosition, Error> {
    let row = work.row(POSITION, [since.number.into()]).await?;
    let row = row.ok_or(Error::Inconsistent { table: "revision", column: "only_one" })?;
    let columns = row.of("revision");
    let identity = columns.maybe_number("identity")?.unwrap_or_default();
    let is_there = columns.number("found")? > 0;
    let known = columns.maybe_number("known")?.unwrap_or_default();
    Ok(ChangePosition {
        revision: Revision { number: columns.number("revision")?, identity },
        pruned: columns.number("pruned")?,
        known: is_there.then_some(known),
    })
}

impl ChangePosition {
    /// Says why the changes since `since` can't be told, if they can't.
    fn missing(&self, since: Revision) -> Option<Changes> {
        let diverged = Changes::Diverged { found: self.revision };
        if since.number > self.revision.number {
            return Some(diverged);
        }
        match self.known {
            Some(identity) => (identity != since.identity).then_some(diverged),
            // Nothing comes before the first write, and so nothing can differ.
            None if since.number == 0 && self.pruned == 0 => None,
            None if since.number <= self.pruned => Some(Changes::Behind),
            None => Some(diverged),
        }
    }
}

async fn changes_since(work: &mut DbTransaction, since: Revision) -> Result<Changes, Error> {
    let position = position(work, since).await?;
    if let Some(missing) = position.missing(since) {
        return Ok(missing);
    }
    let revision = position.revision;
    let mut changes = Vec::new();
    if since.number < revision.number {
        let rows = work.rows(CHANGED, [since.number.into(), (MAX_CHANGES + 1).into()]).await?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) > MAX_CHANGES {
            return Ok(Changes::Behind);
        }
        for row in rows {
            match changed(work, &row).await {
                Ok(change) => changes.extend(change),
                // Nobody knows what has changed, so everything is read.
                Err(Error::Inconsistent { .. }) => return Ok(Changes::Behind),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Changes::Since { revision, changes })
}

/// A kind that is not known here is a newer version's, and nothing to us.
async fn changed(work: &mut DbTransaction, row: &SqlRow) -> Result<Option<RecordChange>, Error> {
    let columns = row.of("changes");
    match columns.text("kind")?.as_str() {
        connections::KIND => {
            let integration = columns.parsed("integration", IntegrationName::parse)?;
            let name = columns.parsed("name", ConnectionName::parse)?;
            look_up(work, &RecordKey::Connection(integration, name)).await.map(Some)
        }
        tokens::KIND => {
            let id = columns.parsed("name", Uuid::parse_str)?;
            look_up(work, &RecordKey::Token(id)).await.map(Some)
        }
        authorities::KIND => Ok(Some(RecordChange::Authorities)),
        keys::KIND => Ok(Some(RecordChange::Key { id: columns.text("name")?.into() })),
        _ => Ok(None),
    }
}

async fn look_up(work: &mut DbTransaction, key: &RecordKey) -> Result<RecordChange, Error> {
    match key {
        RecordKey::Connection(integration, name) => {
            let found = connections::find(work, integration.as_str(), name.as_str()).await;
            let (integration, name) = (integration.clone(), name.clone());
            Ok(RecordChange::Connection { integration, name, now: known(found)? })
        }
        RecordKey::Token(id) => {
            let now = known(tokens::find(work, &id.to_string()).await)?;
            Ok(RecordChange::Token { id: *id, now })
        }
    }
}

/// One record that can't be read is that record's matter; all other errors are everybody's.
fn known<T>(now: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match now {
        Ok(now) => Ok(Ok(now)),
        Err(error @ Error::Inconsistent { .. }) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// How many records are read at once.
const PAGE: i64 = 1000;

/// More changed records than this are better read as a whole.
const MAX_CHANGES: i64 = 1000;

const CHANGED: &str = "SELECT max(revision) AS last, kind, integration, name FROM changes \
    WHERE revision > $1 GROUP BY kind, integration, name ORDER BY last LIMIT $2";

const POSITION: &str = "SELECT r.revision, r.pruned, \
    (SELECT identity FROM changes WHERE changes.revision = r.revision) AS identity, \
    (SELECT count(*) FROM changes WHERE changes.revision = $1) AS found, \
    (SELECT identity FROM changes WHERE changes.revision = $1) AS known \
    FROM revision AS r";

const FORGET: &str = "UPDATE revision SET pruned = revision - $1 WHERE pruned < revision - $1";

/// The row of the last forgotten revision stays: its identity is compared with that of those who
/// are just there.
const PRUNE: &str = "DELETE FROM changes WHERE revision < (SELECT pruned FROM revision)";
