//! A response's body, read from the conn by whoever takes it.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use super::{BodyPiece, Decoder, Http1Conn, MalformedResponse};
use crate::upstream::body::BodyError;
use crate::upstream::pool::OriginPool;

/// A conn in use, until its response has been read to its end.
#[derive(Debug)]
pub(in crate::upstream) struct ConnLease {
    conn: Box<Http1Conn>,
    decoder: Decoder,
    /// Where the conn goes back to, if it can be used again.
    home: Option<Arc<OriginPool>>,
}

/// What is left of a lease after a frame.
#[derive(Debug)]
pub(in crate::upstream) enum BodyRead {
    /// A frame; more may follow.
    Frame(Frame<Bytes>),
    /// The last frame, if there is one.
    Last(Option<Frame<Bytes>>),
}

/// A response whose request is still being written, by a task that moves both.
#[derive(Debug)]
pub(in crate::upstream) struct DrivenBody {
    pub(super) frames: mpsc::Receiver<Result<Frame<Bytes>, BodyError>>,
    pub(in crate::upstream) length: Option<u64>,
}

/// Why a response's body failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyFailure {
    #[error("the origin's body was cut short: {0}")]
    Truncated(#[source] io::Error),
    #[error("the origin's body is not well-formed: {0}")]
    Malformed(#[from] MalformedResponse),
    #[error("the request's body failed meanwhile: {0}")]
    RequestBody(#[source] BodyError),
}

impl ConnLease {
    pub(in crate::upstream) fn new(
        conn: Box<Http1Conn>,
        decoder: Decoder,
        home: Option<Arc<OriginPool>>,
    ) -> Self {
        Self { conn, decoder, home }
    }

    /// How many bytes are left, if that is known.
    pub(in crate::upstream) fn left(&self) -> Option<u64> {
        self.decoder.left()
    }

    pub(super) fn conn(&mut self) -> &mut Http1Conn {
        &mut self.conn
    }

    /// Reads on. After an error, or [`BodyRead::Last`], the lease is over.
    pub(in crate::upstream) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyRead, BodyError>> {
        Poll::Ready(ready!(self.poll_piece(cx)).map_err(Into::into))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyRead, BodyFailure>> {
        loop {
            if self.decoder.has_ended() {
                return Poll::Ready(Ok(BodyRead::Last(None)));
            }
            let bytes = ready!(self.conn.poll_fill(cx)).map_err(BodyFailure::Truncated)?;
            if bytes.is_empty() {
                let ended = matches!(self.decoder, Decoder::UntilClose);
                let error = || BodyFailure::Truncated(io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(if ended { Ok(BodyRead::Last(None)) } else { Err(error()) });
            }
            match self.decoder.next(bytes)? {
                BodyPiece::More { skip } => self.conn.consume(skip),
                BodyPiece::End { skip, trailers } => {
                    self.conn.consume(skip);
                    return Poll::Ready(Ok(BodyRead::Last(trailers.map(Frame::trailers))));
                }
                BodyPiece::Data { skip, length } => {
                    let data = bytes.get(skip..skip + length).unwrap_or_default();
                    let frame = Frame::data(Bytes::copy_from_slice(data));
                    self.conn.consume(skip + length);
                    let ended = self.decoder.has_ended();
                    let next =
                        if ended { BodyRead::Last(Some(frame)) } else { BodyRead::Frame(frame) };
                    return Poll::Ready(Ok(next));
                }
            }
        }
    }

    /// The response has been read to its end: the conn can carry another, unless its request is
    /// still under way.
    pub(in crate::upstream) fn end(self) {
        match self.home {
            Some(home) if self.conn.has_sent() => home.check_in(self.conn),
            _ => self.conn.close(),
        }
    }
}

impl DrivenBody {
    pub(in crate::upstream) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        self.frames.poll_recv(cx)
    }
}
