//! HTTP/1.1 with an origin (RFC 9112), one exchange at a time.
//!
//! A conn has no task of its own: whoever waits for its answer moves it, so that a request wakes
//! one task only and an idle conn costs nothing but its TLS state.

mod decoder;
mod driver;
mod encoder;
mod head;
mod reply;

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, Waker, ready};

use bytes::Bytes;
use http::{Method, Request, StatusCode};
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use self::encoder::RequestWriter;
use super::body::{BodyError, Outgoing};
use super::error::{Error, ResponsePhase};
use super::gauges::OpenConn;

pub(super) use self::driver::drive;
pub(super) use self::reply::{BodyRead, ConnLease, DrivenBody};

pub use self::decoder::{BodyPiece, Chunked, Decoder};
pub use self::head::{Head, MalformedResponse, end as head_end};

/// A conn to an origin.
#[derive(Debug)]
pub(super) struct Http1Conn {
    io: TlsStream<TcpStream>,
    /// Received, and not yet understood or handed on.
    unread: Vec<u8>,
    sending: RequestWriter,
    /// Whether a byte has come back since the request began.
    answered: bool,
    _open: OpenConn,
}

/// Why a request could not be written to its end.
#[derive(Debug)]
pub(super) enum SendError {
    /// The origin takes no more.
    Io,
    /// The caller's body failed.
    Body(BodyError),
}

/// A conn that has switched to another protocol (RFC 9110 §7.8).
#[derive(Debug)]
pub struct UpgradedConn(Box<Http1Conn>);

impl Http1Conn {
    pub(super) fn new(io: TlsStream<TcpStream>, open: OpenConn) -> Box<Self> {
        let (unread, sending) = (Vec::new(), RequestWriter::default());
        Box::new(Self { io, unread, sending, answered: false, _open: open })
    }

    /// Writes a request and reads the head of its response, passing over what is interim. The
    /// request's body may not have ended by then.
    ///
    /// Dropping the future leaves the conn in the middle of an exchange: it must be closed.
    pub(super) async fn exchange(
        &mut self,
        request: &mut Request<Outgoing>,
    ) -> Result<Head, Error> {
        self.answered = false;
        self.sending.begin(request);
        let (method, mut interim) = (request.method().clone(), 0);
        poll_fn(|cx| self.poll_exchange(cx, &method, request.body_mut(), &mut interim)).await
    }

    /// What was taken of the request's body, when nothing of the request could be written.
    pub(super) fn take_unwritten(&mut self) -> Option<Bytes> {
        self.sending.take_unwritten()
    }

    /// Whether the last request has been written to its end.
    pub(super) fn has_sent(&self) -> bool {
        self.sending.is_over()
    }

    /// Whether an idle conn is alive and silent. What an origin says unasked is no answer to the
    /// next request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.unread.is_empty() && Pin::new(&mut self.io).poll_fill_buf(&mut cx).is_pending()
    }

    /// Says goodbye, as far as that does not take waiting (RFC 8446 §6.1).
    pub(super) fn close(mut self: Box<Self>) {
        let mut cx = Context::from_waker(Waker::noop());
        let _best_effort = Pin::new(&mut self.io).poll_shutdown(&mut cx);
    }

    /// Writes as much of the request as the origin takes and the caller has sent.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Outgoing,
    ) -> Poll<Result<(), SendError>> {
        self.sending.poll(cx, Pin::new(&mut self.io), body)
    }

    /// The next bytes of the response; none when the origin has ended it.
    fn poll_fill(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<&[u8]>> {
        if self.unread.is_empty() {
            Pin::new(&mut self.io).poll_fill_buf(cx)
        } else {
            Poll::Ready(Ok(&self.unread))
        }
    }

    fn consume(&mut self, count: usize) {
        if self.unread.is_empty() {
            Pin::new(&mut self.io).consume(count);
        } else if count >= self.unread.len() {
            self.unread = Vec::new();
        } else {
            self.unread.drain(..count);
        }
    }

    fn poll_exchange(
        &mut self,
        cx: &mut Context<'_>,
        method: &Method,
        body: &mut Outgoing,
        interim: &mut usize,
    ) -> Poll<Result<Head, Error>> {
        loop {
            // An origin that takes no more may yet say why.
            if let Poll::Ready(Err(SendError::Body(error))) = self.poll_send(cx, body) {
                return Poll::Ready(Err(Error::RequestBody(error)));
            }
            let head = ready!(self.poll_head(cx, method))?;
            let status = head.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(head));
            }
            *interim += 1;
            if *interim > MAX_INTERIM_RESPONSES {
                return Poll::Ready(Err(Error::ResponseMalformed(MalformedResponse::Interim)));
            }
            // Whatever the origin says before its final word, it is there and listening.
            body.release();
        }
    }

    /// Reads one head. Usually it is whole in what arrives first, and is read where it lies.
    fn poll_head(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<Result<Head, Error>> {
        let mut looked_at = 0;
        loop {
            if let Some(end) = head_end(&self.unread, looked_at) {
                let head = self.unread.get(..end).map(Bytes::copy_from_slice).unwrap_or_default();
                self.consume(end);
                return Poll::Ready(Head::read(&head, method).map_err(Error::ResponseMalformed));
            }
            looked_at = self.unread.len();
            let phase = self.phase();
            let bytes = ready!(Pin::new(&mut self.io).poll_fill_buf(cx))
                .map_err(|error| Error::closed(phase, error))?;
            if bytes.is_empty() {
                let error = io::ErrorKind::UnexpectedEof.into();
                return Poll::Ready(Err(Error::Closed(phase, error)));
            }
            self.answered = true;
            let count = bytes.len();
            if looked_at == 0
                && let Some(end) = head_end(bytes, 0)
            {
                let head = bytes.get(..end).map(Bytes::copy_from_slice).unwrap_or_default();
                Pin::new(&mut self.io).consume(end);
                return Poll::Ready(Head::read(&head, method).map_err(Error::ResponseMalformed));
            }
            self.unread.extend_from_slice(bytes);
            Pin::new(&mut self.io).consume(count);
            if self.unread.len() > head::MAX_HEAD_BYTES {
                return Poll::Ready(Err(Error::ResponseMalformed(MalformedResponse::TooLarge)));
            }
        }
    }

    fn phase(&self) -> ResponsePhase {
        if self.answered { ResponsePhase::WithinHead } else { ResponsePhase::BeforeResponse }
    }
}

impl UpgradedConn {
    pub(super) fn new(conn: Box<Http1Conn>) -> Self {
        Self(conn)
    }
}

impl AsyncRead for UpgradedConn {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let bytes = ready!(self.0.poll_fill(cx))?;
        let count = bytes.len().min(buf.remaining());
        buf.put_slice(bytes.get(..count).unwrap_or_default());
        self.0.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for UpgradedConn {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0.io).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0.io).poll_shutdown(cx)
    }
}

/// The number of interim (1xx) responses that may precede the final one.
pub(super) const MAX_INTERIM_RESPONSES: usize = 32;
