//! Sends the body of a request on an HTTP/2 stream, under flow control (RFC 9113 §5.2).

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use h2::{Reason, SendStream};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::StreamPermit;
use crate::upstream::body::{Outgoing, SendError};
use crate::upstream::replay::BodyPrefix;

/// A request's body on its way to the origin.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Outgoing,
    /// Data read from the body and not sent yet.
    pending: Bytes,
    /// A copy of what was read so far, from which the request can be sent again.
    prefix: Option<BodyPrefix>,
    has_ended: bool,
    /// Set once the stream was reset or its conn has ended.
    is_stopped: bool,
}

impl Upload {
    /// Sends `body` on `stream`, and keeps what it sends in `prefix`.
    pub(super) fn new(stream: SendStream<Bytes>, body: Outgoing, prefix: BodyPrefix) -> Self {
        let (pending, prefix) = (Bytes::new(), Some(prefix));
        Self { stream, body, pending, prefix, has_ended: false, is_stopped: false }
    }

    /// Tells whether the whole body was handed to the HTTP/2 library.
    pub(super) fn has_ended(&self) -> bool {
        self.has_ended
    }

    /// Frees the copy of what was sent: the origin has answered, so the request is not sent again.
    pub(super) fn forget_prefix(&mut self) {
        self.prefix = None;
    }

    /// The whole body once more; `None` where its beginning was not kept.
    pub(super) fn into_body(self) -> Option<Outgoing> {
        self.prefix.and_then(|prefix| prefix.resume(self.body))
    }

    /// Sends what the caller has sent, as far as flow control allows.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SendError>> {
        if self.is_stopped {
            return Poll::Ready(Err(SendError::Conn));
        }
        while !self.has_ended {
            // 1. Wait for room in the send window before reading from the caller, so that no more
            // than one frame is held here.
            self.stream.reserve_capacity(self.pending.len().max(1));
            while self.stream.capacity() == 0 {
                self.body.note_waits_for_origin();
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_room)) => {}
                    Some(Err(_)) | None => return self.stop_upload(),
                }
            }
            if self.stream.poll_reset(cx).is_ready() {
                return self.stop_upload();
            }
            // 2. Send what was read, as much as fits.
            if !self.pending.is_empty() {
                let data = self.pending.split_to(self.pending.len().min(self.stream.capacity()));
                let is_last = self.pending.is_empty() && self.body.is_end_stream();
                self.send_data(data, is_last)?;
                continue;
            }
            // 3. Read the next frame.
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.send_data(Bytes::new(), true)?,
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(SendError::Body(error)));
                }
                Some(Ok(frame)) => self.take_frame(frame)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take_frame(&mut self, frame: Frame<Bytes>) -> Result<(), SendError> {
        if let Some(prefix) = &mut self.prefix {
            prefix.keep(&frame);
        }
        match frame.into_data() {
            Ok(data) if data.is_empty() && self.body.is_end_stream() => self.send_data(data, true),
            Ok(data) => {
                self.pending = data;
                Ok(())
            }
            Err(frame) => {
                self.has_ended = true;
                let trailers = frame.into_trailers().unwrap_or_default();
                self.stream.send_trailers(trailers).map_err(|_closed| SendError::Conn)
            }
        }
    }

    fn send_data(&mut self, data: Bytes, is_last: bool) -> Result<(), SendError> {
        self.has_ended = is_last;
        if let Some(prefix) = self.prefix.as_mut().filter(|_| is_last) {
            prefix.end();
        }
        self.body.note_progress();
        self.stream.send_data(data, is_last).map_err(|_closed| SendError::Conn)
    }

    fn stop_upload(&mut self) -> Poll<Result<(), SendError>> {
        self.is_stopped = true;
        Poll::Ready(Err(SendError::Conn))
    }

    /// Sends the rest of the body while the answer is read. `ends` resolves when the answer has
    /// ended: with a value where all of it was read, with an error where it was dropped.
    pub(super) async fn send_rest(
        mut self,
        mut ends: oneshot::Receiver<()>,
        permit: Arc<StreamPermit>,
    ) {
        let mut answered = false;
        let mut stalled = pin!(tokio::time::sleep(STALL_TIMEOUT));
        let sent = poll_fn(|cx| {
            if !answered && let Poll::Ready(ended) = Pin::new(&mut ends).poll(cx) {
                // 1. A dropped answer cancels the request; a complete one does not.
                if ended.is_err() {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Ok(()));
                }
                answered = true;
            }
            if let Poll::Ready(sent) = self.poll(cx) {
                return Poll::Ready(sent);
            }
            // 2. After the answer the body may stand still for `STALL_TIMEOUT` and no longer: an
            // origin that reads no more need not say so (RFC 9113 §8.1), and the caller may have
            // gone.
            while answered && stalled.as_mut().poll(cx).is_ready() {
                let left = STALL_TIMEOUT.saturating_sub(self.body.idle_time());
                if left.is_zero() {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(SendError::Conn));
                }
                stalled.as_mut().reset(tokio::time::Instant::now() + left);
            }
            Poll::Pending
        });
        let sent = sent.await;
        // 3. Give the stream back before reading on: its conn may end before the caller's body.
        let Self { stream, mut body, .. } = self;
        drop((stream, permit));
        if let Err(SendError::Conn) = sent {
            // 4. Discard the rest of the body, so that the caller's conn reaches its next request.
            while let Some(Ok(_unwanted)) = body.frame().await {}
        }
    }
}

/// The longest time that a body may stand still once its answer is complete.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);
