//! Deletes old events, as far as the chain itself says that they are old: a column that was edited
//! by hand must not have events deleted, and the rest signed as if nothing had happened.

use jiff::Timestamp;

use super::{PAGE, PAGE_LEN, StoredEvent, is_genuine, read, read_chain, write_chain};
use crate::model::event::{ChainEnds, EventClaims, EventHash, EventSigner, MacOutcome};
use crate::store::{DbTransaction, Error, Store};
use crate::wire::EventContent;

/// The oldest events, as far as they may be deleted.
enum OldPart {
    /// None is old.
    Nothing,
    /// Those up to this one.
    Until((i64, EventHash)),
    /// The first of them were changed by hand.
    Edited,
}

/// The walk through a chain from its beginning.
struct OldEvents<'a> {
    signer: &'a dyn EventSigner,
    /// The time before which events are old.
    time: Timestamp,
    /// The event that was looked at last.
    last: (i64, EventHash),
    /// The last of the old ones; `None` while there is none.
    old: Option<(i64, EventHash)>,
    /// The number of old ones.
    count: i64,
    /// Tells whether all old ones were seen, or as many as are deleted at once.
    is_complete: bool,
    /// The last event up to which a holder of a known key has signed the chain.
    signed: i64,
}

impl Store {
    /// Deletes events that are older than `time`, from the oldest on, and moves the beginning of the
    /// chain. `false` when the chain or its ends were changed by hand: what can't be proven to be
    /// old is not deleted then.
    pub async fn prune_events(
        &self,
        time: Timestamp,
        signer: &dyn EventSigner,
    ) -> Result<bool, Error> {
        loop {
            let mut work = self.write().await?;
            let (ends, mac) = read_chain(work.row(super::LOCK, []).await?)?;
            let part = if is_genuine(&ends, mac.as_ref(), signer)? {
                OldEvents::new(ends, time, signer).find(&mut work, ends).await?
            } else {
                OldPart::Edited
            };
            let OldPart::Until(cut) = part else {
                work.roll_back().await?;
                return Ok(matches!(part, OldPart::Nothing));
            };
            work.execute("DELETE FROM events WHERE number <= $1", [cut.0.into()]).await?;
            write_chain(&mut work, ChainEnds { cut, ..ends }, signer).await?;
            work.commit().await?;
        }
    }
}

impl<'a> OldEvents<'a> {
    fn new(ends: ChainEnds, time: Timestamp, signer: &'a dyn EventSigner) -> Self {
        let cut = ends.cut;
        Self { signer, time, last: cut, old: None, count: 0, is_complete: false, signed: cut.0 }
    }

    /// Follows the chain until the old events are known, and a signature covers them.
    async fn find(mut self, work: &mut DbTransaction, ends: ChainEnds) -> Result<OldPart, Error> {
        // The first event is usually young, and the last one that must be looked at.
        let mut limit = 1;
        loop {
            let rows = work.rows(PAGE, [self.last.0.into(), limit.into()]).await?;
            if rows.is_empty() {
                // The end of the chain is signed along with its beginning.
                let is_whole = self.last == ends.last;
                if is_whole {
                    self.signed = self.last.0;
                }
                self.is_complete = true;
                let otherwise = if is_whole { OldPart::Nothing } else { OldPart::Edited };
                return Ok(self.proven().unwrap_or(otherwise));
            }
            for row in &rows {
                if !self.take(&read(row)?) {
                    self.is_complete = true;
                    return Ok(self.proven().unwrap_or(OldPart::Edited));
                }
                if self.is_complete && self.old.is_none() {
                    return Ok(OldPart::Nothing);
                }
                if let Some(part) = self.proven() {
                    return Ok(part);
                }
            }
            limit = PAGE_LEN;
        }
    }

    /// Takes the next event. `false` when it was changed by hand, or does not follow.
    fn take(&mut self, event: &StoredEvent) -> bool {
        // 1. It is what was written after the one before; or after a break, which a key has signed.
        let claims = EventClaims::Event(event.hash);
        let mac = self.signer.check_event(claims, &event.mac);
        let (before, hash) = self.last;
        let is_next = event.number == before + 1
            && hash.next(event.number, &event.content) == event.hash
            && mac != MacOutcome::Forged;
        let is_after_break = mac == MacOutcome::Genuine
            && EventHash::BREAK.next(event.number, &event.content) == event.hash;
        if !(is_next || is_after_break) || !event.says_its_columns() {
            return false;
        }
        self.last = (event.number, event.hash);
        if mac == MacOutcome::Genuine {
            self.signed = event.number;
        }
        // 2. It is old by what was signed.
        let is_old = event.columns.time < self.time && self.count < PAGE_LEN;
        self.is_complete |= !is_old;
        if !self.is_complete {
            self.old = Some(self.last);
            self.count += 1;
        }
        true
    }

    /// The old events, once all are known and signed.
    fn proven(&self) -> Option<OldPart> {
        let old = self.old.filter(|old| self.is_complete && old.0 <= self.signed)?;
        Some(OldPart::Until(old))
    }
}

impl StoredEvent {
    /// Tells whether the columns by which it is found are what its content says.
    pub fn says_its_columns(&self) -> bool {
        let Ok(content) = serde_json::from_str::<EventContent>(&self.content) else {
            return false;
        };
        let Ok(time) = content.time.parse() else { return false };
        let said = super::EventColumns {
            time,
            kind: content.kind,
            integration: content.integration,
            connection: content.connection,
            operator: content.operator,
        };
        said == self.columns
    }
}
