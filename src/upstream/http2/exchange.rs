//! One request and its answer, on a stream.

use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::Bytes;
use h2::client::ResponseFuture;
use h2::{Reason, RecvStream, SendStream};
use http::{Request, Response, header};
use http_body::{Body as _, Frame};
use http_body_util::BodyExt as _;
use tokio::sync::oneshot;

use super::facts::Facts;
use super::reply::StreamBody;
use super::{Stream, StreamPlace};
use crate::tasks::Tasks;
use crate::upstream::body::{BodyError, Outgoing};
use crate::upstream::error::{Error, Phase};
use crate::upstream::http1::{MAX_INTERIM_RESPONSES, Malformed};
use crate::upstream::replay::{ReplayBudget, Taken};

/// A request under way.
#[derive(Debug)]
pub(in crate::upstream) struct Exchange {
    response: ResponseFuture,
    upload: Option<Upload>,
    interim: usize,
    /// Dropped before its place is free again.
    unwritten: Unwritten,
    place: StreamPlace,
}

/// A request that the library was given, and that maybe has not left yet.
///
/// One that is given up and can't leave ends its conn, which would else send it later, when
/// nobody looks any more whether it still may leave: the library drops no request that it was
/// given.
#[derive(Debug)]
struct Unwritten {
    facts: Arc<Facts>,
    stream: u32,
}

/// The progress of a request that the library was given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::upstream) enum Written {
    /// Nothing of it has been written, because its origin allows fewer streams than there are.
    HeldBack,
    /// Nothing of it has been written, because its turn on the conn has not come.
    NotYet,
    /// Its head was handed to TLS, and some or all of it may have left.
    Buffered,
    /// Its head was handed to the socket.
    Sent,
}

/// The reason why there is no answer, and whether the request may be sent again.
#[derive(Debug)]
pub(in crate::upstream) struct Unanswered {
    pub(in crate::upstream) error: Error,
    /// All of the body, where the origin has not processed the request.
    pub(in crate::upstream) unprocessed: Option<Outgoing>,
    /// The origin wants it over HTTP/1.1.
    pub(in crate::upstream) needs_http1: bool,
}

/// A body on its way.
#[derive(Debug)]
pub(super) struct Upload {
    stream: SendStream<Bytes>,
    body: Outgoing,
    /// Taken of the body, and not sent yet.
    pending: Bytes,
    taken: Option<Taken>,
    has_ended: bool,
    /// The origin takes no more of it.
    is_stopped: bool,
}

/// The reason why a body could not be sent to its end.
#[derive(Debug)]
pub(super) enum UploadError {
    /// The origin takes no more.
    Stream,
    /// The caller's body failed.
    Body(BodyError),
}

impl Exchange {
    /// Sends a request's head.
    pub(in crate::upstream) fn begin(
        stream: Stream,
        head: Request<()>,
        body: Outgoing,
        budget: &ReplayBudget,
    ) -> Result<Self, Unanswered> {
        let Stream { mut sender, place } = stream;
        let is_whole = body.is_end_stream();
        let (response, stream) = match sender.send_request(head, is_whole) {
            Ok(sent) => sent,
            Err(fault) => {
                // A conn that takes no request has sent nothing of it.
                let of_conn = fault.is_io() || fault.reason().is_some();
                let error = error(fault, place.facts());
                let unprocessed = of_conn.then_some(body);
                return Err(Unanswered { error, unprocessed, needs_http1: false });
            }
        };
        let taken = Some(Taken::new(budget));
        let upload = (!is_whole).then(|| {
            let pending = Bytes::new();
            Upload { stream, body, pending, taken, has_ended: false, is_stopped: false }
        });
        let (facts, stream) = (Arc::clone(place.facts()), response.stream_id().as_u32());
        let unwritten = Unwritten { facts, stream };
        Ok(Self { response, upload, interim: 0, unwritten, place })
    }

    /// Tells, as often as it is asked, how far the request has come.
    pub(in crate::upstream) fn watch(&self) -> impl Fn() -> Written + use<> {
        let Unwritten { facts, stream, .. } = &self.unwritten;
        let (facts, stream) = (Arc::clone(facts), *stream);
        move || {
            if facts.is_flushed(stream) {
                Written::Sent
            } else if facts.is_written(stream) {
                Written::Buffered
            } else if facts.is_held_back(stream) {
                Written::HeldBack
            } else {
                Written::NotYet
            }
        }
    }

    /// Takes back a request of which nothing was written, and gives its body if all of it is still
    /// there. Its conn ends.
    pub(in crate::upstream) fn withdraw(self) -> Option<Outgoing> {
        self.unwritten.facts.cut();
        self.into_body()
    }

