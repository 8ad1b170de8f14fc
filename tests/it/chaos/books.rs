//! What was acknowledged, and what may have been done without anybody being told.

use std::collections::BTreeSet;

/// What the secret of a connection is; `None`: there is no such connection.
pub(super) type Secret = Option<u64>;

/// One connection's history, as whoever writes it knows it.
#[derive(Clone, Debug)]
pub(super) struct Page {
    /// What it can be now: one thing after a write that was acknowledged.
    possible: BTreeSet<Secret>,
    /// Secrets that it has ever been given, acknowledged or not.
    given: BTreeSet<u64>,
    pub(super) acknowledged: u64,
    pub(super) unanswered: u64,
}

impl Page {
    /// There is no such connection yet.
    pub(super) fn blank() -> Self {
        let possible = BTreeSet::from([None]);
        Self { possible, given: BTreeSet::new(), acknowledged: 0, unanswered: 0 }
    }

    /// Notes that a write is about to be asked for.
    pub(super) fn try_to(&mut self, next: Secret) {
        self.given.extend(next);
    }

    /// Notes that it was acknowledged.
    pub(super) fn acknowledge(&mut self, now: Secret) {
        self.possible = BTreeSet::from([now]);
        self.acknowledged += 1;
    }

    /// Notes that nobody said whether it was done.
    pub(super) fn doubt(&mut self, next: Secret) {
        self.possible.insert(next);
        self.unanswered += 1;
    }

    /// Notes that the store has said whether there is a connection.
    pub(super) fn learn(&mut self, exists: bool) {
        self.possible.retain(|secret| secret.is_some() == exists);
        assert!(!self.possible.is_empty(), "the store has lost, or found, a connection: {self:?}");
    }

    /// Tells whether it may be there, and may not be.
    pub(super) fn may_exist(&self) -> bool {
        self.possible.iter().any(Option::is_some)
    }

    /// Notes that the database has lost what came after `before`; gives how many acknowledged
    /// writes that were.
    pub(super) fn go_back_to(&mut self, before: &Self) -> u64 {
        self.possible.clone_from(&before.possible);
        self.acknowledged - before.acknowledged
    }

    pub(super) fn is_possible(&self, found: Secret) -> bool {
        self.possible.contains(&found)
    }

    /// Tells whether a caller may have seen this secret at any time.
    pub(super) fn was_given(&self, secret: u64) -> bool {
        self.given.contains(&secret)
    }
}
