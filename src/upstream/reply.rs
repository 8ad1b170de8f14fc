//! Replies: the answers of origins.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame, SizeHint};

use super::body::BodyError;
use super::http1::{BodyRead, ConnLease, DrivenBody, Http1Conn, UpgradedConn};
use super::http2::StreamBody;

/// An origin's answer.
pub type Reply = Response<ReplyBody>;

/// The body of an answer. Reading it to its end returns the conn to the pool.
#[derive(Debug)]
pub struct ReplyBody(BodySource);

#[derive(Debug)]
enum BodySource {
    /// The body is empty, or was read to its end.
    Ended,
    Http1(Box<ConnLease>),
    Driven(Box<DrivenBody>),
    Http2(Box<StreamBody>),
    Switched(Box<Http1Conn>),
    Failed(BodyError),
}

impl ReplyBody {
    pub(super) fn http1(lease: ConnLease) -> Self {
        if lease.left() == Some(0) {
            lease.end();
            return Self(BodySource::Ended);
        }
        Self(BodySource::Http1(Box::new(lease)))
    }

    pub(super) fn driven(driven: DrivenBody) -> Self {
        Self(BodySource::Driven(Box::new(driven)))
    }

    pub(super) fn http2(body: StreamBody) -> Self {
        if body.has_ended() {
            body.end();
            return Self(BodySource::Ended);
        }
        Self(BodySource::Http2(Box::new(body)))
    }

    pub(super) fn switched(conn: Box<Http1Conn>) -> Self {
        Self(BodySource::Switched(conn))
    }

    /// The conn of a 101 (Switching Protocols) answer; `None` for any other.
    pub fn into_switched(self) -> Option<UpgradedConn> {
        if let BodySource::Switched(conn) = self.0 { Some(UpgradedConn(conn)) } else { None }
    }

    fn poll_lease(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let BodySource::Http1(lease) = &mut self.0 else { return Poll::Ready(None) };
        let next = ready!(lease.poll_next(cx));
        if let Ok(BodyRead::Frame(frame)) = next {
            return Poll::Ready(Some(Ok(frame)));
        }
        let last = match next {
            Ok(BodyRead::Frame(frame) | BodyRead::Last(Some(frame))) => Some(frame),
            Ok(BodyRead::Last(None)) => None,
            Err(error) => return self.fail(cx, error),
        };
        if let BodySource::Http1(lease) = std::mem::replace(&mut self.0, BodySource::Ended) {
            lease.end();
        }
        Poll::Ready(last.map(Ok))
    }

    fn poll_stream(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let BodySource::Http2(body) = &mut self.0 else { return Poll::Ready(None) };
        match ready!(body.poll_frame(cx)) {
            Some(Ok(frame)) => Poll::Ready(Some(Ok(frame))),
            Some(Err(error)) => self.fail(cx, error),
            None => {
                if let BodySource::Http2(body) = std::mem::replace(&mut self.0, BodySource::Ended) {
                    body.end();
                }
                Poll::Ready(None)
            }
        }
    }

    /// Fails at the next poll: data before the failure, and the head, reach the caller first.
    fn fail(
        &mut self,
        cx: &mut Context<'_>,
        error: BodyError,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.0 = BodySource::Failed(error);
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

impl Body for ReplyBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        match &mut this.0 {
            BodySource::Ended | BodySource::Switched(_) => Poll::Ready(None),
            BodySource::Http1(_) => this.poll_lease(cx),
            BodySource::Driven(driven) => driven.frames.poll_recv(cx),
            BodySource::Failed(_) => match std::mem::replace(&mut this.0, BodySource::Ended) {
                BodySource::Failed(error) => Poll::Ready(Some(Err(error))),
                _ => Poll::Ready(None),
            },
            BodySource::Http2(_) => this.poll_stream(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.0 {
            BodySource::Ended | BodySource::Switched(_) => true,
            BodySource::Http1(_) | BodySource::Driven(_) | BodySource::Failed(_) => false,
            BodySource::Http2(body) => body.has_ended(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        let length = match &self.0 {
            BodySource::Ended | BodySource::Switched(_) => Some(0),
            BodySource::Http1(lease) => lease.left(),
            BodySource::Driven(driven) => driven.length,
            BodySource::Failed(_) => None,
            BodySource::Http2(body) => return body.size_hint(),
        };
        length.map_or_else(SizeHint::default, SizeHint::with_exact)
    }
}
