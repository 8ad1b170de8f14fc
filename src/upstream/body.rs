//! The bodies of requests to origins.

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

/// The reason why a body failed.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// The reason why a request was not sent to its end.
#[derive(Debug)]
pub(super) enum SendError {
    /// The conn has ended or failed, or the stream was reset.
    Conn,
    /// The caller's body failed.
    Body(BodyError),
}

/// A request's body: empty, or a stream whose progress can be watched.
#[derive(Debug)]
pub struct Outgoing(Option<Streamed>);

#[derive(Debug)]
struct Streamed {
    body: UnsyncBoxBody<Bytes, BodyError>,
    progress: Arc<Progress>,
    /// The timer of a body that waits for 100 (Continue) (RFC 9110 §10.1.1). When it fires the body
    /// is sent anyway, because many origins never say 100.
    hold: Option<Pin<Box<Sleep>>>,
    drops_trailers: bool,
}

#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// The time at which data was last read or written, in milliseconds since `begun`.
    moved_ms: AtomicU64,
    /// Set while the next frame is to come from the caller.
    waits_for_caller: AtomicBool,
}

/// The longest time to wait for 100 (Continue). Clients wait about as long.
const MAX_HOLD_BACK: Duration = Duration::from_secs(1);

impl Outgoing {
    /// An empty body.
    pub fn empty() -> Self {
        Self(None)
    }

    /// A body that is sent as it arrives.
    pub fn stream<B>(body: B) -> Self
    where
        B: Body<Data = Bytes, Error = BodyError> + Send + 'static,
    {
        let (body, progress) = (body.boxed_unsync(), Arc::new(Progress::new()));
        Self(Some(Streamed { body, progress, hold: None, drops_trailers: false }))
    }

    /// Holds the body back until the origin says 100 (Continue), for a second at most.
    #[must_use]
    pub fn after_continue(mut self) -> Self {
        if let Some(streamed) = &mut self.0 {
            streamed.hold = Some(Box::pin(tokio::time::sleep(MAX_HOLD_BACK)));
        }
        self
    }

    /// Has the trailers dropped.
    pub(super) fn drop_trailers(&mut self) {
        if let Some(streamed) = &mut self.0 {
            streamed.drops_trailers = true;
        }
    }

    /// Ends the wait for 100 (Continue).
    pub(super) fn release(&mut self) {
        if let Some(streamed) = &mut self.0 {
            streamed.hold = None;
        }
    }

    /// Tells whether the body still waits for 100 (Continue).
    pub(super) fn is_held(&self) -> bool {
        self.0.as_ref().is_some_and(|streamed| streamed.hold.is_some())
    }

    /// Tells whether there is no body.
    pub fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Notes that data was written.
    pub(super) fn note_progress(&self) {
        if let Some(streamed) = &self.0 {
            streamed.progress.note_progress();
        }
    }

    /// Notes that the body now waits for the origin, which accepts no more data.
    pub(super) fn note_waits_for_origin(&self) {
        if let Some(streamed) = &self.0 {
            streamed.progress.waits_for_caller.store(false, Relaxed);
        }
    }

    /// The time since data was last read or written.
    pub(super) fn idle_time(&self) -> Duration {
        self.0.as_ref().map_or(Duration::ZERO, |streamed| streamed.progress.idle_time())
    }

    pub(super) fn progress(&self) -> Option<Arc<Progress>> {
        self.0.as_ref().map(|streamed| Arc::clone(&streamed.progress))
    }
}

impl Progress {
    fn new() -> Self {
        Self {
            begun: instant(),
            moved_ms: AtomicU64::new(0),
            waits_for_caller: AtomicBool::new(false),
        }
    }

    /// Notes that data was read or written.
    pub(super) fn note_progress(&self) {
        let passed = instant().saturating_duration_since(self.begun).as_millis();
        self.moved_ms.store(u64::try_from(passed).unwrap_or(u64::MAX), Relaxed);
    }

    /// The time since data was last read or written.
    pub(super) fn idle_time(&self) -> Duration {
        let moved = Duration::from_millis(self.moved_ms.load(Relaxed));
        instant().saturating_duration_since(self.begun).saturating_sub(moved)
    }

    /// Tells whether the body waits for the caller, rather than for the origin.
    pub(super) fn waits_for_caller(&self) -> bool {
        self.waits_for_caller.load(Relaxed)
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
            // Trailers are the last frame.
            frame = Poll::Ready(None);
        }
        streamed.progress.waits_for_caller.store(frame.is_pending(), Relaxed);
        if frame.is_ready() {
            streamed.progress.note_progress();
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
