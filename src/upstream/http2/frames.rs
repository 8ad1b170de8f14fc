//! The frames that pass on a conn, as far as the library keeps to itself what they say: how many
//! streams the peer allows, which streams it has not processed, which were never written, and when
//! anything was last heard of it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::conn_facts::ConnFacts;

/// A conn whose frames are read along in both directions.
#[derive(Debug)]
pub(super) struct FrameWatcher<T> {
    io: T,
    received: FrameScanner,
    sent: FrameScanner,
    facts: Arc<ConnFacts>,
    broken: Option<ClosedForWrites>,
    /// Nothing more is to be read.
    has_ended: bool,
}

/// A conn's other end takes no more.
#[derive(Debug)]
struct ClosedForWrites {
    kind: io::ErrorKind,
    /// The time when the conn is given up, though more may be to be read.
    deadline: Pin<Box<Sleep>>,
}

/// Finds the frames in a stream of bytes that comes in pieces of any size (RFC 9113 §4.1).
#[derive(Debug, Default)]
pub(super) struct FrameScanner {
    /// Bytes that come before the first frame.
    skip: usize,
    head: [u8; HEAD_LEN],
    /// The number of bytes of the head that have come.
    head_len: usize,
    /// The number of bytes of the payload that are still to come.
    payload_left: usize,
    /// The latest bytes of the payload, as many as a setting has.
    piece: [u8; PIECE_LEN],
    piece_len: usize,
    /// The number of pieces of the payload before this one.
    pieces: usize,
}

/// A part of a frame that says something.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FrameEvent {
    /// A frame has begun.
    Begun { kind: u8, stream: u32 },
    /// One entry of a SETTINGS frame.
    Setting { id: u16, value: u32 },
    /// A SETTINGS frame that is no acknowledgement has ended.
    SettingsEnd,
    /// The last stream that a GOAWAY frame leaves alone.
    LastStream(u32),
}

impl FrameScanner {
    /// A scanner of what a client sends, which begins with the preface (RFC 9113 §3.4).
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE_LEN, ..Self::default() }
    }

    /// Reads on, and tells what it finds.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut tell: impl FnMut(FrameEvent)) {
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while let Some((first, rest)) = bytes.split_first() {
            if self.head_len < HEAD_LEN {
                if let Some(place) = self.head.get_mut(self.head_len) {
                    *place = *first;
                }
                self.head_len += 1;
                bytes = rest;
                if self.head_len == HEAD_LEN {
                    self.begin(&mut tell);
                }
            } else if self.wants_payload() {
                self.take(*first, &mut tell);
                bytes = rest;
            } else {
                let passed = self.payload_left.min(bytes.len());
                self.payload_left -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
            }
            if self.head_len == HEAD_LEN && self.payload_left == 0 {
                self.end(&mut tell);
            }
        }
    }

    fn begin(&mut self, tell: &mut impl FnMut(FrameEvent)) {
        let [high, middle, low, kind, _flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
        (self.piece_len, self.pieces) = (0, 0);
        tell(FrameEvent::Begun { kind, stream: u32::from_be_bytes(stream) & STREAM_MASK });
    }

    /// Tells whether the payload says something: all of SETTINGS, and the beginning of GOAWAY.
    fn wants_payload(&self) -> bool {
        let [_, _, _, kind, flags, ..] = self.head;
        match kind {
            SETTINGS => flags & ACK == 0,
            GOAWAY => self.pieces == 0,
            _ => false,
        }
    }

    fn take(&mut self, byte: u8, tell: &mut impl FnMut(FrameEvent)) {
        if let Some(place) = self.piece.get_mut(self.piece_len) {
            *place = byte;
        }
        self.piece_len += 1;
        self.payload_left -= 1;
        if self.piece_len < PIECE_LEN {
            return;
        }
        let [_, _, _, kind, ..] = self.head;
        tell(if kind == GOAWAY {
            let [stream @ .., _, _] = self.piece;
            FrameEvent::LastStream(u32::from_be_bytes(stream) & STREAM_MASK)
        } else {
            let [high, low, value @ ..] = self.piece;
            FrameEvent::Setting {
                id: u16::from_be_bytes([high, low]),
                value: u32::from_be_bytes(value),
            }
        });
        (self.piece_len, self.pieces) = (0, self.pieces + 1);
    }

    fn end(&mut self, tell: &mut impl FnMut(FrameEvent)) {
        let [_, _, _, kind, flags, ..] = self.head;
        if kind == SETTINGS && flags & ACK == 0 {
            tell(FrameEvent::SettingsEnd);
        }
        self.head_len = 0;
    }
}

