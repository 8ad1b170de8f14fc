//! Counts of requests and the health of connections, gathered by each request and taken off by
//! housekeeping, which adds them up and stores them.

use std::collections::HashMap;
use std::sync::{Arc, Weak};
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use crate::model::connection_health::ConnectionHealth;
use crate::model::remedy::{FailureRemedy, RemedyActor};
use crate::model::request_counts::RequestCounts;

/// The counts of all connections since they were taken last.
#[derive(Debug, Default)]
pub(super) struct RequestStats {
    slots: Mutex<SlotIndex>,
    /// The slots that have counts.
    changed: Arc<Mutex<Vec<Arc<ConnectionStats>>>>,
}

#[derive(Debug, Default)]
struct SlotIndex {
    by_name: HashMap<(Box<str>, Box<str>), Weak<ConnectionStats>>,
    /// The number of slots at which those are removed that nobody uses.
    swept_at: usize,
}

/// The counts of one connection; or of an integration's requests without one, whose name is then
/// empty. All versions of a connection have the same.
#[derive(Debug)]
pub struct ConnectionStats {
    integration: Box<str>,
    connection: Box<str>,
    counted: Mutex<Counted>,
    changed: Arc<Mutex<Vec<Arc<Self>>>>,
}

#[derive(Debug, Default)]
struct Counted {
    /// Tells whether the slot is among the changed ones.
    is_listed: bool,
    cells: Vec<CountedCell>,
    health: ConnectionHealth,
    /// Tells whether the connection was changed, so that what others know of its health is void.
    is_afresh: bool,
    /// Tells whether the connection is gone, so that it has no health any more.
    is_retired: bool,
}

/// The counts of one caller in one minute.
#[derive(Clone, Debug)]
pub struct CountedCell {
    /// The minute, since the Unix epoch.
    pub minute: i64,
    /// The caller; `None` where it is not known.
    pub caller: Option<Arc<str>>,
    /// The counts.
    pub counts: RequestCounts,
}

/// The changes of a connection since they were taken last.
#[derive(Clone, Debug)]
pub struct StatsChange {
    /// The integration; empty where it is not known.
    pub integration: Box<str>,
    /// The connection; empty for requests without one.
    pub connection: Box<str>,
    /// The counts since they were taken last.
    pub cells: Vec<CountedCell>,
    /// The health of the connection; `None` where it is gone.
    pub health: Option<ConnectionHealth>,
    /// Tells whether what was stored of its health is void.
    pub is_afresh: bool,
}

/// The end of a request.
#[derive(Clone, Copy, Debug)]
pub(super) struct RequestEnd<'a> {
    pub(super) at: Timestamp,
    pub(super) caller: Option<&'a Arc<str>>,
    pub(super) status: u16,
    /// The code of its refusal.
    pub(super) refused: Option<&'static str>,
    /// The one who must act, where the code does not tell.
    pub(super) who: Option<RemedyActor>,
    /// The time until its answer began, where an origin has answered.
    pub(super) took: Option<Duration>,
}

impl RequestStats {
    /// The slot of a connection. Beyond a limit, all others share one.
    pub(super) fn slot_of(&self, integration: &str, connection: &str) -> Arc<ConnectionStats> {
        let mut slots = self.slots.lock();
        if slots.by_name.len() >= slots.swept_at.max(MIN_SWEPT_SLOTS) {
            slots.by_name.retain(|_, slot| slot.strong_count() > 0);
            slots.swept_at = slots.by_name.len() * 2;
        }
        let is_full = slots.by_name.len() >= MAX_SLOTS;
        let key = (Box::from(integration), Box::from(connection));
        let key = match slots.by_name.get(&key) {
            None if is_full => (Box::default(), Box::default()),
            _ => key,
        };
        let known = slots.by_name.get(&key).and_then(Weak::upgrade);
        let known = known.filter(|slot| !slot.counted.lock().is_retired);
        known.unwrap_or_else(|| {
            let (integration, connection) = key.clone();
            let (counted, changed) = (Mutex::default(), Arc::clone(&self.changed));
            let slot = Arc::new(ConnectionStats { integration, connection, counted, changed });
            slots.by_name.insert(key, Arc::downgrade(&slot));
            slot
        })
    }

