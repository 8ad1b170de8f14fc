//! The sessions that this instance knows.

use std::collections::HashMap;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::LIMITS;
use crate::model::session::{SessionDigest, SessionHolder, session_lasts};

/// The sessions that this instance knows, by the digest of their cookie.
#[derive(Debug, Default)]
pub(in crate::management) struct SessionCache(Mutex<HashMap<SessionDigest, KnownSession>>);

/// A session as this instance knows it.
#[derive(Clone, Debug)]
pub(super) struct KnownSession {
    pub(super) holder: SessionHolder,
    pub(super) begun_at: Timestamp,
    pub(super) seen_at: Timestamp,
    pub(super) kept: KeptIn,
}

/// The place where a session is kept.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum KeptIn {
    /// In the store, which has the say.
    Store,
    /// On this instance alone.
    Memory,
    /// Nowhere: it has ended, and the store has yet to be told.
    Nowhere,
}

impl SessionCache {
    pub(super) fn get(&self, digest: SessionDigest) -> Option<KnownSession> {
        self.0.lock().get(&digest).cloned()
    }

    /// Notes a session; of too many, the one that was seen longest ago is forgotten, of the same
    /// holder first.
    pub(super) fn insert(&self, digest: SessionDigest, known: KnownSession, now: Timestamp) {
        let mut sessions = self.0.lock();
        if !sessions.contains_key(&digest) {
            sessions.retain(|_, it| session_lasts(it.begun_at, it.seen_at, now));
            let principal = known.holder.principal();
            let is_same = |it: &KnownSession| it.holder.principal() == principal;
            let ours = sessions.values().filter(|it| is_same(it)).count();
            let is_too_many = ours >= as_count(LIMITS.of_principal);
            if is_too_many || sessions.len() >= as_count(LIMITS.all) {
                let may_go = sessions.iter().filter(|(_, it)| !is_too_many || is_same(it));
                let oldest = may_go.min_by_key(|(_, it)| it.seen_at).map(|(digest, _)| *digest);
                oldest.and_then(|oldest| sessions.remove(&oldest));
            }
        }
        sessions.insert(digest, known);
    }

    pub(super) fn remove(&self, digest: SessionDigest) -> Option<KnownSession> {
        self.0.lock().remove(&digest)
    }
}

fn as_count(limit: u32) -> usize {
    usize::try_from(limit).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::token::TokenDigest;
    use jiff::SignedDuration;

    fn known(holder: u64, seen_at: Timestamp) -> KnownSession {
        let mut bytes = [0; 32];
        bytes[..8].copy_from_slice(&holder.to_be_bytes());
        let holder = SessionHolder::Token(TokenDigest::from_bytes(bytes));
        KnownSession { holder, begun_at: seen_at, seen_at, kept: KeptIn::Memory }
    }

    #[test]
    fn there_are_only_so_many_and_the_oldest_goes_first() {
        let (cache, now) = (SessionCache::default(), Timestamp::UNIX_EPOCH);
        let digest = |number: usize| SessionDigest::of(&number.to_string());
        let later = |seconds: i64| now + SignedDuration::from_secs(seconds);
        cache.insert(digest(1_000_000), known(8, now), now);
        for number in 0..1000 {
            let seen_at = later(i64::try_from(number).unwrap() / 10);
            cache.insert(digest(number), known(7, seen_at), seen_at);
        }
        assert!(cache.get(digest(0)).is_none() && cache.get(digest(999)).is_some());
        assert!(cache.get(digest(1_000_000)).is_some(), "it is somebody else's");
        assert_eq!(cache.0.lock().len(), 33);
        for number in 2000..4000 {
            let holder = u64::try_from(number).unwrap();
            cache.insert(digest(number), known(holder, later(200)), later(200));
        }
        assert_eq!(cache.0.lock().len(), 1000);
    }

    #[test]
    fn those_that_have_ended_go_first_of_all() {
        let (cache, now) = (SessionCache::default(), Timestamp::UNIX_EPOCH);
        cache.insert(SessionDigest::of("a"), known(1, now), now);
        let later = now + SignedDuration::from_hours(1);
        cache.insert(SessionDigest::of("b"), known(2, later), later);
        assert!(cache.get(SessionDigest::of("a")).is_none());
        assert!(cache.remove(SessionDigest::of("b")).is_some());
        assert!(cache.get(SessionDigest::of("b")).is_none());
    }
}
