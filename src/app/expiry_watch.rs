//! The ends of secrets, as operators have written them down, and of client certificates: said in
//! the log once a day, from two weeks before.

use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::model::connection::Connection;
use crate::state::Live;

/// Warns of secrets and client certificates that are about to expire.
#[derive(Debug)]
pub(super) struct ExpiryWatch {
    live: Arc<Live>,
    clock: Clock,
}

impl ExpiryWatch {
    pub(super) fn new(live: &Arc<Live>, clock: &Clock) -> Self {
        Self { live: Arc::clone(live), clock: clock.clone() }
    }

    /// Warns now and then once a day, until this is dropped.
    pub(super) async fn run(&self) {
        loop {
            let now = self.clock.now();
            self.warn(now);
            self.clock.sleep_until(now.checked_add(ONE_DAY).unwrap_or(Timestamp::MAX)).await;
        }
    }

    fn warn(&self, now: Timestamp) {
        let in_force = self.live.load_full();
        let registry = &in_force.registry;
        for integration in registry.integrations() {
            for registered in registry.listed_in(integration.as_str()) {
                let connection = &registered.connection;
                let is_near = |end: &Timestamp| end.duration_since(now) <= WARNED_BEFORE;
                if let Some(end) = connection.options().expires_at().filter(is_near) {
                    say(connection, now, end);
                }
                let identity = connection.identity();
                if let Some(end) = identity.map(|it| it.not_after()).filter(is_near) {
                    say_of_certificate(connection, now, end);
                }
            }
        }
    }
}

fn say(connection: &Connection, now: Timestamp, end: Timestamp) {
    let day = connection.options().expires_on.map(|day| day.to_string()).unwrap_or_default();
    let (integration, name) = (connection.integration().as_str(), connection.name().as_str());
    if end <= now {
        tracing::warn!(
            integration,
            connection.name = name,
            expires_on = day,
            "the secret of a connection has expired, as its operator has written down: replace it, \
             and its expires_on"
        );
    } else {
        tracing::warn!(
            integration,
            connection.name = name,
            expires_on = day,
            "the secret of a connection is about to expire, as its operator has written down: \
             replace it, and its expires_on"
        );
    }
}

fn say_of_certificate(connection: &Connection, now: Timestamp, end: Timestamp) {
    let (integration, name) = (connection.integration().as_str(), connection.name().as_str());
    if end <= now {
        tracing::warn!(
            integration,
            connection.name = name,
            not_after = %end,
            "the client certificate of a connection has expired: give the connection another"
        );
    } else {
        tracing::warn!(
            integration,
            connection.name = name,
            not_after = %end,
            "the client certificate of a connection is about to expire: give the connection another"
        );
    }
}

const ONE_DAY: SignedDuration = SignedDuration::from_hours(24);

/// The time before its end from which on a secret is warned of.
const WARNED_BEFORE: SignedDuration = SignedDuration::from_hours(14 * 24);
