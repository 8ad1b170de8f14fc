//! Callers that go away while their request is answered.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Sleep;

use super::CallerConn;
use super::received::MAX_READ_AHEAD;
use crate::http1::AnswerTerms;

/// The state of finding out whether a caller that has closed its side still reads. It can't be seen
/// of the close alone, since a caller may close its side and wait; but where nobody reads any more,
/// a second write fails.
#[derive(Debug, Default)]
pub(super) enum GoneCheck {
    /// A caller of HTTP/1.0 can't be sent anything before its answer.
    #[default]
    Impossible,
    /// The caller has not closed its side.
    Unneeded,
    /// It was sent an interim answer, and is sent another at this time.
    Asked(Pin<Box<Sleep>>),
    /// It was sent two, and still reads.
    Present,
}

impl GoneCheck {
    /// The check of a caller that has sent a request with these terms.
    pub(super) fn of(terms: AnswerTerms) -> Self {
        if terms.is_http10 { Self::Impossible } else { Self::Unneeded }
    }
}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + 'static> CallerConn<T> {
    /// Tells whether the caller has gone, while its answer is waited for. What it sends meanwhile
    /// is kept.
    pub(super) fn has_gone(&mut self, cx: &mut Context<'_>) -> bool {
        // 1. Read, up to a bound: the end of the conn comes behind all that was sent.
        while self.received.unread().len() < MAX_READ_AHEAD && !self.received.is_ended() {
            match self.received.poll_more(cx, &mut self.io) {
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(_)) => return true,
                Poll::Pending => return false,
            }
        }
        if !self.received.is_ended() {
            return false;
        }
        // 2. The first interim answer is met by a reset, if nobody is there; the second one fails.
        match &mut self.gone_check {
            GoneCheck::Impossible | GoneCheck::Present => return false,
            GoneCheck::Unneeded => {
                let mut timer = Box::pin(tokio::time::sleep(SECOND_WRITE_AFTER));
                if timer.as_mut().poll(cx).is_pending() {
                    self.gone_check = GoneCheck::Asked(timer);
                }
            }
            GoneCheck::Asked(timer) => {
                if timer.as_mut().poll(cx).is_pending() {
                    return false;
                }
                self.gone_check = GoneCheck::Present;
            }
        }
        self.writer.push_interim(CONTINUE);
        matches!(self.writer.poll_write(cx, &mut self.io, &self.state), Poll::Ready(Err(_)))
    }
}

/// An interim answer without a meaning of its own (RFC 9110 §15.2.1): a caller that does not wait
/// for it passes it over.
pub(super) const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";
/// The time in which a reset arrives.
const SECOND_WRITE_AFTER: Duration = Duration::from_millis(500);
