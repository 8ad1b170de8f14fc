//! How many streams a peer of HTTP/2 allows at once, heard in the first frame that it sends: the
//! library keeps it to itself, and lets requests beyond wait without a word.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

/// A conn whose peer is listened to until its settings are known.
#[derive(Debug)]
pub(super) struct Overheard<T> {
    io: T,
    ear: Option<Ear>,
}

/// What has been heard so far.
#[derive(Debug)]
struct Ear {
    heard: Vec<u8>,
    most_streams: watch::Sender<usize>,
}

impl<T> Overheard<T> {
    /// The conn, and how many streams its peer allows at once, as far as we would use them: one
    /// until it is heard.
    pub(super) fn new(io: T) -> (Self, watch::Receiver<usize>) {
        let (most_streams, heard) = watch::channel(1);
        let ear = Ear { heard: Vec::new(), most_streams };
        (Self { io, ear: Some(ear) }, heard)
    }
}

impl Ear {
    /// Whether there is nothing more to hear. A peer's first frame is its settings (RFC 9113 §3.4).
    fn listen(&mut self, mut bytes: &[u8]) -> bool {
        while self.heard.len() < self.wanted() {
            let missing = self.wanted() - self.heard.len();
            let Some((more, rest)) = bytes.split_at_checked(missing.min(bytes.len())) else {
                return false;
            };
            if more.is_empty() {
                return false;
            }
            self.heard.extend_from_slice(more);
            bytes = rest;
        }
        let mut most = MOST_STREAMS;
        for setting in self.heard.get(HEAD..).unwrap_or_default().chunks_exact(6) {
            if let [0, MAX_CONCURRENT_STREAMS, a, b, c, d] = *setting {
                let value = u32::from_be_bytes([a, b, c, d]);
                most = usize::try_from(value).unwrap_or(usize::MAX).clamp(1, MOST_STREAMS);
            }
        }
        self.most_streams.send_replace(most);
        true
    }

    /// How many bytes there must be: a frame's head, and then, of settings, all of it.
    fn wanted(&self) -> usize {
        match *self.heard.as_slice() {
            [0, b, c, SETTINGS, _, _, _, _, _, ..] => {
                HEAD + usize::from(u16::from_be_bytes([b, c]))
            }
            _ => HEAD,
        }
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Overheard<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        ready!(Pin::new(&mut this.io).poll_read(cx, buf))?;
        if let Some(ear) = &mut this.ear
            && ear.listen(buf.filled().get(before..).unwrap_or_default())
        {
            this.ear = None;
        }
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Overheard<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write(cx, buf)
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_flush(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.get_mut().io).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.get_mut().io).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }
}

/// As many as are sent on one conn at once, whatever more its peer allows.
const MOST_STREAMS: usize = 1000;
/// A frame's head (RFC 9113 §4.1).
const HEAD: usize = 9;
const SETTINGS: u8 = 4;
const MAX_CONCURRENT_STREAMS: u8 = 3;

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// What is heard of bytes that come in pieces of this size.
    fn heard(bytes: &[u8], piece: usize) -> (usize, bool) {
        let (most_streams, heard) = watch::channel(1);
        let mut ear = Ear { heard: Vec::new(), most_streams };
        let done = bytes.chunks(piece).any(|piece| ear.listen(piece));
        (*heard.borrow(), done)
    }

    fn frame(kind: u8, settings: &[[u8; 6]]) -> Vec<u8> {
        let length = u8::try_from(settings.len() * 6).unwrap();
        [&[0, 0, length, kind, 0, 0, 0, 0, 0][..], &settings.concat(), &[0, 0, 4, 8]].concat()
    }

    #[test]
    fn the_first_frame_says_how_many_streams_there_may_be() {
        let some = [[0, 4, 0, 16, 0, 0], [0, 3, 0, 0, 0, 7]];
        let (zero, many) = ([[0, 3, 0, 0, 0, 0]], [[0, 3, 0xff, 0xff, 0xff, 0xff]]);
        for piece in [1, 2, 8, 9, 10, 64] {
            assert_eq!(heard(&frame(4, &some), piece), (7, true), "{piece}");
            assert_eq!(heard(&frame(4, &[]), piece), (MOST_STREAMS, true), "{piece}");
            assert_eq!(heard(&frame(4, &zero), piece), (1, true), "{piece}");
            assert_eq!(heard(&frame(4, &many), piece), (MOST_STREAMS, true), "{piece}");
            assert_eq!(heard(&frame(0, &some), piece), (MOST_STREAMS, true), "{piece}");
            assert_eq!(heard(&[0, 0], piece), (1, false), "{piece}");
        }
        assert_eq!(heard(&[255, 255, 255, 4, 0, 0, 0, 0, 0, 1], 1), (MOST_STREAMS, true));
    }

    proptest! {
        #[test]
        fn whatever_is_heard_first_is_heard_alike_in_any_pieces(
            bytes in proptest::collection::vec(any::<u8>(), 0..80),
            begins_as_settings in any::<bool>(),
            piece in 1_usize..20,
        ) {
            let mut bytes = bytes;
            if let (true, [a, b, c, kind, ..]) = (begins_as_settings, bytes.as_mut_slice()) {
                (*a, *b, *kind) = (0, 0, SETTINGS);
                *c %= 40;
            }
            let whole = heard(&bytes, bytes.len().max(1));
            prop_assert_eq!(heard(&bytes, piece), whole);
            prop_assert!((1..=MOST_STREAMS).contains(&whole.0));
        }
    }
}