    /// Writes the body, and waits for the head of the answer.
    ///
    /// Dropping the future resets the stream.
    pub(in crate::upstream) async fn answer(&mut self) -> Result<Response<RecvStream>, Fault> {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Response<RecvStream>, Fault>> {
        // 1. The body goes on. An origin that takes no more may yet say why.
        if let Some(upload) = &mut self.upload
            && let Poll::Ready(Err(UploadError::Body(error))) = upload.poll(cx)
        {
            return Poll::Ready(Err(Fault::Body(error)));
        }
        // 2. What is interim is passed over.
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            interim.map_err(Fault::Stream)?;
            self.interim += 1;
            if self.interim > MAX_INTERIM_RESPONSES {
                return Poll::Ready(Err(Fault::Interim));
            }
        }
        // 3. The answer.
        Pin::new(&mut self.response).poll(cx).map_err(Fault::Stream)
    }

    /// The answer that begins with this head; what is left of the request goes on beside it.
    pub(in crate::upstream) fn reply(
        self,
        response: Response<RecvStream>,
        tasks: &Tasks,
    ) -> Response<StreamBody> {
        // The stream has its place for as long as either of its directions is open.
        let place = Arc::new(self.place);
        let uploading = self.upload.filter(|upload| !upload.has_ended).map(|mut upload| {
            upload.taken = None;
            let (alive, ends) = oneshot::channel();
            tasks.spawn(upload.run(ends, Arc::clone(&place)));
            alive
        });
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|stream| {
            // To HEAD, and with 204 and 304, no body comes, whatever its length would be.
            let length = if stream.is_end_stream() { Some(0) } else { length };
            StreamBody::new(stream, uploading, length, place)
        })
    }

    /// Judges a failure: whether the origin has processed the request, or may have.
    pub(in crate::upstream) fn fail(self, fault: Fault) -> Unanswered {
        let stream = self.response.stream_id().as_u32();
        let fault = match fault {
            Fault::Stream(fault) => fault,
            Fault::Body(fault) => return Unanswered::for_good(Error::RequestBody(fault)),
            Fault::Interim => {
                return Unanswered::for_good(Error::ResponseMalformed(Malformed::Interim));
            }
        };
        let reason = fault.reason().filter(|_| fault.is_remote());
        let needs_http1 = reason == Some(Reason::HTTP_1_1_REQUIRED);
        let refused = fault.is_reset() && reason == Some(Reason::REFUSED_STREAM);
        let facts = Arc::clone(self.place.facts());
        let is_unprocessed = needs_http1 || refused || facts.is_unprocessed(stream);
        let unprocessed = if is_unprocessed { self.into_body() } else { None };
        Unanswered { error: error(fault, &facts), unprocessed, needs_http1 }
    }

    /// The request's body, if all of it is still there.
    fn into_body(self) -> Option<Outgoing> {
        match self.upload {
            None => Some(Outgoing::empty()),
            Some(Upload { body, taken, .. }) => taken.and_then(|taken| taken.resume(body)),
        }
    }

    /// Takes the conn out of use; what is under way on it goes on.
    pub(in crate::upstream) fn retire(&self) {
        self.place.facts().close();
    }

    /// Notes that there was no answer in time.
    pub(in crate::upstream) fn is_late(&self, since: Instant) {
        self.place.facts().unanswered(since);
    }
}

impl Drop for Unwritten {
    fn drop(&mut self) {
        self.facts.give_up(self.stream);
    }
}

/// A failure on a stream.
#[derive(Debug)]
pub(in crate::upstream) enum Fault {
    Stream(h2::Error),
    Body(BodyError),
    /// Interim responses without end.
    Interim,
}

impl Unanswered {
    fn for_good(error: Error) -> Self {
        Self { error, unprocessed: None, needs_http1: false }
    }
}