    /// Takes what has changed since this was asked last.
    pub(super) fn take_changes(&self) -> Vec<StatsChange> {
        let changed = std::mem::take(&mut *self.changed.lock());
        changed.iter().map(|slot| slot.take_change()).collect()
    }
}

impl ConnectionStats {
    /// Counts a request that has ended.
    pub(super) fn note_request(
        self: &Arc<Self>,
        end: &RequestEnd<'_>,
        request_id: impl FnOnce() -> String,
    ) {
        self.update(|counted| {
            let second = end.at.as_second();
            let cell = counted.cell(second.div_euclid(60), end.caller);
            cell.count(end.status, end.refused, end.took);
            if !counted.is_retired {
                let kind = end.refused.map(|code| FailureRemedy::kind(code, end.who));
                counted.health.note(second, end.status, kind, request_id);
            }
        });
    }

    /// Counts a refresh that has ended.
    pub(super) fn note_refresh(self: &Arc<Self>, at: Timestamp, worked: bool) {
        let minute = at.as_second().div_euclid(60);
        self.update(|counted| counted.cell(minute, None).count_refresh(worked));
    }

    /// Notes that the connection was changed.
    pub fn begin_afresh(self: &Arc<Self>) {
        self.update(|counted| {
            counted.health = counted.health.afresh();
            counted.is_afresh = true;
        });
    }

    /// Notes that the connection is gone. Its health goes with it, in the store too; another one of
    /// its name gets a slot of its own.
    pub fn retire(self: &Arc<Self>) {
        // Those beyond the limit share a slot.
        if self.connection.is_empty() {
            return;
        }
        self.update(|counted| {
            counted.health = ConnectionHealth::default();
            counted.is_afresh = true;
            counted.is_retired = true;
        });
    }

    /// The health of the connection, as far as it is known here.
    pub fn health(&self) -> ConnectionHealth {
        self.counted.lock().health.clone()
    }

    fn update(self: &Arc<Self>, change: impl FnOnce(&mut Counted)) {
        let mut counted = self.counted.lock();
        change(&mut counted);
        if !counted.is_listed {
            counted.is_listed = true;
            drop(counted);
            self.changed.lock().push(Arc::clone(self));
        }
    }

    fn take_change(&self) -> StatsChange {
        let mut counted = self.counted.lock();
        counted.is_listed = false;
        StatsChange {
            integration: self.integration.clone(),
            connection: self.connection.clone(),
            cells: std::mem::take(&mut counted.cells),
            health: (!counted.is_retired).then(|| counted.health.clone()),
            is_afresh: std::mem::take(&mut counted.is_afresh),
        }
    }
}

impl Counted {
    /// The counts of a caller in a minute. Callers beyond a limit are counted as one that is not
    /// known.
    fn cell(&mut self, minute: i64, caller: Option<&Arc<str>>) -> &mut RequestCounts {
        let is_same = |known: &Option<Arc<str>>, caller: Option<&Arc<str>>| match (known, caller) {
            (Some(known), Some(caller)) => Arc::ptr_eq(known, caller) || known == caller,
            (None, None) => true,
            _ => false,
        };
        let find = |cells: &[CountedCell], caller: Option<&Arc<str>>| {
            cells.iter().rposition(|cell| cell.minute == minute && is_same(&cell.caller, caller))
        };
        let is_full = self.cells.len() >= MAX_CELLS;
        let known = find(&self.cells, caller);
        let caller = if known.is_none() && is_full { None } else { caller };
        let at = known.or_else(|| find(&self.cells, caller)).unwrap_or_else(|| {
            // Only where nobody takes them off is there no room for one more.
            if self.cells.len() > MAX_CELLS {
                self.cells.remove(0);
            }
            let counts = RequestCounts::default();
            self.cells.push(CountedCell { minute, caller: caller.cloned(), counts });
            self.cells.len() - 1
        });
        // It was found there, or put there.
        #[expect(clippy::indexing_slicing, reason = "the position is that of a cell")]
        &mut self.cells[at].counts
    }
}

