//! What the store is told now and then, off the path of any request: when tokens were last used,
//! and what may be forgotten.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use jiff::{SignedDuration, Timestamp};
use parking_lot::Mutex;

use crate::clock::Clock;
use crate::proxy::InForce;
use crate::store::Store;

/// Tells the store now and then.
#[derive(Debug)]
pub(super) struct Housekeeping {
    pub(super) store: Arc<Store>,
    pub(super) in_force: Arc<ArcSwap<InForce>>,
    pub(super) clock: Clock,
    /// Up to when the store knows which tokens were used.
    pub(super) told: Mutex<Timestamp>,
}

impl Housekeeping {
    /// Goes on until it is dropped; a failure is logged, and made up for the next time.
    pub(super) async fn run(&self) {
        for round in 1_u64.. {
            tokio::time::sleep(INTERVAL).await;
            self.tell_last_used().await;
            if round.is_multiple_of(FORGET_EVERY)
                && let Err(error) = self.store.prune_changes(CHANGES_KEPT).await
            {
                tracing::warn!(error = %error, "old changes were not forgotten");
            }
        }
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

const ONE_SECOND: SignedDuration = SignedDuration::from_secs(1);

const INTERVAL: Duration = Duration::from_mins(1);

/// Every so many rounds, old changes are forgotten.
const FORGET_EVERY: u64 = 10;

/// Who is further behind than this reads everything anew.
const CHANGES_KEPT: u32 = 100_000;
