//! What it takes to send a request once more.

use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http_body_util::{BodyExt as _, Full};
use jiff::Timestamp;

use super::kept::Kept;
use crate::model::connection::Connection;
use crate::proxy::InForce;
use crate::proxy::admit::permit_again;
use crate::proxy::arrival::Arrival;
use crate::proxy::fields::Via;
use crate::proxy::inject::inject;
use crate::upstream::{Departure, Outgoing};

/// A request as it came, while it may have to be sent once more.
#[derive(Debug)]
pub(in crate::proxy) struct Replay {
    pub(in crate::proxy) head: Parts,
    pub(in crate::proxy) arrival: Arrival,
    pub(in crate::proxy) kept: Arc<Kept>,
    /// The connection as it was used, with the tokens of then.
    pub(in crate::proxy) used: Arc<Connection>,
}

impl Replay {
    /// The request under what is in force now, with other tokens; `None` when it may not be sent
    /// any more, or there are no others.
    pub(super) fn departure(
        self,
        in_force: &InForce,
        now: Timestamp,
        body: Bytes,
        via: &Via,
    ) -> Option<Departure> {
        let Self { head, arrival, used, .. } = self;
        let (_holder, permit) = permit_again(in_force, &head, &arrival, now).ok()?;
        let generation = |connection: &Connection| Some(connection.standing()?.generation);
        if generation(permit.connection()) == generation(&used) {
            return None;
        }
        let body = if body.is_empty() {
            Outgoing::empty()
        } else {
            Outgoing::stream(Full::new(body).map_err(|never| match never {}))
        };
        inject(head, body, &arrival, permit, via).ok()
    }
}
