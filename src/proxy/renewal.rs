//! Tokens of OAuth connections on a request's path: waited for where they have ended, and got anew
//! once where the origin refuses them.

mod buffer;
mod replay;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use jiff::Timestamp;

use super::admit::admit_again;
use super::arrival::Arrival;
use super::journey::{DecidedRequest, Outcome, Proxy, ResponseContext};
use super::recheck::{NotSent, Recheck};
use super::refusal::{Code, Refusal};
use super::{InForce, Renewal};
use crate::ledger::Entry;
use crate::model::connection::Connection;
use crate::model::oauth::freshness::Freshness;
use crate::oauth::{Cause, RefreshHandle, RefreshRequest, TokenFailure};
use crate::upstream::{Departure, Reply};

pub(super) use self::buffer::{ReplayBuffer, ReplayGuard};
pub(super) use self::replay::Replay;
use self::replay::SecondAttempt;

/// What is to be done about a connection's tokens before a request is sent with them.
#[derive(Debug)]
pub(super) enum Readiness {
    /// Nothing.
    Ready,
    /// Others are to be had first.
    First(RefreshRequest),
}

/// A request that waits for tokens.
#[derive(Debug)]
pub(super) struct AwaitingTokens {
    pub(super) decided: DecidedRequest,
    pub(super) wanted: RefreshRequest,
}

/// Whether a connection can be used as it is. Tokens that are used for the first time are watched
/// from then on.
///
/// # Errors
/// `ReauthorizationNeeded` when its access token has ended and only a new flow helps.
pub(super) fn readiness(
    connection: &Arc<Connection>,
    tokens: &RefreshHandle,
    renewal: &Renewal,
    now: Timestamp,
) -> Result<Readiness, Refusal> {
    if let Some(standing) = connection.token_status()
        && standing.is_first_use()
    {
        tokens.watch(connection);
    }
    if has_tokens(connection, renewal, now)? {
        return Ok(Readiness::Ready);
    }
    Ok(RefreshRequest::of(connection, Cause::Use).map_or(Readiness::Ready, Readiness::First))
}

/// Whether a connection has what a request takes with it, or must be given other tokens first. A
/// pure function.
///
/// # Errors
/// As those of [`readiness`].
pub(super) fn has_tokens(
    connection: &Connection,
    renewal: &Renewal,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let Some(standing) = connection.token_status() else { return Ok(true) };
    match standing.freshness(renewal.refresh_before, now) {
        Freshness::Fresh | Freshness::Aging => Ok(true),
        Freshness::Late => Ok(!standing.renewable),
        Freshness::Expired if standing.renewable => Ok(false),
        Freshness::Expired => Err(reauthorization_needed(connection)),
    }
}

impl Proxy {
    /// Waits until there are other tokens, and decides again: what was allowed before may not be by
    /// now.
    pub(super) async fn renew(
        &self,
        waiting: AwaitingTokens,
        entry: &mut Entry,
    ) -> Result<(Arc<InForce>, Outcome), Refusal> {
        let AwaitingTokens { mut decided, wanted } = waiting;
        let Some(tokens) = &self.tokens else { return Err(failed(TokenFailure::Store, &decided)) };
        let renewed = match time_left(decided.permit.connection(), self.ledger.clock.now()) {
            // Before it ends: what a provider that hangs costs is the wait, and not the request.
            Some(left) => tokio::time::timeout(left, tokens.refresh(wanted)).await,
            None => Ok(tokens.refresh(wanted).await),
        };
        let renewed = renewed.unwrap_or(Err(TokenFailure::Late));
        let in_force = self.in_force.load_full();
        let now = self.ledger.clock.now();
        let arrival = &decided.arrival;
        let (holder, permit) = admit_again(&in_force, arrival, now, entry)?;
        decided.holder = holder;
        decided.permit = permit;
        let connection = decided.permit.connection();
        let expired = connection.token_status().is_some_and(|standing| {
            standing.freshness(in_force.settings.renewal.refresh_before, now) == Freshness::Expired
        });
        // A token that is still good is better than none.
        match renewed {
            Err(failure) if expired => return Err(failed(failure, &decided)),
            Ok(()) if expired => return Err(failed(TokenFailure::Late, &decided)),
            _ => {}
        }
        if let Some(standing) = connection.token_status()
            && standing.is_first_use()
        {
            tokens.watch(connection);
        }
        let next = self.depart(&in_force, decided, entry)?;
        Ok((in_force, next))
    }

