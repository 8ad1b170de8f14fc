//! Bodies on the way out.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::sync::atomic::{AtomicBool, AtomicU64};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt as _;
use http_body_util::combinators::UnsyncBoxBody;
use tokio::time::Sleep;

use crate::clock::instant;

/// Why a body failed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A request's body: none, or a stream whose progress can be watched.
#[derive(Debug)]
pub struct Outgoing(Option<Streamed>);

#[derive(Debug)]
struct Streamed {
    body: UnsyncBoxBody<Bytes, BodyError>,
    progress: Arc<Progress>,
    /// Held back until the origin asks for it (RFC 9110 §10.1.1), or has been silent for so long
    /// that it may not know how to ask.
    hold: Option<Pin<Box<Sleep>>>,
    drops_trailers: bool,
}

/// How far a body has come.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// The time when a part of it was last taken or written, in milliseconds since the beginning.
    moved_ms: AtomicU64,
    /// Whether the next frame is the caller's to send.
    awaited: AtomicBool,
}

/// How long an origin may take to say 100; clients that ask for it wait about as long.
const MAX_HOLD_BACK: Duration = Duration::from_secs(1);

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
        let (body, progress) = (body.boxed_unsync(), Arc::new(Progress::new()));
        Self(Some(Streamed { body, progress, hold: None, drops_trailers: false }))
    }

    /// Holds the body back until the origin says 100 (Continue), for a moment at most.
    #[must_use]
    pub fn after_continue(mut self) -> Self {
        if let Some(streamed) = &mut self.0 {
            streamed.hold = Some(Box::pin(tokio::time::sleep(MAX_HOLD_BACK)));
        }
        self
    }

    /// Leaves the body's trailers out.
    pub(super) fn drop_trailers(&mut self) {
        if let Some(streamed) = &mut self.0 {
            streamed.drops_trailers = true;
        }
    }

    /// Lets the body go at once.
    pub(super) fn release(&mut self) {
        if let Some(streamed) = &mut self.0 {
            streamed.hold = None;
        }
    }

    /// Whether the body is still held back.
    pub(super) fn is_held(&self) -> bool {
        self.0.as_ref().is_some_and(|streamed| streamed.hold.is_some())
    }

    /// Whether there is no body.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// A part of what was taken has been written.
    pub(super) fn moved(&self) {
        if let Some(streamed) = &self.0 {
            streamed.progress.moved();
        }
    }

    /// Notes that the next move is the origin's: it takes no more for now.
    pub(super) fn awaits_origin(&self) {
        if let Some(streamed) = &self.0 {
            streamed.progress.awaited.store(false, Relaxed);
        }
    }

    /// The time that nothing was taken or written of it.
    pub(super) fn still(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |streamed| streamed.progress.still())
    }

    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.0.as_ref().map(|streamed| Arc::clone(&streamed.progress))
    }
}

impl Progress {
    fn new() -> Self {
        Self { begun: instant(), moved_ms: AtomicU64::new(0), awaited: AtomicBool::new(false) }
    }

    /// A part of the body was taken or written.
    pub(super) fn moved(&self) {
        let passed = instant().saturating_duration_since(self.begun).as_millis();
        self.moved_ms.store(u64::try_from(passed).unwrap_or(u64::MAX), Relaxed);
    }

    /// The time that nothing was taken or written.
    pub(super) fn still(&self) -> Duration {
        let moved = Duration::from_millis(self.moved_ms.load(Relaxed));
        instant().saturating_duration_since(self.begun).saturating_sub(moved)
    }

    /// Whether we wait for the caller, and not for the origin.
    pub(super) fn is_awaited(&self) -> bool {
        self.awaited.load(Relaxed)
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
        if let Some(hold) = &mut streamed.hold {
            ready!(hold.as_mut().poll(cx));
            streamed.hold = None;
        }
        let mut frame = Pin::new(&mut streamed.body).poll_frame(cx);
        if streamed.drops_trailers
            && matches!(&frame, Poll::Ready(Some(Ok(frame))) if frame.is_trailers())
        {
            // They are the last that comes.
            frame = Poll::Ready(None);
        }
        streamed.progress.awaited.store(frame.is_pending(), Relaxed);
        if frame.is_ready() {
            streamed.progress.moved();
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
