//! Finds out whether the store can be written, and says so. Where nobody writes, a small write now
//! and then shows it before a refresh of tokens has to.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::log_pace::LogPace;
use crate::clock;
use crate::ledger::Metrics;
use crate::store::{Store, Unwritable};

/// Watches what becomes of writes.
#[derive(Debug)]
pub(super) struct WriteWatch {
    store: Arc<Store>,
    metrics: Arc<Metrics>,
}

impl WriteWatch {
    pub(super) fn new(store: &Arc<Store>, metrics: &Arc<Metrics>) -> Self {
        Self { store: Arc::clone(store), metrics: Arc::clone(metrics) }
    }

    /// Goes on until it is dropped.
    pub(super) async fn run(&self) {
        tokio::join!(self.probe(), self.tell());
    }

    /// Writes now and then, and more often while that fails.
    async fn probe(&self) {
        let mut state = self.store.writability();
        let mut last = clock::instant();
        loop {
            let is_failing = state.borrow_and_update().is_some();
            let pause = if is_failing { PROBE_INTERVAL_FAILING } else { PROBE_INTERVAL };
            tokio::select! {
                () = tokio::time::sleep_until((last + pause).into()) => {
                    // The outcome is noted by the store, and told below.
                    drop(self.store.probe().await);
                    last = clock::instant();
                }
                // It may be time sooner than it was.
                Ok(()) = state.changed() => {}
            }
        }
    }

    /// Has figures and log say how it stands.
    async fn tell(&self) {
        let mut state = self.store.writability();
        let mut said = Said { pace: LogPace::default(), is_failing: false };
        loop {
            let unwritable = state.borrow_and_update().clone();
            self.metrics.note_store_writable(unwritable.as_deref().map(|why| why.reason));
            said.say(unwritable.as_deref(), clock::instant());
            wait(&mut state, said.again_at()).await;
        }
    }
}

/// The state that the log was last told of.
struct Said {
    pace: LogPace,
    /// Tells whether that was the last it was told.
    is_failing: bool,
}

impl Said {
    /// Tells of a failure once a minute while it lasts, and of its end.
    fn say(&mut self, unwritable: Option<&Unwritable>, now: Instant) {
        let Some(Unwritable { cause, .. }) = unwritable else {
            if std::mem::take(&mut self.is_failing) {
                tracing::info!("the store can be written again");
            }
            return;
        };
        if self.pace.is_due(now) {
            self.is_failing = true;
            tracing::error!(
                error = &**cause,
                "the store can't be written: requests go on, but nothing is changed and no tokens \
                 are refreshed"
            );
        }
    }

    fn again_at(&self) -> Option<Instant> {
        self.pace.due_at().filter(|_| self.is_failing)
    }
}

async fn wait(state: &mut watch::Receiver<Option<Arc<Unwritable>>>, until: Option<Instant>) {
    let time = async {
        match until {
            Some(until) => tokio::time::sleep_until(until.into()).await,
            None => std::future::pending().await,
        }
    };
    tokio::select! {
        () = time => {}
        Ok(()) = state.changed() => {}
    }
}

/// The interval at which the store is written to when nothing is wrong.
const PROBE_INTERVAL: Duration = Duration::from_secs(5);

/// The interval while it can't be, so that its return is known within a second.
const PROBE_INTERVAL_FAILING: Duration = Duration::from_millis(500);
