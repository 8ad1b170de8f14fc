//! A request's body, kept while it may have to be sent once more.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;
use parking_lot::Mutex;

use crate::rate_limit::MemoryShare;
use crate::upstream::BodyError;

/// The part of a body that has come so far, up to a limit. The body that is sent shares it with the
/// replay that may send it once more.
#[derive(Debug)]
pub(in crate::proxy) struct ReplayBuffer(Mutex<State>);

/// A kept body of a request that may be sent once more; the body is let go of when this is dropped,
/// which the caller's going away does too.
#[derive(Debug)]
pub(in crate::proxy) struct ReplayGuard(pub(in crate::proxy) Arc<ReplayBuffer>);

/// A body that is sent once more. Its memory is given back when this is dropped.
#[derive(Debug)]
pub(in crate::proxy) struct ReplayBody {
    content: Full<Bytes>,
    _share: Option<MemoryShare>,
}

#[derive(Debug)]
enum State {
    /// It is still coming.
    Coming(BodyCopy),
    /// All of it is here.
    Whole(ReplayBody),
    /// It is too long, or not needed any more.
    Gone,
}

/// A copy of what has come: the pieces themselves would keep all that was read along with them.
#[derive(Debug)]
struct BodyCopy {
    so_far: Vec<u8>,
    /// The most bytes it may have.
    most: usize,
    share: MemoryShare,
    /// The most bytes that all kept bodies may have together.
    limit: usize,
}

impl ReplayBuffer {
    /// Keeps up to `most` bytes, out of a budget of `limit` bytes for all kept bodies.
    pub(in crate::proxy) fn up_to(most: usize, share: MemoryShare, limit: usize) -> Self {
        Self(Mutex::new(State::Coming(BodyCopy { so_far: Vec::new(), most, share, limit })))
    }

    /// There is no body.
    pub(in crate::proxy) fn nothing() -> Self {
        Self(Mutex::new(State::Whole(ReplayBody::empty())))
    }

    /// Notes that another piece has come.
    pub(in crate::proxy) fn add(&self, piece: &[u8]) {
        let mut state = self.0.lock();
        if let State::Coming(copy) = &mut *state
            && !copy.add(piece)
        {
            *state = State::Gone;
        }
    }

    /// Notes that it has ended well.
    pub(in crate::proxy) fn end(&self) {
        let mut state = self.0.lock();
        *state = match std::mem::replace(&mut *state, State::Gone) {
            State::Coming(BodyCopy { so_far, share, .. }) => {
                State::Whole(ReplayBody { content: Full::new(so_far.into()), _share: Some(share) })
            }
            other => other,
        };
    }

    /// It is not to be sent once more, or has something that can't be.
    pub(in crate::proxy) fn let_go(&self) {
        *self.0.lock() = State::Gone;
    }

    /// Tells whether it is not kept any more.
    pub(in crate::proxy) fn is_gone(&self) -> bool {
        matches!(*self.0.lock(), State::Gone)
    }

    /// All of it, if all of it is here.
    pub(in crate::proxy) fn whole(&self) -> Option<ReplayBody> {
        match std::mem::replace(&mut *self.0.lock(), State::Gone) {
            State::Whole(body) => Some(body),
            _ => None,
        }
    }
}

impl BodyCopy {
    /// Adds a piece; `false` when the body is too long, or there is no memory left for it.
    fn add(&mut self, piece: &[u8]) -> bool {
        let needed = self.so_far.len().saturating_add(piece.len());
        if needed > self.most {
            return false;
        }
        if needed > self.so_far.capacity() {
            // Ahead of what is needed, where there is memory for that: the capacity is what counts.
            let ahead = needed.max(self.so_far.capacity().saturating_mul(2)).min(self.most);
            if !self.share.grow_to(ahead, self.limit) && !self.share.grow_to(needed, self.limit) {
                return false;
            }
            self.so_far.reserve_exact(self.share.bytes() - self.so_far.len());
        }
        self.so_far.extend_from_slice(piece);
        true
    }
}

impl Drop for ReplayGuard {
    fn drop(&mut self) {
        self.0.let_go();
    }
}

impl ReplayBody {
    /// A body of no bytes.
    pub(in crate::proxy) fn empty() -> Self {
        Self { content: Full::new(Bytes::new()), _share: None }
    }

    /// Tells whether it has no byte.
    pub(super) fn is_empty(&self) -> bool {
        self.content.size_hint().exact() == Some(0)
    }
}

impl Body for ReplayBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let frame = Pin::new(&mut self.get_mut().content).poll_frame(cx);
        frame.map(|frame| frame.map(|frame| frame.map_err(|never| match never {})))
    }

    fn is_end_stream(&self) -> bool {
        self.content.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.content.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rate_limit::MemoryBudget;

    fn kept(most: usize) -> (ReplayBuffer, Arc<MemoryBudget>) {
        let budget = Arc::new(MemoryBudget::default());
        (ReplayBuffer::up_to(most, budget.share(), 10), budget)
    }

    fn is_whole(kept: &ReplayBuffer, text: &str) -> bool {
        let hint = kept.whole().map(|body| body.size_hint().exact().unwrap());
        hint == Some(text.len() as u64)
    }

    #[test]
    fn a_body_that_has_ended_is_whole_once() {
        let (body, _budget) = kept(6);
        body.add(b"abc");
        assert!(body.whole().is_none(), "it has not ended");
        let (body, budget) = kept(6);
        body.add(b"abc");
        body.add(b"def");
        body.end();
        assert!(is_whole(&body, "abcdef"));
        assert!(body.whole().is_none());
        assert_eq!(budget.held(), 0);
        assert!(is_whole(&ReplayBuffer::nothing(), ""));
    }

    #[test]
    fn a_body_that_is_too_long_is_not_kept() {
        let (body, budget) = kept(6);
        body.add(b"abcdefg");
        body.end();
        assert!(body.whole().is_none());
        assert_eq!(budget.held(), 0);
        let (nothing, _budget) = kept(0);
        nothing.end();
        assert!(is_whole(&nothing, ""));
    }

    #[test]
    fn a_body_for_which_there_is_no_memory_left_is_not_kept() {
        let (first, budget) = kept(8);
        let second = ReplayBuffer::up_to(8, budget.share(), 10);
        first.add(b"abcdef");
        second.add(b"abc");
        second.add(b"def");
        second.end();
        assert!(second.whole().is_none());
        assert!((6..=8).contains(&budget.held()), "the second has given back what it had");
        let handle = ReplayGuard(Arc::new(first));
        let body = Arc::clone(&handle.0);
        drop(handle);
        assert_eq!(budget.held(), 0, "nobody will send it again");
        body.add(b"gh");
        assert_eq!(budget.held(), 0);
    }
}
