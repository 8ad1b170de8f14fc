//! The body of a response, read from the conn on demand.

use std::io;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::Frame;
use tokio::sync::mpsc;

use super::{Decoder, Http1Conn, MalformedResponse};
use crate::http1::BodyPiece;
use crate::upstream::body::BodyError;
use crate::upstream::pool::OriginPool;

/// A conn whose response is being read.
#[derive(Debug)]
pub(in crate::upstream) struct ConnLease {
    conn: Box<Http1Conn>,
    decoder: Decoder,
    /// The pool to which the conn is returned; `None` when it can't be reused.
    pool: Option<Arc<OriginPool>>,
}

/// A frame read from a lease.
#[derive(Debug)]
pub(in crate::upstream) enum BodyRead {
    /// A frame that more may follow.
    Frame(Frame<Bytes>),
    /// The end of the body, with its last frame.
    Last(Option<Frame<Bytes>>),
}

/// The body of a response whose request is still being sent, by a task that drives both.
#[derive(Debug)]
pub(in crate::upstream) struct DrivenBody {
    pub(in crate::upstream) frames: mpsc::Receiver<Result<Frame<Bytes>, BodyError>>,
    pub(in crate::upstream) length: Option<u64>,
}

/// The reason why a response's body failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum BodyFailure {
    #[error("the origin's body was cut short: {0}")]
    Truncated(#[source] io::Error),
    #[error("the origin's body is not well-formed: {0}")]
    Malformed(#[from] MalformedResponse),
    #[error("the request's body failed before the response had ended: {0}")]
    RequestBody(#[source] BodyError),
}

impl ConnLease {
    pub(in crate::upstream) fn new(
        conn: Box<Http1Conn>,
        decoder: Decoder,
        pool: Option<Arc<OriginPool>>,
    ) -> Self {
        Self { conn, decoder, pool }
    }

    /// The number of bytes left; `None` when it is unknown.
    pub(in crate::upstream) fn left(&self) -> Option<u64> {
        self.decoder.left()
    }

    pub(super) fn conn(&mut self) -> &mut Http1Conn {
        &mut self.conn
    }

    /// Reads the next frame. After an error or [`BodyRead::Last`] it must not be polled again.
    pub(in crate::upstream) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Result<BodyRead, BodyError>> {
        Poll::Ready(ready!(self.poll_piece(cx)).map_err(Into::into))
    }

    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<BodyRead, BodyFailure>> {
        loop {
            // 1. Read; the end of the conn is the end of the body only where nothing else says so.
            if self.decoder.has_ended() {
                return Poll::Ready(Ok(BodyRead::Last(None)));
            }
            let bytes = ready!(self.conn.poll_fill(cx)).map_err(BodyFailure::Truncated)?;
            if bytes.is_empty() {
                let ended = matches!(self.decoder, Decoder::UntilClose);
                let error = || BodyFailure::Truncated(io::ErrorKind::UnexpectedEof.into());
                return Poll::Ready(if ended { Ok(BodyRead::Last(None)) } else { Err(error()) });
            }
            // 2. Decode, and copy data out of the conn's buffer.
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

    /// Ends the lease of a response that was read to its end. The conn is returned to the pool
    /// unless its request is still being sent.
    pub(in crate::upstream) fn end(self) {
        match self.pool {
            Some(pool) if self.conn.has_sent() => pool.check_in(self.conn),
            _ => self.conn.close(),
        }
    }
}
