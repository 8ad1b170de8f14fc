//! Snapshots and changes, by which every instance gets the same set in force.

use uuid::Uuid;

use super::row::SqlRow;
use super::{DbTransaction, Error, Revision, Store, authorities, connections, keys, tokens};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::record::{ConnectionRecord, TokenRecord};

/// All records that are in force, as of one revision.
#[derive(Debug)]
pub struct StoreSnapshot {
    /// The revision.
    pub revision: Revision,
    /// The connections, or the error of one that can't be read.
    pub connections: Vec<Result<ConnectionRecord, Error>>,
    /// The tokens, or the error of one that can't be read.
    pub tokens: Vec<Result<TokenRecord, Error>>,
}

/// A record of the store, or the error of reading it.
#[derive(Debug)]
pub enum Record {
    /// A connection.
    Connection(Result<ConnectionRecord, Error>),
    /// A caller token.
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

/// The changes since a revision.
#[derive(Debug)]
pub enum Changes {
    /// There are too many, or some are no longer in the history: a snapshot is needed.
    Behind,
    /// The store's history does not contain that revision: the database was restored, or a standby
    /// without the last writes was promoted. A snapshot is needed.
    Diverged {
        /// The current revision of the store.
        found: Revision,
    },
    /// All changes are known.
    Since {
        /// The revision that they lead to.
        revision: Revision,
        /// Each changed record once, in the order in which they were last changed.
        changes: Vec<RecordChange>,
    },
}

/// A record that was created, changed or deleted.
#[derive(Debug)]
pub enum RecordChange {
    /// An interception CA was added.
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
    /// Another master key is to seal from now on.
    Key {
        /// Its id.
        id: Box<str>,
    },
    /// A caller token.
    Token {
        /// Its id.
        id: Uuid,
        /// As it is now, `None` when it is gone, or why it can't be read.
        now: Result<Option<TokenRecord>, Error>,
    },
}

impl Store {
    /// Reads all records that are in force.
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

    /// Calls `visit` with each record that is in force, and gives their revision. At most a page of
    /// records is in memory.
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
        work.roll_back().await?;
        Ok(revision)
    }

    /// Reads the changes since `revision`.
    pub async fn changes_since(&self, revision: Revision) -> Result<Changes, Error> {
        let mut work = self.read().await?;
        let changes = changes_since(&mut work, revision).await;
        work.roll_back().await?;
        changes
    }

    /// Reads the current records of these keys, each as a change, and the current revision.
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
        work.roll_back().await?;
        Ok((revision, found))
    }

    /// Deletes the history except for the last `keep` revisions. Instances further behind need a
    /// snapshot.
    pub async fn prune_changes(&self, keep: u32) -> Result<(), Error> {
        let mut work = self.write().await?;
        work.execute(FORGET, [i64::from(keep).into()]).await?;
        work.execute(PRUNE, []).await?;
        work.commit().await
    }
}

/// The current revision.
pub(super) async fn revision(work: &mut DbTransaction) -> Result<Revision, Error> {
    Ok(read_position(work, Revision::ZERO).await?.revision)
}

/// The state of the history, seen from a revision.
struct ChangePosition {
    /// The current revision.
    revision: Revision,
    /// The number up to which the history was deleted.
    pruned: i64,
    /// The identity of the write with the given number; `None` when it is not in the history.
    known: Option<i64>,
}

async fn read_position(work: &mut DbTransaction, since: Revision) -> Result<ChangePosition, Error> {
    let row = work.row(POSITION, [since.number.into()]).await?;
    let row = row.ok_or(Error::Inconsistent { table: "revision", column: "only_one" })?;
    let columns = row.of("revision");
    let identity = columns.optional_number("identity")?.unwrap_or_default();
    let is_there = columns.number("found")? > 0;
    let known = columns.optional_number("known")?.unwrap_or_default();
    Ok(ChangePosition {
        revision: Revision { number: columns.number("revision")?, identity },
        pruned: columns.number("pruned")?,
        known: is_there.then_some(known),
    })
}

impl ChangePosition {
    /// The reason why the changes since `since` can't be read; `None` when they can.
    fn gap_since(&self, since: Revision) -> Option<Changes> {
        let diverged = Changes::Diverged { found: self.revision };
        if since.number > self.revision.number {
            return Some(diverged);
        }
        match self.known {
            Some(identity) => (identity != since.identity).then_some(diverged),
            // Before the first write there is nothing to differ from.
            None if since.number == 0 && self.pruned == 0 => None,
            None if since.number <= self.pruned => Some(Changes::Behind),
            None => Some(diverged),
        }
    }
}

async fn changes_since(work: &mut DbTransaction, since: Revision) -> Result<Changes, Error> {
    let position = read_position(work, since).await?;
    if let Some(missing) = position.gap_since(since) {
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
            match read_change(work, &row).await {
                Ok(change) => changes.extend(change),
                // The changed record is not known, so everything is read again.
                Err(Error::Inconsistent { .. }) => return Ok(Changes::Behind),
                Err(error) => return Err(error),
            }
        }
    }
    Ok(Changes::Since { revision, changes })
}

/// Reads a row of the history. A kind that is not known here belongs to a newer version.
async fn read_change(
    work: &mut DbTransaction,
    row: &SqlRow,
) -> Result<Option<RecordChange>, Error> {
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
            Ok(RecordChange::Connection { integration, name, now: separate_unreadable(found)? })
        }
        RecordKey::Token(id) => {
            let now = separate_unreadable(tokens::find(work, &id.to_string()).await)?;
            Ok(RecordChange::Token { id: *id, now })
        }
    }
}

/// Keeps the error of one unreadable record apart from errors of the store.
fn separate_unreadable<T>(now: Result<T, Error>) -> Result<Result<T, Error>, Error> {
    match now {
        Ok(now) => Ok(Ok(now)),
        Err(error @ Error::Inconsistent { .. }) => Ok(Err(error)),
        Err(error) => Err(error),
    }
}

/// The number of records read at once.
const PAGE: i64 = 1000;

/// The number of changes above which a snapshot is cheaper.
const MAX_CHANGES: i64 = 1000;

const CHANGED: &str = "SELECT max(revision) AS last, kind, integration, name FROM changes \
    WHERE revision > $1 GROUP BY kind, integration, name ORDER BY last LIMIT $2";

const POSITION: &str = "SELECT r.revision, r.pruned, \
    (SELECT identity FROM changes WHERE changes.revision = r.revision) AS identity, \
    (SELECT count(*) FROM changes WHERE changes.revision = $1) AS found, \
    (SELECT identity FROM changes WHERE changes.revision = $1) AS known \
    FROM revision AS r";

const FORGET: &str = "UPDATE revision SET pruned = revision - $1 WHERE pruned < revision - $1";

/// Keeps the row of the last deleted revision: instances at that revision compare its identity.
const PRUNE: &str = "DELETE FROM changes WHERE revision < (SELECT pruned FROM revision)";
