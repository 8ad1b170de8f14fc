//! Events: what operators did, in a chain in which each is bound to the one before.
//!
//! A write and its event are one transaction. The ends of the chain are one row, signed by the
//! master key, which every event locks: so there is one chain over all instances.

mod prune;

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering::Relaxed};

use jiff::Timestamp;

use super::row::{Columns, SqlRow};
use super::{DbTransaction, Error, Store};
use crate::model::event::{ChainEnds, EventClaims, EventHash, EventSigner, MacOutcome};
use crate::model::sealed::Mac;
use crate::wire::EventContent;

/// An event that is to be stored.
#[derive(Clone, Debug)]
pub struct EventNote {
    /// The time at which it was done.
    pub time: Timestamp,
    /// The content.
    pub content: EventContent,
    /// The master keys, by which it is signed.
    pub signer: Arc<dyn EventSigner>,
}

/// An event as it is stored.
#[derive(Clone, Debug)]
pub struct StoredEvent {
    /// The number in the chain.
    pub number: i64,
    /// The content as it was hashed, in JSON.
    pub content: String,
    /// The hash.
    pub hash: EventHash,
    /// The MAC of the hash.
    pub mac: Mac,
    /// The columns that repeat parts of the content.
    pub columns: EventColumns,
}

/// The columns of an event by which it is found.
#[derive(Clone, Debug, Eq, PartialEq)]
#[expect(missing_docs, reason = "the content has the same members")]
pub struct EventColumns {
    pub time: Timestamp,
    pub kind: String,
    pub integration: String,
    pub connection: String,
    pub operator: String,
}

/// The ends of the chain as they are stored.
#[derive(Clone, Debug)]
pub struct StoredChain {
    /// The ends.
    pub ends: ChainEnds,
    /// Their MAC; `None` before the first event.
    pub mac: Option<Mac>,
    /// The greatest number of an event that this process has seen.
    pub seen: i64,
}

/// Selects events. A member that is `None` selects all.
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Those with a lower number.
    pub below: Option<i64>,
    /// Those with a higher number.
    pub above: Option<i64>,
    /// Those that were done then or later.
    pub since: Option<Timestamp>,
    /// Those that were done before then.
    pub until: Option<Timestamp>,
    /// Those of this integration.
    pub integration: Option<String>,
    /// Those of the connection of this name.
    pub connection: Option<String>,
    /// Those of the operator of this name.
    pub operator: Option<String>,
    /// Those of this kind, or of the kinds that begin with this word and a dot.
    pub kind: Option<String>,
}

/// The event that goes along with a transaction, and the greatest number that was seen.
pub(super) struct PendingEvent {
    pub(super) note: Arc<EventNote>,
    pub(super) seen: Arc<AtomicI64>,
}

impl Store {
    /// The same store, in which each committed write is one transaction with this event. It is for
    /// one write.
    #[must_use]
    pub fn noting(&self, note: EventNote) -> Self {
        Self {
            database: Arc::clone(&self.database),
            trail: Arc::clone(&self.trail),
            seen_event: Arc::clone(&self.seen_event),
            note: Some(Arc::new(note)),
        }
    }

    /// Stores the event of something that changes no record.
    pub async fn note_event(&self, note: EventNote) -> Result<(), Error> {
        self.noting(note).write().await?.commit().await
    }

    /// Stores the events of things that change no record: all of them, or none.
    pub async fn note_events(&self, notes: Vec<EventNote>) -> Result<(), Error> {
        let mut work = self.write().await?;
        let mut seen = Arc::clone(&self.seen_event);
        for note in notes {
            PendingEvent { note: Arc::new(note), seen }.append(&mut work).await?;
            // The number of an event that may not be committed has not been seen.
            seen = Arc::default();
        }
        work.commit().await
    }

    /// The id of the master key by which the ends of the chain are signed; `None` before the first
    /// event.
    pub async fn event_key(&self) -> Result<Option<String>, Error> {
        let rows = self.query("SELECT key_id FROM event_chain", []).await?;
        let key = rows.first().map(|row| row.of(CHAIN).optional_text("key_id")).transpose()?;
        Ok(key.flatten())
    }

