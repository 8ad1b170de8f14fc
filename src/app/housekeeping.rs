//! Tells the store now and then, off the path of any request: the entries of requests, when tokens
//! were last used, and what may be forgotten, old secrets included.

use std::sync::Arc;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;
use tokio::sync::Mutex as AsyncMutex;

use super::log_pace::{LOG_INTERVAL, LogPace};
use super::stats_writer::{MINUTES_KEPT, StatsWriter};
use crate::clock::{self, Clock};
use crate::error::chain;
use crate::ledger::{AuditBuffer, Metrics};
use crate::management::session_ends;
use crate::state::{Live, Persistence};
use crate::store::{self, Store, TokenUse};

/// Tells the store now and then.
#[derive(Debug)]
pub(super) struct Housekeeping {
    pub(super) store: Arc<Store>,
    pub(super) persistence: Arc<Persistence>,
    pub(super) live: Arc<Live>,
    pub(super) trail: Arc<AuditBuffer>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// The name of this process.
    pub(super) instance: Box<str>,
    /// The counts that are stored now and then.
    pub(super) stats: AsyncMutex<StatsWriter>,
    /// For how long entries are kept.
    pub(super) retention: Duration,
    /// For how long events are kept.
    pub(super) event_retention: Duration,
    /// Up to when the store knows which tokens were used here; at first it knows of none.
    pub(super) told: Mutex<Timestamp>,
    /// The pace at which the log is told that the trail can't be kept.
    pub(super) trail_said: Mutex<LogPace>,
}

impl Housekeeping {
    /// Goes on until it is dropped; a failure is logged, and made up for the next time.
    pub(super) async fn run(&self) {
        for poll in 1_u64.. {
            tokio::time::sleep(POLL_INTERVAL).await;
            let second = poll.is_multiple_of(POLLS_PER_SECOND).then_some(poll / POLLS_PER_SECOND);
            if second.is_some() || self.trail.bytes() >= BATCH_LEN {
                self.keep_entries().await;
            }
            if second.is_some() && self.stats.lock().await.is_due() {
                self.keep_stats().await;
            }
            if second.is_some_and(|second| second.is_multiple_of(OLD_SECRETS_SECONDS)) {
                self.persistence.forget_old_secrets(self.clock.now()).await;
            }
            if second.is_some_and(|second| second.is_multiple_of(TELL_LAST_USED_SECONDS)) {
                self.tell_last_used().await;
                self.note_trail(self.maintain_trail().await);
            }
            if second.is_some_and(|second| second.is_multiple_of(FORGET_SECONDS))
                && let Err(error) = self.forget().await
            {
                tracing::warn!(error = %chain(&error), "expired records were not deleted from the store; it is tried again within ten minutes");
            }
        }
    }

    /// Keeps the entries of requests that have ended since the last time. Dropped in between, it
    /// loses none, but may keep some twice.
    pub(super) async fn keep_entries(&self) {
        self.metrics.note_audit_entries_lost(self.trail.lost());
        let mut unkept = Unkept { trail: &self.trail, lines: self.trail.drain(), kept: 0 };
        let last = self.clock.now();
        while let Some((batch, length)) = unkept.batch() {
            let kept = self.store.append_audit(&batch, last).await;
            let is_lost = kept.as_ref().is_err_and(|error| !error.is_transient());
            if is_lost {
                // Nothing keeps them later either, and what comes next needs the room in memory.
                self.trail.count_lost(memchr::memchr_iter(b'\n', batch.as_bytes()).count() as u64);
            }
            let is_off = kept.is_err();
            self.note_trail(kept);
            if is_off && !is_lost {
                return;
            }
            unkept.kept += length;
        }
        self.metrics.note_audit_entries_lost(self.trail.lost());
    }

    /// Stores what requests have counted.
    pub(super) async fn keep_stats(&self) {
        let (now, mut stats) = (self.clock.now(), self.stats.lock().await);
        let kept = stats.write(&self.store, &self.metrics, &self.instance, now).await;
        self.note_trail(kept);
    }

    /// Keeps the trail, its index and the counts within their limits, and the index whole.
    async fn maintain_trail(&self) -> Result<(), store::Error> {
        let now = self.clock.now();
        self.store.trim_audit().await?;
        self.store.join_index_rows(now).await?;
        let since = |kept: Duration| now.checked_sub(kept).unwrap_or(Timestamp::MIN);
        let minutes = since(MINUTES_KEPT.min(self.retention));
        self.store.prune_stats(now, minutes, since(self.retention)).await
    }

    /// Indexes entries of an older version, for as long as there are any.
    pub(super) async fn index_old_entries(&self) {
        loop {
            match self.store.index_old_entries(self.clock.now()).await {
                Ok(true) => tokio::time::sleep(POLL_INTERVAL).await,
                Ok(false) => return,
                Err(error) => {
                    self.note_trail(Err(error));
                    tokio::time::sleep(LOG_INTERVAL).await;
                }
            }
        }
    }

