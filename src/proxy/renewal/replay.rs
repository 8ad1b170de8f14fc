//! A request that may be sent once more, with other tokens.

use std::sync::Arc;

use http::StatusCode;
use http::request::Parts;
use jiff::Timestamp;

use super::buffer::{ReplayBody, ReplayBuffer, ReplayGuard};
use crate::clock::Clock;
use crate::model::connection::Connection;
use crate::model::permit::Permit;
use crate::proxy::InForce;
use crate::proxy::admit::decide_again;
use crate::proxy::arrival::Arrival;
use crate::proxy::decide::Allowed;
use crate::proxy::fields::Via;
use crate::proxy::inject::inject;
use crate::state::RegisteredConnection;
use crate::upstream::{Departure, Outgoing};

/// A request as it came, while it may have to be sent once more.
#[derive(Debug)]
pub(in crate::proxy) struct Replay {
    pub(in crate::proxy) head: Parts,
    pub(in crate::proxy) kept: ReplayGuard,
    /// The connection as it was used, with the tokens of then.
    pub(in crate::proxy) used: Arc<Connection>,
}

impl Replay {
    /// Keeps the head of a request whose body goes to `buffer`.
    pub(in crate::proxy) fn new(
        head: &Parts,
        buffer: Arc<ReplayBuffer>,
        permit: &Permit,
    ) -> Box<Self> {
        let (head, used) = (head.clone(), Arc::clone(permit.connection()));
        Box::new(Self { head, kept: ReplayGuard(buffer), used })
    }

    /// Tells whether an answer of this status may mean that the tokens are of no more use: 401, or
    /// what the connection's client names (contract §8, `refresh_on_status`).
    pub(in crate::proxy) fn is_refusal(&self, status: StatusCode) -> bool {
        let of_tokens = self.used.token_status();
        of_tokens.is_some_and(|tokens| tokens.refresh_on_status.contains(status.as_u16()))
    }

    /// Decides under the set that is in force now. Gives the departure, the connection with its other
    /// tokens, and the time when the caller's token ends; `None` when the request may not be sent any
    /// more, or the connection has no other tokens.
    pub(super) fn decide(
        self,
        arrival: &Arrival,
        in_force: &InForce,
        body: ReplayBody,
        (via, clock): (&Via, &Clock),
    ) -> Option<(Departure, Arc<RegisteredConnection>, Option<Timestamp>)> {
        let Self { head, used, .. } = self;
        let (holder, allowed) = decide_again(in_force, arrival, clock.now()).ok()?;
        let Allowed { permit, connection } = allowed;
        let now_used = permit.connection();
        if now_used.name() != used.name() || now_used.integration() != used.integration() {
            return None;
        }
        let generation = |connection: &Connection| Some(connection.token_status()?.generation);
        if generation(permit.connection()) == generation(&used) {
            return None;
        }
        let body = if body.is_empty() { Outgoing::empty() } else { Outgoing::stream(body) };
        let departure = inject(head, body, arrival, permit, (via, clock)).ok()?;
        Some((departure, connection, holder.caller.expires_at))
    }
}
