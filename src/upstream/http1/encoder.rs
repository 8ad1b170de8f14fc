//! A request as it is written on the conn (RFC 9112 §3, §6, §7.1).

use std::io::Write as _;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, header};
use http_body::Body as _;
use smallvec::SmallVec;
use tokio::io::AsyncWrite;
use zeroize::Zeroizing;

use super::SendError;
use crate::model::target::decode_unparsable;
use crate::upstream::body::{BodyError, Outgoing};

/// A request under way: what is ready to be written, and how its body goes on.
#[derive(Debug, Default)]
pub(super) struct RequestWriter {
    /// The head with its credential, or framing, with what data is small enough to go along.
    ready: Zeroizing<Vec<u8>>,
    written: usize,
    /// Data that is written from where it lies.
    data: Bytes,
    body: WritePhase,
    /// Tells whether anything was written, in part at least.
    is_begun: bool,
    /// What was taken of the body before that.
    unwritten: SmallVec<[Bytes; 2]>,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum WritePhase {
    /// So many bytes are to come.
    Length(u64),
    Chunked,
    /// The last byte is ready.
    Last,
    /// It has been written.
    #[default]
    Over,
    /// It can't be.
    Broken,
}

/// The body is not as long as it said.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body is not as long as it said")]
struct WrongLength;

impl RequestWriter {
    /// Makes the head of a request ready.
    pub(super) fn begin(&mut self, request: &Request<Outgoing>) {
        self.ready.clear();
        self.written = 0;
        self.data.clear();
        self.body = framing(request);
        self.is_begun = false;
        self.unwritten.clear();
        encode_head(request, self.body, &mut self.ready);
    }

    /// What was taken of the body, when nothing at all could be written; `None` when the origin may
    /// have something of the request.
    pub(super) fn take_unwritten(&mut self) -> Option<Bytes> {
        let unwritten = std::mem::take(&mut self.unwritten);
        (!self.is_begun).then(|| unwritten.concat().into())
    }

    pub(super) fn is_over(&self) -> bool {
        self.body == WritePhase::Over
    }

    /// Writes what is ready, and what the body gives, to the end.
    pub(super) fn poll<T: AsyncWrite>(
        &mut self,
        cx: &mut Context<'_>,
        mut io: Pin<&mut T>,
        body: &mut Outgoing,
    ) -> Poll<Result<(), SendError>> {
        loop {
            match self.body {
                WritePhase::Over => return Poll::Ready(Ok(())),
                WritePhase::Broken => return Poll::Ready(Err(SendError::Io)),
                WritePhase::Length(_) | WritePhase::Chunked if self.has_room() => {
                    match self.poll_body(cx, body) {
                        Poll::Ready(Ok(())) => continue,
                        Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                        // What is ready goes now; the body may be long in coming.
                        Poll::Pending => {}
                    }
                }
                WritePhase::Length(_) | WritePhase::Chunked | WritePhase::Last => {}
            }
            let idle = self.is_empty();
            if ready!(self.poll_write(cx, io.as_mut(), body)).is_err() {
                self.body = WritePhase::Broken;
            } else if self.body == WritePhase::Last {
                self.finish();
            } else if idle {
                return Poll::Pending;
            }
        }
    }

    /// Whether the body may be asked for more.
    fn has_room(&self) -> bool {
        self.data.is_empty() && self.ready.len() < COALESCE_UP_TO
    }

    fn is_empty(&self) -> bool {
        self.data.is_empty() && self.ready.is_empty()
    }

    fn finish(&mut self) {
        self.body = WritePhase::Over;
        if self.ready.capacity() > MAX_IDLE_CAPACITY {
            self.ready = Zeroizing::default();
        }
    }

