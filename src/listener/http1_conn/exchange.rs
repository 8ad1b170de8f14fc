//! One exchange on an HTTP/1.1 conn: its body is read as its handler asks for it, and its answer is
//! written.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{Buf as _, Bytes};
use http::Response;
use http_body::{Body, Frame};
use tokio::io::{AsyncRead, AsyncWrite};

use super::CallerConn;
use super::gone_check::CONTINUE;
use crate::http1::{AnswerTerms, BodyDecoder, BodyPiece, FramingFault};
use crate::listener::answer_writer::AnswerFailure;
use crate::listener::request_body::{BodyFeeder, ReaderWish, RequestBodyError};

/// The state of reading a request's body.
pub(super) enum BodyFeed {
    /// It comes, and is passed on as its reader asks for it.
    Coming {
        feeder: BodyFeeder,
        decoder: BodyDecoder,
        /// The caller waits for a 100 before it sends it.
        awaits_continue: bool,
    },
    /// It was read to its end.
    Ended,
    /// It has failed: nothing more can be read on the conn.
    Failed,
}

/// The outcome of trying to move a body on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Moved {
    /// Something was passed on: who reads it is to be polled again.
    On,
    /// Nothing was, and the task will be woken.
    Not,
}

impl BodyFeed {
    pub(super) fn new(feeder: BodyFeeder, decoder: BodyDecoder, awaits_continue: bool) -> Self {
        Self::Coming { feeder, decoder, awaits_continue }
    }

    pub(super) fn has_ended(&self) -> bool {
        matches!(self, Self::Ended)
    }