    /// Reads events from the newest to the oldest, or with `oldest_first` from the oldest on.
    pub async fn events(
        &self,
        filter: &EventFilter,
        oldest_first: bool,
        limit: u32,
    ) -> Result<Vec<StoredEvent>, Error> {
        let EventFilter { below, above, since, until, integration, connection, operator, kind } =
            filter.clone();
        let values = [
            below.unwrap_or(i64::MAX).into(),
            above.unwrap_or(0).into(),
            since.into(),
            until.into(),
            integration.into(),
            connection.into(),
            operator.into(),
            kind.into(),
            i64::from(limit).into(),
        ];
        let sql = if oldest_first { OLDEST } else { NEWEST };
        self.query(sql, values).await?.iter().map(read).collect()
    }

    /// Calls `visit` with every event in order, as the database is at one time, and gives the ends
    /// of the chain. An event that can't be read is given as its error.
    pub async fn walk_events(
        &self,
        mut visit: impl FnMut(Result<StoredEvent, Error>),
    ) -> Result<StoredChain, Error> {
        let mut work = self.read().await?;
        let (ends, mac) = read_chain(work.row("SELECT * FROM event_chain", []).await?)?;
        let mut last = -1;
        loop {
            let rows = work.rows(PAGE, [last.into(), PAGE_LEN.into()]).await?;
            let Some(end) = rows.last() else { break };
            last = end.of(TABLE).number("number")?;
            rows.iter().map(read).for_each(&mut visit);
        }
        work.roll_back().await?;
        let seen = self.seen_event.fetch_max(ends.last.0, Relaxed);
        Ok(StoredChain { ends, mac, seen })
    }
}

impl PendingEvent {
    /// Adds the event to the chain, whose ends stay locked until the transaction ends.
    pub(super) async fn append(self, work: &mut DbTransaction) -> Result<(), Error> {
        let EventNote { time, content, signer } = &*self.note;
        // 1. The ends, which wait for other writers.
        let (ends, mac) = read_chain(work.row(LOCK, []).await?)?;
        let (number, hash) = ends.last;
        // 2. Ends that were changed by hand, or fall short of what was seen here, are never signed
        // again as if nothing had happened: the break stays in the chain.
        let seen = self.seen.fetch_max(number, Relaxed);
        let is_whole = number >= seen && is_genuine(&ends, mac.as_ref(), &**signer)?;
        let hash = if is_whole { hash } else { EventHash::BREAK };
        if !is_whole {
            tracing::error!(
                event = number + 1,
                "the chain of events was changed by hand: the next event begins after a break; see \
                 what keyferry audit verify finds"
            );
        }
        // 3. The event. A number that is in use belongs to a chain whose end was set back by hand.
        let used = "SELECT max(number) AS number FROM events";
        let used = work.row(used, []).await?;
        let used = used.map(|row| row.of(TABLE).optional_number("number")).transpose()?.flatten();
        let number = number.max(used.unwrap_or_default()).max(seen) + 1;
        let text =
            serde_json::to_string(content).map_err(|error| Error::Faulty(Box::new(error)))?;
        let hash = hash.next(number, &text);
        let mac = signer.sign_event(EventClaims::Event(hash));
        let values = [
            number.into(),
            (*time).into(),
            (&*content.kind).into(),
            (&*content.integration).into(),
            (&*content.connection).into(),
            (&*content.operator).into(),
            text.into(),
            hash.as_bytes().as_slice().into(),
            (&*mac.key_id).into(),
            mac.code.as_slice().into(),
        ];
        work.execute(INSERT, values).await?;
        write_chain(work, ChainEnds { last: (number, hash), ..ends }, &**signer).await
    }
}

/// Tells whether a holder of the master key has written the ends.
///
/// # Errors
/// [`Error::Unavailable`] when another instance has signed them by a key that is not known here
/// yet.
fn is_genuine(
    ends: &ChainEnds,
    mac: Option<&Mac>,
    signer: &dyn EventSigner,
) -> Result<bool, Error> {
    let Some(mac) = mac else { return Ok(*ends == ChainEnds::EMPTY) };
    match signer.check_event(EventClaims::Chain(*ends), mac) {
        MacOutcome::Genuine => Ok(true),
        MacOutcome::Forged => Ok(false),
        MacOutcome::KeyMissing => Err(Error::Unavailable(Box::new(UnknownKey))),
    }
}

