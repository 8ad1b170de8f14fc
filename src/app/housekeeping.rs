//! What the store is told now and then, off the path of any request: the entries of requests, when
//! tokens were last used, and what may be forgotten.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::ledger::{Metrics, Trail};
use crate::proxy::InForce;
use crate::store::{self, Store};

/// Tells the store now and then.
#[derive(Debug)]
pub(super) struct Housekeeping {
    pub(super) store: Arc<Store>,
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    pub(super) trail: Arc<Trail>,
    pub(super) metrics: Arc<Metrics>,
    pub(super) clock: Clock,
    /// For how long entries are kept.
    pub(super) retention: Duration,
    /// Up to when the store knows which tokens were used.
    pub(super) told: Mutex<Timestamp>,
}

impl Housekeeping {
    /// Goes on until it is dropped; a failure is logged, and made up for the next time.
    pub(super) async fn run(&self) {
        for second in 1_u64.. {
            tokio::time::sleep(SECOND).await;
            self.keep_entries().await;
            if second.is_multiple_of(TELL_EVERY) {
                self.tell_last_used().await;
            }
            if second.is_multiple_of(FORGET_EVERY)
                && let Err(error) = self.forget().await
            {
                tracing::warn!(error = %error, "what is old was not forgotten");
            }
        }
    }

    /// Keeps the entries of requests that have ended since the last time.
    pub(super) async fn keep_entries(&self) {
        let lines = self.trail.take();
        self.metrics.note_audit_entries_lost(self.trail.lost());
        let last = self.clock.now();
        let Ok(text) = std::str::from_utf8(&lines) else {
            tracing::error!("entries that are no text were not kept");
            return;
        };
        for batch in batches(text) {
            if let Err(error) = self.store.append_audit(batch, last).await {
                tracing::warn!(error = %error, "entries of requests are kept later");
                let kept = batch.as_ptr() as usize - text.as_ptr() as usize;
                self.trail.give_back(lines.get(kept..).unwrap_or_default().to_vec());
                return;
            }
        }
    }

    async fn forget(&self) -> Result<(), store::Error> {
        self.store.prune_changes(CHANGES_KEPT).await?;
        let oldest = self.clock.now().checked_sub(self.retention).unwrap_or(Timestamp::MIN);
        while self.store.prune_audit(oldest).await? > 0 {}
        Ok(())
    }

    /// Tells when tokens were last used, of those that were used since this was told last.
    pub(super) async fn tell_last_used(&self) {
        let (told, now) = (*self.told.lock(), self.clock.now());
        let used: Vec<_> = {
            let in_force = self.in_force.load();
            let holders = in_force.registry.holders();
            holders.filter_map(|holder| Some((holder.id()?, holder.used_after(told)?))).collect()
        };
        let kept = if used.is_empty() { Ok(()) } else { self.store.touch_tokens(&used).await };
        match kept {
            // Uses are noted to the second: one in the second of now may come yet.
            Ok(()) => *self.told.lock() = now - ONE_SECOND,
            Err(error) => tracing::warn!(error = %error, "when tokens were used was not kept"),
        }
    }
}

/// Whole lines, about as many at once as a row should hold.
fn batches(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        let end = rest.as_bytes().get(BATCH..).and_then(|beyond| memchr::memchr(b'\n', beyond));
        let end = end.map_or(rest.len(), |end| BATCH + end + 1);
        let (batch, left) = rest.split_at_checked(end)?;
        rest = left;
        (!batch.is_empty()).then_some(batch)
    })
}

const ONE_SECOND: SignedDuration = SignedDuration::from_secs(1);

const SECOND: Duration = Duration::from_secs(1);

/// Every so many seconds, the store is told when tokens were last used.
const TELL_EVERY: u64 = 60;

/// Every so many seconds, what is old is forgotten.
const FORGET_EVERY: u64 = 600;

/// Who is further behind than this reads everything anew.
const CHANGES_KEPT: u32 = 100_000;

/// A mebibyte of lines.
const BATCH: usize = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn batches_are_of_whole_lines_and_leave_none_out() {
        let line = format!("{}\n", "x".repeat(999));
        for count in [0, 1, 1048, 1049, 5000] {
            let text = line.repeat(count);
            let batches: Vec<_> = batches(&text).collect();
            assert!(
                batches.iter().all(|batch| batch.ends_with('\n') && batch.len() <= BATCH + 1000)
            );
            assert_eq!(batches.concat(), text);
        }
    }
}
