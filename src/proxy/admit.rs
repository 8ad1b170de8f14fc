//! May they, there, now? The decision, and what goes with it on a real request: the entry, the
//! caller's turn, and whether the proxy is able to at all.

use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use jiff::Timestamp;

use super::InForce;
use super::arrival::{Arrival, ProxyRequest};
use super::caller::PresentedToken;
use super::decide::decide;
use super::refusal::{Code, Refusal};
use super::tunnel::{self, TunnelMode};
use crate::ledger::Entry;
use crate::model::permit::Permit;
use crate::state::{Holder, RegisteredConnection};

/// Applies the rules from the method to the rate; the entry learns what is known on the way.
pub(super) fn admit(
    in_force: &InForce,
    holder: &Holder,
    arrival: &Arrival,
    entry: &mut Entry,
) -> Result<Permit, Refusal> {
    let permit =
        decide(in_force, &holder.caller, &arrival.request, |listing| note_choice(entry, listing))?;
    let field = permit.connection().field();
    arrival.token.check_slot(&arrival.request, field)?;
    take_turn(holder)?;
    entry.origin = Some(permit.origin().clone());
    entry.rule = if arrival.request.tags.is_named() { "named" } else { "covers" };
    Ok(permit)
}

/// The same once more, for a request that has waited: its turn was taken then. The entry names the
/// connection that is chosen now.
pub(super) fn admit_again(
    in_force: &InForce,
    arrival: &Arrival,
    now: Timestamp,
    entry: &mut Entry,
) -> Result<(Arc<Holder>, Permit), Refusal> {
    let chosen = |listing: &Arc<RegisteredConnection>| note_choice(entry, listing);
    let (holder, permit) = permit_again(in_force, arrival, now, chosen)?;
    entry.origin = Some(permit.origin().clone());
    Ok((holder, permit))
}

/// The permit that a request is given that has waited; `chosen` hears of its connection.
pub(super) fn permit_again(
    in_force: &InForce,
    arrival: &Arrival,
    now: Timestamp,
    chosen: impl FnOnce(&Arc<RegisteredConnection>),
) -> Result<(Arc<Holder>, Permit), Refusal> {
    let holder = identify_again(in_force, &arrival.token, &arrival.request, now)?;
    let permit = decide(in_force, &holder.caller, &arrival.request, chosen)?;
    arrival.token.check_slot(&arrival.request, permit.connection().field())?;
    Ok((holder, permit))
}

/// The same for a tunnel, which needs no permit: each request inside it will.
pub(super) fn admit_tunnel(
    in_force: &InForce,
    holder: &Holder,
    arrival: &Arrival,
    entry: &mut Entry,
) -> Result<TunnelMode, Refusal> {
    let mode = tunnel::decide(in_force, &holder.caller, &arrival.request, |listing| {
        note_choice(entry, listing);
    })?;
    take_turn(holder)?;
    entry.origin = Some(mode.origin().clone());
    entry.rule = match mode {
        TunnelMode::Intercepted(_) if arrival.request.tags.is_named() => "named",
        TunnelMode::Intercepted(_) => "covers",
        TunnelMode::Blind(_) => "untagged",
    };
    Ok(mode)
}

/// The same once more for a tunnel that has waited for its conn.
pub(super) fn admit_tunnel_again(
    in_force: &InForce,
    token: &PresentedToken,
    request: &ProxyRequest,
    now: Timestamp,
    mode: &TunnelMode,
) -> Result<Arc<Holder>, Refusal> {
    let holder = identify_again(in_force, token, request, now)?;
    if tunnel::decide(in_force, &holder.caller, request, |_listing| {})? != *mode {
        let title = "A connection came to cover the host while the tunnel waited for it; open the \
                     tunnel again.";
        return Err(Refusal::new(Code::ConnectionForbidden, title));
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
    if in_force.stale.load(Relaxed) {
        return Err(store_unavailable());
    }
    token.identify_again(request, in_force, now)
}

fn note_choice(entry: &mut Entry, listing: &Arc<RegisteredConnection>) {
    entry.integration = Some(listing.connection.integration().clone());
    entry.set_connection(Arc::clone(listing) as _);
}

/// There is no room for another conn.
pub(super) fn overloaded() -> Refusal {
    Refusal::new(Code::Overloaded, "The proxy has too many connections; try again.").retry_after(1)
}

/// The caller has as many conns as one may have; this one ends with the answer.
pub(super) fn caller_overloaded() -> Refusal {
    let title = "The caller's token has as many connections as one caller may have \
                 (proxy.max_connections_per_caller); it should close some, or send more on each.";
    Refusal::new(Code::Overloaded, title).retry_after(1).closing()
}

/// What has come too late to be carried.
pub(super) fn shutting_down() -> Refusal {
    Refusal::new(Code::ShuttingDown, "The proxy is shutting down; try again on another.")
        .retry_after(1)
        .closing()
}

/// A token that was revoked, or a connection that was deleted, could still be in force here.
pub(super) fn store_unavailable() -> Refusal {
    Refusal::new(
        Code::StoreUnavailable,
        "The store has not been heard of for store.max_staleness; the operator must bring it back.",
    )
    .retry_after(1)
}

/// Counts the request against its caller's limit.
fn take_turn(holder: &Holder) -> Result<(), Refusal> {
    let Some(limit) = &holder.limit else { return Ok(()) };
    limit.take().map_err(|exceeded| {
        Refusal::new(Code::RateLimited, "The token has sent too many requests; wait a little.")
            .retry_after(exceeded.0.as_secs() + 1)
    })
}
