//! A caller's HTTP/1.1 conn: one exchange after the other (RFC 9112 §9.3).
//!
//! One task does it all: it reads a head, polls the handler, feeds it the body as it asks for it,
//! and writes the answer. Nothing is set up before the first byte, and an idle conn holds no buffer
//! for reading.

mod exchange;
mod gone_check;
mod received;

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, Uri, Version, header};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::oneshot;

use self::exchange::BodyFeed;
use self::gone_check::GoneCheck;
use self::received::Received;
use super::Handler;
use super::answer_writer::AnswerWriter;
use super::conn_state::ConnState;
use super::request_body::RequestBody;
use super::switch::{PendingSwitch, SwitchedConn};
use crate::http1::{AnswerTerms, AnsweredMethod, FramingFault, HeadLimits, RequestHead};
use crate::model::target::encode_unparsable;

/// An HTTP/1.1 conn.
pub(super) struct CallerConn<T> {
    io: T,
    state: Arc<ConnState>,
    limits: HeadLimits,
    received: Received,
    writer: AnswerWriter,
    /// Finds out whether a caller that has closed its side is still there.
    gone_check: GoneCheck,
}

/// The end of an HTTP/1.1 conn, whose socket is then its holder's.
#[derive(Debug)]
pub(super) enum Http1End {
    /// Nothing more is to be written or read.
    Over,
    /// All is written, and the caller may still be sending (RFC 9112 §9.6).
    Lingering,
    /// The next message is refused.
    Refused(FramingFault),
    /// The caller has gone, or its answer can't be completed.
    Broken,
    /// The conn is another protocol's, and goes there.
    Switched(oneshot::Sender<SwitchedConn>),
}

/// The protocol that a caller speaks where no TLS handshake has chosen one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Protocol {
    /// HTTP/1.1 or 1.0.
    Http1,
    /// HTTP/2 with prior knowledge (RFC 9113 §3.3).
    Http2,
    /// TLS, where none is expected.
    Tls,
}