    /// An idle conn keeps the room, and nothing of the credential that was in it.
    fn wipe(&mut self) {
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
        // Of what fits into one TLS record, nothing can be read when it can't be written whole.
        let is_one_record = self.ready.len() <= MAX_TLS_RECORD_BYTES && self.data.is_empty();
        while let Some(rest) = self.ready.get(self.written..).filter(|rest| !rest.is_empty()) {
            let count = ready!(io.as_mut().poll_write(cx, rest));
            if !self.is_begun && (count.is_ok() || !is_one_record) {
                self.is_begun = true;
                self.unwritten.clear();
            }
            self.written += some(count?)?;
        }
        self.wipe();
        while !self.data.is_empty() {
            let count = some(ready!(io.as_mut().poll_write(cx, &self.data))?)?;
            self.data.advance(count);
            body.moved();
        }
        io.poll_flush(cx)
    }

    /// Takes a frame of the body.
    fn poll_body(
        &mut self,
        cx: &mut Context<'_>,
        body: &mut Outgoing,
    ) -> Poll<Result<(), SendError>> {
        let frame = ready!(Pin::new(&mut *body).poll_frame(cx)).transpose();
        let frame = frame.map_err(SendError::Body)?;
        let Some(frame) = frame else { return Poll::Ready(self.end(&HeaderMap::new())) };
        let taken = match frame.into_data() {
            Ok(data) => self.take(data),
            Err(frame) => {
                let trailers = frame.into_trailers().unwrap_or_default();
                return Poll::Ready(self.end(&trailers));
            }
        };
        if taken.is_ok() && body.is_end_stream() {
            return Poll::Ready(self.end(&HeaderMap::new()));
        }
        Poll::Ready(taken)
    }

    fn take(&mut self, data: Bytes) -> Result<(), SendError> {
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if data.is_empty() {
            return Ok(());
        }
        if !self.is_begun {
            self.unwritten.push(data.clone());
        }
        match &mut self.body {
            WritePhase::Length(left) => {
                *left = left.checked_sub(length).ok_or_else(wrong_length)?
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

    /// The body has ended; so has the request, once all this is written.
    fn end(&mut self, trailers: &HeaderMap) -> Result<(), SendError> {
        match self.body {
            WritePhase::Chunked => {
                self.ready.extend_from_slice(b"0\r\n");
                // Trailers are not kept.
                self.is_begun |= !trailers.is_empty();
                for (name, value) in trailers {
                    field(&mut self.ready, name, value);
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

fn some(count: usize) -> std::io::Result<usize> {
    if count == 0 { Err(std::io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

/// By its length if that is known, else in chunks (§6).
fn framing(request: &Request<Outgoing>) -> WritePhase {
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
        // Framing is this conn's own.
        if *name != header::CONTENT_LENGTH && *name != header::TRANSFER_ENCODING {
            field(out, name, value);
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

/// Such a method says the length of an empty body too (RFC 9110 §8.6).
fn usually_has_body(method: &Method) -> bool {
    matches!(*method, Method::POST | Method::PUT | Method::PATCH)
}

fn field(out: &mut Vec<u8>, name: &HeaderName, value: &HeaderValue) {
    out.extend_from_slice(name.as_str().as_bytes());
    out.extend_from_slice(b": ");
    out.extend_from_slice(value.as_bytes());
    out.extend_from_slice(b"\r\n");
}

/// Up to here data is copied to go out with what is before it; beyond, it is written by itself.
const COALESCE_UP_TO: usize = 16 << 10;
/// The most that goes into one TLS record (RFC 8446 §5.1).
const MAX_TLS_RECORD_BYTES: usize = 16 << 10;
/// The most room that is kept for the next request.
const MAX_IDLE_CAPACITY: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use std::io;
    use std::task::Waker;

    use http_body_util::{BodyExt as _, Full};

    use super::*;

    /// A conn that takes so many bytes, and then no more.
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

    /// What is still there of a body after the conn has taken so many bytes.
    fn unwritten(body: Outgoing, taking: usize) -> Option<Bytes> {
        let mut request = Request::post("/v1").body(body).unwrap();
        let (mut sending, mut io) = (RequestWriter::default(), Taking(taking));
        sending.begin(&request);
        let mut cx = Context::from_waker(Waker::noop());
        let polled = sending.poll(&mut cx, Pin::new(&mut io), request.body_mut());
        assert!(matches!(polled, Poll::Ready(Err(SendError::Io))), "{polled:?}");
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