    /// Logs that the trail can't be kept, once a minute. Nothing else depends on it.
    fn note_trail(&self, kept: Result<(), store::Error>) {
        let Err(error) = kept else { return };
        if !self.trail_said.lock().is_due(clock::instant()) {
            return;
        }
        if error.is_transient() {
            tracing::warn!(error = %chain(&error), "entries of requests are kept later");
        } else {
            tracing::error!(
                error = %chain(&error),
                "the audit trail is off, and entries of requests are lost until its database is \
                 repaired or moved away"
            );
        }
    }

    async fn forget(&self) -> Result<(), store::Error> {
        self.store.prune_changes(MAX_CHANGES_KEPT).await?;
        let now = self.clock.now();
        self.store.prune_flows(now).await?;
        self.store.prune_sessions(session_ends(now), now).await?;
        let oldest = self.clock.now().checked_sub(self.retention).unwrap_or(Timestamp::MIN);
        self.note_trail(self.store.prune_audit(oldest).await);
        let oldest = self.clock.now().checked_sub(self.event_retention).unwrap_or(Timestamp::MIN);
        if !self.store.prune_events(oldest, &*self.persistence.vault()).await? {
            tracing::error!(
                "old events were not deleted: their chain was changed by hand; see what keyferry \
                 audit verify finds"
            );
        }
        Ok(())
    }

    /// Tells when tokens were last used, of those that were used since this was told last.
    pub(super) async fn tell_last_used(&self) {
        let (told, now) = (*self.told.lock(), self.clock.now());
        let used: Vec<_> = {
            let in_force = self.live.load();
            let holders = in_force.registry.holders();
            let used = holders.filter_map(|holder| {
                let (id, time) = (holder.id()?, holder.used_after(told)?);
                let connection = holder.last_connection().map(|name| name.to_string());
                Some(TokenUse { id, time, connection })
            });
            used.collect()
        };
        let kept = if used.is_empty() { Ok(()) } else { self.store.touch_tokens(&used).await };
        match kept {
            // Uses are noted to the second: one in the second of now may come yet.
            Ok(()) => *self.told.lock() = now - ONE_SECOND,
            Err(error) => tracing::warn!(
                error = %chain(&error),
                "the last use of caller tokens was not written to the store; it is tried again"
            ),
        }
    }
}

/// Lines that were taken, and go back where they came from unless they are kept.
struct Unkept<'a> {
    trail: &'a AuditBuffer,
    lines: Vec<u8>,
    kept: usize,
}

impl Unkept<'_> {
    /// Whole lines, about as many at once as a row should hold, and how many bytes that are; `None`
    /// when all are kept.
    fn batch(&self) -> Option<(String, usize)> {
        let rest = self.lines.get(self.kept..).filter(|rest| !rest.is_empty())?;
        let end = rest.get(BATCH_LEN..).and_then(|beyond| memchr::memchr(b'\n', beyond));
        let batch = end.and_then(|end| rest.get(..=BATCH_LEN + end)).unwrap_or(rest);
        Some((String::from_utf8_lossy(batch).into_owned(), batch.len()))
    }
}

impl Drop for Unkept<'_> {
    fn drop(&mut self) {
        self.lines.drain(..self.kept);
        if !self.lines.is_empty() {
            self.trail.push_front(std::mem::take(&mut self.lines));
        }
    }
}

const ONE_SECOND: SignedDuration = SignedDuration::from_secs(1);

/// The interval at which it is seen whether there are many entries.
const POLL_INTERVAL: Duration = Duration::from_millis(50);

const POLLS_PER_SECOND: u64 = 20;

/// The interval at which old secrets are forgotten whose time is over, in seconds.
const OLD_SECRETS_SECONDS: u64 = 5;

/// The interval at which the store is told when tokens were last used, in seconds.
const TELL_LAST_USED_SECONDS: u64 = 60;

/// The interval at which old records are deleted, in seconds.
const FORGET_SECONDS: u64 = 600;

/// The changes that are kept: an instance that is further behind reads everything again.
const MAX_CHANGES_KEPT: u32 = 100_000;

/// The length of the lines that make a row, in bytes.
const BATCH_LEN: usize = 512 << 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_whole_lines_and_leave_none_out() {
        let (trail, line) = (AuditBuffer::default(), format!("{}\n", "x".repeat(999)));
        for count in [0, 1, 524, 525, 5000] {
            let text = line.repeat(count);
            let mut unkept = Unkept { trail: &trail, lines: text.clone().into_bytes(), kept: 0 };
            let mut batches = Vec::new();
            while let Some((batch, length)) = unkept.batch() {
                assert!(batch.ends_with('\n') && length <= BATCH_LEN + 1000);
                unkept.kept += length;
                batches.push(batch);
            }
            assert_eq!(batches.concat(), text);
        }
        assert_eq!(trail.bytes(), 0);
    }

    #[test]
    fn what_was_not_kept_goes_back() {
        let trail = AuditBuffer::default();
        let mut unkept = Unkept { trail: &trail, lines: b"one\ntwo\n".to_vec(), kept: 0 };
        unkept.kept = 4;
        drop(unkept);
        assert_eq!(trail.drain(), b"two\n");
    }
}