/// A request, and what its conn keeps of it.
struct Exchange {
    request: Request<RequestBody>,
    feed: BodyFeed,
    terms: AnswerTerms,
    /// The place to which the conn goes if it switches.
    switch: Option<oneshot::Sender<SwitchedConn>>,
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> CallerConn<T> {
    /// A conn before its first byte.
    pub(super) fn new(io: T, limits: HeadLimits, state: Arc<ConnState>) -> Self {
        let (received, writer) = (Received::default(), AnswerWriter::default());
        Self { io, state, limits, received, writer, gone_check: GoneCheck::default() }
    }

    /// The socket, and the bytes that were received and not read.
    pub(super) fn into_parts(self) -> (T, Bytes) {
        (self.io, self.received.into_unread())
    }

    /// Reads until it shows which protocol the caller speaks; `None` when it closes the conn first.
    pub(super) fn poll_protocol(&mut self, cx: &mut Context<'_>) -> Poll<Option<Protocol>> {
        loop {
            match ready!(self.received.poll_more(cx, &mut self.io)) {
                Ok(true) => {}
                Ok(false) | Err(_) => return Poll::Ready(None),
            }
            if let Some(protocol) = Protocol::of(self.received.unread()) {
                return Poll::Ready(Some(protocol));
            }
        }
    }

    /// Serves requests until the conn ends.
    pub(super) async fn serve<H: Handler>(&mut self, handler: &Arc<H>) -> Http1End {
        loop {
            // 1. Read a head. While it waits the conn holds nothing else.
            let exchange = match poll_fn(|cx| self.poll_head(cx)).await {
                Ok(Some(head)) => self.begin(head),
                Ok(None) => return Http1End::Over,
                Err(fault) => return Http1End::Refused(fault),
            };
            let Exchange { request, mut feed, mut terms, switch } = match exchange {
                Ok(exchange) => exchange,
                Err(fault) => return Http1End::Refused(fault),
            };
            // 2. Have it answered.
            let in_flight = self.state.begin_request();
            self.gone_check = GoneCheck::of(terms);
            self.state.expect_interim(!terms.is_http10);
            let response = {
                let mut answer = pin!(Arc::clone(handler).handle(in_flight, request));
                poll_fn(|cx| self.poll_handler(cx, answer.as_mut(), &mut feed)).await
            };
            let Some(response) = response else { return Http1End::Broken };
            // 3. Write the answer. Its body is dropped at its end, and not when all is written.
            let switches = terms.switches(response.status());
            let mut body = pin!(Some(self.begin_answer(response, &mut feed, &mut terms)));
            if !poll_fn(|cx| self.poll_answer(cx, body.as_mut(), &mut feed)).await {
                return Http1End::Broken;
            }
            match switch {
                Some(switch) if switches => return Http1End::Switched(switch),
                _ => {}
            }
            // 4. Read the rest of its body, or end the conn.
            if !terms.keeps_alive {
                let all_read = feed.has_ended() && !poll_fn(|cx| self.poll_is_sent_more(cx)).await;
                return if all_read { Http1End::Over } else { Http1End::Lingering };
            }
            if !poll_fn(|cx| self.poll_rest(cx, &mut feed)).await {
                return Http1End::Lingering;
            }
            self.writer.rest();
        }
    }

    /// Reads a whole head; `None` when the conn ends before one, or is to be closed.
    fn poll_head(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<Option<RequestHead>, FramingFault>> {
        loop {
            // 1. The head may be here already.
            if let Some(head) = self.received.read_head(self.limits)? {
                return Poll::Ready(Ok(Some(head)));
            }
            if !self.received.is_empty() {
                self.state.expect_head();
            }
            // 2. Otherwise read more. A conn that is to close is not waited for.
            match self.received.poll_more(cx, &mut self.io) {
                Poll::Ready(Ok(true)) => {}
                Poll::Ready(Ok(false) | Err(_)) => return Poll::Ready(Ok(None)),
                Poll::Pending if self.state.is_draining() => return Poll::Ready(Ok(None)),
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// Tells at once whether there is more than was read: closing a socket with unread bytes may
    /// destroy the answer (RFC 9112 §9.6).
    fn poll_is_sent_more(&mut self, cx: &mut Context<'_>) -> Poll<bool> {
        let more = matches!(self.received.poll_more(cx, &mut self.io), Poll::Ready(Ok(true)));
        Poll::Ready(more || !self.received.is_empty())
    }

    /// Makes the handler's request of a head, and what the conn keeps of it.
    fn begin(&mut self, mut head: RequestHead) -> Result<Exchange, FramingFault> {
        self.state.note_received();
        let terms = AnswerTerms::of(&head);
        let (body, feed) = self.begin_body(&mut head);
        let mut request = Request::new(body);
        *request.method_mut() = head.method;
        *request.uri_mut() = uri(&head.target)?;
        *request.version_mut() = head.version;
        *request.headers_mut() = head.headers;
        let may_switch = terms.method == AnsweredMethod::Connect
            || head.version == Version::HTTP_11 && request.headers().contains_key(header::UPGRADE);
        let switch = may_switch.then(|| {
            let (pending, switch) = PendingSwitch::of_http1();
            request.extensions_mut().insert(pending);
            switch
        });
        Ok(Exchange { request, feed, terms, switch })
    }

    /// The body of a request. One that has arrived with its head needs no feeding.
    fn begin_body(&mut self, head: &mut RequestHead) -> (RequestBody, BodyFeed) {
        let Some(decoder) = head.body.take() else {
            return (RequestBody::empty(), BodyFeed::Ended);
        };
        if let Some(whole) = self.received.take_whole(&decoder) {
            return (RequestBody::whole(whole), BodyFeed::Ended);
        }
        let (body, feeder) = RequestBody::fed(decoder.left());
        (body, BodyFeed::new(feeder, decoder, head.expects_continue))
    }
}

impl Protocol {
    /// The protocol of a conn that begins so; `None` while that is not certain.
    fn of(first: &[u8]) -> Option<Self> {
        if first.first() == Some(&TLS_HANDSHAKE_BYTE) {
            Some(Self::Tls)
        } else if first.starts_with(HTTP2_PREFACE) {
            Some(Self::Http2)
        } else {
            (!HTTP2_PREFACE.starts_with(first)).then_some(Self::Http1)
        }
    }
}

/// The target as the HTTP library reads it.
fn uri(target: &Bytes) -> Result<Uri, FramingFault> {
    // What the library does not parse is escaped for it, and written as it was when it leaves.
    let text = std::str::from_utf8(target).unwrap_or_default();
    let parsed = match encode_unparsable(text) {
        Some(escaped) => Uri::from_maybe_shared(Bytes::from(escaped)),
        None => Uri::from_maybe_shared(target.clone()),
    };
    parsed.map_err(|_unread| match target.len() {
        MAX_TARGET_BYTES.. => FramingFault::TooLarge,
        _ => FramingFault::RequestLine,
    })
}

/// The length from which on the HTTP library reads no target, in bytes.
const MAX_TARGET_BYTES: usize = u16::MAX as usize - 1;
/// The client connection preface (RFC 9113 §3.4).
const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of a TLS record that begins a handshake (RFC 8446 §5.1).
const TLS_HANDSHAKE_BYTE: u8 = 22;