    /// Tells whether the body may still come to its end once the answer has begun. A caller that
    /// waits for a 100 then gets none, and may or may not send it (RFC 9110 §10.1.1).
    fn may_end_after_answer(&mut self) -> bool {
        match self {
            Self::Coming { awaits_continue, .. } => !std::mem::take(awaits_continue),
            Self::Ended => true,
            Self::Failed => false,
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> CallerConn<T> {
    /// Polls the handler, and feeds it the request's body. `None` when the caller has gone.
    pub(super) fn poll_handler<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut answer: Pin<&mut impl Future<Output = Result<Response<B>, Infallible>>>,
        feed: &mut BodyFeed,
    ) -> Poll<Option<Response<B>>> {
        loop {
            if let Poll::Ready(Ok(answer)) = answer.as_mut().poll(cx) {
                self.discard_unwanted(cx, feed);
                return Poll::Ready(Some(answer));
            }
            // What waits of interim answers is written even if nothing else happens.
            self.encode_interim();
            if let Poll::Ready(Err(_gone)) = self.writer.poll_write(cx, &mut self.io, &self.state) {
                return Poll::Ready(None);
            }
            match self.feed(cx, feed) {
                Ok(Moved::On) => {}
                Ok(Moved::Not) if feed.has_ended() && self.has_gone(cx) => {
                    return Poll::Ready(None);
                }
                Ok(Moved::Not) => return Poll::Pending,
                Err(_gone) => return Poll::Ready(None),
            }
        }
    }

    /// Encodes the interim answers that have come.
    fn encode_interim(&mut self) {
        for head in self.state.take_interim() {
            self.writer.push_interim_head(&head);
        }
    }

    /// Encodes the head of an answer, gives its body, and notes whether the conn can carry another
    /// request.
    pub(super) fn begin_answer<B: Body>(
        &mut self,
        response: Response<B>,
        feed: &mut BodyFeed,
        terms: &mut AnswerTerms,
    ) -> B {
        self.encode_interim();
        let (head, body) = response.into_parts();
        // Asked first: it also sees to it that no 100 follows the answer's head.
        let may_end = feed.may_end_after_answer();
        terms.keeps_alive &= may_end && !self.state.is_draining() && !self.received.is_over();
        self.writer.begin(&head, body.size_hint().exact(), terms);
        body
    }

    /// Writes an answer, and feeds the rest of the request's body meanwhile. `false` when the
    /// caller has gone, or the answer's body has failed.
    pub(super) fn poll_answer<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut Option<B>>,
        feed: &mut BodyFeed,
    ) -> Poll<bool>
    where
        B: Body<Data = Bytes>,
    {
        loop {
            // 1. Read of the body what there is room for.
            let Ok(is_waiting) = self.fill(cx, body.as_mut()) else {
                // What has come of the body is still written.
                let _best_effort = self.writer.poll_write(cx, &mut self.io, &self.state);
                return Poll::Ready(false);
            };
            // 2. Write it. Beside a full socket the request's body is still read.
            let written = self.writer.poll_write(cx, &mut self.io, &self.state);
            if matches!(written, Poll::Ready(Err(_))) {
                return Poll::Ready(false);
            }
            if written.is_ready() && self.writer.is_encoded() {
                return Poll::Ready(true);
            }
            match self.feed(cx, feed) {
                Ok(Moved::Not) if written.is_pending() || is_waiting => return Poll::Pending,
                Ok(_) => {}
                Err(_gone) => return Poll::Ready(false),
            }
        }
    }

    /// Encodes what comes of the body while there is room. `true` while it is waited for.
    fn fill<B>(
        &mut self,
        cx: &mut Context<'_>,
        mut body: Pin<&mut Option<B>>,
    ) -> Result<bool, AnswerFailure>
    where
        B: Body<Data = Bytes>,
    {
        while !self.writer.is_encoded() && self.writer.has_room() {
            let Some(reading) = body.as_mut().as_pin_mut() else { return Err(AnswerFailure) };
            match reading.poll_frame(cx) {
                Poll::Pending => return Ok(true),
                Poll::Ready(None) => self.writer.end(None)?,
                Poll::Ready(Some(Err(_failed))) => {
                    body.set(None);
                    return Err(AnswerFailure);
                }
                Poll::Ready(Some(Ok(frame))) => self.encode(frame)?,
            }
            let has_ended = body.as_ref().as_pin_ref().is_some_and(|body| body.is_end_stream());
            if has_ended && !self.writer.is_encoded() {
                self.writer.end(None)?;
            }
        }
        if self.writer.is_encoded() {
            body.set(None);
        }
        Ok(false)
    }

    fn encode(&mut self, frame: Frame<Bytes>) -> Result<(), AnswerFailure> {
        match frame.into_data() {
            Ok(data) => self.writer.push_data(data),
            Err(frame) => self.writer.end(frame.into_trailers().ok().as_ref()),
        }
    }

    /// Passes the next piece of the request's body on, if its reader waits for it.
    ///
    /// # Errors
    /// The conn has failed.
    fn feed(&mut self, cx: &mut Context<'_>, feed: &mut BodyFeed) -> std::io::Result<Moved> {
        let BodyFeed::Coming { feeder, decoder, awaits_continue } = feed else {
            return Ok(Moved::Not);
        };
        if feeder.wish(cx) != ReaderWish::Next {
            return Ok(Moved::Not);
        }
        // 1. A caller that waits for a 100 gets it once its body is asked for.
        if std::mem::take(awaits_continue) && self.received.is_empty() {
            self.writer.push_interim(CONTINUE);
        }
        if let Poll::Ready(Err(error)) = self.writer.poll_write(cx, &mut self.io, &self.state) {
            return Err(error);
        }
        // 2. Decode what has come, or read on.
        loop {
            if self.received.is_empty() {
                match self.received.poll_body(cx, &mut self.io) {
                    Poll::Pending => return Ok(Moved::Not),
                    Poll::Ready(Ok(true)) => self.state.note_received(),
                    Poll::Ready(Ok(false) | Err(_)) => {
                        feeder.put(Some(Err(RequestBodyError::CutShort)), true, cx);
                        break;
                    }
                }
            }
            match next_frame(decoder, self.received.unread()) {
                Ok(None) => {}
                Ok(Some((frame, is_last))) => {
                    feeder.put(frame.map(Ok), is_last, cx);
                    if is_last {
                        *feed = BodyFeed::Ended;
                        self.received.end_body();
                    }
                    return Ok(Moved::On);
                }
                Err(fault) => {
                    feeder.put(Some(Err(fault.into())), true, cx);
                    break;
                }
            }
        }
        // 3. Nothing more can be read.
        *feed = BodyFeed::Failed;
        Ok(Moved::On)
    }

    /// Passes over what has come of a body that nobody reads, so that the conn can be used again if
    /// that was the rest of it.
    fn discard_unwanted(&mut self, cx: &mut Context<'_>, feed: &mut BodyFeed) {
        let BodyFeed::Coming { feeder, decoder, .. } = feed else { return };
        if feeder.wish(cx) != ReaderWish::Gone {
            return;
        }
        let (mut discarded, mut is_over) = (0, false);
        while !is_over && discarded < MAX_DISCARDED_BYTES {
            if self.received.is_empty()
                && !matches!(self.received.poll_body(cx, &mut self.io), Poll::Ready(Ok(true)))
            {
                break;
            }
            let before = self.received.unread().len();
            let Ok(next) = next_frame(decoder, self.received.unread()) else { break };
            discarded += before - self.received.unread().len();
            is_over = next.is_some_and(|(_frame, is_last)| is_last);
        }
        self.received.end_body();
        *feed = if is_over { BodyFeed::Ended } else { BodyFeed::Failed };
    }

    /// Reads the rest of a request's body after its answer: for as long as somebody reads it, or as
    /// far as it has come already. `false` when the conn can't be used any further.
    pub(super) fn poll_rest(&mut self, cx: &mut Context<'_>, feed: &mut BodyFeed) -> Poll<bool> {
        loop {
            let BodyFeed::Coming { feeder, .. } = feed else {
                return Poll::Ready(feed.has_ended());
            };
            match feeder.wish(cx) {
                // A conn that is to close does not wait for a body that nobody may want.
                ReaderWish::Nothing | ReaderWish::Next if self.state.is_draining() => {
                    return Poll::Ready(false);
                }
                ReaderWish::Nothing => return Poll::Pending,
                ReaderWish::Next => match self.feed(cx, feed) {
                    Ok(Moved::On) => {}
                    Ok(Moved::Not) => return Poll::Pending,
                    Err(_gone) => return Poll::Ready(false),
                },
                ReaderWish::Gone => self.discard_unwanted(cx, feed),
            }
        }
    }
}

/// The most bytes of a body that are passed over because nobody reads it.
const MAX_DISCARDED_BYTES: usize = 64 << 10;

/// The next frame of a body, and whether it is the last one; `None` where only framing has come.
/// The frame is `None` at an end without trailers.
type NextFrame = Option<(Option<Frame<Bytes>>, bool)>;

/// Takes the next frame out of `unread`, which is not empty.
fn next_frame(decoder: &mut BodyDecoder, unread: &mut Bytes) -> Result<NextFrame, FramingFault> {
    Ok(match decoder.next(unread)? {
        BodyPiece::More { skip } => {
            unread.advance(skip);
            None
        }
        BodyPiece::Data { skip, length } => {
            unread.advance(skip);
            let is_last = decoder.left() == Some(0);
            Some((Some(Frame::data(unread.split_to(length))), is_last))
        }
        BodyPiece::End { skip, trailers } => {
            unread.advance(skip);
            Some((trailers.map(Frame::trailers), true))
        }
    })
}
