//! Entries that wait to be written to the audit trail of the store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::rate_limit::RateLimiter;

/// Entries as lines of JSON, until they are written to the store. Adding one never waits for the
/// store.
#[derive(Debug)]
pub struct AuditBuffer {
    lines: Mutex<Vec<u8>>,
    lost: AtomicU64,
    /// The rate of entries without a caller: unauthenticated requests must not fill the store.
    anonymous: Option<RateLimiter>,
}

impl Default for AuditBuffer {
    fn default() -> Self {
        let anonymous = RateLimiter::per_minute(MAX_ANONYMOUS_PER_MINUTE);
        Self { lines: Mutex::default(), lost: AtomicU64::default(), anonymous }
    }
}

impl AuditBuffer {
    /// Adds the line that `write` writes. It is dropped and counted as lost when the buffer is
    /// full, or when too many anonymous requests have come.
    pub(super) fn push(&self, is_anonymous: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let limit = self.anonymous.as_ref().filter(|_| is_anonymous);
        if limit.is_some_and(|limit| limit.take().is_err()) {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        let mut lines = self.lines.lock();
        if lines.len() > MAX_BUFFERED_BYTES {
            self.lost.fetch_add(1, Relaxed);
        } else {
            write(&mut lines);
        }
    }

    /// Removes and gives all lines, each with its newline.
    pub fn drain(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lines.lock())
    }

    /// The number of bytes that wait.
    pub fn bytes(&self) -> usize {
        self.lines.lock().len()
    }

    /// Puts lines that could not be stored before all others, which are newer.
    pub fn push_front(&self, mut older: Vec<u8>) {
        let mut lines = self.lines.lock();
        older.append(&mut lines);
        *lines = older;
    }

    /// Counts entries that were taken and not stored.
    pub fn count_lost(&self, entries: u64) {
        self.lost.fetch_add(entries, Relaxed);
    }

    /// The number of entries lost: the buffer was full, the store has failed, or too many were
    /// anonymous.
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

const MAX_BUFFERED_BYTES: usize = 16 << 20;
/// The rate of anonymous entries: 100 a second, of which a minute's worth may come at once.
const MAX_ANONYMOUS_PER_MINUTE: u32 = 6000;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(trail: &AuditBuffer, line: &str) {
        trail.push(false, |lines| lines.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn what_is_given_back_comes_first() {
        let trail = AuditBuffer::default();
        add(&trail, "one\n");
        let older = trail.drain();
        add(&trail, "two\n");
        trail.push_front(older);
        assert_eq!((trail.drain(), trail.drain()), (b"one\ntwo\n".to_vec(), Vec::new()));
    }

    #[test]
    fn anonymous_requests_can_not_fill_the_store() {
        let trail = AuditBuffer::default();
        for _ in 0..2 * MAX_ANONYMOUS_PER_MINUTE {
            trail.push(true, |lines| lines.push(b's'));
        }
        trail.push(false, |lines| lines.push(b'k'));
        let kept = trail.drain();
        assert!(kept.len() < 2 * MAX_ANONYMOUS_PER_MINUTE as usize && kept.ends_with(b"k"));
        assert_eq!(kept.len() as u64 + trail.lost(), u64::from(2 * MAX_ANONYMOUS_PER_MINUTE) + 1);
    }

    #[test]
    fn a_trail_without_room_loses_entries_and_counts_them() {
        let trail = AuditBuffer::default();
        trail.push(false, |lines| lines.resize(MAX_BUFFERED_BYTES + 1, b'x'));
        add(&trail, "one\n");
        assert_eq!((trail.lost(), trail.drain().len()), (1, MAX_BUFFERED_BYTES + 1));
    }
}
