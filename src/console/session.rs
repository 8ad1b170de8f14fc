//! The sessions of those who have signed in. A session is known by a cookie, of which no more than a digest is kept, and
//! goes with the token that it was begun with: that is checked again with each request.

use std::collections::HashMap;
use std::fmt;
use std::time::{Duration, Instant};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;

use crate::model::token::TokenDigest;
use crate::random;

/// The sessions of this instance.
#[derive(Debug, Default)]
pub(super) struct Sessions(Mutex<HashMap<Key, Session>>);

/// The digest of a cookie.
#[derive(Clone, Copy, Eq, Hash, PartialEq)]
pub(super) struct Key([u8; 32]);

/// A session of somebody who has signed in.
#[derive(Clone)]
pub(super) struct Session {
    /// The token that it was begun with.
    pub(super) token: TokenDigest,
    /// The mark that each form must show, so that it is known to be one of ours.
    pub(super) mark: String,
    begun: Instant,
    seen: Instant,
}

impl Sessions {
    /// Begins a session; gives the cookie's value.
    pub(super) fn begin(
        &self,
        token: TokenDigest,
        now: Instant,
    ) -> Result<String, random::RandomError> {
        let (cookie, mark) = (random()?, random()?);
        let mut sessions = self.0.lock();
        sessions.retain(|_, session| session.lasts(now));
        let ours = sessions.values().filter(|session| session.token == token).count();
        // A token that begins many ends its own before those of others.
        let is_too_many = ours >= MAX_SESSIONS_PER_TOKEN;
        if is_too_many || sessions.len() >= MAX_SESSIONS {
            let may_go = sessions.iter().filter(|(_, known)| !is_too_many || known.token == token);
            let oldest = may_go.min_by_key(|(_, session)| session.seen).map(|(key, _)| *key);
            oldest.and_then(|oldest| sessions.remove(&oldest));
        }
        sessions.insert(Key::of(&cookie), Session { token, mark, begun: now, seen: now });
        Ok(cookie)
    }

    /// The session of this key, if it lasts.
    pub(super) fn find(&self, key: Key, now: Instant) -> Option<Session> {
        let mut sessions = self.0.lock();
        let session = sessions.get(&key)?.clone();
        if session.lasts(now) {
            return Some(session);
        }
        sessions.remove(&key);
        None
    }

    /// Somebody is there.
    pub(super) fn touch(&self, key: Key, now: Instant) {
        if let Some(session) = self.0.lock().get_mut(&key) {
            session.seen = now;
        }
    }

    pub(super) fn end(&self, key: Key) {
        self.0.lock().remove(&key);
    }
}

impl Key {
    pub(super) fn of(cookie: &str) -> Self {
        let mut bytes = [0; 32];
        bytes.copy_from_slice(digest(&SHA256, cookie.as_bytes()).as_ref());
        Self(bytes)
    }
}

impl Session {
    /// Tells whether a form shows the mark.
    pub(super) fn knows(&self, mark: &str) -> bool {
        verify_slices_are_equal(self.mark.as_bytes(), mark.as_bytes()).is_ok()
    }

    fn lasts(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.begun) < MAX_SESSION_AGE
            && now.saturating_duration_since(self.seen) < SESSION_IDLE_TIMEOUT
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(…)")
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Session").finish_non_exhaustive()
    }
}

fn random() -> Result<String, random::RandomError> {
    Ok(URL_SAFE_NO_PAD.encode(random::bytes::<32>()?))
}

/// A working day.
pub(super) const MAX_SESSION_AGE: Duration = Duration::from_hours(8);
/// Without a request.
const SESSION_IDLE_TIMEOUT: Duration = Duration::from_mins(30);
/// The number of sessions, beyond which the one that was seen longest ago goes.
const MAX_SESSIONS: usize = 1000;
/// Likewise of one token.
const MAX_SESSIONS_PER_TOKEN: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::instant;

    fn token() -> TokenDigest {
        TokenDigest::from_bytes([7; 32])
    }

    #[test]
    fn a_session_ends_when_it_is_idle_and_after_a_day_of_work() {
        let (sessions, begun) = (Sessions::default(), instant());
        let key = Key::of(&sessions.begin(token(), begun).unwrap());
        for minutes in (0..480).step_by(29) {
            let session = sessions.find(key, begun + Duration::from_mins(minutes));
            assert_eq!(session.map(|session| session.token), Some(token()), "{minutes}");
            sessions.touch(key, begun + Duration::from_mins(minutes));
        }
        assert!(sessions.find(key, begun + MAX_SESSION_AGE).is_none());
        let key = Key::of(&sessions.begin(token(), begun).unwrap());
        assert!(sessions.find(key, begun + SESSION_IDLE_TIMEOUT).is_none());
        assert!(sessions.find(key, begun).is_none(), "it does not come back");
    }

    #[test]
    fn there_are_only_so_many_and_the_oldest_goes_first() {
        let (sessions, begun) = (Sessions::default(), instant());
        let other = Key::of(&sessions.begin(TokenDigest::from_bytes([8; 32]), begun).unwrap());
        let first = Key::of(&sessions.begin(token(), begun).unwrap());
        for _ in 0..MAX_SESSIONS {
            sessions.begin(token(), begun + Duration::from_secs(1)).unwrap();
        }
        assert!(sessions.find(first, begun).is_none());
        assert!(sessions.find(other, begun).is_some(), "it is somebody else's");
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS_PER_TOKEN + 1);
        for number in 0..MAX_SESSIONS {
            let mut bytes = [0; 32];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            sessions.begin(TokenDigest::from_bytes(bytes), begun).unwrap();
        }
        assert_eq!(sessions.0.lock().len(), MAX_SESSIONS);
    }

    #[test]
    fn what_ends_is_gone_and_nothing_of_it_is_printed() {
        let (sessions, now) = (Sessions::default(), instant());
        let cookie = sessions.begin(token(), now).unwrap();
        let session = sessions.find(Key::of(&cookie), now).unwrap();
        assert!(session.knows(&session.mark) && !session.knows("") && cookie.len() == 43);
        assert!(!format!("{session:?}{sessions:?}").contains(&session.mark));
        sessions.end(Key::of(&cookie));
        assert!(sessions.find(Key::of(&cookie), now).is_none());
    }
}
