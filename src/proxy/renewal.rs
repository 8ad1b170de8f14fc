//! Tokens of OAuth connections, and sessions of roles, on a request's path: waited for where they have expired, and
//! refreshed once where the origin refuses them. Beside them, a replaced secret that an origin does
//! not accept yet: the old one is used once instead, while it is kept.

mod buffer;
mod replay;

use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;
use http_body::Body as _;
use jiff::Timestamp;

use super::admit::decide_again;
use super::arrival::Arrival;
use super::depart::DecidedRequest;
use super::facts::{RefusedRequest, RequestFacts};
use super::recheck::{NotSent, Recheck};
use super::refusal::{Code, Refusal};
use super::response::{RefusedTokens, ResponseContext};
use super::{InForce, Proxy, Renewal};
use crate::clock::instant;
use crate::ledger::Entry;
use crate::model::connection::{Connection, FormerConnection, TokenStatus};
use crate::model::oauth::freshness::Freshness;
use crate::model::oauth::refusal::Remedy;
use crate::oauth::{Cause, RefreshHandle, RefreshRequest, TokenFailure};
use crate::upstream::{Departure, Reply};

pub(super) use self::buffer::{ReplayBody, ReplayBuffer};
pub(super) use self::replay::{Replay, refuses_credential};

/// A request that waits for tokens, and the refresh that brings them.
#[derive(Debug)]
pub(super) struct AwaitingTokens {
    pub(super) decided: DecidedRequest,
    pub(super) wanted: (RefreshHandle, RefreshRequest),
}

/// Returns whether a connection has the credential that a request takes with it; if not, it must be
/// given other tokens first. A pure function.
///
/// # Errors
/// `ReauthorizationNeeded` when its access token has expired and only a new flow helps.
pub(super) fn has_tokens(
    connection: &Connection,
    renewal: &Renewal,
    now: Timestamp,
) -> Result<bool, Refusal> {
    let Some(status) = connection.token_status() else { return Ok(true) };
    match status.freshness(renewal.refresh_before, now) {
        Freshness::Fresh | Freshness::Aging => Ok(true),
        Freshness::Late => Ok(!status.renewable),
        Freshness::Expired if status.renewable => Ok(false),
        Freshness::Expired => Err(reauthorization_needed(connection)),
    }
}

impl Proxy {
    /// The refresh that must bring the permit's connection tokens before the request can leave;
    /// `None` where it can as it is. Tokens that are used for the first time are watched from then
    /// on.
    ///
    /// # Errors
    /// See [`has_tokens`].
    pub(super) fn tokens_to_await(
        &self,
        decided: &DecidedRequest,
        in_force: &InForce,
        now: Timestamp,
    ) -> Result<Option<(RefreshHandle, RefreshRequest)>, Refusal> {
        let Some(refreshes) = &self.shared.refreshes else { return Ok(None) };
        let connection = decided.permit.connection();
        watch_first_use(connection, refreshes);
        let renewal = &in_force.settings.renewal;
        if has_tokens(connection, renewal, now)? && !must_drain(decided, renewal, now) {
            return Ok(None);
        }
        Ok(RefreshRequest::of(connection, Cause::Use).map(|request| (refreshes.clone(), request)))
    }

    /// Waits until there are other tokens of a connection.
    async fn wait_for_tokens(
        &self,
        connection: &Connection,
        refreshes: &RefreshHandle,
        request: RefreshRequest,
    ) -> Result<(), TokenFailure> {
        // 1. Nobody asks before what is under way has had its time.
        let before = self.shared.live.load().settings.renewal.refresh_before;
        let standing = connection.token_status();
        if let Some(planned) = standing.and_then(|standing| standing.planned_refresh(before)) {
            // It is due soon, but for a reload that has changed the plan meanwhile.
            let sleep = self.shared.ledger.clock.sleep_until(planned.due);
            let _too_long = tokio::time::timeout(MAX_WAIT_WITH_TOKEN, sleep).await;
        }
        // 2. A provider that hangs costs the wait, and not the request while the token is good.
        let renewed = match time_left(connection, self.shared.ledger.clock.now()) {
            Some(left) => tokio::time::timeout(left, refreshes.refresh(request)).await,
            None => Ok(refreshes.refresh(request).await),
        };
        renewed.unwrap_or(Err(TokenFailure::Late))
    }