/// The number of callers and minutes that are told apart for a connection.
const MAX_CELLS: usize = 32;

/// The number of connections that are told apart.
const MAX_SLOTS: usize = 100_000;

const MIN_SWEPT_SLOTS: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    fn end(second: i64, caller: Option<&Arc<str>>) -> RequestEnd<'_> {
        let at = Timestamp::from_second(second).unwrap();
        RequestEnd { at, caller, status: 200, refused: None, who: None, took: None }
    }

    #[test]
    fn what_is_taken_is_all_that_was_counted() {
        let stats = RequestStats::default();
        let slot = stats.slot_of("acme", "api");
        let callers: Vec<Arc<str>> = (0..100).map(|number| number.to_string().into()).collect();
        for (number, caller) in callers.iter().chain(&callers).enumerate() {
            slot.note_request(
                &end(60 + i64::try_from(number).unwrap() / 10, Some(caller)),
                String::new,
            );
        }
        let [change] = &stats.take_changes()[..] else { panic!("one slot has changed") };
        assert_eq!((&*change.integration, &*change.connection), ("acme", "api"));
        assert!(change.cells.len() <= MAX_CELLS + 1);
        let counted: u32 = change.cells.iter().map(|cell| cell.counts.sent()).sum();
        let health = change.health.as_ref().unwrap();
        assert_eq!((counted, health.windows[0].requests), (200, 200));
        assert!(stats.take_changes().is_empty());
        // The slot is known while somebody has it, and counts go on.
        assert!(Arc::ptr_eq(&slot, &stats.slot_of("acme", "api")));
        slot.note_request(&end(61, None), String::new);
        assert_eq!(stats.take_changes()[0].cells[0].counts.sent(), 1);
    }

    #[test]
    fn what_nobody_takes_is_bounded() {
        let stats = RequestStats::default();
        let slot = stats.slot_of("acme", "api");
        for minute in 0..1000 {
            slot.note_request(&end(minute * 60, None), String::new);
        }
        let changes = stats.take_changes();
        assert!((MAX_CELLS..=MAX_CELLS + 1).contains(&changes[0].cells.len()));
        assert_eq!(changes[0].cells.last().unwrap().minute, 999);
    }

    #[test]
    fn a_changed_connection_begins_afresh() {
        let stats = RequestStats::default();
        let slot = stats.slot_of("acme", "api");
        slot.note_request(&RequestEnd { status: 401, ..end(60, None) }, || "i-1".to_owned());
        assert!(slot.health().failure_summary().is_some());
        slot.begin_afresh();
        let change = stats.take_changes().pop().unwrap();
        let health = change.health.unwrap();
        assert!(change.is_afresh && health.failure_summary().is_none());
        assert_eq!(health.last_used, 60);
    }

    #[test]
    fn a_connection_that_is_gone_leaves_no_health_to_the_next_of_its_name() {
        let stats = RequestStats::default();
        let failed = || RequestEnd { status: 401, ..end(60, None) };
        let old = stats.slot_of("acme", "api");
        old.note_request(&failed(), || "i-1".to_owned());
        old.retire();
        // One of its requests is still under way.
        old.note_request(&failed(), || "i-2".to_owned());
        let new = stats.slot_of("acme", "api");
        assert_eq!(new.health(), ConnectionHealth::default());
        let change = stats.take_changes().pop().unwrap();
        assert!(change.is_afresh && change.health.is_none());
        // That one counts, and voids nothing more.
        old.note_request(&failed(), || "i-3".to_owned());
        let change = stats.take_changes().pop().unwrap();
        assert!(!change.is_afresh && change.health.is_none());
        assert_eq!(change.cells[0].counts.sent(), 1);
    }
}
