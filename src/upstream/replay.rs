//! Keeps the beginning of a request's body until the origin answers, so that a request that was not
//! processed can be sent again.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context, Poll};

use bytes::Bytes;
use http::HeaderMap;
use http_body::{Body, Frame, SizeHint};

use super::body::{BodyError, Outgoing};

/// The bytes that all kept bodies of one worker may have together.
#[derive(Clone, Debug)]
pub(super) struct ReplayBudget(Arc<AtomicUsize>);

/// The part of a body that was read so far, unless it is too long.
#[derive(Debug)]
pub(super) struct BodyPrefix {
    data: Vec<u8>,
    trailers: Option<HeaderMap>,
    ended: bool,
    budget: ReplayBudget,
    /// Set when the part is too long, or the budget was used up.
    lost: bool,
}

/// A body that begins with the part that was read of it before.
#[derive(Debug)]
struct ResumedBody {
    data: Bytes,
    trailers: Option<HeaderMap>,
    /// The rest; `None` where the body had ended.
    rest: Option<Outgoing>,
}

/// Makes a body of `data`, which was read of it before, and the rest.
pub(super) fn resume(data: Bytes, rest: Outgoing) -> Outgoing {
    if data.is_empty() {
        return rest;
    }
    Outgoing::stream(ResumedBody { data, trailers: None, rest: Some(rest) })
}

impl ReplayBudget {
    pub(super) fn for_worker_of(workers: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(MAX_REPLAY_MEMORY.div_ceil(workers.max(1)))))
    }

    fn reserve(&self, length: usize) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(length)).is_ok()
    }

    fn give_back(&self, length: usize) {
        self.0.fetch_add(length, Relaxed);
    }
}

impl BodyPrefix {
    pub(super) fn new(budget: &ReplayBudget) -> Self {
        let budget = budget.clone();
        Self { data: Vec::new(), trailers: None, ended: false, budget, lost: false }
    }

    /// Keeps a frame that was read.
    pub(super) fn keep(&mut self, frame: &Frame<Bytes>) {
        if self.lost {
            return;
        }
        if let Some(data) = frame.data_ref() {
            let fits = self.data.len() + data.len() <= MAX_REPLAY_BYTES;
            if fits && self.budget.reserve(data.len()) {
                // A copy, because the frame would keep the whole buffer that it was read into.
                self.data.extend_from_slice(data);
            } else {
                self.release();
                self.lost = true;
            }
        } else if let Some(trailers) = frame.trailers_ref() {
            self.trailers = Some(trailers.clone());
            self.ended = true;
        }
    }

    pub(super) fn end(&mut self) {
        self.ended = true;
    }

    /// Makes the whole body of the kept part and `rest`; `None` when the part was not kept.
    pub(super) fn resume(mut self, rest: Outgoing) -> Option<Outgoing> {
        if self.lost {
            return None;
        }
        if self.data.is_empty() && self.trailers.is_none() {
            return Some(if self.ended { Outgoing::empty() } else { rest });
        }
        let data = Bytes::copy_from_slice(&self.data);
        let (trailers, rest) = (self.trailers.take(), (!self.ended).then_some(rest));
        Some(Outgoing::stream(ResumedBody { data, trailers, rest }))
    }

    fn release(&mut self) {
        self.budget.give_back(self.data.len());
        self.data = Vec::new();
    }
}

impl Drop for BodyPrefix {
    fn drop(&mut self) {
        self.release();
    }
}

impl Body for ResumedBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if !this.data.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut this.data)))));
        }
        if let Some(trailers) = this.trailers.take() {
            return Poll::Ready(Some(Ok(Frame::trailers(trailers))));
        }
        this.rest.as_mut().map_or(Poll::Ready(None), |rest| Pin::new(rest).poll_frame(cx))
    }

    fn is_end_stream(&self) -> bool {
        let rest_ended = self.rest.as_ref().is_none_or(Body::is_end_stream);
        self.data.is_empty() && self.trailers.is_none() && rest_ended
    }

    fn size_hint(&self) -> SizeHint {
        let before = u64::try_from(self.data.len()).unwrap_or(u64::MAX);
        let rest = self.rest.as_ref().map(Body::size_hint);
        let mut hint = rest.unwrap_or_else(|| SizeHint::with_exact(0));
        // The upper bound is set first, because the lower one must not exceed it.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(before));
        }
        hint.set_lower(hint.lower().saturating_add(before));
        if self.trailers.is_some() { SizeHint::default() } else { hint }
    }
}

/// The bytes kept of one body. A peer that does not process a stream does not extend its window, so
/// little more than the initial window is read.
const MAX_REPLAY_BYTES: usize = 128 << 10;
/// The bytes kept of all bodies together.
const MAX_REPLAY_MEMORY: usize = 32 << 20;

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    fn data(text: &'static str) -> Frame<Bytes> {
        Frame::data(Bytes::from_static(text.as_bytes()))
    }

    fn rest(text: &'static str) -> Outgoing {
        let body = Full::new(Bytes::from_static(text.as_bytes()));
        Outgoing::stream(body.map_err(|never| match never {}))
    }

    /// All data of a body, and whether trailers came last.
    fn read(mut body: Outgoing) -> (String, bool) {
        let (mut text, mut trailers) = (String::new(), false);
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(frame)) = Pin::new(&mut body).poll_frame(&mut cx) {
            match frame.unwrap().into_data() {
                Ok(data) => text.push_str(std::str::from_utf8(&data).unwrap()),
                Err(_trailers) => trailers = true,
            }
        }
        (text, trailers)
    }

    #[test]
    fn a_body_begins_again_with_what_was_taken_of_it() {
        let budget = ReplayBudget::for_worker_of(1);
        let taken = |frames: &[Frame<Bytes>]| {
            let mut taken = BodyPrefix::new(&budget);
            for frame in frames {
                taken.keep(frame);
            }
            taken
        };
        let nothing = taken(&[]).resume(rest("abc")).unwrap();
        assert_eq!(read(nothing), ("abc".to_owned(), false));
        let some = taken(&[data("ab"), data("c")]).resume(rest("def")).unwrap();
        assert_eq!(some.size_hint().exact(), Some(6));
        assert_eq!(read(some), ("abcdef".to_owned(), false));
        let mut all = taken(&[data("abc")]);
        all.end();
        assert_eq!(read(all.resume(Outgoing::empty()).unwrap()), ("abc".to_owned(), false));
        let with_trailers = taken(&[data("abc"), Frame::trailers(HeaderMap::new())]);
        assert_eq!(
            read(with_trailers.resume(Outgoing::empty()).unwrap()),
            ("abc".to_owned(), true)
        );
    }

    #[test]
    fn what_is_too_long_or_too_much_is_not_kept_and_gives_its_room_back() {
        let budget = ReplayBudget(Arc::new(AtomicUsize::new(8)));
        let mut first = BodyPrefix::new(&budget);
        first.keep(&data("12345"));
        let mut second = BodyPrefix::new(&budget);
        second.keep(&data("1234"));
        assert!(second.resume(Outgoing::empty()).is_none(), "there was room for three");
        drop(first);
        assert_eq!(budget.0.load(Relaxed), 8);
        let budget = ReplayBudget::for_worker_of(1);
        let mut long = BodyPrefix::new(&budget);
        long.keep(&Frame::data(vec![0; MAX_REPLAY_BYTES].into()));
        assert!(!long.lost);
        long.keep(&data("x"));
        assert!(long.lost);
        assert_eq!(budget.0.load(Relaxed), MAX_REPLAY_MEMORY);
    }
}