    /// Waits until there are other tokens, and decides again: what was allowed before may not be
    /// any more.
    pub(super) async fn renew(
        &self,
        waiting: AwaitingTokens,
        entry: &mut Entry,
    ) -> Result<(Arc<InForce>, (Departure, ResponseContext)), RefusedRequest> {
        let AwaitingTokens { mut decided, wanted: (refreshes, request) } = waiting;
        // 1. The wait, which has a span of its own.
        let (since, began) = (self.shared.ledger.clock.now(), instant());
        let renewed = self.wait_for_tokens(decided.permit.connection(), &refreshes, request).await;
        let status = decided.permit.connection().token_status();
        let host = status.map_or("", |status| &status.provider_host);
        entry.add_token_wait(since, began.elapsed(), host, renewed.is_err());
        // 2. The decision once more.
        let in_force = self.shared.live.load_full();
        let now = self.shared.ledger.clock.now();
        let (holder, allowed) = decide_again(&in_force, &decided.arrival, now)?;
        let origin = Some(allowed.permit.origin().clone());
        let facts = RequestFacts { origin, ..RequestFacts::default() };
        facts.with_connection(allowed.connection).write_to(entry);
        decided.holder = holder;
        decided.permit = allowed.permit;
        // 3. A token that is still good is better than none.
        let connection = decided.permit.connection();
        let expired = connection.token_status().is_some_and(|status| {
            status.freshness(in_force.settings.renewal.refresh_before, now) == Freshness::Expired
        });
        match renewed {
            Err(failure) if expired => return Err(failed(failure, connection).into()),
            Ok(()) if expired => return Err(failed(TokenFailure::Late, connection).into()),
            _ => {}
        }
        watch_first_use(connection, &refreshes);
        // 4. On to the origin.
        let departing = self.depart(&in_force, decided, entry)?;
        Ok((in_force, departing))
    }

    /// Sends a request, which is decided once more when there is a conn for it.
    pub(super) async fn send(
        &self,
        in_force: &Arc<InForce>,
        departure: Departure,
        context: &mut ResponseContext,
        entry: &mut Entry,
    ) -> Result<Reply, NotSent> {
        let (arrival, token_end) = (&context.arrival, context.token_end);
        let recheck = Recheck::new(self, in_force, arrival, token_end, entry);
        let recheck = recheck.for_caller(context.conn.as_deref(), context.base_url.as_deref());
        let sent = self.upstream.send(&in_force.rules, departure, &recheck).await;
        let (sent, renewed) = recheck.judge(sent);
        if let (Some(replay), Some(renewed)) = (&mut context.replay, renewed) {
            replay.used = renewed;
        }
        sent
    }

    /// Sends a request once more whose tokens the origin has refused, with others, if all of it is
    /// still there. Once something of it is written this attempt's outcome is the caller's, and
    /// before that the origin's own answer.
    pub(super) async fn send_again(
        &self,
        refused: Box<RefusedTokens>,
        arrival: &Arrival,
        entry: &mut Entry,
    ) -> Result<Reply, NotSent> {
        let RefusedTokens { answer, replay } = *refused;
        self.second_attempt(replay, arrival, entry).await.unwrap_or(Ok(answer))
    }

    /// The second attempt's outcome; `None` when nothing of it was written.
    async fn second_attempt(
        &self,
        replay: Replay,
        arrival: &Arrival,
        entry: &mut Entry,
    ) -> Option<Result<Reply, NotSent>> {
        // 1. Another credential: other tokens, or the secret before.
        let used = Arc::clone(&replay.used);
        let body = match used.token_status() {
            Some(_) => self.refreshed(&replay).await?,
            None => replay.kept.0.whole()?,
        };
        // 2. The decision once more.
        let in_force = self.shared.live.load_full();
        let (via, clock) = (&self.shared.via, &self.shared.ledger.clock);
        let now = clock.now();
        let again = replay.decide(arrival, &in_force, body, (via, clock))?;
        let now_used = Arc::clone(&again.connection.connection);
        entry.set_connection(again.connection as _);
        // 3. The second attempt.
        let recheck = Recheck::new(self, &in_force, arrival, again.token_end, entry);
        let recheck = recheck.of_former(again.is_of_former);
        let sent = self.upstream.send(&in_force.rules, again.departure, &recheck).await;
        if let Err(error) = &sent
            && error.is_before_sending()
        {
            // Its causes may have the origin's words.
            tracing::debug!(%error, "a request could not be sent once more");
            return None;
        }
        // 4. The answer tells if this credential is of use.
        if let Ok(answer) = &sent {
            self.note_retried(&now_used, answer.status());
        }
        let (sent, _renewed) = recheck.judge(sent);
        let former = now_used.former(now).filter(|_| again.is_of_former);
        if let (Some(former), Ok(answer)) = (former, &sent) {
            note_former(&now_used, former, answer.status(), entry);
        }
        Some(sent)
    }

    /// Notes an answer to a request that was sent again with other tokens.
    fn note_retried(&self, connection: &Connection, status: StatusCode) {
        let retried = RefreshRequest::of(connection, Cause::Unauthorized);
        if let (Some(refreshes), Some(retried)) = (&self.shared.refreshes, retried) {
            refreshes.note_retried(&retried, refuses_credential(connection, status));
        }
    }

    /// Gets other tokens, which the next request is to have even if this one can't be sent again;
    /// gives the whole body, if it was kept.
    async fn refreshed(&self, replay: &Replay) -> Option<ReplayBody> {
        let refreshes = self.shared.refreshes.as_ref()?;
        let wanted = RefreshRequest::of(&replay.used, Cause::Unauthorized)?;
        let body = replay.kept.0.whole();
        if !refreshes.note_rejected(&wanted, body.is_some()) {
            return None;
        }
        let Some(body) = body else {
            let refreshes = refreshes.clone();
            self.tasks.spawn(async move { refreshes.refresh(wanted).await });
            return None;
        };
        refreshes.refresh(wanted).await.ok()?;
        Some(body)
    }
}

