//! One request and its answer on a stream (RFC 9113 §8.1).

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use h2::client::ResponseFuture;
use h2::{Reason, RecvStream};
use http::{Request, Response, header};
use http_body::Body as _;
use tokio::sync::oneshot;

use super::conn_facts::ConnFacts;
use super::reply::StreamBody;
use super::upload::Upload;
use super::{Http2Stream, StreamPermit};
use crate::tasks::Tasks;
use crate::upstream::body::{BodyError, Outgoing, SendError};
use crate::upstream::error::{Error, ResponsePhase};
use crate::upstream::http1::{MAX_INTERIM_RESPONSES, MalformedResponse};
use crate::upstream::replay::{BodyPrefix, ReplayBudget};

/// A request under way.
#[derive(Debug)]
pub(in crate::upstream) struct StreamExchange {
    response: ResponseFuture,
    upload: Option<Upload>,
    interim: usize,
    /// Declared before `permit`, so that it is dropped before the stream's permit is returned.
    unwritten: UnwrittenRequest,
    permit: StreamPermit,
}

/// A request that was handed to the HTTP/2 library and may not have been written yet.
///
/// The library never drops a request that it was given. A request that is canceled before it was
/// written, and can't be written now, therefore ends its conn: otherwise the library would send it
/// later, without the final check that every departure passes.
#[derive(Debug)]
struct UnwrittenRequest {
    facts: Arc<ConnFacts>,
    stream: u32,
}

/// The progress of a request that was handed to the HTTP/2 library.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::upstream) enum WriteProgress {
    /// Nothing was written: the origin allows fewer concurrent streams than are open.
    HeldBack,
    /// Nothing was written: the library has other frames to write first.
    NotYet,
    /// The head was handed to TLS; some or all of it may have been sent.
    Buffered,
    /// The head was handed to the socket.
    Sent,
}

/// A request that was not answered, and what is needed to send it again.
#[derive(Debug)]
pub(in crate::upstream) struct SendFailure {
    pub(in crate::upstream) error: Error,
    /// The whole body, where the origin has not processed the request (RFC 9113 §8.7).
    pub(in crate::upstream) unprocessed: Option<Outgoing>,
    /// The origin requires HTTP/1.1 for this request (`HTTP_1_1_REQUIRED`).
    pub(in crate::upstream) needs_http1: bool,
}

impl StreamExchange {
    /// Hands a request's head to the library. Up to a limit, the body is kept for one more attempt,
    /// out of `budget`.
    pub(in crate::upstream) fn begin(
        stream: Http2Stream,
        head: Request<()>,
        body: Outgoing,
        budget: &ReplayBudget,
    ) -> Result<Self, SendFailure> {
        let Http2Stream { mut sender, permit } = stream;
        let is_whole = body.is_end_stream();
        let (response, stream) = match sender.send_request(head, is_whole) {
            Ok(sent) => sent,
            Err(fault) => {
                // A conn that accepts no request has sent nothing of it.
                let of_conn = fault.is_io() || fault.reason().is_some();
                let error = conn_error(fault, permit.facts());
                let unprocessed = of_conn.then_some(body);
                return Err(SendFailure { error, unprocessed, needs_http1: false });
            }
        };
        let upload = (!is_whole).then(|| Upload::new(stream, body, BodyPrefix::new(budget)));
        let (facts, stream) = (Arc::clone(permit.facts()), response.stream_id().as_u32());
        let unwritten = UnwrittenRequest { facts, stream };
        Ok(Self { response, upload, interim: 0, unwritten, permit })
    }

    /// A function that gives the request's progress at the time of each call.
    pub(in crate::upstream) fn progress(&self) -> impl Fn() -> WriteProgress + use<> {
        let UnwrittenRequest { facts, stream, .. } = &self.unwritten;
        let (facts, stream) = (Arc::clone(facts), *stream);
        move || {
            if facts.is_flushed(stream) {
                WriteProgress::Sent
            } else if facts.is_written(stream) {
                WriteProgress::Buffered
            } else if facts.is_held_back(stream) {
                WriteProgress::HeldBack
            } else {
                WriteProgress::NotYet
            }
        }
    }

    /// Takes back a request of which nothing was written, by ending its conn. Gives the body where
    /// all of it was kept.
    pub(in crate::upstream) fn withdraw(self) -> Option<Outgoing> {
        self.unwritten.facts.abort();
        self.into_body()
    }

