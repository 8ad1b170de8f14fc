//! The end of a journey: an answer is handed to the caller, and its entry told so.

use bytes::Bytes;
use http::{Response, Version};
use http_body::Body as _;
use http_body_util::Full;

use super::admit::overloaded;
use super::body::{AnswerBody, AnsweredRefusal, OwnAnswer};
use super::echo::BodyMask;
use super::facts::RefusedRequest;
use super::fields::{self, REQUEST_ID, Via};
use super::idle::IdleTimer;
use super::refusal::{Code, Refusal};
use crate::http1::FramingFault;
use crate::ledger::{Decision, Entry};
use crate::listener::{EarlyRefusal, InFlight};
use crate::upstream::{Reply, ReplyBody};

/// The origin's answer, final or interim, fit for the caller.
pub(super) fn prepare<B>(reply: &mut Response<B>, via: &Via) {
    let version = reply.version();
    // The version is the hop's own (RFC 9110 §6.2): a caller of HTTP/1.1 is not answered in 1.0.
    *reply.version_mut() = Version::HTTP_11;
    fields::prepare_response(reply.headers_mut(), version, via);
}

/// Hands the origin's answer to the caller; `idle` ends one that stops coming.
pub(super) fn relay(
    reply: Reply,
    idle: IdleTimer,
    mut entry: Entry,
    in_flight: InFlight,
) -> Response<AnswerBody> {
    entry.status = reply.status().as_u16();
    let (mut head, body): (_, ReplyBody) = reply.into_parts();
    let mask = BodyMask::for_answer(&head, &entry);
    head.headers.insert(REQUEST_ID, entry.request_id());
    Response::from_parts(head, AnswerBody::reply(body, mask, idle, entry, in_flight))
}

/// Hands an answer of our own to the caller.
pub(super) fn end(
    response: Response<Full<Bytes>>,
    mut entry: Entry,
    in_flight: InFlight,
) -> Response<AnswerBody> {
    entry.status = response.status().as_u16();
    hand_over(response, entry, in_flight)
}

fn hand_over(
    mut response: Response<Full<Bytes>>,
    mut entry: Entry,
    in_flight: InFlight,
) -> Response<AnswerBody> {
    response.headers_mut().insert(REQUEST_ID, entry.request_id());
    if !entry.is_head() {
        entry.response_bytes = response.body().size_hint().lower();
    }
    let facts = OwnAnswer { times: entry.phase_durations(), refusal: AnsweredRefusal::of(&entry) };
    drop((entry, in_flight));
    response.map(|body| AnswerBody::own(body, facts))
}

/// Hands a refusal to the caller. Its entry is told what was known of the request.
pub(super) fn refuse(
    refused: impl Into<RefusedRequest>,
    mut entry: Entry,
    in_flight: InFlight,
) -> Response<AnswerBody> {
    let RefusedRequest { refusal, facts } = refused.into();
    facts.write_to(&mut entry);
    note_refusal(&mut entry, refusal.code());
    entry.who = refusal.who();
    entry.set_cause(refusal.cause().unwrap_or_else(|| refusal.title()));
    // Where the caller reads refusals in another form, the entry has the usual status all the same.
    entry.status = refusal.status().as_u16();
    let response =
        if entry.is_grpc { refusal.into_grpc_response() } else { refusal.into_response() };
    hand_over(response, entry, in_flight)
}

/// Notes in an entry that a rule has refused its request.
pub(super) fn note_refusal(entry: &mut Entry, code: Code) {
    entry.decision = Decision::Refuse(code.as_str());
    entry.rule = code.rule().as_str();
}

/// Writes down why a conn is turned away on which no request was read; gives the HTTP message that
/// says so to the caller.
pub(super) fn refuse_early(reason: EarlyRefusal, mut entry: Entry) -> Vec<u8> {
    let refusal = match reason {
        EarlyRefusal::Framing(FramingFault::TooLarge) => {
            Refusal::new(Code::HeadTooLarge, "The request's head is too large.")
        }
        EarlyRefusal::Framing(fault) => {
            let title = crate::error::capitalized(&fault.to_string()) + ".";
            Refusal::new(Code::MalformedRequest, title)
        }
        EarlyRefusal::ConnLimit => overloaded(),
    };
    note_refusal(&mut entry, refusal.code());
    if reason == EarlyRefusal::Framing(FramingFault::Tls) {
        // The listener sends an alert in the place of the message, which has no status.
        entry.set_cause(format!("{} A TLS alert was sent.", refusal.title()));
    } else {
        entry.status = refusal.status().as_u16();
        entry.set_cause(refusal.title());
    }
    refusal.with(REQUEST_ID, entry.request_id()).into_message()
}
