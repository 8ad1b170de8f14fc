//! Writes answers on an HTTP/1.1 conn.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::{Buf as _, Bytes};
use http::response::Parts;
use http::{HeaderMap, Response};
use tokio::io::AsyncWrite;

use super::conn_state::ConnState;
use super::date::with_date;
use crate::http1::{
    AnswerFraming, AnswerTerms, encode_chunk, encode_head, encode_interim, encode_trailers,
};

/// The answer that is being written, and the bytes that the socket has not taken yet.
#[derive(Default)]
pub(super) struct AnswerWriter {
    /// Encoded bytes: heads, framing, and data small enough to be copied.
    ready: Vec<u8>,
    written: usize,
    /// Data that is written without a copy.
    data: Bytes,
    /// Something was written that may still wait below, as TLS records do for the socket.
    is_unflushed: bool,
    body: WriteState,
}

#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
enum WriteState {
    /// The body is to come, framed so.
    Body(AnswerFraming),
    /// The last byte is encoded.
    #[default]
    Encoded,
}

/// The body is not as long as its head says, or has failed.
#[derive(Clone, Copy, Debug)]
pub(super) struct AnswerFailure;

impl AnswerWriter {
    /// Encodes the head of an answer. `known_length` is its body's length, where it is known.
    pub(super) fn begin(
        &mut self,
        head: &Parts,
        known_length: Option<u64>,
        terms: &mut AnswerTerms,
    ) {
        let out = &mut self.ready;
        let framing = with_date(|date| encode_head(head, known_length, date, terms, out));
        self.body = match framing {
            AnswerFraming::None | AnswerFraming::Length(0) => WriteState::Encoded,
            _ => WriteState::Body(framing),
        };
    }

    /// Encodes an interim answer, unless the caller has not read those before.
    pub(super) fn push_interim_head(&mut self, head: &Response<()>) {
        if self.has_room() {
            encode_interim(head, &mut self.ready);
        }
    }

    /// Adds an encoded interim answer (RFC 9110 §15.2).
    pub(super) fn push_interim(&mut self, message: &[u8]) {
        self.ready.extend_from_slice(message);
    }

    /// Tells whether all of the answer is encoded.
    pub(super) fn is_encoded(&self) -> bool {
        self.body == WriteState::Encoded
    }

    /// Tells whether more of the body may be read.
    pub(super) fn has_room(&self) -> bool {
        self.data.is_empty() && self.ready.len() < COALESCE_UP_TO
    }

    /// Encodes a piece of the body.
    ///
    /// # Errors
    /// [`AnswerFailure`] when it is more than the head has said.
    pub(super) fn push_data(&mut self, data: Bytes) -> Result<(), AnswerFailure> {
        // 1. Count it, and frame it where it needs that.
        let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
        if data.is_empty() {
            return Ok(());
        }
        match &mut self.body {
            WriteState::Body(AnswerFraming::Chunked { .. }) => {
                encode_chunk(&data, &mut self.ready);
                return Ok(());
            }
            WriteState::Body(AnswerFraming::Length(left)) => {
                *left = left.checked_sub(length).ok_or(AnswerFailure)?;
                if *left == 0 {
                    self.body = WriteState::Encoded;
                }
            }
            WriteState::Body(_) => {}
            WriteState::Encoded => return Err(AnswerFailure),
        }
        // 2. A small one is written together with what precedes it.
        if self.ready.len() + data.len() <= COALESCE_UP_TO {
            self.ready.extend_from_slice(&data);
        } else {
            self.data = data;
        }
        Ok(())
    }

    /// Encodes the end of the body.
    ///
    /// # Errors
    /// [`AnswerFailure`] when it is less than the head has said.
    pub(super) fn end(&mut self, trailers: Option<&HeaderMap>) -> Result<(), AnswerFailure> {
        match self.body {
            WriteState::Body(AnswerFraming::Chunked { with_trailers }) => {
                encode_trailers(trailers.filter(|_| with_trailers), &mut self.ready);
            }
            WriteState::Body(AnswerFraming::Length(_)) => return Err(AnswerFailure),
            WriteState::Body(_) | WriteState::Encoded => {}
        }
        self.body = WriteState::Encoded;
        Ok(())
    }

    /// Writes what is encoded, and flushes it. Ready only once the socket has all of it.
    pub(super) fn poll_write<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
        state: &ConnState,
    ) -> Poll<io::Result<()>> {
        if self.ready.is_empty() && self.data.is_empty() && !self.is_unflushed {
            return Poll::Ready(Ok(()));
        }
        let written = self.poll_to_socket(cx, io);
        state.write_stalled(written.is_pending());
        written
    }

    /// Lets go of the memory that an idle conn does not need.
    pub(super) fn rest(&mut self) {
        if self.ready.capacity() > MAX_IDLE_CAPACITY {
            self.ready = Vec::new();
        }
    }

    fn poll_to_socket<T: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<()>> {
        self.is_unflushed = true;
        while let Some(rest) = self.ready.get(self.written..).filter(|rest| !rest.is_empty()) {
            self.written += nonzero(ready!(Pin::new(&mut *io).poll_write(cx, rest))?)?;
        }
        self.ready.clear();
        self.written = 0;
        while !self.data.is_empty() {
            let count = nonzero(ready!(Pin::new(&mut *io).poll_write(cx, &self.data))?)?;
            self.data.advance(count);
        }
        ready!(Pin::new(io).poll_flush(cx))?;
        self.is_unflushed = false;
        Poll::Ready(Ok(()))
    }
}

fn nonzero(count: usize) -> io::Result<usize> {
    if count == 0 { Err(io::ErrorKind::WriteZero.into()) } else { Ok(count) }
}

/// Data up to this many bytes is copied and written together with what precedes it.
const COALESCE_UP_TO: usize = 16 << 10;
/// The largest buffer that an idle conn keeps for its next answer.
const MAX_IDLE_CAPACITY: usize = 2 << 10;

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU32;
    use std::task::Waker;

    use super::*;
    use crate::listener::conn_state::tests::state;

    /// A conn that takes all, and has it flushed at the second try.
    #[derive(Default)]
    struct Buffering(usize);

    impl AsyncWrite for Buffering {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(buf.len()))
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.0 += 1;
            if self.0 < 3 { Poll::Pending } else { Poll::Ready(Ok(())) }
        }

        fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Over TLS the last record of an answer may wait for the socket when all is written.
    #[test]
    fn an_answer_is_written_once_it_is_flushed() {
        let state = state(&AtomicU32::new(0).into());
        let (mut writer, mut io) = (AnswerWriter::default(), Buffering::default());
        let mut cx = Context::from_waker(Waker::noop());
        writer.push_interim(b"HTTP/1.1 100 Continue\r\n\r\n");
        for _not_yet in 0..2 {
            assert!(writer.poll_write(&mut cx, &mut io, &state).is_pending());
        }
        assert!(writer.poll_write(&mut cx, &mut io, &state).is_ready());
        assert!(writer.poll_write(&mut cx, &mut io, &state).is_ready());
        assert_eq!(io.0, 3, "nothing is flushed again");
    }
}
