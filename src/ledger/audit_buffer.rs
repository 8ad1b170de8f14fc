//! Entries on their way into the store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::rate_limit::RateLimiter;

/// Entries as lines of JSON, until somebody takes them to be kept. Adding one never waits for
/// the store.
#[derive(Debug)]
pub struct AuditBuffer {
    lines: Mutex<Vec<u8>>,
    lost: AtomicU64,
    /// Of those whom nobody knows: they must not fill the store.
    strangers: Option<RateLimiter>,
}

impl Default for AuditBuffer {
    fn default() -> Self {
        let strangers = RateLimiter::per_minute(MAX_ANONYMOUS_PER_MINUTE);
        Self { lines: Mutex::default(), lost: AtomicU64::default(), strangers }
    }
}

impl AuditBuffer {
    /// Adds the line that `write` writes, unless the store was gone for so long that there is no
    /// room left, or strangers have sent too many.
    pub(super) fn push(&self, of_stranger: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let too_many = self.strangers.as_ref().filter(|_| of_stranger);
        if too_many.is_some_and(|limit| limit.take().is_err()) {
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

    /// Takes all lines that there are, each with its end.
    #[must_use]
    pub fn drain(&self) -> Vec<u8> {
        std::mem::take(&mut *self.lines.lock())
    }

    /// How many bytes wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.lines.lock().len()
    }

    /// Whether none wait.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Gives back lines that could not be kept; they are older than all others.
    pub fn push_front(&self, mut older: Vec<u8>) {
        let mut lines = self.lines.lock();
        older.append(&mut lines);
        *lines = older;
    }

    /// Counts entries that were taken and could not be kept.
    pub fn count_lost(&self, entries: u64) {
        self.lost.fetch_add(entries, Relaxed);
    }

    /// How many entries were lost: there was no room left, the trail could not be kept, or
    /// strangers sent too many.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

const MAX_BUFFERED_BYTES: usize = 16 << 20;
/// A hundred a second, and a minute's worth at once.
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
    fn strangers_can_not_fill_the_store() {
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
