//! A request's body that is read to its end before the request can leave.

use std::sync::Arc;

use http_body::Body as _;
use http_body_util::{BodyExt as _, Either};

use super::body::CallerBody;
use super::depart::DecidedRequest;
use super::idle::IdleTimer;
use super::refusal::{Code, Refusal, malformed};
use super::renewal::{ReplayBody, ReplayBuffer};
use super::response::blame;
use super::signing;
use super::{InForce, Proxy};
use crate::ledger::Entry;
use crate::listener::RequestBody;
use crate::model::aws::payload::PayloadHash;
use crate::upstream;

/// The body of a request that was decided about: it comes from the caller as it is read, or all of
/// it is here, and its memory is given back when it is dropped.
pub(super) type ArrivedBody = Either<RequestBody, ReplayBody>;

impl Proxy {
    /// Reads the body of a request to its end, and notes its hash in the head. Cancel-safe: the
    /// request is gone with the future.
    ///
    /// # Errors
    /// A refusal when the body is too long, fails, or there is no memory left for it.
    pub(super) async fn hash_body(
        &self,
        in_force: &InForce,
        decided: &mut DecidedRequest,
        entry: &mut Entry,
    ) -> Result<(), Refusal> {
        // 1. The body is counted and limited as one that is sent on. Of one that says that it is too
        // long nothing is read.
        if decided.body.size_hint().lower() > MAX_HASHED_BYTES as u64 {
            return Err(too_long());
        }
        let settings = &in_force.settings;
        let (max_body_bytes, memory) = (settings.max_body_bytes, settings.renewal.replay_memory);
        let share = self.shared.replay_memory.share();
        let buffer = Arc::new(ReplayBuffer::up_to(MAX_HASHED_BYTES, share, memory));
        let count = Arc::default();
        entry.request_count = Some(Arc::clone(&count));
        let nothing = ArrivedBody::Right(ReplayBody::empty());
        let mut body = CallerBody {
            incoming: std::mem::replace(&mut decided.body, nothing),
            idle: IdleTimer::new(settings.exchange_idle_timeout, None),
            count: Arc::clone(&count),
            max_body_bytes,
            credential: Arc::clone(decided.permit.connection().fields()),
            buffer: Some(Arc::clone(&buffer)),
        };
        // 2. It is hashed and kept as it comes.
        let mut hash = PayloadHash::begin();
        while let Some(frame) = body.frame().await {
            let failed = |error| {
                let error = upstream::Error::RequestBody(error);
                blame(error, entry.request_bytes(), max_body_bytes)
            };
            let frame = frame.map_err(failed)?;
            let Some(piece) = frame.data_ref() else {
                return Err(malformed(TRAILERS));
            };
            hash.add(piece);
            if buffer.is_gone() {
                let is_long = entry.request_bytes() > MAX_HASHED_BYTES as u64;
                return Err(if is_long { too_long() } else { no_memory() });
            }
        }
        // 3. The head says what was hashed.
        decided.body = ArrivedBody::Right(buffer.whole().ok_or_else(no_memory)?);
        signing::note_hash(&mut decided.head, &hash.finish())
    }
}

fn too_long() -> Refusal {
    let title = "The body is larger than 8 MiB, and must be read before it can be signed: the \
                 caller sends x-amz-content-sha256 with its SHA-256, or less at once.";
    Refusal::new(Code::BodyTooLarge, title).closing()
}

fn no_memory() -> Refusal {
    let title = "The body must be read before it can be signed, and other bodies have all of \
                 oauth.replay_memory: try again, or the operator allows more.";
    Refusal::new(Code::Overloaded, title).retry_after(1).closing()
}

const TRAILERS: &str =
    "The request has trailers, which can't be signed: the caller sends it without.";

/// The longest body that is read before it is sent.
const MAX_HASHED_BYTES: usize = 8 << 20;
