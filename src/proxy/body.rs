//! Bodies on their way through: counted, limited, their trailers filtered like fields.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderName;
use http_body::{Body, Frame, SizeHint};
use http_body_util::Full;

use super::echo::{self, BodyMask};
use super::fields;
use super::idle::{ExchangeActivity, Idle, IdleTimer};
use super::renewal::ReplayBuffer;
use super::whole_body::ArrivedBody;
use crate::ledger::{Decision, Entry};
use crate::listener::InFlight;
use crate::upstream::{BodyError, ReplyBody};

#[derive(Debug)]
pub(super) struct CallerBody {
    pub(super) incoming: ArrivedBody,
    /// Ends the wait for a caller that sends nothing, unless the origin does.
    pub(super) idle: IdleTimer,
    pub(super) count: Arc<AtomicU64>,
    /// The most bytes that it may have; 0 for any.
    pub(super) max_body_bytes: u64,
    pub(super) credential: Arc<[HeaderName]>,
    /// Keeps it while it may have to be sent once more.
    pub(super) buffer: Option<Arc<ReplayBuffer>>,
}

/// The body is larger than the operator allows.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body is larger than {0} bytes")]
pub(super) struct TooLarge(pub(super) u64);

impl CallerBody {
    fn keep(&self, keep: impl FnOnce(&ReplayBuffer)) {
        if let Some(buffer) = &self.buffer {
            keep(buffer);
        }
    }

    fn note(&self, note: impl FnOnce(&ExchangeActivity)) {
        if let Some(exchange) = self.idle.exchange() {
            note(exchange);
        }
    }

