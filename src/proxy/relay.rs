//! The way home.

use bytes::Bytes;
use http::{Response, Version, header};
use http_body::Body as _;
use http_body_util::Full;

use super::base_url;
use super::body::AnswerBody;
use super::fields::{self, Via};
use super::refusal::Refusal;
use crate::door::Visit;
use crate::ledger::{Decision, Entry};
use crate::model::origin::Origin;
use crate::upstream::{Reply, ReplyBody};

/// The origin's answer, fit for the caller.
pub(super) fn prepare(reply: &mut Reply, via: &Via) {
    let version = reply.version();
    // The version is the hop's own (RFC 9110 §6.2): a caller of HTTP/1.1 is not answered in 1.0.
    *reply.version_mut() = Version::HTTP_11;
    fields::prepare_response(reply.headers_mut(), version, via);
}

/// In base-URL form, leads the caller back to us, and keeps cookies of a foreign host from being
/// set for ours.
pub(super) fn localise(reply: &mut Reply, request_path: &str, origin: &Origin) {
    base_url::rewrite(reply.headers_mut(), request_path, origin);
    if let header::Entry::Occupied(cookies) = reply.headers_mut().entry(header::SET_COOKIE) {
        cookies.remove_entry_mult();
    }
}

/// Hands the origin's answer to the caller.
pub(super) fn relay(reply: Reply, mut entry: Entry, visit: Visit) -> Response<AnswerBody> {
    entry.status = reply.status().as_u16();
    let (head, body): (_, ReplyBody) = reply.into_parts();
    Response::from_parts(head, AnswerBody::reply(body, entry, visit))
}

/// Hands an answer of our own to the caller.
pub(super) fn end(
    response: Response<Full<Bytes>>,
    mut entry: Entry,
    visit: Visit,
) -> Response<AnswerBody> {
    entry.status = response.status().as_u16();
    if !entry.is_head() {
        entry.response_bytes = response.body().size_hint().lower();
    }
    let times = entry.times();
    drop((entry, visit));
    response.map(|body| AnswerBody::own(body, times))
}

/// Hands a refusal to the caller.
pub(super) fn refuse(refusal: Refusal, mut entry: Entry, visit: Visit) -> Response<AnswerBody> {
    entry.decision = Decision::Refuse(refusal.code().as_str());
    entry.rule = refusal.code().rule().as_str();
    entry.cause = Some(refusal.cause().unwrap_or_else(|| refusal.title()).into());
    end(refusal.into_response(), entry, visit)
}
