//! Encodes a request and writes it on the conn (RFC 9112 §3, §6, §7.1).

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::io::AsyncWrite;
use zeroize::Zeroizing;

use crate::model::target::decode_unparsable;
use crate::upstream::body::{BodyError, Outgoing, SendError};

/// The state of writing a request: its buffers, and the framing of its body.
#[derive(Debug, Default)]
pub(super) struct RequestWriter {
    /// Encoded bytes: the head with its credential, framing, and data small enough to be copied.
    ready: Zeroizing<Vec<u8>>,
    written: usize,
    /// Data that is written without a copy.
    data: Bytes,
    body: WritePhase,
    /// Set once any byte of the request may have been written.
    is_begun: bool,
    /// The data read from the body before that.
    unwritten: SmallVec<[Bytes; 2]>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum WritePhase {
    /// This many bytes of the body are to come.
    Length(u64),
    Chunked,
    /// The last byte is encoded and not yet written.
    Last,
    /// All was written.
    #[default]
    Over,
    /// Writing has failed.
    Broken,
}

/// A body whose length differs from the announced one.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body is not as long as its Content-Length")]
struct WrongLength;

impl RequestWriter {
    /// Encodes the head of a request.
    pub(super) fn begin(&mut self, request: &Request<Outgoing>) {
        self.ready.clear();
        self.written = 0;
        self.data.clear();
        self.body = body_framing(request);
        self.is_begun = false;
        self.unwritten.clear();
        encode_head(request, self.body, &mut self.ready);
    }

    /// The data read from the body, when no byte was written; `None` when the origin may have
    /// received part of the request.
    pub(super) fn take_unwritten(&mut self) -> Option<Bytes> {
        let unwritten = std::mem::take(&mut self.unwritten);
        (!self.is_begun).then(|| unwritten.concat().into())
    }

    pub(super) fn is_over(&self) -> bool {
        self.body == WritePhase::Over
    }

    /// Writes the request to its end. Pending while the socket or the body is.
    pub(super) fn poll<T: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut io: Pin<&mut T>,
        body: &mut Outgoing,
    ) -> Poll<Result<(), SendError>> {
        loop {
            match self.body {
                WritePhase::Over => return Poll::Ready(Ok(())),
                WritePhase::Broken => return Poll::Ready(Err(SendError::Conn)),
                WritePhase::Length(_) | WritePhase::Chunked if self.has_room() => {
                    match self.poll_body(cx, body) {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        // Write what is encoded now: the body may take long.
                        Poll::Pending => {}
                    }
                }
                WritePhase::Length(_) | WritePhase::Chunked | WritePhase::Last => {}
            }
            // With nothing left to write, the body is what the request waits for.
            let idle = self.is_empty();
            if ready!(self.poll_write(cx, io.as_mut(), body)).is_err() {
                self.body = WritePhase::Broken;
            } else if self.body == WritePhase::Last {
                self.note_written();
            } else if idle {
                return Poll::Pending;
            }
        }
    }

    /// Tells whether more of the body may be read.
    fn has_room(&self) -> bool {
        self.data.is_empty() && self.ready.len() < COALESCE_UP_TO
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.ready.is_empty()
    }

    fn note_written(&mut self) {
        self.body = WritePhase::Over;
        if self.ready.capacity() > MAX_IDLE_CAPACITY {
            self.ready = Zeroizing::default();
        }
    }

    /// Clears the buffer, and overwrites the credential in it. An idle conn keeps its memory.
    fn wipe_buffer(&mut self) {
        self.ready.fill(0);
        std::hint::black_box(&mut self.ready).clear();
        self.written = 0;
    }

    fn poll_write<T: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut io: Pin<&mut T>,
        body: &Outgoing,
    ) -> Poll<std::io::Result<()>> {
        // 1. Encoded bytes. When one TLS record is not written whole, the peer can read none of it.
        let is_one_record = self.ready.len() <= MAX_TLS_RECORD_BYTES && self.data.is_empty();
        while let Some(rest) = self.ready.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(io.as_mut().poll_write(cx, rest));
            if !self.is_begun && (count.is_ok() || !is_one_record) {
                self.is_begun = true;
                self.unwritten.clear();
            }
            self.written += nonzero(count?)?;
        }
        // 2. Data that was not copied.
        self.wipe_buffer();
        while !self.data.is_empty() {
            let count = nonzero(ready!(io.as_mut().poll_write(cx, &self.data))?)?;
            self.data.advance(count);
            body.note_progress();
        }
        io.poll_flush(cx)
    }

    /// Reads a frame of the body and encodes it.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Outgoing,
    ) -> Poll<Result<(), SendError>> {
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose();
        let frame = frame.map_err(SendError::Body)?;
        let Some(frame) = frame else { return Poll::Ready(self.encode_end(&HeaderMap::new())) };
        let taken = match frame.into_data() {
            Ok(data) => self.push_data(data),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return Poll::Ready(self.encode_end(&trailers));
            }
        };
        if taken.is_ok() && body.is_end_stream() {
            return Poll::Ready(self.encode_end(&HeaderMap::new()));
        }
        Poll::Ready(taken)
    }

    fn push_data(&mut self, data: Bytes) -> Result<(), SendError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if data.is_empty() {
            return Ok(());
        }
        if !self.is_begun {
            self.unwritten.push(data.clone());
        }
        match &mut self.body {
            WritePhase::Length(left) => {
                *left = left.checked_sub(length).ok_or_else(wrong_length)?;
            }
            _ => self.ready.extend_from_slice(format!("{length:x}\r\n").as_bytes()),
        }
        if self.body == WritePhase::Chunked {
            self.ready.extend_from_slice(&data);
            self.ready.extend_from_slice(b"\r\n");
        } else if self.ready.len() + data.len() <= COALESCE_UP_TO {
            self.ready.extend_from_slice(&data);
        } else {
            self.data = data;
        }
        Ok(())
    }

    /// Encodes the end of the body.
    fn encode_end(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
        match self.body {
            WritePhase::Chunked => {
                self.ready.extend_from_slice(b"0\r\n");
                // Trailers are not kept, so the request can't be sent again.
                self.is_begun |= !trailers.is_empty();
                for (name, value) in trailers {
                    push_field(&mut self.ready, name, value);
                }
                self.ready.extend_from_slice(b"\r\n");
            }
            WritePhase::Length(left) if left > 0 => return Err(wrong_length()),
            _ => {}
        }
        self.body = WritePhase::Last;
        Ok(())
    }
}

