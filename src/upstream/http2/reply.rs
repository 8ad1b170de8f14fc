//! The body of an answer, read from its stream on demand.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

use super::StreamPermit;
use super::exchange::without_debug_data;
use crate::upstream::body::BodyError;

/// The body of an answer. Dropping it returns the stream's permit.
#[derive(Debug)]
pub(in crate::upstream) struct StreamBody {
    stream: RecvStream,
    /// Tells the task that still sends the request how the answer has ended: a value for a complete
    /// answer, a drop for an aborted one.
    uploading: Option<oneshot::Sender<()>>,
    length: Option<u64>,
    in_trailers: bool,
    _permit: Arc<StreamPermit>,
}

/// The reason why a body failed. It has no source: the server side would pass on the h2 error code
/// of its source to the caller, and some codes signal success.
#[derive(Debug, thiserror::Error)]
enum BodyFault {
    #[error("the origin's body was cut short: {0}")]
    CutShort(String),
    #[error("the origin's body is not well-formed: {0}")]
    Malformed(String),
    #[error("the request's body failed before the response had ended")]
    RequestBody,
}

impl StreamBody {
    pub(super) fn new(
        stream: RecvStream,
        uploading: Option<oneshot::Sender<()>>,
        length: Option<u64>,
        permit: Arc<StreamPermit>,
    ) -> Self {
        Self { stream, uploading, length, in_trailers: false, _permit: permit }
    }

    pub(in crate::upstream) fn has_ended(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// Notes that the answer is complete. The request may still be sent.
    pub(in crate::upstream) fn end(self) {
        if let Some(uploading) = self.uploading {
            let _over_by_now = uploading.send(());
        }
    }

    pub(in crate::upstream) fn poll_frame(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        if !self.in_trailers {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(data)) => {
                    // Releasing fails when the stream has ended, and is not needed then.
                    let _ended = self.stream.flow_control().release_capacity(data.len());
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.length = self.length.map(|left| left.saturating_sub(length));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.body_error(&error)))),
                None => self.in_trailers = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(self.body_error(&error))),
        })
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn body_error(&self, error: &h2::Error) -> BodyError {
        let is_ours = error.is_reset() && !error.is_remote() && !error.is_library();
        if is_ours && self.uploading.is_some() {
            BodyFault::RequestBody.into()
        } else if error.is_library() {
            BodyFault::Malformed(without_debug_data(error)).into()
        } else {
            BodyFault::CutShort(without_debug_data(error)).into()
        }
    }
}