    /// Sends a request, and what it takes to send it once more where the origin refuses the tokens:
    /// others are got first, and all of the request must still be there. Whatever stands in the
    /// way before anything is written once more, the origin's own answer is the caller's; after
    /// that the second attempt's outcome is.
    pub(super) async fn send(
        &self,
        in_force: &Arc<InForce>,
        departure: Departure,
        context: &mut ResponseContext,
        entry: &mut Entry,
    ) -> Result<Reply, NotSent> {
        let (replay, arrival) = (context.replay.take(), &context.arrival);
        let recheck = Recheck::new(self, in_force, arrival, context.token_end, entry);
        let sent = self.upstream.send(&in_force.rules, departure, &recheck).await;
        let sent = recheck.judge(sent);
        let Some(replay) = replay else { return sent };
        if !matches!(&sent, Ok(answer) if answer.status() == StatusCode::UNAUTHORIZED) {
            // Dropped here, the replay lets go of the body.
            return sent;
        }
        // In a box: a request that goes well must not pay for its room.
        Box::pin(self.send_again(arrival, *replay, entry)).await.unwrap_or(sent)
    }

    /// The outcome of the second attempt; `None` when nothing of it was written.
    async fn send_again(
        &self,
        arrival: &Arrival,
        replay: Replay,
        entry: &mut Entry,
    ) -> Option<Result<Reply, NotSent>> {
        let tokens = self.tokens.as_ref()?;
        let wanted = RefreshRequest::of(&replay.used, Cause::Unauthorized)?;
        if !tokens.note_rejected(&wanted) {
            return None;
        }
        let Some(body) = replay.kept.0.whole() else {
            // Not this request, but the next is to have others.
            let tokens = tokens.clone();
            self.tasks.spawn(async move { tokens.refresh(wanted).await });
            return None;
        };
        tokens.refresh(wanted).await.ok()?;
        let in_force = self.in_force.load_full();
        let now = self.ledger.clock.now();
        let again = replay.decide(arrival, &in_force, now, body, &self.via)?;
        let SecondAttempt { departure, listing, token_end } = again;
        entry.set_connection(listing as _);
        let recheck = Recheck::new(self, &in_force, arrival, token_end, entry);
        let sent = self.upstream.send(&in_force.rules, departure, &recheck).await;
        if let Err(error) = &sent
            && error.is_before_sending()
        {
            // Its causes may have the origin's words.
            tracing::debug!(%error, "a request could not be sent once more");
            return None;
        }
        Some(recheck.judge(sent))
    }
}

/// How long there is to wait for others while the access token can still be used.
fn time_left(connection: &Connection, now: Timestamp) -> Option<Duration> {
    let end = connection.token_status()?.expires_at?;
    let left = Duration::try_from(end.duration_since(now)).ok()?;
    left.checked_sub(ARRIVAL).filter(|left| !left.is_zero())
}

/// How long before its end an access token is sent at the latest, so that it arrives.
const ARRIVAL: Duration = Duration::from_millis(300);

/// Why a request is not sent: there are no tokens that it could be sent with.
fn failed(failure: TokenFailure, decided: &DecidedRequest) -> Refusal {
    let connection = decided.permit.connection();
    match failure {
        TokenFailure::Lapsed(_) | TokenFailure::NoRefreshToken => {
            reauthorization_needed(connection)
        }
        TokenFailure::KeyMissing(id) => super::inject::seal_broken(Some(id)),
        TokenFailure::Seal => super::inject::seal_broken(None),
        TokenFailure::Store => Refusal::new(
            Code::StoreUnavailable,
            "The store can't be used, and the connection's access token has ended; try again.",
        )
        .retry_after(1),
        TokenFailure::StoreFaulty => Refusal::new(
            Code::Internal,
            "The store is not as it must be, and the connection's access token has ended; the \
             operator finds the reason in the log.",
        ),
        _ => Refusal::new(
            Code::TokenEndpointFailed,
            format!(
                "The access token of the connection {} has ended, and its provider gave no other; \
                 try again.",
                connection.name()
            ),
        )
        .because(failure.to_string()),
    }
}

pub(super) fn reauthorization_needed(connection: &Connection) -> Refusal {
    Refusal::new(
        Code::ReauthorizationNeeded,
        format!(
            "The connection {} has to be authorised again: the operator starts a flow for it.",
            connection.name()
        ),
    )
}