    /// The next frame, fit for the origin.
    fn poll_filtered(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let Poll::Ready(frame) = Pin::new(&mut self.incoming).poll_frame(cx) else {
            self.note(ExchangeActivity::note_awaited);
            return self.idle.poll_idle(cx).map(|idle| Some(Err(idle.into())));
        };
        self.idle.stop();
        self.note(ExchangeActivity::note_received);
        let Some(frame) = frame else {
            self.keep(ReplayBuffer::end);
            return Poll::Ready(None);
        };
        let mut frame = frame?;
        if let Some(data) = frame.data_ref() {
            self.keep(|buffer| buffer.add(data));
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let total = self.count.load(Relaxed).saturating_add(length);
            self.count.store(total, Relaxed);
            if self.max_body_bytes != 0 && total > self.max_body_bytes {
                return Poll::Ready(Some(Err(TooLarge(self.max_body_bytes).into())));
            }
            if self.incoming.is_end_stream() {
                self.keep(ReplayBuffer::end);
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            // What has trailers is not sent again.
            self.keep(ReplayBuffer::let_go);
            fields::prepare_trailers(trailers, &self.credential);
        }
        Poll::Ready(Some(Ok(frame)))
    }
}

/// The body of an answer. With its last byte the request's entry is written.
#[derive(Debug)]
pub struct AnswerBody {
    content: AnswerContent,
    /// Masks the credential in it, where the connection says so.
    mask: Option<Box<BodyMask>>,
    entry: Option<Entry>,
    in_flight: Option<InFlight>,
}

#[derive(Debug)]
enum AnswerContent {
    Reply(ReplyBody, IdleTimer),
    Own(Full<Bytes>, OwnAnswer),
}

/// The facts of an answer of our own that outlive its entry.
#[derive(Debug, Default)]
pub(super) struct OwnAnswer {
    pub(super) times: AnswerTimes,
    pub(super) refusal: Option<AnsweredRefusal>,
}

/// The refusal that an answer is, for a person at the console.
#[derive(Clone, Debug)]
pub(super) struct AnsweredRefusal {
    pub(super) code: &'static str,
    /// The rule that refused.
    pub(super) rule: &'static str,
    /// The whole cause, with credentials masked.
    pub(super) cause: Option<Box<str>>,
}

/// The time until a request left, and from then until its answer began.
pub(super) type AnswerTimes = (Option<Duration>, Option<Duration>);

impl AnsweredRefusal {
    /// The refusal that an entry tells of.
    pub(super) fn of(entry: &Entry) -> Option<Self> {
        let Decision::Refuse(code) = entry.decision else { return None };
        Some(Self { code, rule: entry.rule, cause: entry.cause().map(Into::into) })
    }
}

impl Body for CallerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let frame = ready!(this.poll_filtered(cx));
        match &frame {
            Some(Err(error)) => {
                let reason = match error.downcast_ref::<Idle>() {
                    Some(idle) => idle.to_string(),
                    None => format!("the request's body failed: {error}"),
                };
                this.note(|exchange| exchange.note_request_failure(reason));
            }
            None => this.note(ExchangeActivity::note_request_end),
            Some(Ok(_)) if this.incoming.is_end_stream() => {
                this.note(ExchangeActivity::note_request_end);
            }
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl AnswerBody {
    /// The origin's body, cut when `idle` says so.
    pub(super) fn reply(
        body: ReplyBody,
        mask: Option<Box<BodyMask>>,
        idle: IdleTimer,
        entry: Entry,
        mut in_flight: InFlight,
    ) -> Self {
        in_flight.mark_offered();
        if let Some(exchange) = idle.exchange() {
            exchange.note_answer();
        }
        Self {
            content: AnswerContent::Reply(body, idle),
            mask,
            entry: Some(entry),
            in_flight: Some(in_flight),
        }
    }

    /// The proxy's own body, whose entry is written already: it is short, and a caller that leaves
    /// it where it is holds nothing up.
    pub(super) fn own(body: Full<Bytes>, facts: OwnAnswer) -> Self {
        let content = AnswerContent::Own(body, facts);
        Self { content, mask: None, entry: None, in_flight: None }
    }

    /// No body; the entry goes on elsewhere, with what the conn was upgraded to.
    pub(super) fn upgraded() -> Self {
        Self::own(Full::default(), OwnAnswer::default())
    }

    /// The time until the request left, and from then until its answer began.
    pub(super) fn times(&self) -> AnswerTimes {
        match &self.content {
            AnswerContent::Own(_, facts) => facts.times,
            AnswerContent::Reply(..) => {
                self.entry.as_ref().map(Entry::phase_durations).unwrap_or_default()
            }
        }
    }

    /// The refusal that it is, if it is one.
    pub(super) fn refusal(&self) -> Option<&AnsweredRefusal> {
        match &self.content {
            AnswerContent::Own(_, facts) => facts.refusal.as_ref(),
            AnswerContent::Reply(..) => None,
        }
    }

    fn count(&mut self, frame: &mut Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if let Some(entry) = &mut self.entry {
                entry.response_bytes += u64::try_from(data.len()).unwrap_or(0);
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            fields::prepare_response_trailers(trailers);
            if let Some(entry) = &self.entry {
                echo::mask_trailers(trailers, entry);
            }
        }
    }

    /// The next frame, with the credential masked where the connection says so.
    fn poll_masked(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        loop {
            if let Some(trailers) = self.mask.as_mut().and_then(|mask| mask.take_trailers()) {
                return Poll::Ready(Some(Ok(trailers)));
            }
            let item = ready!(self.poll_content(cx));
            let Some(mask) = &mut self.mask else { return Poll::Ready(item) };
            if let Some(masked) = mask.pass(item, self.entry.as_ref()) {
                return Poll::Ready(masked);
            }
        }
    }

    /// The next frame of the origin's body, or of our own.
    fn poll_content(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let (body, idle) = match &mut self.content {
            AnswerContent::Own(body, _) => {
                let frame = ready!(Pin::new(body).poll_frame(cx));
                return Poll::Ready(frame.map(|frame| frame.map_err(|never| match never {})));
            }
            AnswerContent::Reply(body, idle) => (body, idle),
        };
        let Poll::Ready(frame) = Pin::new(body).poll_frame(cx) else {
            let cut = ready!(idle.poll_idle(cx));
            if let Some(entry) = &mut self.entry {
                entry.set_cause(cut.to_string());
            }
            return Poll::Ready(Some(Err(cut.into())));
        };
        idle.stop();
        if let Some(exchange) = idle.exchange() {
            exchange.note_answer();
        }
        if let (Some(Err(error)), Some(entry)) = (&frame, &mut self.entry) {
            // A request that fails takes its answer along: that is not the origin's fault.
            let request_failure = idle.exchange().and_then(ExchangeActivity::request_failure);
            match request_failure {
                Some(failure) => entry.set_cause(failure),
                None => entry.set_cause(format!("the origin's body ended early: {error}")),
            }
        }
        Poll::Ready(frame)
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        if let Some(in_flight) = &mut this.in_flight {
            in_flight.mark_taken();
        }
        let frame = ready!(this.poll_masked(cx));
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                this.count(&mut frame);
                if let Some(in_flight) = &mut this.in_flight {
                    in_flight.mark_offered();
                }
                Some(Ok(frame))
            }
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        let has_ended = match &self.content {
            AnswerContent::Reply(body, _) => body.is_end_stream(),
            AnswerContent::Own(body, _) => body.is_end_stream(),
        };
        has_ended && self.mask.as_ref().is_none_or(|mask| mask.is_empty())
    }

    fn size_hint(&self) -> SizeHint {
        let rest = match &self.content {
            AnswerContent::Reply(body, _) => body.size_hint(),
            AnswerContent::Own(body, _) => body.size_hint(),
        };
        self.mask.as_ref().map_or(rest, |mask| mask.size_hint(&rest))
    }
}
