//! The score of one measurement: what the generator's conns have done so far.

use std::{
    cell::{Cell, RefCell},
    io,
    time::Duration,
};

/// Shared by all conns of a generator, which run on one thread.
#[derive(Debug, Default)]
pub(crate) struct Board {
    errors: Cell<u64>,
    first_error: RefCell<Option<String>>,
    latencies: RefCell<Vec<u32>>,
    recording: Cell<bool>,
    rejected: Cell<u64>,
    turn: Cell<usize>,
}

impl Board {
    /// Whose turn it is, going round `count` places.
    pub(crate) fn turn(&self, count: usize) -> usize {
        let turn = self.turn.get();
        self.turn.set((turn + 1) % count);
        turn
    }

    /// Counts an answer that came back after `elapsed`.
    pub(crate) fn answered(&self, status: u16, elapsed: Duration) {
        if !(200..300).contains(&status) {
            self.rejected.set(self.rejected.get() + 1);
            self.remember(|| format!("status {status}"));
        }
        if self.recording.get() {
            // Four seconds and more are all the same to a percentile.
            let nanos = u32::try_from(elapsed.as_nanos()).unwrap_or(u32::MAX);
            self.latencies.borrow_mut().push(nanos);
        }
    }

    /// Counts a request that got no answer.
    pub(crate) fn failed(&self, error: &io::Error) {
        self.errors.set(self.errors.get() + 1);
        self.remember(|| error.to_string());
    }

    /// From here on latencies count. Errors count from the start: none is excusable.
    pub(crate) fn record(&self) {
        self.latencies.borrow_mut().reserve(1 << 20);
        self.recording.set(true);
    }

    /// Requests without an answer, answers other than 2xx, and the first of either in words.
    pub(crate) fn faults(&self) -> (u64, u64, Option<String>) {
        (self.errors.get(), self.rejected.get(), self.first_error.borrow().clone())
    }

    /// All latencies since [`Self::record`], sorted.
    pub(crate) fn finish(&self) -> Vec<u32> {
        self.recording.set(false);
        let mut latencies = self.latencies.take();
        latencies.sort_unstable();
        latencies
    }

    fn remember(&self, describe: impl Fn() -> String) {
        self.first_error.borrow_mut().get_or_insert_with(describe);
    }
}

/// The latency that `share` of the requests did not exceed, in milliseconds.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "the rank is a rounded share of a length"
)]
pub(crate) fn percentile(sorted: &[u32], share: f64) -> f64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).map_or(f64::NAN, |nanos| f64::from(*nanos) / 1e6)
}
