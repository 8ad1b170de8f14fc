//! Entries on their way into the store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

use crate::rate_limit::Rate;

/// Entries as lines of JSON, until somebody takes them to be kept. Adding one never waits for
/// the store.
#[derive(Debug)]
pub struct Trail {
    lines: Mutex<Vec<u8>>,
    lost: AtomicU64,
    /// Of those whom nobody knows: they must not fill the store.
    strangers: Option<Rate>,
}

impl Default for Trail {
    fn default() -> Self {
        let strangers = Rate::per_minute(MOST_OF_STRANGERS);
        Self { lines: Mutex::default(), lost: AtomicU64::default(), strangers }
    }
}

impl Trail {
    /// Adds the line that `write` writes, unless the store was gone for so long that there is no
    /// room left, or strangers have sent too many.
    pub(super) fn add(&self, of_stranger: bool, write: impl FnOnce(&mut Vec<u8>)) {
        let too_many = self.strangers.as_ref().filter(|_| of_stranger);
        if too_many.is_some_and(|limit| limit.take().is_err()) {
            self.lost.fetch_add(1, Relaxed);
            return;
        }
        let mut lines = self.lines.lock();
        if lines.len() > MOST_BUFFERED {
            self.lost.fetch_add(1, Relaxed);
        } else {
            write(&mut lines);
        }
    }

    /// Takes all lines that there are, each with its end.
    #[must_use]
    pub fn take(&self) -> Vec<u8> {
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
    pub fn give_back(&self, mut older: Vec<u8>) {
        let mut lines = self.lines.lock();
        older.append(&mut lines);
        *lines = older;
    }

    /// Counts entries that were taken and could not be kept.
    pub fn lose(&self, entries: u64) {
        self.lost.fetch_add(entries, Relaxed);
    }

    /// How many entries were lost: there was no room left, the trail could not be kept, or
    /// strangers sent too many.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

const MOST_BUFFERED: usize = 16 << 20;
/// A hundred a second, and a minute's worth at once.
const MOST_OF_STRANGERS: u32 = 6000;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(trail: &Trail, line: &str) {
        trail.add(false, |lines| lines.extend_from_slice(line.as_bytes()));
    }

    #[test]
    fn what_is_given_back_comes_first() {
        let trail = Trail::default();
        add(&trail, "one\n");
        let older = trail.take();
        add(&trail, "two\n");
        trail.give_back(older);
        assert_eq!((trail.take(), trail.take()), (b"one\ntwo\n".to_vec(), Vec::new()));
    }

    #[test]
    fn strangers_can_not_fill_the_store() {
        let trail = Trail::default();
        for _ in 0..2 * MOST_OF_STRANGERS {
            trail.add(true, |lines| lines.push(b's'));
        }
        trail.add(false, |lines| lines.push(b'k'));
        let kept = trail.take();
        assert!(kept.len() < 2 * MOST_OF_STRANGERS as usize && kept.ends_with(b"k"));
        assert_eq!(kept.len() as u64 + trail.lost(), u64::from(2 * MOST_OF_STRANGERS) + 1);
    }

    #[test]
    fn a_trail_without_room_loses_entries_and_counts_them() {
        let trail = Trail::default();
        trail.add(false, |lines| lines.resize(MOST_BUFFERED + 1, b'x'));
        add(&trail, "one\n");
        assert_eq!((trail.lost(), trail.take().len()), (1, MOST_BUFFERED + 1));
    }
}
