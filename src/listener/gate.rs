//! Holds bytes back until they are a complete, unambiguous head.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::conn_state::ConnState;
use super::framing::{Framing, FramingFault, HeadLimits, MessageExtent};
use crate::model::target::encode_unparsable;

/// A conn that gives its reader one message at a time, and each head at once or not at all.
#[derive(Debug)]
pub(super) struct Gate<T> {
    io: T,
    framing: Framing,
    state: Arc<ConnState>,
    /// Bytes read and not passed on; they begin with a head.
    held: Vec<u8>,
    /// The number of held bytes that may be passed on.
    cleared: usize,
    fault: Option<FramingFault>,
    /// Tells whether the fault is in a message of which nothing was passed on.
    unseen: bool,
}

impl<T> Gate<T> {
    /// A gate before `io`, from which `first` has been read already.
    pub(super) fn new(io: T, first: Vec<u8>, limits: HeadLimits, state: Arc<ConnState>) -> Self {
        let framing = Framing::new(limits);
        Self { io, framing, state, held: first, cleared: 0, fault: None, unseen: false }
    }

    /// The fault of a message that the HTTP library has not seen and so will not answer.
    pub(super) fn unanswered_fault(&self) -> Option<FramingFault> {
        self.fault.filter(|_| self.unseen)
    }

    /// Tells whether the bytes read so far end within a message.
    pub(super) fn is_within_message(&self) -> bool {
        !self.held.is_empty() || !self.framing.in_head()
    }

    pub(super) fn into_inner(self) -> T {
        self.io
    }

    /// Passes cleared bytes on.
    fn pass_on(&mut self, buf: &mut ReadBuf<'_>) {
        self.state.note_received();
        let length = self.cleared.min(buf.remaining());
        buf.put_slice(self.held.get(..length).unwrap_or_default());
        self.held.drain(..length);
        self.cleared -= length;
        if self.held.is_empty() {
            self.held = Vec::new();
        }
    }

    /// Scans the held bytes. `true` when more must be read before any may be passed on.
    fn scan_held(&mut self) -> bool {
        let unseen = self.framing.in_head();
        match self.framing.scan(&self.held) {
            Ok(MessageExtent::IncompleteHead) => return true,
            Ok(MessageExtent::Within(length) | MessageExtent::End(length)) => {
                self.cleared = length + if unseen { self.encode_target() } else { 0 };
            }
            Err(fault) => self.note_fault(fault, unseen),
        }
        false
    }

    /// Escapes what the HTTP library can't parse in the target of the held head, and gives the
    /// number of bytes by which the head has grown.
    fn encode_target(&mut self) -> usize {
        let Some((start, end)) = target_of(&self.held) else { return 0 };
        let target = self.held.get(start..end).unwrap_or_default();
        let target = std::str::from_utf8(target).unwrap_or_default();
        let Some(hidden) = encode_unparsable(target) else { return 0 };
        let grown = hidden.len().saturating_sub(end - start);
        self.held.splice(start..end, hidden.into_bytes());
        grown
    }

    fn note_fault(&mut self, fault: FramingFault, unseen: bool) {
        self.fault = Some(fault);
        self.unseen = unseen;
    }
}

/// The start and end of the target in a message's request line.
fn target_of(message: &[u8]) -> Option<(usize, usize)> {
    // Empty lines before a request line are skipped (RFC 9112 §2.2).
    let line = message.iter().position(|byte| !matches!(byte, b'\r' | b'\n'))?;
    let start = line + memchr::memchr(b' ', message.get(line..)?)? + 1;
    let rest = message.get(start..)?;
    let length = memchr::memchr2(b' ', b'\n', rest)?;
    Some((start, start + length))
}

impl<T: AsyncRead + Unpin> Gate<T> {
    /// Reads into the reader's own buffer, without a copy, and holds back what may not be passed
    /// on.
    fn read_through(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        let fresh = buf.filled().get(before..).unwrap_or_default();
        if fresh.is_empty() {
            return Poll::Ready(Ok(()));
        }
        let unseen = self.framing.in_head();
        // A target to escape is rare: hold the bytes, to be scanned again where they can grow.
        if unseen
            && target_of(fresh).is_some_and(|(start, end)| {
                let target =
                    fresh.get(start..end).and_then(|target| std::str::from_utf8(target).ok());
                target.is_some_and(|target| encode_unparsable(target).is_some())
            })
        {
            self.held.extend_from_slice(fresh);
            buf.set_filled(before);
            return Poll::Ready(Ok(()));
        }
        // Leave the cleared bytes in the reader's buffer and hold the rest.
        let passed = match self.framing.scan(fresh) {
            Ok(MessageExtent::Within(length) | MessageExtent::End(length)) => length,
            Ok(MessageExtent::IncompleteHead) => 0,
            Err(fault) => {
                self.note_fault(fault, unseen);
                0
            }
        };
        if passed > 0 {
            self.state.note_received();
        }
        if passed < fresh.len() {
            self.held.extend_from_slice(fresh.get(passed..).unwrap_or_default());
            buf.set_filled(before + passed);
        }
        Poll::Ready(Ok(()))
    }

    /// Reads more of a held head. `true` when the conn has ended.
    fn read_more(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<bool>> {
        let mut space = [0; 2048];
        let mut more = ReadBuf::new(&mut space);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut more))?;
        self.held.extend_from_slice(more.filled());
        Poll::Ready(Ok(more.filled().is_empty()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gate<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // 1. After an upgrade every byte is passed on unread.
        if this.state.is_upgraded() {
            this.cleared = this.held.len();
            if this.cleared == 0 {
                return Pin::new(&mut this.io).poll_read(cx, buf);
            }
        }
        loop {
            // 2. Cleared bytes go first.
            if this.cleared > 0 {
                this.pass_on(buf);
                return Poll::Ready(Ok(()));
            }
            // 3. After a fault nothing more is read. An earlier request of the conn is answered
            // first; its end polls this again.
            if let Some(fault) = this.fault {
                if this.unseen && this.state.is_busy() {
                    return Poll::Pending;
                }
                return Poll::Ready(Err(io::Error::new(io::ErrorKind::InvalidData, fault)));
            }
            // 4. Read on: directly while nothing is held, else until the held head is complete.
            if this.held.is_empty() {
                let before = buf.filled().len();
                ready!(this.read_through(cx, buf))?;
                if !this.held.is_empty() {
                    this.state.expect_head();
                }
                if buf.filled().len() > before || (this.held.is_empty() && this.fault.is_none()) {
                    return Poll::Ready(Ok(()));
                }
            } else if this.scan_held() && ready!(this.read_more(cx))? {
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gate<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write(cx, buf);
        this.state.write_stalled(written.is_pending());
        written
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        let written = Pin::new(&mut this.io).poll_write_vectored(cx, bufs);
        this.state.write_stalled(written.is_pending());
        written
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        // The refusal is still to be written, and its writer shuts the conn down.
        if this.unanswered_fault().is_some() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut this.io).poll_shutdown(cx)
    }
}
