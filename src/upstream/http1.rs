//! HTTP/1.1 to an origin (RFC 9112), one exchange at a time.
//!
//! A conn has no task of its own: the task that waits for the answer polls it, so that a request
//! wakes one task only and an idle conn costs no more than its TLS state.

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
use http::{Method, Request, Response, StatusCode};
use tokio::io::{AsyncBufRead as _, AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use self::encoder::RequestWriter;
use super::body::{Outgoing, SendError};
use super::departure::FinalCheck;
use super::error::{Error, ResponsePhase};
use super::gauges::OpenConn;

pub(super) use self::driver::drive;
pub(super) use self::reply::{BodyRead, ConnLease, DrivenBody};

pub use self::decoder::{Chunked, Decoder};
pub use self::head::{Head, MalformedResponse, end as head_end};

/// An HTTP/1.1 conn to an origin.
#[derive(Debug)]
pub(super) struct Http1Conn {
    io: TlsStream<TcpStream>,
    /// Received bytes that are not parsed or passed on yet.
    unread: Vec<u8>,
    sending: RequestWriter,
    /// Set once a byte of the response has arrived.
    answered: bool,
    _open: OpenConn,
}

/// A conn that has switched to another protocol (RFC 9110 §7.8).
#[derive(Debug)]
pub struct UpgradedConn(pub(super) Box<Http1Conn>);

/// The interim responses of one exchange.
struct InterimResponses<'a> {
    watched: Option<&'a dyn FinalCheck>,
    count: usize,
}

impl InterimResponses<'_> {
    /// Counts one and passes it on. A 100 is this conn's own.
    fn take(&mut self, interim: Response<()>) -> Result<(), Error> {
        self.count += 1;
        if self.count > MAX_INTERIM_RESPONSES {
            return Err(Error::ResponseMalformed(MalformedResponse::Interim));
        }
        if let Some(watched) = self.watched.filter(|_| interim.status() != StatusCode::CONTINUE) {
            watched.pass_interim(interim);
        }
        Ok(())
    }
}

impl Http1Conn {
    pub(super) fn new(io: TlsStream<TcpStream>, open: OpenConn) -> Box<Self> {
        let (unread, sending) = (Vec::new(), RequestWriter::default());
        Box::new(Self { io, unread, sending, answered: false, _open: open })
    }

    /// Writes a request and reads the head of its final response. The request's body may not have
    /// ended then. `watched` is told of interim responses.
    ///
    /// Not cancel-safe: after dropping the future the conn must be closed.
    pub(super) fn exchange<'a>(
        &'a mut self,
        request: &'a mut Request<Outgoing>,
        watched: Option<&'a dyn FinalCheck>,
    ) -> impl Future<Output = Result<Head, Error>> + use<'a> {
        self.answered = false;
        self.sending.begin(request);
        let method = request.method().clone();
        let mut interim = InterimResponses { watched, count: 0 };
        // An async fn would have room for its arguments twice.
        poll_fn(move |cx| self.poll_exchange(cx, &method, request.body_mut(), &mut interim))
    }

    /// The data that was read of the request's body, when none of the request was written.
    pub(super) fn take_unwritten(&mut self) -> Option<Bytes> {
        self.sending.take_unwritten()
    }

    /// Tells whether the last request was written to its end.
    pub(super) fn has_sent(&self) -> bool {
        self.sending.is_over()
    }

    /// Tells whether an idle conn is open and the origin has sent nothing. Unsolicited bytes must
    /// not become the answer to the next request.
    pub(super) fn is_quiet(&mut self) -> bool {
        let mut cx = Context::from_waker(Waker::noop());
        self.unread.is_empty() && Pin::new(&mut self.io).poll_fill_buf(&mut cx).is_pending()
    }

    /// Closes the conn, and sends `close_notify` if that needs no waiting (RFC 8446 §6.1).
    pub(super) fn close(mut self: Box<Self>) {
        let mut cx = Context::from_waker(Waker::noop());
        let _best_effort = Pin::new(&mut self.io).poll_shutdown(&mut cx);
    }

    /// Writes the request, as far as the socket accepts it and the caller has sent it.
    pub(super) fn poll_send(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Outgoing,
    ) -> Poll<Result<(), SendError>> {
        self.sending.poll(cx, Pin::new(&mut self.io), body)
    }

    /// The next bytes of the response; empty at the end of the conn.
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
        interim: &mut InterimResponses<'_>,
    ) -> Poll<Result<Head, Error>> {
        loop {
            // 1. Write. After a failed write the answer is still read, because it may say why.
            if let Poll::Ready(Err(SendError::Body(error))) = self.poll_send(cx, body) {
                return Poll::Ready(Err(Error::RequestBody(error)));
            }
            // 2. Read one head, and return it unless it is interim (RFC 9110 §15.2).
            let head = ready!(self.poll_head(cx, method))?;
            let status = head.response.status();
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Poll::Ready(Ok(head));
            }
            interim.take(head.response)?;
            // 3. Any interim response shows that the origin reads, so the body need not wait for
            // 100.
            body.release();
        }
    }

    /// Reads one head. Usually it arrives at once, and is parsed without being buffered.
    fn poll_head(&mut self, cx: &mut Context<'_>, method: &Method) -> Poll<Result<Head, Error>> {
        let mut looked_at = 0;
        loop {
            // 1. The head may be complete in the buffer.
            if let Some(end) = head_end(&self.unread, looked_at) {
                let head = self.unread.get(..end).map(Bytes::copy_from_slice).unwrap_or_default();
                self.consume(end);
                return Poll::Ready(Head::read(&head, method).map_err(Error::ResponseMalformed));
            }
            // 2. Otherwise read more.
            looked_at = self.unread.len();
            let phase = self.response_phase();
            let bytes = ready!(Pin::new(&mut self.io).poll_fill_buf(cx))
                .map_err(|error| Error::closed(phase, error))?;
            if bytes.is_empty() {
                let error = io::ErrorKind::UnexpectedEof.into();
                return Poll::Ready(Err(Error::Closed(phase, error)));
            }
            self.answered = true;
            let count = bytes.len();
            // 3. With an empty buffer, a complete head is parsed in place.
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

    fn response_phase(&self) -> ResponsePhase {
        if self.answered { ResponsePhase::WithinHead } else { ResponsePhase::BeforeResponse }
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
