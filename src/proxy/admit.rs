//! Step 3 on a real request: the decision, and what goes with it. Is the proxy able to carry it, has
//! the caller a turn left, and does the decision hold after a wait?

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;

use super::arrival::Arrival;
use super::caller::PresentedToken;
use super::decide::{Allowed, decide};
use super::facts::{Admitted, RefusedRequest, RequestFacts};
use super::refusal::{Code, Refusal};
use super::request::ProxyRequest;
use super::tunnel::{self, AllowedTunnel, TunnelMode};
use super::{InForce, Proxy};
use crate::model::permit::Permit;
use crate::state::Holder;

impl Proxy {
    /// Refuses a request that the proxy can't carry whatever it asks for.
    pub(super) fn check_able(&self, in_force: &InForce) -> Result<(), Refusal> {
        if *self.shared.stop.borrow() {
            return Err(shutting_down());
        }
        check_fresh(in_force)
    }
}

/// Applies the rules from the method to the rate.
pub(super) fn admit(
    in_force: &InForce,
    holder: &Holder,
    arrival: &Arrival,
) -> Result<Admitted<Permit>, RefusedRequest> {
    let (caller, request) = (&holder.caller, &arrival.request);
    let with_facts = |refused: RefusedRequest| {
        refused.with_caller(caller).with_request(request).with_named(in_force, request)
    };
    let Allowed { permit, connection } = decide(in_force, caller, request).map_err(with_facts)?;
    let slot = arrival.token.check_slot(request, permit.connection().fields());
    slot.and_then(|()| take_turn(holder)).map_err(|refusal| {
        with_facts(RefusedRequest::from(refusal).with_connection(Arc::clone(&connection)))
    })?;
    let rule = if request.tags.is_named() { "named" } else { "covers" };
    let facts = RequestFacts::default().with_connection(connection).with_caller(caller);
    let (form, origin) = (Some(request.form), Some(permit.origin().clone()));
    let facts = RequestFacts { form, origin, rule: Some(rule), ..facts };
    Ok(Admitted { granted: permit, facts })
}

/// Applies the same rules to a tunnel, which needs no permit: each request inside it will.
pub(super) fn admit_tunnel(
    in_force: &InForce,
    holder: &Holder,
    arrival: &Arrival,
) -> Result<Admitted<TunnelMode>, RefusedRequest> {
    let (caller, request) = (&holder.caller, &arrival.request);
    let with_facts = |refused: RefusedRequest| {
        refused.with_caller(caller).with_request(request).with_named(in_force, request)
    };
    let allowed = tunnel::decide(in_force, caller, request).map_err(with_facts)?;
    let AllowedTunnel { mode, connection } = allowed;
    take_turn(holder).map_err(|refusal| {
        with_facts(RefusedRequest::from(refusal).with_connection(connection.clone()))
    })?;
    let rule = match mode {
        TunnelMode::Intercepted(_) if request.tags.is_named() => "named",
        TunnelMode::Intercepted(_) => "covers",
        TunnelMode::Blind(_) => "untagged",
    };
    let facts = RequestFacts::default().with_connection(connection).with_caller(caller);
    let (form, origin) = (Some(request.form), Some(mode.origin().clone()));
    let facts = RequestFacts { form, origin, rule: Some(rule), ..facts };
    Ok(Admitted { granted: mode, facts })
}

/// Decides once more about a request that has waited. Its turn was taken before.
pub(super) fn decide_again(
    in_force: &InForce,
    arrival: &Arrival,
    now: Timestamp,
) -> Result<(Arc<Holder>, Allowed), RefusedRequest> {
    let (token, request) = (&arrival.token, &arrival.request);
    let holder = identify_again(in_force, token, request, now)?;
    let allowed = decide(in_force, &holder.caller, request)?;
    match token.check_slot(request, allowed.permit.connection().fields()) {
        Ok(()) => Ok((holder, allowed)),
        Err(refusal) => Err(RefusedRequest::from(refusal).with_connection(allowed.connection)),
    }
}

/// Decides once more about a tunnel that has waited for its conn.
pub(super) fn decide_tunnel_again(
    in_force: &InForce,
    token: &PresentedToken,
    request: &ProxyRequest,
    now: Timestamp,
    mode: &TunnelMode,
) -> Result<Arc<Holder>, RefusedRequest> {
    let holder = identify_again(in_force, token, request, now)?;
    if tunnel::decide(in_force, &holder.caller, request)?.mode != *mode {
        let title = "A connection came to cover the host while the tunnel waited for it; open the \
                     tunnel again.";
        return Err(Refusal::new(Code::ConnectionForbidden, title).into());
    }
    Ok(holder)
}

/// The caller of what has waited, if it is known still.
fn identify_again(
    in_force: &InForce,
    token: &PresentedToken,
    request: &ProxyRequest,
    now: Timestamp,
) -> Result<Arc<Holder>, Refusal> {
    check_fresh(in_force)?;
    token.identify_again(request, in_force, now)
}

/// Refuses everything once a revoked token, or a deleted connection, could be in force here still.
fn check_fresh(in_force: &InForce) -> Result<(), Refusal> {
    if in_force.stale.load(Relaxed) { Err(store_unavailable()) } else { Ok(()) }
}

/// Counts the request against its caller's limit.
fn take_turn(holder: &Holder) -> Result<(), Refusal> {
    let Some(limit) = &holder.limit else { return Ok(()) };
    limit.take().map_err(|exceeded| {
        Refusal::new(Code::RateLimited, "The token has sent too many requests; wait a little.")
            .retry_after(exceeded.0.as_secs() + 1)
    })
}

pub(super) fn overloaded() -> Refusal {
    Refusal::new(Code::Overloaded, "The proxy has too many connections; try again.").retry_after(1)
}

/// The refusal of a conn above its caller's limit, which ends with the answer.
pub(super) fn caller_overloaded() -> Refusal {
    let title = "The caller's token has as many connections as one caller may have \
                 (proxy.max_connections_per_caller); it should close some, or send more on each.";
    Refusal::new(Code::Overloaded, title).retry_after(1).closing()
}

fn shutting_down() -> Refusal {
    Refusal::new(Code::ShuttingDown, "The proxy is shutting down; try again on another.")
        .retry_after(1)
        .closing()
}

fn store_unavailable() -> Refusal {
    Refusal::new(
        Code::StoreUnavailable,
        "The proxy has not heard from its store for store.max_staleness; the operator must bring the \
         store back.",
    )
    .retry_after(1)
}
