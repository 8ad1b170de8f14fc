//! A request's body, kept while it may have to be sent once more.

use bytes::{Bytes, BytesMut};
use parking_lot::Mutex;

/// What has come of a body so far, up to a limit. Shared by the body and by whoever may send it once
/// more.
#[derive(Debug)]
pub(in crate::proxy) struct Kept(Mutex<State>);

#[derive(Debug)]
enum State {
    /// It is still coming.
    Coming { pieces: Vec<Bytes>, left: usize },
    /// All of it is here.
    Whole(Vec<Bytes>),
    /// It is too long, or nobody needs it any more.
    Gone,
}

impl Kept {
    /// Keeps up to `most` bytes.
    pub(in crate::proxy) fn up_to(most: usize) -> Self {
        Self(Mutex::new(State::Coming { pieces: Vec::new(), left: most }))
    }

    /// There is no body.
    pub(in crate::proxy) fn nothing() -> Self {
        Self(Mutex::new(State::Whole(Vec::new())))
    }

    /// Another piece has come.
    pub(in crate::proxy) fn add(&self, piece: &Bytes) {
        let mut state = self.0.lock();
        let State::Coming { pieces, left } = &mut *state else { return };
        match left.checked_sub(piece.len()) {
            Some(rest) => {
                *left = rest;
                pieces.push(piece.clone());
            }
            None => *state = State::Gone,
        }
    }

    /// It has ended well.
    pub(in crate::proxy) fn end(&self) {
        let mut state = self.0.lock();
        if let State::Coming { pieces, .. } = &mut *state {
            *state = State::Whole(std::mem::take(pieces));
        }
    }

    /// It is not to be sent once more, or has something that can't be.
    pub(in crate::proxy) fn let_go(&self) {
        *self.0.lock() = State::Gone;
    }

    /// All of it, if all of it is here.
    pub(super) fn whole(&self) -> Option<Bytes> {
        let State::Whole(pieces) = std::mem::replace(&mut *self.0.lock(), State::Gone) else {
            return None;
        };
        if let [only] = pieces.as_slice() {
            return Some(only.clone());
        }
        let mut whole = BytesMut::with_capacity(pieces.iter().map(Bytes::len).sum());
        for piece in &pieces {
            whole.extend_from_slice(piece);
        }
        Some(whole.freeze())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn piece(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    #[test]
    fn a_body_that_has_ended_is_whole_once() {
        let kept = Kept::up_to(6);
        kept.add(&piece("abc"));
        assert!(kept.whole().is_none(), "it has not ended");
        let kept = Kept::up_to(6);
        kept.add(&piece("abc"));
        kept.add(&piece("def"));
        kept.end();
        assert_eq!(kept.whole().unwrap(), "abcdef");
        assert!(kept.whole().is_none());
        assert_eq!(Kept::nothing().whole().unwrap(), "");
    }

    #[test]
    fn a_body_that_is_too_long_is_not_kept() {
        let kept = Kept::up_to(6);
        kept.add(&piece("abcdefg"));
        kept.end();
        assert!(kept.whole().is_none());
        let nothing = Kept::up_to(0);
        nothing.end();
        assert_eq!(nothing.whole().unwrap(), "");
    }
}
