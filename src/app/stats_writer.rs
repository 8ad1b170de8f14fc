//! Adds up what requests have counted, and stores it: by minute and by hour, of this instance.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock::instant;
use crate::ledger::{CountedCell, Metrics, StatsChange};
use crate::model::request_counts::RequestCounts;
use crate::store::{self, CountKey, CountSpan, CountSubject, HealthRow, Store};

/// Adds up counts and stores them.
#[derive(Debug, Default)]
pub(super) struct StatsWriter {
    counts: HashMap<CountKey, Accumulated>,
    /// The health of connections that is not stored yet.
    health: HashMap<(Box<str>, Box<str>), HealthRow>,
    /// The time before which nothing is written, so that writing takes a small part of the time.
    next: Option<Instant>,
}

#[derive(Debug, Default)]
struct Accumulated {
    counts: RequestCounts,
    is_stored: bool,
}

impl StatsWriter {
    /// Stores what has changed. What can't be stored is kept until it can.
    ///
    /// # Errors
    /// When the store fails.
    pub(super) async fn write(
        &mut self,
        store: &Store,
        metrics: &Metrics,
        instance: &str,
        now: Timestamp,
    ) -> Result<(), store::Error> {
        // 1. What requests have counted.
        for change in metrics.take_stats() {
            self.add(change);
        }
        // 2. Rows that have changed are written whole.
        let changed = self.counts.iter().filter(|(_, known)| !known.is_stored);
        let counts: Vec<_> =
            changed.map(|(key, known)| (key.clone(), known.counts.clone())).collect();
        let health: Vec<_> = self.health.values().cloned().collect();
        if !counts.is_empty() || !health.is_empty() {
            let began = instant();
            store.write_stats(instance, now, &counts, &health).await?;
            let took = instant().duration_since(began);
            self.next = instant().checked_add(took * IDLE_FACTOR);
        }
        // 3. No request will be counted in what is over.
        self.health.clear();
        let second = now.as_second();
        self.counts.retain(|key, known| {
            known.is_stored = true;
            key.start + key.span.seconds() + LATE_SECONDS > second
        });
        Ok(())
    }

    /// Tells whether it is time to write.
    pub(super) fn is_due(&self) -> bool {
        self.next.is_none_or(|next| instant() >= next)
    }

    fn add(&mut self, change: StatsChange) {
        let StatsChange { integration, connection, cells, health, is_afresh } = change;
        // 1. Each cell counts in a minute and in an hour, for everything that it is of.
        for CountedCell { minute, caller, counts } in cells {
            let caller: Box<str> = caller.as_deref().unwrap_or_default().into();
            for span in [CountSpan::Minute, CountSpan::Hour] {
                let start = (minute * 60).div_euclid(span.seconds()) * span.seconds();
                let mut add = |subject, connection: &str, caller: &str| {
                    let key = CountKey {
                        span,
                        subject,
                        integration: integration.clone(),
                        connection: connection.into(),
                        caller: caller.into(),
                        start,
                    };
                    self.accumulate(key, &counts);
                };
                add(CountSubject::Integration, "", "");
                if !caller.is_empty() {
                    add(CountSubject::Caller, "", &caller);
                }
                if !connection.is_empty() {
                    add(CountSubject::Connection, &connection, &caller);
                }
            }
        }
        // 2. The health of the connection. One that is gone has none, and a request of it that has
        //    ended later says nothing of the next one of its name.
        if !connection.is_empty() && (health.is_some() || is_afresh) {
            let health = health.unwrap_or_default();
            let key = (integration.clone(), connection.clone());
            let is_afresh = is_afresh || self.health.get(&key).is_some_and(|row| row.is_afresh);
            self.health.insert(key, HealthRow { integration, connection, health, is_afresh });
        }
    }

    /// Adds counts to a row. Where there are too many rows, those of connections and callers are not
    /// told apart any more, and integrations count as one that is not known.
    fn accumulate(&mut self, mut key: CountKey, counts: &RequestCounts) {
        if self.counts.len() >= MAX_ROWS && !self.counts.contains_key(&key) {
            if key.subject != CountSubject::Integration {
                return;
            }
            key.integration = Box::default();
        }
        let known = self.counts.entry(key).or_default();
        known.counts.merge(counts);
        known.is_stored = false;
    }
}

/// The time after its end for which a row may still be written.
const LATE_SECONDS: i64 = 120;

/// The pause after a write, as a multiple of the time that it took.
const IDLE_FACTOR: u32 = 4;

/// The number of rows in memory beyond which connections and callers are not told apart.
const MAX_ROWS: usize = 200_000;

/// The time that counts by minute are kept.
pub(super) const MINUTES_KEPT: Duration = Duration::from_hours(25);
