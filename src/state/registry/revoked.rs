//! The holders of tokens that were revoked since the start: entries of their requests name them.

use std::sync::Arc;

use super::{Holder, Map};
use crate::model::token::TokenDigest;

/// Some of these holders, by their token.
#[derive(Clone, Debug, Default)]
pub(super) struct RevokedHolders(Map<TokenDigest, Arc<Holder>>);

impl RevokedHolders {
    pub(super) fn get(&self, digest: &TokenDigest) -> Option<&Arc<Holder>> {
        self.0.get(digest)
    }

    /// Adds one; beyond a limit, in the place of any other.
    pub(super) fn insert(&mut self, digest: TokenDigest, holder: Arc<Holder>) {
        if self.0.len() >= MAX_REVOKED {
            let other = self.0.keys().next().copied();
            other.and_then(|other| self.0.remove(&other));
        }
        self.0.insert(digest, holder);
    }

    /// Removes one whose token is good again.
    pub(super) fn remove(&mut self, digest: &TokenDigest) {
        self.0.remove(digest);
    }

    /// Adds those of `before` that are not among `callers`.
    pub(super) fn add_missing(
        &mut self,
        before: &Map<TokenDigest, Arc<Holder>>,
        callers: &Map<TokenDigest, Arc<Holder>>,
    ) {
        for (digest, holder) in before.iter().filter(|(_, holder)| holder.id().is_some()) {
            if callers.get(digest).is_none() {
                self.insert(*digest, Arc::clone(holder));
            }
        }
    }
}

const MAX_REVOKED: usize = 10_000;
