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
use hyper::body::Incoming;
use tokio::time::Sleep;

use super::fields;
use super::renewal::Kept;
use crate::door::Visit;
use crate::ledger::Entry;
use crate::upstream::{BodyError, ReplyBody};

/// The caller's body.
#[derive(Debug)]
pub(super) struct CallerBody {
    pub(super) incoming: Incoming,
    /// How long the caller may keep us waiting.
    pub(super) idle_timeout: Duration,
    pub(super) patience: Option<Pin<Box<Sleep>>>,
    pub(super) count: Arc<AtomicU64>,
    /// The most bytes it may have.
    pub(super) most: u64,
    pub(super) credential: HeaderName,
    /// Where it is kept while it may have to be sent once more.
    pub(super) kept: Option<Arc<Kept>>,
}

/// The body is larger than the operator allows.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body is larger than {0} bytes")]
pub(super) struct TooLarge(pub(super) u64);

/// The caller has kept us waiting for too long.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the body has stopped coming")]
pub(super) struct Stalled;

impl CallerBody {
    fn keep(&self, keep: impl FnOnce(&Kept)) {
        if let Some(kept) = &self.kept {
            keep(kept);
        }
    }

    /// Each body has its own patience: over HTTP/2 its neighbours may be well.
    fn wait(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let idle_timeout = self.idle_timeout;
        let patience =
            self.patience.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle_timeout)));
        ready!(patience.as_mut().poll(cx));
        Poll::Ready(Some(Err(Stalled.into())))
    }
}

/// The body of an answer. With its last byte the request's entry is written.
#[derive(Debug)]
pub struct AnswerBody {
    content: Content,
    entry: Option<Entry>,
    visit: Option<Visit>,
}

#[derive(Debug)]
enum Content {
    Reply(ReplyBody),
    Own(Full<Bytes>, Times),
}

/// How long it was until a request left, and from then until its answer began.
type Times = (Option<Duration>, Option<Duration>);

impl Body for CallerBody {
    type Data = Bytes;
    type Error = BodyError;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BodyError>>> {
        let this = self.get_mut();
        let Poll::Ready(frame) = Pin::new(&mut this.incoming).poll_frame(cx) else {
            return this.wait(cx);
        };
        this.patience = None;
        let Some(frame) = frame else {
            this.keep(Kept::end);
            return Poll::Ready(None);
        };
        let mut frame = frame?;
        if let Some(data) = frame.data_ref() {
            this.keep(|kept| kept.add(data));
            let length = u64::try_from(data.len()).unwrap_or(u64::MAX);
            let total = this.count.load(Relaxed).saturating_add(length);
            this.count.store(total, Relaxed);
            if this.most != 0 && total > this.most {
                return Poll::Ready(Some(Err(TooLarge(this.most).into())));
            }
            if this.incoming.is_end_stream() {
                this.keep(Kept::end);
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            // What has trailers is not sent again.
            this.keep(Kept::let_go);
            fields::prepare_trailers(trailers, &this.credential);
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}

impl AnswerBody {
    /// The origin's body.
    pub(super) fn reply(body: ReplyBody, entry: Entry, mut visit: Visit) -> Self {
        visit.offer();
        Self { content: Content::Reply(body), entry: Some(entry), visit: Some(visit) }
    }

    /// The proxy's own body, whose entry is written already: it is short, and nobody is to hold
    /// anything up by leaving it.
    pub(super) fn own(body: Full<Bytes>, times: Times) -> Self {
        Self { content: Content::Own(body, times), entry: None, visit: None }
    }

    /// No body; the entry goes on elsewhere, with what the conn was upgraded to.
    pub(super) fn upgraded() -> Self {
        Self::own(Full::default(), Times::default())
    }

    /// How long it was until the request left, and from then until its answer began.
    #[must_use]
    pub fn times(&self) -> Times {
        match &self.content {
            Content::Own(_, times) => *times,
            Content::Reply(_) => self.entry.as_ref().map(Entry::times).unwrap_or_default(),
        }
    }

    fn count(&mut self, frame: &mut Frame<Bytes>) {
        if let Some(data) = frame.data_ref() {
            if let Some(entry) = &mut self.entry {
                entry.response_bytes += u64::try_from(data.len()).unwrap_or(0);
            }
        } else if let Some(trailers) = frame.trailers_mut() {
            fields::prepare_response_trailers(trailers);
        }
    }

    fn fail(&mut self, error: &BodyError) {
        if let Some(entry) = &mut self.entry {
            entry.cause = Some(format!("the origin's body ended early: {error}").into());
        }
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
        if let Some(visit) = &mut this.visit {
            visit.take();
        }
        let frame = match &mut this.content {
            Content::Own(body, _) => ready!(Pin::new(body).poll_frame(cx))
                .map(|frame| frame.map_err(|never| match never {})),
            Content::Reply(body) => match ready!(Pin::new(body).poll_frame(cx)) {
                Some(Err(error)) => {
                    this.fail(&error);
                    return Poll::Ready(Some(Err(error)));
                }
                frame => frame,
            },
        };
        Poll::Ready(match frame {
            Some(Ok(mut frame)) => {
                this.count(&mut frame);
                if let Some(visit) = &mut this.visit {
                    visit.offer();
                }
                Some(Ok(frame))
            }
            other => other,
        })
    }

    fn is_end_stream(&self) -> bool {
        match &self.content {
            Content::Reply(body) => body.is_end_stream(),
            Content::Own(body, _) => body.is_end_stream(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.content {
            Content::Reply(body) => body.size_hint(),
            Content::Own(body, _) => body.size_hint(),
        }
    }
}
