//! Entries on their way into the store.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use parking_lot::Mutex;

/// Entries as lines of JSON, until somebody takes them to be kept. Adding one never waits for
/// the store.
#[derive(Debug, Default)]
pub struct Trail {
    lines: Mutex<Vec<u8>>,
    lost: AtomicU64,
}

impl Trail {
    /// Adds the line that `write` writes, unless the store was gone for so long that there is no
    /// room left.
    pub(super) fn add(&self, write: impl FnOnce(&mut Vec<u8>)) {
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

    /// How many entries were lost because there was no room left.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.lost.load(Relaxed)
    }
}

const MOST_BUFFERED: usize = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    fn add(trail: &Trail, line: &str) {
        trail.add(|lines| lines.extend_from_slice(line.as_bytes()));
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
    fn a_trail_without_room_loses_entries_and_counts_them() {
        let trail = Trail::default();
        trail.add(|lines| lines.resize(MOST_BUFFERED + 1, b'x'));
        add(&trail, "one\n");
        assert_eq!((trail.lost(), trail.take().len()), (1, MOST_BUFFERED + 1));
    }
}