/// Tells the entry, and the log once, that an origin has refused a new secret and answered `status`
/// to the old one.
fn note_former(
    connection: &Connection,
    former: &FormerConnection,
    status: StatusCode,
    entry: &mut Entry,
) {
    // 1. Both are refused.
    let until = former.until();
    if refuses_credential(connection, status) {
        entry.set_cause(format!(
            "the origin answered {status} to the connection's new secret, and to the old one, \
             which is kept until {until}"
        ));
        return;
    }
    // 2. The old one is of use still.
    entry.set_cause(format!(
        "the origin answered 401 to the connection's new secret, and was asked again with the old \
         one, which is kept until {until}"
    ));
    if former.is_first_use() {
        tracing::warn!(
            integration = connection.integration().as_str(),
            connection.name = connection.name().as_str(),
            %until,
            "an origin refuses the connection's new secret: requests go on with the old one while \
             that is kept; see that the new one is good"
        );
    }
}

/// Tells whether a request has to wait for the next refresh though its token is good still: its
/// body can't be sent again, and the refresh may end the token while it is under way.
fn must_drain(decided: &DecidedRequest, renewal: &Renewal, now: Timestamp) -> bool {
    let (body, most) = (&decided.body, renewal.replay_body_bytes as u64);
    let can_be_kept = body.size_hint().upper().is_some_and(|length| length <= most);
    if body.is_end_stream() || can_be_kept {
        return false;
    }
    let standing = decided.permit.connection().token_status().filter(|it| !it.is_session());
    let planned = standing.and_then(|standing| standing.planned_refresh(renewal.refresh_before));
    planned.is_some_and(|planned| planned.draining <= now)
}

/// Has tokens that are used for the first time watched from now on.
fn watch_first_use(connection: &Arc<Connection>, refreshes: &RefreshHandle) {
    if connection.token_status().is_some_and(TokenStatus::is_first_use) {
        refreshes.watch(connection);
    }
}

/// The time that a request waits for other tokens while the access token can still be used.
fn time_left(connection: &Connection, now: Timestamp) -> Option<Duration> {
    let end = connection.token_status()?.expires_at?;
    let left = Duration::try_from(end.duration_since(now)).ok()?;
    let left = left.checked_sub(MIN_TOKEN_LIFETIME).filter(|left| !left.is_zero())?;
    Some(left.min(MAX_WAIT_WITH_TOKEN))
}

/// The longest wait of a request for which there is a token.
const MAX_WAIT_WITH_TOKEN: Duration = Duration::from_secs(5);

/// The least time before its end at which an access token is sent, so that it arrives.
const MIN_TOKEN_LIFETIME: Duration = Duration::from_millis(300);

/// The refusal of a request for which there are no tokens that it could be sent with.
fn failed(failure: TokenFailure, connection: &Connection) -> Refusal {
    // 1. The tokens that it lacks.
    let is_session = connection.token_status().is_some_and(TokenStatus::is_session);
    let lack = if is_session {
        "the connection has no session of its role"
    } else {
        "the connection's access token has expired"
    };
    // 2. The reason, and who must act.
    match failure {
        TokenFailure::Lapsed(_) | TokenFailure::NoRefreshToken => {
            reauthorization_needed(connection)
        }
        TokenFailure::KeyMissing(id) => super::inject::seal_broken(Some(id)),
        TokenFailure::Seal => super::inject::seal_broken(None),
        TokenFailure::Store => Refusal::new(
            Code::StoreUnavailable,
            format!("The store can't be used, and {lack}; try again."),
        )
        .retry_after(1),
        TokenFailure::StoreFaulty => Refusal::new(
            Code::Internal,
            format!(
                "The store's content is not valid, and {lack}; the operator finds the reason in \
                 the log."
            ),
        ),
        failure => {
            let provider = connection.token_status().map_or("", |status| &status.provider_host);
            let because = match provider {
                "" => failure.for_operators(),
                host => format!("{host}: {}", failure.for_operators()),
            };
            let who = match failure.remedy() {
                Remedy::User => return reauthorization_needed(connection).because(because),
                Remedy::Operator => "refuses to give another: the operator must act",
                Remedy::Retry => "gave no other; try again",
            };
            let name = connection.name();
            let title = if is_session {
                format!("The connection {name} has no session of its role, and AWS {who}.")
            } else {
                format!(
                    "The access token of the connection {name} has expired, and its provider {who}."
                )
            };
            Refusal::new(Code::TokenEndpointFailed, title)
                .for_actor(failure.remedy().into())
                .because(because)
        }
    }
}

pub(super) fn reauthorization_needed(connection: &Connection) -> Refusal {
    Refusal::new(
        Code::ReauthorizationNeeded,
        format!(
            "The connection {} has to be authorized again: the operator starts a flow for it.",
            connection.name()
        ),
    )
}
