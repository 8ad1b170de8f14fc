//! Which tokens are to be refreshed when, before they end.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::handle::{Cause, RefreshRequest};
use crate::model::connection::Connection;

/// Refreshes to come, in the order of their times.
#[derive(Debug, Default)]
pub(super) struct Schedule {
    due: BTreeMap<(Instant, u64), RefreshRequest>,
    next: u64,
}

impl Schedule {
    pub(super) fn add(&mut self, at: Instant, request: RefreshRequest) {
        self.next += 1;
        self.due.insert((at, self.next), request);
    }

    /// When the first is due.
    pub(super) fn first(&self) -> Option<Instant> {
        self.due.first_key_value().map(|((at, _), _)| *at)
    }

    /// Takes out what is due.
    pub(super) fn take(&mut self, now: Instant) -> Option<RefreshRequest> {
        let first = self.due.first_entry()?;
        (first.key().0 <= now).then(|| first.remove())
    }
}

/// What is to be refreshed of a connection in use, and how long from now: when its token ages, or
/// a little later, so that those that were given together are not all refreshed together. `None`
/// when nothing can be.
pub(super) fn plan(
    connection: &Connection,
    refresh_before: Duration,
    now: Timestamp,
) -> Option<(Duration, RefreshRequest)> {
    let standing = connection.token_status().filter(|standing| standing.renewable)?;
    let ages = standing.ages(refresh_before)?;
    let until = |time: Timestamp| Duration::try_from(time.duration_since(now)).unwrap_or_default();
    let margin = until(ages.late).saturating_sub(until(ages.aging));
    let share = standing.uuid.as_bytes().iter().fold(0_u32, |sum, byte| sum + u32::from(*byte));
    let wait = until(ages.aging) + margin / 2 * (share % 64) / 64;
    let request = RefreshRequest::of(connection, Cause::Background)?;
    Some((wait, request))
}