fn wrong_length() -> SendError {
    SendError::Body(BodyError::from(WrongLength))
}

fn nonzero(count: usize) -> std::io::Result<usize> {
    if count == 0 { Err(std::io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

/// The framing of the body: by its length where it is known, else chunked (§6).
fn body_framing(request: &Request<Outgoing>) -> WritePhase {
    let body = request.body();
    if body.is_empty() {
        return WritePhase::Last;
    }
    body.size_hint().exact().map_or(WritePhase::Chunked, WritePhase::Length)
}

fn encode_head(request: &Request<Outgoing>, body: WritePhase, out: &mut Vec<u8>) {
    let target = request.uri().path_and_query().map_or("/", |target| target.as_str());
    out.reserve(target.len() + request.headers().len() * 64 + 128);
    out.extend_from_slice(request.method().as_str().as_bytes());
    out.push(b' ');
    if !target.starts_with(['/', '*']) {
        out.push(b'/');
    }
    out.extend_from_slice(decode_unparsable(target).as_bytes());
    out.extend_from_slice(b" HTTP/1.1\r\n");
    for (name, value) in request.headers() {
        // Framing fields are written below, for this conn.
        if *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING {
            push_field(out, name, value);
        }
    }
    let written = match body {
        WritePhase::Length(length) => write!(out, "content-length: {length}\r\n\r\n"),
        WritePhase::Chunked => write!(out, "transfer-encoding: chunked\r\n\r\n"),
        _ if usually_has_body(request.method()) => write!(out, "content-length: 0\r\n\r\n"),
        _ => write!(out, "\r\n"),
    };
    debug_assert!(written.is_ok(), "a Vec takes all that is written to it");
}

/// Tells whether a method states the length even of an empty body (RFC 9110 §8.6).
fn usually_has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn push_field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Data up to this many bytes is copied and written together with what precedes it.
const COALESCE_UP_TO: usize = 16 << 10;
/// The largest content of a TLS record (RFC 8446 §5.1).
const MAX_TLS_RECORD_BYTES: usize = 16 << 10;
/// The largest buffer that an idle conn keeps for its next request.
const MAX_IDLE_CAPACITY: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Waker;

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    /// A conn that accepts a number of bytes and then fails.
    struct Taking(usize);

    impl AsyncWrite for Taking {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            let count = buf.len().min(self.0);
            self.0 -= count;
            Poll::Ready(if count > 0 { Ok(count) } else { Err(io::ErrorKind::BrokenPipe.into()) })
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// The rest of a body after the conn has accepted `taking` bytes.
    fn unwritten(body: Outgoing, taking: usize) -> Option<Bytes> {
        let mut request = Request::post("/v1").body(body).unwrap();
        let (mut sending, mut io) = (RequestWriter::default(), Taking(taking));
        sending.begin(&request);
        let mut cx = Context::from_waker(Waker::noop());
        let polled = sending.poll(&mut cx, Pin::new(&mut io), request.body_mut());
        assert!(matches!(polled, Poll::Ready(Err(SendError::Conn))), "{polled:?}");
        sending.take_unwritten()
    }

    #[test]
    fn what_was_never_written_is_still_there() {
        let body = |length| {
            let body = Full::new(Bytes::from(vec![b'x'; length]));
            Outgoing::stream(body.map_err(|never| match never {}))
        };
        assert_eq!(unwritten(Outgoing::empty(), 0).unwrap(), "");
        assert_eq!(unwritten(body(4), 0).unwrap(), "xxxx");
        for (body, taking) in [(Outgoing::empty(), 1), (body(4), 1), (body(4), 40)] {
            assert!(unwritten(body, taking).is_none(), "something was written");
        }
        assert!(unwritten(body(20_000), 0).is_none(), "a part of it may have been written");
    }
}
