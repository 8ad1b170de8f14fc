//! Watches the frames on a conn for facts that the HTTP/2 library does not expose: the number of
//! streams that the peer allows, the streams that it has not processed, those that were not
//! written, and the time at which it last sent anything.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use super::conn_facts::ConnFacts;

/// A conn whose frames are watched in both directions.
#[derive(Debug)]
pub(super) struct FrameWatcher<T> {
    io: T,
    received: FrameScanner,
    sent: FrameScanner,
    facts: Arc<ConnFacts>,
    closed_for_writes: Option<ClosedForWrites>,
    /// Set at the end of the received bytes.
    has_ended: bool,
}

/// A conn on which writing has failed.
#[derive(Debug)]
struct ClosedForWrites {
    kind: io::ErrorKind,
    /// The time until which received bytes are still read.
    deadline: Pin<Box<Sleep>>,
}

/// Finds frames in a stream of bytes that arrives in pieces of any size (RFC 9113 §4.1).
#[derive(Debug, Default)]
pub(super) struct FrameScanner {
    /// The number of bytes before the first frame.
    skip: usize,
    head: [u8; HEAD_LEN],
    /// The number of bytes in `head`.
    head_len: usize,
    /// The number of bytes of the payload still to come.
    payload_left: usize,
    /// The latest bytes of the payload: one setting.
    piece: [u8; PIECE_LEN],
    piece_len: usize,
    /// The number of settings in the payload before this one.
    pieces: usize,
}

/// A part of a frame that the state of the conn depends on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum FrameEvent {
    /// A frame has begun.
    Begun { kind: u8, stream: u32 },
    /// One entry of a SETTINGS frame.
    Setting { id: u16, value: u32 },
    /// A SETTINGS frame other than an acknowledgment has ended.
    SettingsEnd,
    /// The last stream that the sender of a GOAWAY frame may process.
    LastStream(u32),
}

impl FrameScanner {
    /// A scanner of what a client sends, which begins with the preface (RFC 9113 §3.4).
    pub(super) fn of_client() -> Self {
        Self { skip: PREFACE_LEN, ..Self::default() }
    }

    /// Scans the next bytes and reports each event.
    pub(super) fn feed(&mut self, mut bytes: &[u8], mut report: impl FnMut(FrameEvent)) {
        // 1. Skip the preface.
        let skipped = self.skip.min(bytes.len());
        self.skip -= skipped;
        bytes = bytes.get(skipped..).unwrap_or_default();
        while let Some((first, rest)) = bytes.split_first() {
            // 2. Collect the head, then the parts of the payload that matter; skip the rest.
            if self.head_len < HEAD_LEN {
                if let Some(place) = self.head.get_mut(self.head_len) {
                    *place = *first;
                }
                self.head_len += 1;
                bytes = rest;
                if self.head_len == HEAD_LEN {
                    self.begin_frame(&mut report);
                }
            } else if self.wants_payload() {
                self.take_payload_byte(*first, &mut report);
                bytes = rest;
            } else {
                let passed = self.payload_left.min(bytes.len());
                self.payload_left -= passed;
                bytes = bytes.get(passed..).unwrap_or_default();
            }
            if self.head_len == HEAD_LEN && self.payload_left == 0 {
                self.end_frame(&mut report);
            }
        }
    }

    fn begin_frame(&mut self, report: &mut impl FnMut(FrameEvent)) {
        let [high, middle, low, kind, _flags, stream @ ..] = self.head;
        let length = u32::from_be_bytes([0, high, middle, low]);
        self.payload_left = usize::try_from(length).unwrap_or(usize::MAX);
        (self.piece_len, self.pieces) = (0, 0);
        report(FrameEvent::Begun { kind, stream: u32::from_be_bytes(stream) & STREAM_MASK });
    }

    /// Tells whether the payload matters: all of SETTINGS, and the beginning of GOAWAY.
    fn wants_payload(&self) -> bool {
        let [_, _, _, kind, flags, ..] = self.head;
        match kind {
            SETTINGS => flags & ACK == 0,
            GOAWAY => self.pieces == 0,
            _ => false,
        }
    }

