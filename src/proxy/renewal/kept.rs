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
    Coming {
        /// A copy: the pieces themselves would keep all that was read along with them.
        so_far: BytesMut,
        left: usize,
    },
    /// All of it is here.
    Whole(Bytes),
    /// It is too long, or nobody needs it any more.
    Gone,
}

impl Kept {
    /// Keeps up to `most` bytes.
    pub(in crate::proxy) fn up_to(most: usize) -> Self {
        Self(Mutex::new(State::Coming { so_far: BytesMut::new(), left: most }))
    }

    /// There is no body.
    pub(in crate::proxy) fn nothing() -> Self {
        Self(Mutex::new(State::Whole(Bytes::new())))
    }

    /// Another piece has come.
    pub(in crate::proxy) fn add(&self, piece: &Bytes) {
        let mut state = self.0.lock();
        let State::Coming { so_far, left } = &mut *state else { return };
        match left.checked_sub(piece.len()) {
            Some(rest) => {
                *left = rest;
                so_far.extend_from_slice(piece);
            }
            None => *state = State::Gone,
        }
    }

    /// It has ended well.
    pub(in crate::proxy) fn end(&self) {
        let mut state = self.0.lock();
        if let State::Coming { so_far, .. } = &mut *state {
            *state = State::Whole(std::mem::take(so_far).freeze());
        }
    }

    /// It is not to be sent once more, or has something that can't be.
    pub(in crate::proxy) fn let_go(&self) {
        *self.0.lock() = State::Gone;
    }

    /// All of it, if all of it is here.
    pub(super) fn whole(&self) -> Option<Bytes> {
        match std::mem::replace(&mut *self.0.lock(), State::Gone) {
            State::Whole(body) => Some(body),
            _ => None,
        }
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
