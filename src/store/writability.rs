//! Tracks whether the store is writable, by the result of its last write.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use tokio::sync::watch;

use super::{Error, Store};
use crate::error::chain;

/// The result of the last write, and notifications of its changes.
#[derive(Debug)]
pub(super) struct Writability {
    failing: watch::Sender<Option<Arc<Unwritable>>>,
    /// The number of probes so far.
    probes: AtomicU64,
}

/// The reason why the store is not writable.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Unwritable {
    /// A sentence for callers, without paths and without the driver's text.
    pub reason: &'static str,
    /// The chain of errors, for the log.
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

    /// Notes a failure, if it would affect other writes too.
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
    /// Watches the reason why the store is not writable; `None` while it is.
    pub fn writability(&self) -> watch::Receiver<Option<Arc<Unwritable>>> {
        self.database.writability().failing.subscribe()
    }

    /// Writes a value without a meaning, to find out whether the store is writable. After a failure
    /// the value is larger than any record, because a small one may fit on a disk that is almost
    /// full.
    pub async fn probe(&self) -> Result<(), Error> {
        let writability = self.database.writability();
        let is_failing = writability.failing.borrow().is_some();
        // SQLite writes nothing when the value does not change.
        let number = writability.probes.fetch_add(1, Relaxed).to_le_bytes();
        let body = number.repeat(if is_failing { LARGE_PROBE / number.len() } else { 1 });
        let probed = self.execute(PROBE, [body.as_slice().into()]).await;
        // Any failure of the probe counts.
        probed.map(drop).inspect_err(|error| writability.fail(error))
    }
}

const PROBE: &str = "UPDATE write_probe SET body = $1";

/// The size of the large probe in bytes, larger than any record.
const LARGE_PROBE: usize = 64 << 10;