    /// Sends the body and waits for the answer's head. Not cancel-safe: dropping the exchange
    /// resets the stream.
    pub(in crate::upstream) async fn answer(&mut self) -> StreamAnswer {
        poll_fn(|cx| self.poll_answer(cx)).await
    }

    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<StreamAnswer> {
        // 1. Send more of the body. After a reset the answer is still read, because it may say why.
        if let Some(upload) = &mut self.upload
            && let Poll::Ready(Err(SendError::Body(error))) = upload.poll(cx)
        {
            return Poll::Ready(Err(StreamFault::Body(error)));
        }
        // 2. Skip interim responses (RFC 9110 §15.2), up to a limit.
        while let Poll::Ready(Some(interim)) = self.response.poll_informational(cx) {
            interim.map_err(StreamFault::Stream)?;
            self.interim += 1;
            if self.interim > MAX_INTERIM_RESPONSES {
                return Poll::Ready(Err(StreamFault::Interim));
            }
        }
        // 3. Poll for the final answer.
        Pin::new(&mut self.response).poll(cx).map_err(StreamFault::Stream)
    }

    /// Makes the answer of its head. What is left of the request's body is sent by a task.
    pub(in crate::upstream) fn reply(
        self,
        response: Response<RecvStream>,
        tasks: &Tasks,
    ) -> Response<StreamBody> {
        // The stream counts against the peer's limit until both of its directions have ended.
        let permit = Arc::new(self.permit);
        let uploading = self.upload.filter(|upload| !upload.has_ended()).map(|mut upload| {
            upload.forget_prefix();
            let (alive, ends) = oneshot::channel();
            tasks.spawn(upload.send_rest(ends, Arc::clone(&permit)));
            alive
        });
        let length = response.headers().get(header::CONTENT_LENGTH);
        let length = length.and_then(|length| length.to_str().ok()?.parse().ok());
        response.map(|stream| {
            // An answer to HEAD, a 204 and a 304 may name a length but have no body.
            let length = if stream.is_end_stream() { Some(0) } else { length };
            StreamBody::new(stream, uploading, length, permit)
        })
    }

    /// Decides whether a request that failed may be sent again: the origin has refused its stream,
    /// asked for HTTP/1.1, or said by GOAWAY that it has not processed it (RFC 9113 §8.7).
    pub(in crate::upstream) fn into_failure(self, fault: StreamFault) -> SendFailure {
        let stream = self.response.stream_id().as_u32();
        let fault = match fault {
            StreamFault::Stream(fault) => fault,
            StreamFault::Body(fault) => {
                return SendFailure::for_good(Error::RequestBody(fault));
            }
            StreamFault::Interim => {
                return SendFailure::for_good(Error::ResponseMalformed(MalformedResponse::Interim));
            }
        };
        let reason = fault.reason().filter(|_| fault.is_remote());
        let needs_http1 = reason == Some(Reason::HTTP_1_1_REQUIRED);
        let refused = fault.is_reset() && reason == Some(Reason::REFUSED_STREAM);
        let facts = Arc::clone(self.permit.facts());
        let is_unprocessed = needs_http1 || refused || facts.is_unprocessed(stream);
        let unprocessed = if is_unprocessed { self.into_body() } else { None };
        SendFailure { error: conn_error(fault, &facts), unprocessed, needs_http1 }
    }

    fn into_body(self) -> Option<Outgoing> {
        match self.upload {
            None => Some(Outgoing::empty()),
            Some(upload) => upload.into_body(),
        }
    }

    /// Sends no other request on the conn. Requests under way go on.
    pub(in crate::upstream) fn close_conn(&self) {
        self.permit.facts().close();
    }

    /// Notes that a request sent at `since` was not answered in time.
    pub(in crate::upstream) fn note_timeout(&self, since: Instant) {
        self.permit.facts().note_timeout(since);
    }
}

impl Drop for UnwrittenRequest {
    fn drop(&mut self) {
        self.facts.cancel(self.stream);
    }
}

type StreamAnswer = Result<Response<RecvStream>, StreamFault>;

/// The reason why a stream brought no answer.
#[derive(Debug)]
pub(in crate::upstream) enum StreamFault {
    Stream(h2::Error),
    Body(BodyError),
    /// More interim responses than are allowed.
    Interim,
}

impl SendFailure {
    fn for_good(error: Error) -> Self {
        Self { error, unprocessed: None, needs_http1: false }
    }
}

/// The error of a failure on a conn: a TLS alert or an unanswered PING explains it better than the
/// library's own error does.
pub(super) fn conn_error(fault: h2::Error, facts: &ConnFacts) -> Error {
    let closed = |cause| Error::closed(ResponsePhase::BeforeResponse, cause);
    if let Some(alert) = facts.tls_alert() {
        return closed(io::Error::other(rustls::Error::AlertReceived(alert)));
    }
    if facts.is_lost() {
        return closed(io::Error::new(io::ErrorKind::TimedOut, "the peer did not answer a PING"));
    }
    if fault.is_library() {
        return Error::ResponseMalformed(MalformedResponse::Http2(without_debug_data(&fault)));
    }
    let is_ours = !fault.is_io() && fault.reason().is_none();
    if is_ours {
        return Error::RequestBody(fault.into());
    }
    closed(io::Error::other(without_debug_data(&fault)))
}

/// Describes a failure without the peer's own words: the debug data of a GOAWAY (RFC 9113 §6.8) is
/// free text, and may repeat the credential that the peer was sent.
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
