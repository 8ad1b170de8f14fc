//! Step 6: the origin's answer, fit for the caller.

use std::sync::Arc;

use jiff::Timestamp;

use super::arrival::Arrival;
use super::base_url::ResponseRewrite;
use super::decide::too_large;
use super::echo;
use super::fields::Via;
use super::idle::{Idle, IdleTimer};
use super::recheck::NotSent;
use super::refusal::{Code, Refusal};
use super::relay;
use super::renewal::{Replay, refuses_credential};
use super::upgrade::{PendingUpgrade, is_agreed};
use crate::ledger::Entry;
use crate::listener::{ConnState, InFlight};
use crate::upstream::{self, Reply};

/// A request that has left, as its answer needs it.
pub(super) struct ResponseContext {
    /// The request, by which it may have to be decided once more.
    pub(super) arrival: Arrival,
    /// The time when the caller's token ends, if it does.
    pub(super) token_end: Option<Timestamp>,
    /// The largest body that was allowed, in bytes; 0 for any.
    pub(super) max_body_bytes: u64,
    /// Keeps an answer in base-URL form from leading the caller elsewhere.
    pub(super) base_url: Option<Box<ResponseRewrite>>,
    /// The WebSocket that was asked for.
    pub(super) upgrade: Option<Box<PendingUpgrade>>,
    /// The request once more, if the origin may refuse tokens that have not ended.
    pub(super) replay: Option<Box<Replay>>,
    /// Ends an answer that stops coming.
    pub(super) idle: IdleTimer,
    /// The caller's conn, which is passed interim answers.
    pub(super) conn: Option<Arc<ConnState>>,
}

/// The first attempt of a request, as far as its tokens are concerned.
pub(super) enum FirstAttempt {
    /// Its outcome is the caller's.
    Counts(Result<Reply, NotSent>),
    /// The request may be sent again with others.
    TokensRefused(Box<RefusedTokens>),
}

/// An answer that refuses the tokens, and the request once more.
pub(super) struct RefusedTokens {
    pub(super) answer: Reply,
    pub(super) replay: Replay,
}

/// An origin's answer that is fit for the caller.
pub(super) enum Finished {
    /// Its body ends when the timer says so.
    Answer(Reply, IdleTimer),
    /// The origin agrees to the WebSocket.
    Upgrade(Reply, Box<PendingUpgrade>),
}

impl ResponseContext {
    /// Has the caller's conn know of what comes of the request.
    pub(super) fn attach(&mut self, in_flight: &InFlight) {
        self.conn = Some(Arc::clone(in_flight.conn()));
        if let Some(exchange) = self.idle.exchange() {
            exchange.attach(in_flight.conn());
        }
    }

    /// Tells an answer that refuses the tokens from one that counts. After the latter the replay is
    /// dropped, which lets go of the body.
    pub(super) fn judge_tokens(&mut self, sent: Result<Reply, NotSent>) -> FirstAttempt {
        match (sent, self.replay.take()) {
            (Ok(answer), Some(replay)) if refuses_credential(&replay.used, answer.status()) => {
                FirstAttempt::TokensRefused(Box::new(RefusedTokens { answer, replay: *replay }))
            }
            (sent, _) => FirstAttempt::Counts(sent),
        }
    }

    /// Makes the answer fit for the caller.
    pub(super) fn finish(
        self,
        sent: Result<Reply, NotSent>,
        entry: &Entry,
        via: &Via,
    ) -> Result<Finished, Refusal> {
        let blame = |error| blame(error, entry.request_bytes(), self.max_body_bytes);
        let mut reply = sent.map_err(|not_sent| match not_sent {
            NotSent::Refused(refusal) => refusal,
            NotSent::Failed(error) => blame(error),
        })?;
        let agreed = is_agreed(&reply, self.upgrade.as_deref()).map_err(blame)?;
        relay::prepare(&mut reply, via);
        echo::mask_head(&mut reply, entry);
        if let Some(rewrite) = self.base_url {
            rewrite.rewrite(reply.headers_mut());
        }
        Ok(match self.upgrade.filter(|_| agreed) {
            Some(upgrade) => Finished::Upgrade(reply, upgrade),
            None => Finished::Answer(reply, self.idle),
        })
    }
}

/// The refusal for an answer that did not come. A request whose body is too large, or stops
/// coming, is its caller's fault and not its origin's.
pub(super) fn blame(error: upstream::Error, sent_bytes: u64, max_body_bytes: u64) -> Refusal {
    if max_body_bytes != 0 && sent_bytes > max_body_bytes {
        return too_large(max_body_bytes).closing();
    }
    match Idle::in_chain(&error) {
        Some(idle) => {
            let title = format!("The caller must send its request without such a pause: {idle}.");
            Refusal::new(Code::MalformedRequest, title).because(error.chain()).closing()
        }
        None => Refusal::from(error),
    }
}