impl<T> FrameWatcher<T> {
    pub(super) fn new(io: T, facts: Arc<ConnFacts>) -> Self {
        let (received, sent) = (FrameScanner::default(), FrameScanner::of_client());
        Self { io, received, sent, facts, broken: None, has_ended: false }
    }

    /// Notes that the conn takes no more.
    fn break_off(&mut self, error: &io::Error) {
        self.facts.close();
        let (kind, deadline) = (error.kind(), Box::pin(sleep(LAST_READ_TIMEOUT)));
        self.broken = Some(ClosedForWrites { kind, deadline });
    }

    /// Answers a write on a conn that takes no more: it fails once all that has arrived was read,
    /// which wakes the same task. A peer that takes no more may have said before which streams it
    /// has processed, and may have answered some.
    fn poll_broken(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(broken) = &mut self.broken else { return Poll::Ready(Ok(())) };
        if !self.has_ended {
            ready!(broken.deadline.as_mut().poll(cx));
        }
        Poll::Ready(Err(broken.kind.into()))
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for FrameWatcher<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Self { io, received, facts, has_ended, .. } = self.get_mut();
        let before = buf.filled().len();
        let has_room = buf.remaining() > 0;
        let read = ready!(Pin::new(io).poll_read(cx, buf));
        let bytes = buf.filled().get(before..).unwrap_or_default();
        *has_ended |= has_room && bytes.is_empty();
        read.inspect_err(|error| facts.fail(error))?;
        if !bytes.is_empty() {
            facts.hear();
            received.feed(bytes, |seen| facts.received(seen));
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for FrameWatcher<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(buf)])
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        ready!(this.poll_broken(cx))?;
        match ready!(Pin::new(&mut this.io).poll_flush(cx)) {
            Ok(()) => {
                this.facts.flushed();
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                this.break_off(&error);
                this.poll_broken(cx)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        ready!(this.poll_broken(cx))?;
        match ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs)) {
            Ok(count) => {
                follow(&mut this.sent, &this.facts, bufs, count);
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                // Every record but the last may have reached the peer.
                let length = bufs.iter().map(|buf| buf.len()).sum::<usize>();
                let records = length.saturating_sub(1) / MAX_RECORD_LEN;
                follow(&mut this.sent, &this.facts, bufs, records * MAX_RECORD_LEN);
                this.break_off(&error);
                this.poll_broken(cx).map_ok(|()| 0)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Notes that so many of these bytes have been sent, as far as anybody knows.
fn follow(sent: &mut FrameScanner, facts: &ConnFacts, bufs: &[io::IoSlice<'_>], count: usize) {
    let mut left = count;
    for buf in bufs {
        let written = buf.get(..left.min(buf.len())).unwrap_or_default();
        sent.feed(written, |seen| facts.sent(seen));
        left -= written.len();
    }
}

const HEAD_LEN: usize = 9;
/// The time that a conn is still read which can't be written to any more.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest content of a record (RFC 8446 §5.1).
const MAX_RECORD_LEN: usize = 1 << 14;
/// A setting's length; the beginning of a GOAWAY frame fits in as well.
const PIECE_LEN: usize = 6;
const PREFACE_LEN: usize = 24;
const STREAM_MASK: u32 = u32::MAX >> 1;
const ACK: u8 = 1;
/// The types of frames (RFC 9113 §6).
pub(super) const HEADERS: u8 = 1;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use proptest::prelude::*;

    /// Everything that is found in bytes that come in pieces of this size.
    fn found(bytes: &[u8], piece: usize) -> Vec<FrameEvent> {
        let (mut scanner, mut found) = (FrameScanner::default(), Vec::new());
        for piece in bytes.chunks(piece) {
            scanner.feed(piece, |seen| found.push(seen));
        }
        found
    }

    fn frame(kind: u8, flags: u8, stream: u8, payload: &[u8]) -> Vec<u8> {
        let length = u8::try_from(payload.len()).unwrap();
        [&[0, 0, length, kind, flags, 0, 0, 0, stream][..], payload].concat()
    }

    #[test]
    fn what_frames_say_is_found_in_pieces_of_any_size() {
        let bytes = [
            frame(SETTINGS, 0, 0, &[0, 4, 0, 16, 0, 0, 0, 3, 0, 0, 0, 7]),
            frame(SETTINGS, ACK, 0, &[]),
            frame(HEADERS, 4, 3, &[4, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12]),
            frame(GOAWAY, 0, 0, &[0x80, 0, 0, 5, 0, 0, 0, 0, b'b', b'y', b'e', 0, 0, 0]),
            frame(0, 1, 3, b"data"),
        ]
        .concat();
        for piece in 1..bytes.len() {
            let begun = |kind, stream| FrameEvent::Begun { kind, stream };
            assert_eq!(
                found(&bytes, piece),
                [
                    begun(SETTINGS, 0),
                    FrameEvent::Setting { id: 4, value: 16 << 16 },
                    FrameEvent::Setting { id: 3, value: 7 },
                    FrameEvent::SettingsEnd,
                    begun(SETTINGS, 0),
                    begun(HEADERS, 3),
                    begun(GOAWAY, 0),
                    FrameEvent::LastStream(5),
                    begun(0, 3),
                ],
                "{piece}"
            );
        }
    }

    #[tokio::test]
    async fn of_a_write_that_failed_all_but_the_last_record_may_have_been_sent() {
        for (length, may_have_been_sent) in [(MAX_RECORD_LEN, false), (MAX_RECORD_LEN + 1, true)] {
            let facts = Arc::new(ConnFacts::new(Arc::default()));
            let mut broken = FrameWatcher::new(ClosedForWrites, Arc::clone(&facts));
            broken.sent = FrameScanner::default();
            let head = frame(HEADERS, 4, 1, &[0; 100]);
            let bytes = [head, vec![0; length - 109]].concat();
            broken.read_u8().await.unwrap_err();
            broken.write_all(&bytes).await.unwrap_err();
            assert_eq!(!facts.is_unprocessed(1), may_have_been_sent, "{length}");
        }
    }

    /// A conn whose peer has reset it.
    struct ClosedForWrites;

    impl AsyncRead for ClosedForWrites {
        fn poll_read(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buf: &mut ReadBuf<'_>,
        ) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()))
        }
    }

    impl AsyncWrite for ClosedForWrites {
        fn poll_write(
            self: Pin<&mut Self>,
            _cx: &mut Context<'_>,
            _buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    #[test]
    fn a_clients_preface_is_no_frame() {
        let (mut scanner, mut found) = (FrameScanner::of_client(), Vec::new());
        let bytes =
            [&b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"[..], &frame(HEADERS, 5, 1, &[1])].concat();
        for piece in bytes.chunks(5) {
            scanner.feed(piece, |seen| found.push(seen));
        }
        assert_eq!(found, [FrameEvent::Begun { kind: HEADERS, stream: 1 }]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_alike_in_any_pieces(
            bytes in proptest::collection::vec(prop_oneof![Just(0_u8), 0_u8..8, any::<u8>()], 0..120),
            piece in 1_usize..20,
        ) {
            prop_assert_eq!(found(&bytes, piece), found(&bytes, bytes.len().max(1)));
        }
    }
}
