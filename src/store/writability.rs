//! Tells whether the store can be written, as its last write has shown.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

use super::{Error, Store};
use crate::error::chain;

/// Knows whether the last write has worked, and tells whoever waits for that to change.
#[derive(Debug)]
pub(super) struct Writability {
    failing: watch::Sender<Option<Arc<Unwritable>>>,
    /// The number of probes so far.
    probes: AtomicU64,
}

/// The reason why the store can't be written.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unwritable {
    /// A sentence for whoever asks, without a path and without anything that the driver says.
    pub reason: &'static str,
    /// The whole chain of errors, for the log.
    pub cause: Box<str>,
}

impl Default for Writability {
    fn default() -> Self {
        Self { failing: watch::Sender::new(None), probes: AtomicU64::default() }
    }
}

impl Writability {
    pub(super) fn note_success(&self) {
        let _changed = self.failing.send_if_modified(|failing| failing.take().is_some());
    }

    /// Notes a failure that is everybody's, not only that write's.
    pub(super) fn note_failure(&self, error: &Error) {
        if matches!(error, Error::Full(_) | Error::ReadOnly(_) | Error::Unavailable(_)) {
            self.fail(error);
        }
    }

    fn fail(&self, error: &Error) {
        let cause = chain(error).to_string().into();
        self.failing.send_replace(Some(Arc::new(Unwritable { reason: error.reason(), cause })));
    }
}

impl Store {
    /// The reason why the store can't be written, if that is so; whoever holds it hears of every
    /// change.
    #[must_use]
    pub fn writability(&self) -> watch::Receiver<Option<Arc<Unwritable>>> {
        self.database.writability().failing.subscribe()
    }

    /// Writes something of no meaning, so that it is known whether the store can be written. While
    /// it could not be, that is more than any record has: little may still fit where much does not.
    ///
    /// # Errors
    /// The fault that keeps the store from being written.
    pub async fn probe(&self) -> Result<(), Error> {
        let writability = self.database.writability();
        let is_failing = writability.failing.borrow().is_some();
        // What is written must differ from what is there, or SQLite writes nothing.
        let number = writability.probes.fetch_add(1, Relaxed).to_le_bytes();
        let body = number.repeat(if is_failing { LARGE_PROBE / number.len() } else { 1 });
        let probed = async {
            let mut work = self.write().await?;
            work.run(PROBE, [body.as_slice().into()]).await?;
            work.commit().await
        };
        // Even a failure that is the probe's alone shows that something stands in the way.
        probed.await.inspect_err(|error| writability.fail(error))
    }
}

const PROBE: &str = "UPDATE write_probe SET body = $1";

/// In bytes: larger than any record.
const LARGE_PROBE: usize = 64 << 10;
