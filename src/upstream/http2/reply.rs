//! An answer's body, read from its stream by whoever takes it.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use h2::RecvStream;
use http_body::{Frame, SizeHint};
use tokio::sync::oneshot;

use super::StreamPermit;
use super::exchange::without_debug_data;
use crate::upstream::body::BodyError;

/// The body of an answer; with its end there is room for another stream.
#[derive(Debug)]
pub(in crate::upstream) struct StreamBody {
    stream: RecvStream,
    /// Tells the task that still writes the request how this ends.
    uploading: Option<oneshot::Sender<()>>,
    length: Option<u64>,
    in_trailers: bool,
    _permit: Arc<StreamPermit>,
}

/// The reason why a body failed. None has a cause of its own: the library would hand on to the
/// caller the code with which the origin has reset the stream, of which some say that all is well.
#[derive(Debug, thiserror::Error)]
enum BodyFault {
    #[error("the origin's body was cut short: {0}")]
    CutShort(String),
    #[error("the origin's body is not well-formed: {0}")]
    Malformed(String),
    #[error("the request's body failed meanwhile")]
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

    /// Tells whether nothing is to come.
    pub(in crate::upstream) fn has_ended(&self) -> bool {
        self.stream.is_end_stream()
    }

    /// Says that the answer is complete; the request may still be written.
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
                    // The stream may have ended by then, and has no window any more.
                    let _ended = self.stream.flow_control().release_capacity(data.len());
                    let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
                    self.length = self.length.map(|left| left.saturating_sub(length));
                    return Poll::Ready(Some(Ok(Frame::data(data))));
                }
                Some(Err(error)) => return Poll::Ready(Some(Err(self.fault(&error)))),
                None => self.in_trailers = true,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(trailers) => trailers.map(|trailers| Ok(Frame::trailers(trailers))),
            Err(error) => Some(Err(self.fault(&error))),
        })
    }

    pub(in crate::upstream) fn size_hint(&self) -> SizeHint {
        self.length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }

    fn fault(&self, error: &h2::Error) -> BodyError {
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
