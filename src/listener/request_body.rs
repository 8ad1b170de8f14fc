//! The body of a request, as its handler reads it.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use parking_lot::Mutex;

use crate::http1::FramingFault;

/// The body of a caller's request. It is read from the conn only as its reader asks for it.
pub struct RequestBody(RequestSource);

enum RequestSource {
    Empty,
    /// All of it arrived with the head.
    Whole(Bytes),
    /// It comes over an HTTP/1.1 conn.
    Http1(BodyReader),
    /// It comes over a stream of HTTP/2.
    Http2(Incoming),
}

/// The reason why a request's body failed.
#[derive(Debug, thiserror::Error)]
pub enum RequestBodyError {
    /// Its framing is wrong.
    #[error(transparent)]
    Malformed(#[from] FramingFault),
    /// The caller has gone, or has closed its side, before the end.
    #[error("the caller's conn ended before the body did")]
    CutShort,
    /// Its stream has failed.
    #[error(transparent)]
    Http2(#[from] hyper::Error),
}

/// A frame of a body, or the reason why there is none.
type FedFrame = Result<Frame<Bytes>, RequestBodyError>;

/// The end of a body's channel at which it is read.
struct BodyReader {
    channel: Arc<Mutex<BodyChannel>>,
    /// The number of bytes left, where it is known.
    left: Option<u64>,
}

/// The end of a body's channel at which the conn puts in what arrives.
pub(super) struct BodyFeeder(Arc<Mutex<BodyChannel>>);

/// A channel for one item at a time, which is put in only when it is asked for.
#[derive(Default)]
struct BodyChannel {
    item: Option<FedFrame>,
    is_wanted: bool,
    /// Nothing more will be put in.
    is_over: bool,
    /// The reader is gone.
    is_dropped: bool,
    reader: Option<Waker>,
    feeder: Option<Waker>,
}

/// The wish of a body's reader.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum ReaderWish {
    /// It reads nothing at present.
    Nothing,
    /// It waits for the next frame.
    Next,
    /// It is gone.
    Gone,
}

impl RequestBody {
    /// No body.
    pub fn empty() -> Self {
        Self(RequestSource::Empty)
    }

    /// A body that is here as a whole.
    pub(super) fn whole(data: Bytes) -> Self {
        Self(if data.is_empty() { RequestSource::Empty } else { RequestSource::Whole(data) })
    }

    /// A body that comes over an HTTP/1.1 conn, with `left` bytes where that is known.
    pub(super) fn fed(left: Option<u64>) -> (Self, BodyFeeder) {
        let channel = Arc::new(Mutex::new(BodyChannel::default()));
        let feeder = BodyFeeder(Arc::clone(&channel));
        (Self(RequestSource::Http1(BodyReader { channel, left })), feeder)
    }

    /// A body that comes over a stream of HTTP/2.
    pub(super) fn http2(body: Incoming) -> Self {
        Self(RequestSource::Http2(body))
    }
}

/// Its bytes may be secret.
impl std::fmt::Debug for RequestBody {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RequestBody").finish_non_exhaustive()
    }
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = RequestBodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, RequestBodyError>>> {
        let this = self.get_mut();
        match &mut this.0 {
            RequestSource::Empty => Poll::Ready(None),
            RequestSource::Whole(data) => {
                let data = std::mem::take(data);
                this.0 = RequestSource::Empty;
                Poll::Ready(Some(Ok(Frame::data(data))))
            }
            RequestSource::Http1(reader) => reader.poll_item(cx),
            RequestSource::Http2(body) => {
                Pin::new(body).poll_frame(cx).map(|frame| frame.map(|frame| Ok(frame?)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            RequestSource::Empty => true,
            RequestSource::Whole(_) => false,
            RequestSource::Http1(reader) => reader.has_ended(),
            RequestSource::Http2(body) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.0 {
            RequestSource::Empty => SizeHint::with_exact(0),
            RequestSource::Whole(data) => {
                SizeHint::with_exact(u64::try_from(data.len()).unwrap_or(u64::MAX))
            }
            RequestSource::Http1(reader) => {
                reader.left.map_or_else(SizeHint::default, SizeHint::with_exact)
            }
            RequestSource::Http2(body) => body.size_hint(),
        }
    }
}

impl BodyReader {
    /// Takes the next item. While there is none, the conn is asked for it.
    fn poll_item(&mut self, cx: &Context<'_>) -> Poll<Option<FedFrame>> {
        let mut channel = self.channel.lock();
        if let Some(item) = channel.item.take() {
            if let (Some(left), Ok(frame)) = (&mut self.left, &item) {
                let length = frame.data_ref().map_or(0, Bytes::len);
                *left = left.saturating_sub(u64::try_from(length).unwrap_or(u64::MAX));
            }
            return Poll::Ready(Some(item));
        }
        if channel.is_over {
            return Poll::Ready(None);
        }
        channel.is_wanted = true;
        channel.reader = Some(cx.waker().clone());
        // The conn's own task looks here by itself once its handler has been polled.
        let feeder = channel.feeder.take_if(|feeder| !feeder.will_wake(cx.waker()));
        drop(channel);
        if let Some(feeder) = feeder {
            feeder.wake();
        }
        Poll::Pending
    }

    fn has_ended(&self) -> bool {
        let channel = self.channel.lock();
        channel.is_over && channel.item.is_none()
    }
}

impl Drop for BodyReader {
    fn drop(&mut self) {
        let mut channel = self.channel.lock();
        channel.is_dropped = true;
        channel.item = None;
        let feeder = channel.feeder.take();
        drop(channel);
        if let Some(feeder) = feeder {
            feeder.wake();
        }
    }
}

impl BodyFeeder {
    /// The reader's present wish. The task of `cx` is woken when it changes.
    pub(super) fn wish(&self, cx: &Context<'_>) -> ReaderWish {
        let mut channel = self.0.lock();
        if channel.is_dropped {
            return ReaderWish::Gone;
        }
        if !channel.feeder.as_ref().is_some_and(|feeder| feeder.will_wake(cx.waker())) {
            channel.feeder = Some(cx.waker().clone());
        }
        if channel.is_wanted { ReaderWish::Next } else { ReaderWish::Nothing }
    }

    /// Puts in what the reader has asked for; `None` is the end. After the last item nothing more
    /// may be put in.
    pub(super) fn put(&self, item: Option<FedFrame>, is_last: bool, cx: &Context<'_>) {
        let mut channel = self.0.lock();
        channel.is_wanted = false;
        channel.is_over |= is_last || item.is_none();
        channel.item = item;
        // The conn's own task polls its handler again by itself.
        let reader = channel.reader.take_if(|reader| !reader.will_wake(cx.waker()));
        drop(channel);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}

impl Drop for BodyFeeder {
    fn drop(&mut self) {
        let mut channel = self.0.lock();
        if !channel.is_over {
            channel.is_over = true;
            channel.item.get_or_insert(Err(RequestBodyError::CutShort));
        }
        let reader = channel.reader.take();
        drop(channel);
        if let Some(reader) = reader {
            reader.wake();
        }
    }
}
