//! The bytes that have come from a caller and are not read yet.

use std::io;
use std::mem::MaybeUninit;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, ReadBuf};

use crate::http1::{BodyDecoder, FramingFault, HeadLimits, HeadScan, RequestHead};

/// Received bytes. They are read into the stack first, so that a conn that waits holds no memory.
/// They have the caller's token, so that they are not printed.
#[derive(Default)]
pub(super) struct Received {
    /// The beginning of a head that is not complete.
    partial_head: Vec<u8>,
    /// The scan of that head so far.
    scan: HeadScan,
    /// Bytes behind the last head.
    unread: Bytes,
    /// The memory into which a body is read.
    space: BytesMut,
    /// The number of bytes for which it has room.
    read_ahead: usize,
    /// The caller sends nothing more.
    is_ended: bool,
}

impl Received {
    pub(super) fn is_empty(&self) -> bool {
        self.partial_head.is_empty() && self.unread.is_empty()
    }

    /// Tells whether the caller has closed its side.
    pub(super) fn is_ended(&self) -> bool {
        self.is_ended
    }

    /// Tells whether the caller has closed its side and all that it sent was read.
    pub(super) fn is_over(&self) -> bool {
        self.is_ended && self.is_empty()
    }

    pub(super) fn into_unread(self) -> Bytes {
        self.unread
    }

    /// Reads a head that is complete; what follows it stays.
    pub(super) fn read_head(
        &mut self,
        limits: HeadLimits,
    ) -> Result<Option<RequestHead>, FramingFault> {
        // 1. Usually a head comes whole, and is read where it lies.
        if self.partial_head.is_empty() {
            if self.unread.is_empty() {
                return Ok(None);
            }
            let Some(end) = self.scan.scan(&self.unread, limits)? else {
                self.partial_head = std::mem::take(&mut self.unread).into();
                return Ok(None);
            };
            return self.finish_head(end, limits).map(Some);
        }
        // 2. Else it grows until it is whole.
        self.partial_head.extend_from_slice(&std::mem::take(&mut self.unread));
        let Some(end) = self.scan.scan(&self.partial_head, limits)? else { return Ok(None) };
        self.unread = std::mem::take(&mut self.partial_head).into();
        self.finish_head(end, limits).map(Some)
    }

    fn finish_head(&mut self, end: usize, limits: HeadLimits) -> Result<RequestHead, FramingFault> {
        let head = self.unread.split_to(end);
        self.scan.read(&head, limits)
    }

    /// Takes a body that has arrived as a whole.
    pub(super) fn take_whole(&mut self, body: &BodyDecoder) -> Option<Bytes> {
        let length = usize::try_from(body.left()?).ok()?;
        (length <= self.unread.len()).then(|| self.unread.split_to(length))
    }

    /// The bytes of a body that have arrived; the caller of this consumes them.
    pub(super) fn unread(&mut self) -> &mut Bytes {
        &mut self.unread
    }

    /// Reads on while a head is awaited, or an answer. `false` at the end of the conn.
    pub(super) fn poll_more<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<bool>> {
        if self.is_ended {
            return Poll::Ready(Ok(false));
        }
        let mut space = [const { MaybeUninit::uninit() }; HEAD_READ_BYTES];
        let mut fresh = ReadBuf::uninit(&mut space);
        ready!(Pin::new(io).poll_read(cx, &mut fresh))?;
        let fresh = fresh.filled();
        self.is_ended = fresh.is_empty();
        self.unread = if self.unread.is_empty() {
            Bytes::copy_from_slice(fresh)
        } else {
            [&self.unread, fresh].concat().into()
        };
        Poll::Ready(Ok(!self.is_ended))
    }

    /// Reads on within a body, of which all that came was consumed. `false` at the end of the conn.
    pub(super) fn poll_body<T: AsyncRead + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        io: &mut T,
    ) -> Poll<io::Result<bool>> {
        if self.is_ended {
            return Poll::Ready(Ok(false));
        }
        // Memory that was passed on and dropped meanwhile is used again.
        self.read_ahead = self.read_ahead.max(MIN_BODY_READ_BYTES);
        self.space.reserve(self.read_ahead);
        let count = ready!(pin!(io.read_buf(&mut self.space)).poll(cx))?;
        if count >= self.read_ahead {
            self.read_ahead = (self.read_ahead * 2).min(MAX_BODY_READ_BYTES);
        }
        self.is_ended = count == 0;
        self.unread = self.space.split().freeze();
        Poll::Ready(Ok(!self.is_ended))
    }

    /// Gives back the memory into which a body was read.
    pub(super) fn end_body(&mut self) {
        self.space = BytesMut::new();
        self.read_ahead = 0;
    }
}

/// The number of bytes of later requests that are kept while an answer is waited for.
pub(super) const MAX_READ_AHEAD: usize = 16 << 10;
/// The number of bytes that are read at once while a head is awaited.
const HEAD_READ_BYTES: usize = 4 << 10;
const MIN_BODY_READ_BYTES: usize = 8 << 10;
const MAX_BODY_READ_BYTES: usize = 64 << 10;