impl Upload {
    /// Writes as much as the origin takes and the caller has sent.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), UploadError>> {
        if self.is_stopped {
            return Poll::Ready(Err(UploadError::Stream));
        }
        while !self.has_ended {
            // 1. The caller is asked for more only when there is room for it.
            self.stream.reserve_capacity(self.pending.len().max(1));
            while self.stream.capacity() == 0 {
                self.body.awaits_origin();
                match ready!(self.stream.poll_capacity(cx)) {
                    Some(Ok(_room)) => {}
                    Some(Err(_)) | None => return self.stop(),
                }
            }
            if self.stream.poll_reset(cx).is_ready() {
                return self.stop();
            }
            // 2. As much as there is room for is sent.
            if !self.pending.is_empty() {
                let data = self.pending.split_to(self.pending.len().min(self.stream.capacity()));
                let is_last = self.pending.is_empty() && self.body.is_end_stream();
                self.send(data, is_last)?;
                continue;
            }
            // 3. More is taken.
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                None => self.send(Bytes::new(), true)?,
                Some(Err(error)) => {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(UploadError::Body(error)));
                }
                Some(Ok(frame)) => self.take(frame)?,
            }
        }
        Poll::Ready(Ok(()))
    }

    fn take(&mut self, frame: Frame<Bytes>) -> Result<(), UploadError> {
        if let Some(taken) = &mut self.taken {
            taken.keep(&frame);
        }
        match frame.into_data() {
            Ok(data) if data.is_empty() && self.body.is_end_stream() => self.send(data, true),
            Ok(data) => {
                self.pending = data;
                Ok(())
            }
            Err(frame) => {
                self.has_ended = true;
                let trailers = frame.into_trailers().unwrap_or_default();
                self.stream.send_trailers(trailers).map_err(|_closed| UploadError::Stream)
            }
        }
    }

    fn send(&mut self, data: Bytes, is_last: bool) -> Result<(), UploadError> {
        self.has_ended = is_last;
        if let Some(taken) = self.taken.as_mut().filter(|_| is_last) {
            taken.end();
        }
        self.body.moved();
        self.stream.send_data(data, is_last).map_err(|_closed| UploadError::Stream)
    }

    fn stop(&mut self) -> Poll<Result<(), UploadError>> {
        self.is_stopped = true;
        Poll::Ready(Err(UploadError::Stream))
    }

    /// Writes the rest while the answer is under way; `ends` tells how that went.
    async fn run(mut self, mut ends: oneshot::Receiver<()>, place: Arc<StreamPlace>) {
        let mut answered = false;
        let mut stalled = pin!(tokio::time::sleep(STALL_TIMEOUT));
        let sent = poll_fn(|cx| {
            if !answered && let Poll::Ready(ended) = Pin::new(&mut ends).poll(cx) {
                // Nobody wants the answer any more; else the request may still be.
                if ended.is_err() {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Ok(()));
                }
                answered = true;
            }
            if let Poll::Ready(sent) = self.poll(cx) {
                return Poll::Ready(sent);
            }
            // An origin that has answered and takes no more may never say so (RFC 9113 §8.1), and
            // the caller may have gone.
            while answered && stalled.as_mut().poll(cx).is_ready() {
                let left = STALL_TIMEOUT.saturating_sub(self.body.still());
                if left.is_zero() {
                    self.stream.send_reset(Reason::CANCEL);
                    return Poll::Ready(Err(UploadError::Stream));
                }
                stalled.as_mut().reset(tokio::time::Instant::now() + left);
            }
            Poll::Pending
        });
        let sent = sent.await;
        // The stream is over; its conn may end before the caller's body does.
        let Self { stream, mut body, .. } = self;
        drop((stream, place));
        if let Err(UploadError::Stream) = sent {
            // The caller's next request comes after the rest of this one, which nobody wants.
            while let Some(Ok(_unwanted)) = body.frame().await {}
        }
    }
}

/// The time that the rest of a request may stand still once its answer is complete.
const STALL_TIMEOUT: Duration = Duration::from_secs(5);

/// What a failure of the library means.
pub(super) fn error(fault: h2::Error, facts: &Facts) -> Error {
    let closed = |cause| Error::closed(Phase::BeforeResponse, cause);
    if let Some(alert) = facts.alert() {
        return closed(io::Error::other(rustls::Error::AlertReceived(alert)));
    }
    if facts.is_lost() {
        return closed(io::Error::new(io::ErrorKind::TimedOut, "a PING was not answered"));
    }
    if fault.is_library() {
        return Error::ResponseMalformed(Malformed::Http2(without_debug_data(&fault)));
    }
    let is_ours = !fault.is_io() && fault.reason().is_none();
    if is_ours {
        return Error::RequestBody(fault.into());
    }
    closed(io::Error::other(without_debug_data(&fault)))
}

/// Tells a failure without the peer's own words: the debug data of a GOAWAY (RFC 9113 §6.8) may be
/// anything, the credential that it was sent included.
pub(super) fn without_debug_data(fault: &h2::Error) -> String {
    if let Some(io) = fault.get_io() {
        return io.to_string();
    }
    let by = if fault.is_remote() { "the origin" } else { "the proxy" };
    let how = if fault.is_reset() { "reset the stream" } else { "ended the conn" };
    match fault.reason() {
        Some(reason) => format!("{by} {how}: {reason}"),
        None => format!("{by} {how}"),
    }
}
