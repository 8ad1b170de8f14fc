//! Lists that begin with the newest: as many as are asked for, and those that come.

use std::collections::VecDeque;
use std::thread;
use std::time::Duration;

use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};
use serde::de::DeserializeOwned;

use super::output::{self, CliError};
use super::server::{ApiClient, ApiPath};
use crate::clock::Clock;
use crate::wire::{AuditEntries, AuditEntry, EventPage, EventView, PageMeta};

/// A page of such a list.
pub(super) trait NewestFirst: DeserializeOwned {
    /// An item of the list.
    type Item;
    /// The cursor before all items.
    const BEGINNING: &'static str;

    fn of(items: Vec<Self::Item>, meta: PageMeta) -> Self;

    fn into_parts(self) -> (Vec<Self::Item>, PageMeta);
}

impl NewestFirst for EventPage {
    type Item = EventView;
    const BEGINNING: &'static str = "0";

    fn of(events: Vec<EventView>, meta: PageMeta) -> Self {
        Self { events, meta }
    }

    fn into_parts(self) -> (Vec<EventView>, PageMeta) {
        (self.events, self.meta)
    }
}

impl NewestFirst for AuditEntries {
    type Item = AuditEntry;
    const BEGINNING: &'static str = "0-0";

    fn of(entries: Vec<AuditEntry>, meta: PageMeta) -> Self {
        Self { entries, meta }
    }

    fn into_parts(self) -> (Vec<AuditEntry>, PageMeta) {
        (self.entries, self.meta)
    }
}

/// Reads the newest items, at most `limit`, page by page; all where that is 0.
pub(super) fn newest<P: NewestFirst>(
    api: &ApiClient<'_>,
    path: &ApiPath,
    limit: usize,
) -> Result<P, CliError> {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let (mut all, mut before, mut after) = (Vec::new(), String::new(), String::new());
    loop {
        let missing = limit.saturating_sub(all.len()).min(PAGE_SIZE);
        let mut page = path.with("page[size]", &missing.to_string());
        if !after.is_empty() {
            page = page.with("page[after]", &after);
        }
        let (items, meta) = api.get(&page)?.read::<P>()?.into_parts();
        let is_end = !meta.has_more || meta.after.is_empty();
        if before.is_empty() {
            before = meta.before;
        }
        after = meta.after;
        all.extend(items);
        if is_end || all.len() >= limit {
            return Ok(P::of(all, PageMeta { before, after, has_more: !is_end }));
        }
    }
}

/// Prints the items of a page, the oldest first, and then each new one.
pub(super) fn follow<P: NewestFirst>(
    api: &ApiClient<'_>,
    path: &ApiPath,
    page: P,
    line: impl Fn(&P::Item) -> Result<String, CliError>,
) -> Result<(), CliError> {
    let (items, meta) = page.into_parts();
    let (mut items, mut last) = (VecDeque::from(items), meta.before);
    loop {
        while let Some(item) = items.pop_back() {
            output::result(&line(&item)?)?;
        }
        thread::sleep(FOLLOW_INTERVAL);
        // Those that are newer, from the oldest on; before the first item there is none to name.
        let after = if last.is_empty() { P::BEGINNING } else { &last };
        let (newer, meta) = api.get(&path.with("page[before]", after))?.read::<P>()?.into_parts();
        if !meta.before.is_empty() {
            last = meta.before;
        }
        items = newer.into();
    }
}

/// Reads a time, or the length of time that has passed since.
pub(super) fn parse_time(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    // A day begins at midnight in UTC, as all times are shown.
    let day = text.parse::<Date>().ok().filter(|_| text.len() == DAY_LEN);
    if let Some(day) = day.and_then(|day| day.to_zoned(TimeZone::UTC).ok()) {
        return Ok(day.timestamp());
    }
    let ago =
        humantime::parse_duration(text).ok().and_then(|ago| SignedDuration::try_from(ago).ok());
    let time = ago.and_then(|ago| Clock::system().now().checked_sub(ago).ok());
    time.ok_or_else(|| {
        "must be a time as 2027-01-31T12:00:00Z, a day as 2027-01-31, or how long ago, as 2h"
            .to_owned()
    })
}

/// The length of a day as `2027-01-31`.
const DAY_LEN: usize = 10;

/// The number of items that are asked for at once.
const PAGE_SIZE: usize = 100;

/// The interval at which new items are asked for.
const FOLLOW_INTERVAL: Duration = Duration::from_secs(1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_may_be_said_as_how_long_ago() {
        let ago = Clock::system().now().duration_since(parse_time("2h").unwrap());
        assert!((7199..7300).contains(&ago.as_secs()), "{ago}");
        assert_eq!(parse_time("2030-01-31T12:00:00Z").unwrap().to_string(), "2030-01-31T12:00:00Z");
        assert_eq!(parse_time("2030-01-31").unwrap().to_string(), "2030-01-31T00:00:00Z");
        for wrong in ["soon", "2030-02-30", "2030-01", "20300131"] {
            assert!(parse_time(wrong).is_err(), "{wrong}");
        }
    }
}