    fn take_payload_byte(&mut self, byte: u8, report: &mut impl FnMut(FrameEvent)) {
        if let Some(place) = self.piece.get_mut(self.piece_len) {
            *place = byte;
        }
        self.piece_len += 1;
        self.payload_left -= 1;
        if self.piece_len < PIECE_LEN {
            return;
        }
        let [_, _, _, kind, ..] = self.head;
        report(if kind == GOAWAY {
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

    fn end_frame(&mut self, report: &mut impl FnMut(FrameEvent)) {
        let [_, _, _, kind, flags, ..] = self.head;
        if kind == SETTINGS && flags & ACK == 0 {
            report(FrameEvent::SettingsEnd);
        }
        self.head_len = 0;
    }
}

impl<T> FrameWatcher<T> {
    pub(super) fn new(io: T, facts: Arc<ConnFacts>) -> Self {
        let (received, sent) = (FrameScanner::default(), FrameScanner::of_client());
        Self { io, received, sent, facts, closed_for_writes: None, has_ended: false }
    }

    /// Notes that writing has failed. Reading goes on for a moment.
    fn note_write_error(&mut self, error: &io::Error) {
        self.facts.close();
        let (kind, deadline) = (error.kind(), Box::pin(sleep(LAST_READ_TIMEOUT)));
        self.closed_for_writes = Some(ClosedForWrites { kind, deadline });
    }

    /// The result of a write after a failed one: it fails once all received bytes were read, or
    /// after the deadline. A peer that closes the conn may have sent answers, or a GOAWAY that
    /// names the streams it has processed.
    fn poll_closed_for_writes(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(closed_for_writes) = &mut self.closed_for_writes else {
            return Poll::Ready(Ok(()));
        };
        if !self.has_ended {
            ready!(closed_for_writes.deadline.as_mut().poll(cx));
        }
        Poll::Ready(Err(closed_for_writes.kind.into()))
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
        read.inspect_err(|error| facts.note_read_error(error))?;
        if !bytes.is_empty() {
            facts.note_received();
            received.feed(bytes, |event| facts.note_received_frame(event));
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
        ready!(this.poll_closed_for_writes(cx))?;
        match ready!(Pin::new(&mut this.io).poll_flush(cx)) {
            Ok(()) => {
                this.facts.note_flushed();
                Poll::Ready(Ok(()))
            }
            Err(error) => {
                this.note_write_error(&error);
                this.poll_closed_for_writes(cx)
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
        ready!(this.poll_closed_for_writes(cx))?;
        match ready!(Pin::new(&mut this.io).poll_write_vectored(cx, bufs)) {
            Ok(count) => {
                note_sent(&mut this.sent, &this.facts, bufs, count);
                Poll::Ready(Ok(count))
            }
            Err(error) => {
                // Every TLS record but the last may have reached the peer.
                let length = bufs.iter().map(|buf| buf.len()).sum::<usize>();
                let records = length.saturating_sub(1) / MAX_RECORD_LEN;
                note_sent(&mut this.sent, &this.facts, bufs, records * MAX_RECORD_LEN);
                this.note_write_error(&error);
                this.poll_closed_for_writes(cx).map_ok(|()| 0)
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// Scans the first `count` of these bytes as sent.
fn note_sent(sent: &mut FrameScanner, facts: &ConnFacts, bufs: &[io::IoSlice<'_>], count: usize) {
    let mut left = count;
    for buf in bufs {
        let written = buf.get(..left.min(buf.len())).unwrap_or_default();
        sent.feed(written, |event| facts.note_sent_frame(event));
        left -= written.len();
    }
}

/// The length of a frame's head (RFC 9113 §4.1).
const HEAD_LEN: usize = 9;
/// The time for which a conn is still read after writing has failed.
const LAST_READ_TIMEOUT: Duration = Duration::from_secs(1);
/// The largest content of a TLS record (RFC 8446 §5.1).
const MAX_RECORD_LEN: usize = 1 << 14;
/// The length of one setting (RFC 9113 §6.5.1), in which the last stream of a GOAWAY fits too.
const PIECE_LEN: usize = 6;
const PREFACE_LEN: usize = 24;
const STREAM_MASK: u32 = u32::MAX >> 1;
const ACK: u8 = 1;
/// Frame types (RFC 9113 §6).
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
            let mut closed_for_writes = FrameWatcher::new(ClosedForWrites, Arc::clone(&facts));
            closed_for_writes.sent = FrameScanner::default();
            let head = frame(HEADERS, 4, 1, &[0; 100]);
            let bytes = [head, vec![0; length - 109]].concat();
            closed_for_writes.read_u8().await.unwrap_err();
            closed_for_writes.write_all(&bytes).await.unwrap_err();
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