/// The ends of the chain are signed by a master key that is not at hand.
#[derive(Debug, thiserror::Error)]
#[error(
    "the chain of events is signed by a master key that this instance does not have: give it the \
     keys that the other instances have"
)]
struct UnknownKey;

async fn write_chain(
    work: &mut DbTransaction,
    ends: ChainEnds,
    signer: &dyn EventSigner,
) -> Result<(), Error> {
    let mac = signer.sign_event(EventClaims::Chain(ends));
    let values = [
        ends.cut.0.into(),
        ends.cut.1.as_bytes().as_slice().into(),
        ends.last.0.into(),
        ends.last.1.as_bytes().as_slice().into(),
        (&*mac.key_id).into(),
        mac.code.as_slice().into(),
    ];
    work.execute(MOVE, values).await.map(drop)
}

fn read_chain(row: Option<SqlRow>) -> Result<(ChainEnds, Option<Mac>), Error> {
    let row = row.ok_or(Error::Inconsistent { table: CHAIN, column: "only_one" })?;
    let columns = row.of(CHAIN);
    let Some(key_id) = columns.optional_text("key_id")? else {
        let (cut, last) = (columns.number("cut")?, columns.number("last")?);
        let ends = ChainEnds { cut: (cut, EventHash::START), last: (last, EventHash::START) };
        return Ok((ends, None));
    };
    let ends = ChainEnds {
        cut: (columns.number("cut")?, read_hash(columns, "cut_hash")?),
        last: (columns.number("last")?, read_hash(columns, "last_hash")?),
    };
    Ok((ends, Some(Mac { key_id: key_id.into(), code: fixed(columns, "mac")? })))
}

fn read(row: &SqlRow) -> Result<StoredEvent, Error> {
    let columns = row.of(TABLE);
    Ok(StoredEvent {
        number: columns.number("number")?,
        content: columns.text("content")?,
        hash: read_hash(columns, "hash")?,
        mac: Mac { key_id: columns.text("key_id")?.into(), code: fixed(columns, "mac")? },
        columns: EventColumns {
            time: columns.time("time")?,
            kind: columns.text("kind")?,
            integration: columns.text("integration")?,
            connection: columns.text("connection")?,
            operator: columns.text("operator")?,
        },
    })
}

fn read_hash(columns: Columns<'_>, column: &'static str) -> Result<EventHash, Error> {
    fixed(columns, column).map(EventHash::from_bytes)
}

fn fixed(columns: Columns<'_>, column: &'static str) -> Result<[u8; 32], Error> {
    columns.bytes(column)?.try_into().map_err(|_length| columns.inconsistent(column))
}

const TABLE: &str = "events";

const CHAIN: &str = "event_chain";

const LOCK: &str = "UPDATE event_chain SET only_one = 1 RETURNING *";

const MOVE: &str = "UPDATE event_chain SET cut = $1, cut_hash = $2, last = $3, last_hash = $4, \
    key_id = $5, mac = $6";

const INSERT: &str = "INSERT INTO events (number, time, kind, integration, connection, operator, \
    content, hash, key_id, mac) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)";

const PAGE: &str = "SELECT * FROM events WHERE number > $1 ORDER BY number LIMIT $2";

const PAGE_LEN: i64 = 1000;

/// A list of the events that a filter selects.
macro_rules! select {
    ($order:literal) => {
        concat!(
            "SELECT * FROM events WHERE number < $1 AND number > $2 \
            AND ($3 IS NULL OR time >= $3) AND ($4 IS NULL OR time < $4) \
            AND ($5 IS NULL OR integration = $5) AND ($6 IS NULL OR connection = $6) \
            AND ($7 IS NULL OR operator = $7) \
            AND ($8 IS NULL OR kind = $8 OR kind LIKE $8 || '.%') ORDER BY number ",
            $order,
            " LIMIT $9"
        )
    };
}

const NEWEST: &str = select!("DESC");

const OLDEST: &str = select!("ASC");
