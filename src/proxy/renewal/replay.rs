//! A request that may be sent once more, with other tokens or the secret before.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;

use super::buffer::{ReplayBody, ReplayBuffer, ReplayGuard};
use crate::clock::Clock;
use crate::model::connection::Connection;
use crate::model::origin::Origin;
use crate::model::permit::Permit;
use crate::proxy::InForce;
use crate::proxy::admit::decide_again;
use crate::proxy::arrival::Arrival;
use crate::proxy::decide::Allowed;
use crate::proxy::fields::Via;
use crate::proxy::inject::inject;
use crate::state::RegisteredConnection;
use crate::upstream::{Departure, Outgoing};

/// Tells whether an answer of this status may mean that the connection's tokens, or its secret, are of
/// no use: 401, or what its client names (contract §8, `refresh_on_status`).
pub(in crate::proxy) fn refuses_credential(connection: &Connection, status: StatusCode) -> bool {
    match connection.token_status() {
        Some(tokens) => tokens.refresh_on_status.contains(status.as_u16()),
        None => status == StatusCode::UNAUTHORIZED,
    }
}

/// A request as it came, while it may have to be sent once more.
#[derive(Debug)]
pub(in crate::proxy) struct Replay {
    pub(in crate::proxy) head: Parts,
    pub(in crate::proxy) kept: ReplayGuard,
    /// The connection as it was used, with the tokens or the secret of then.
    pub(in crate::proxy) used: Arc<Connection>,
    /// The origin that it was sent to.
    origin: Origin,
}

/// A request that is sent once more.
#[derive(Debug)]
pub(super) struct DecidedAgain {
    pub(super) departure: Departure,
    pub(super) connection: Arc<RegisteredConnection>,
    /// The time when the caller's token ends, if it does.
    pub(super) token_end: Option<Timestamp>,
    /// Tells whether it has the secret before the connection's present one.
    pub(super) is_of_former: bool,
}

impl Replay {
    /// Keeps the head of a request whose body goes to `buffer`.
    pub(in crate::proxy) fn new(
        head: &Parts,
        buffer: Arc<ReplayBuffer>,
        permit: &Permit,
    ) -> Box<Self> {
        let (head, used) = (head.clone(), Arc::clone(permit.connection()));
        let origin = permit.origin().clone();
        Box::new(Self { head, kept: ReplayGuard(buffer), used, origin })
    }

    /// Decides under the set that is in force now. Gives the departure, the connection with its
    /// other tokens or secret, and the time when the caller's token ends; `None` when the request
    /// may not be sent any more, or the connection has no other.
    pub(super) fn decide(
        self,
        arrival: &Arrival,
        in_force: &InForce,
        body: ReplayBody,
        (via, clock): (&Via, &Clock),
    ) -> Option<DecidedAgain> {
        // 1. Connection and origin are the same, and it may still be used.
        let Self { head, used, origin, .. } = self;
        let now = clock.now();
        let (holder, allowed) = decide_again(in_force, arrival, now).ok()?;
        let Allowed { permit, connection } = allowed;
        let now_used = permit.connection();
        let is_same = now_used.name() == used.name()
            && now_used.integration() == used.integration()
            && *permit.origin() == origin;
        if !is_same {
            return None;
        }
        // 2. It has other tokens, or another secret: the one before, if it is still the same.
        let generation = |connection: &Connection| Some(connection.token_status()?.generation);
        let (permit, is_of_former) = match generation(&used) {
            None if now_used.same_as(&used) => (permit.with_former_secret(now)?, true),
            Some(before) if generation(now_used) == Some(before) => return None,
            _ => (permit, false),
        };
        let body = if body.is_empty() { Outgoing::empty() } else { Outgoing::stream(body) };
        let departure = inject(head, body, arrival, permit, (via, clock)).ok()?;
        let token_end = holder.caller.expires_at;
        Some(DecidedAgain { departure, connection, token_end, is_of_former })
    }
}
