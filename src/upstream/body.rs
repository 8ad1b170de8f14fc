//! Bodies on the way out.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;

/// Why a body failed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body: none, or a stream whose progress can be watched.
#[derive(Debug)]
pub struct Outgoing(Option<Streamed>);

#[derive(Debug)]
struct Streamed {
    body: UnsyncBoxBody<Bytes, BodyError>,
    progress: Arc<Progress>,
}

/// How far a body has come.
#[derive(Debug, Default)]
pub(super) struct Progress {
    /// Frames taken, or [`ENDED`].
    frames: AtomicU64,
}

const ENDED: u64 = u64::MAX;

impl Outgoing {
    /// No body.
    #[must_use]
    pub fn empty() -> Self {
        Self(None)
    }

    /// A body that is sent as it arrives.
    #[must_use]
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        Self(Some(Streamed { body: body.boxed_unsync(), progress: Arc::default() }))
    }

    /// Whether there is no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.0.as_ref().map(|streamed| Arc::clone(&streamed.progress))
    }
}

impl Progress {
    pub(super) fn frames(&self) -> u64 {
        self.frames.load(Relaxed)
    }

    pub(super) fn has_ended(&self) -> bool {
        self.frames() == ENDED
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Some(streamed) = &mut self.get_mut().0 else { return Poll::Ready(None) };
        let frame = Pin::new(&mut streamed.body).poll_frame(cx);
        if let Poll::Ready(frame) = &frame {
            let ended = frame.is_none() || streamed.body.is_end_stream();
            let frames = if ended { ENDED } else { streamed.progress.frames() + 1 };
            streamed.progress.frames.store(frames, Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|streamed| streamed.body.is_end_stream())
    }

    fn size_hint(&self) -> SizeHint {
        self.0
            .as_ref()
            .map_or_else(|| SizeHint::with_exact(0), |streamed| streamed.body.size_hint())
    }
}
