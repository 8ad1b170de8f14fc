//! What changed when, and the whole as it is: how everybody comes to hold the same.

use uuid::Uuid;

use super::row::Row;
use super::{Error, Revision, Store, Work, authorities, connections, keys, tokens};
use crate::model::name::{ConnectionName, IntegrationName};
use crate::model::record::{ConnectionRecord, TokenRecord};

/// All that is in force, as of one revision.
#[derive(Debug)]
pub struct Snapshot {
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

/// What has happened since a revision.
#[derive(Debug)]
pub enum Changes {
    /// Too much, or so long ago that it is forgotten: only a snapshot tells.
    Behind,
    /// These changes, up to this revision.
    Since {
        /// The revision that they lead to.
        revision: Revision,
        /// Each changed record once, in the order in which they were last changed.
        changes: Vec<Change>,
    },
}

/// A record that was made, changed or deleted.
#[derive(Debug)]
pub enum Change {
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
    pub async fn snapshot(&self) -> Result<Snapshot, Error> {
        let (mut connections, mut tokens) = (Vec::new(), Vec::new());
        let revision = self
            .walk(|record| match record {
                Record::Connection(record) => connections.push(record),
                Record::Token(record) => tokens.push(record),
            })
            .await?;
        Ok(Snapshot { revision, connections, tokens })
    }

    /// Shows all that is in force to `visit`, one record after the other, and gives the revision
    /// of it. Never more than a page is held at once.
    ///
    /// # Errors
    /// [`Error::Unavailable`] when the database is.
    pub async fn walk(&self, mut visit: impl FnMut(Record)) -> Result<Revision, Error> {
        let mut work = self.read().await?;
        let (revision, _) = position(&mut work).await?;
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
pub(super) async fn revision(work: &mut Work) -> Result<Revision, Error> {
    Ok(position(work).await?.0)
}

/// The revision, and the one up to which the history is forgotten.
async fn position(work: &mut Work) -> Result<(Revision, Revision), Error> {
    let row = work.row("SELECT revision, pruned FROM revision", []).await?;
    let row = row.ok_or(Error::Inconsistent { table: "revision", column: "only_one" })?;
    let columns = row.of("revision");
    Ok((Revision(columns.number("revision")?), Revision(columns.number("pruned")?)))
}

async fn changes_since(work: &mut Work, since: Revision) -> Result<Changes, Error> {
    let (revision, pruned) = position(work).await?;
    if since > revision || since < pruned {
        return Ok(Changes::Behind);
    }
    let mut changes = Vec::new();
    if since < revision {
        let rows = work.rows(CHANGED, [since.0.into(), (MOST + 1).into()]).await?;
        if i64::try_from(rows.len()).unwrap_or(i64::MAX) > MOST {
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
async fn changed(work: &mut Work, row: &Row) -> Result<Option<Change>, Error> {
    let columns = row.of("changes");
    let (integration, name) = (columns.text("integration")?, columns.text("name")?);
    match columns.text("kind")?.as_str() {
        connections::KIND => {
            let now = known(connections::find(work, &integration, &name).await)?;
            let integration = columns.parsed("integration", IntegrationName::parse)?;
            let name = columns.parsed("name", ConnectionName::parse)?;
            Ok(Some(Change::Connection { integration, name, now }))
        }
        tokens::KIND => {
            let now = known(tokens::find(work, &name).await)?;
            Ok(Some(Change::Token { id: columns.parsed("name", Uuid::parse_str)?, now }))
        }
        authorities::KIND => Ok(Some(Change::Authorities)),
        keys::KIND => Ok(Some(Change::Key { id: name.into() })),
        _ => Ok(None),
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
const MOST: i64 = 1000;

const CHANGED: &str = "SELECT max(revision) AS last, kind, integration, name FROM changes \
    WHERE revision > $1 GROUP BY kind, integration, name ORDER BY last LIMIT $2";

const FORGET: &str = "UPDATE revision SET pruned = revision - $1 WHERE pruned < revision - $1";

const PRUNE: &str = "DELETE FROM changes WHERE revision <= (SELECT pruned FROM revision)";
