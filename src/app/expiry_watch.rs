//! The ends of secrets, as operators have written them down, and of client certificates: said in
//! the log once a day, from two weeks before. What is new is said within the hour.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use jiff::{SignedDuration, Timestamp};

use crate::clock::Clock;
use crate::model::connection::Connection;
use crate::model::expiry_notice::ExpiryNotice;
use crate::state::Live;

/// Warns of secrets and client certificates that are about to expire.
#[derive(Debug)]
pub(super) struct ExpiryWatch {
    live: Arc<Live>,
    clock: Clock,
}

/// The times at which each notice of a connection was said last.
#[derive(Default)]
struct SaidNotices(HashMap<(String, ExpiryNotice), Timestamp>);

impl SaidNotices {
    /// Takes note of a notice; `true` unless it was said within a day.
    fn is_due(&mut self, full_name: String, notice: ExpiryNotice, now: Timestamp) -> bool {
        let is_past = |said: &Timestamp| now.duration_since(*said).abs() >= ONE_DAY;
        match self.0.entry((full_name, notice)) {
            Entry::Occupied(mut said) if is_past(said.get()) => {
                said.insert(now);
                true
            }
            Entry::Occupied(_) => false,
            Entry::Vacant(none) => {
                none.insert(now);
                true
            }
        }
    }

    /// Forgets what was not said for more than a day, because it does not hold any more.
    fn forget_old(&mut self, now: Timestamp) {
        self.0.retain(|_, said| now.duration_since(*said).abs() <= ONE_DAY + LOOK_INTERVAL);
    }
}

impl ExpiryWatch {
    pub(super) fn new(live: &Arc<Live>, clock: &Clock) -> Self {
        Self { live: Arc::clone(live), clock: clock.clone() }
    }

    /// Looks now and then once an hour, until this is dropped.
    pub(super) async fn run(&self) {
        let mut said = SaidNotices::default();
        loop {
            let now = self.clock.now();
            self.warn(now, &mut said).await;
            self.clock.sleep_until(now.checked_add(LOOK_INTERVAL).unwrap_or(Timestamp::MAX)).await;
        }
    }

    /// Says each notice that was not said within a day.
    async fn warn(&self, now: Timestamp, said: &mut SaidNotices) {
        let in_force = self.live.load_full();
        let registry = &in_force.registry;
        for integration in registry.integrations() {
            for registered in registry.listed_in(integration.as_str()) {
                let connection = &registered.connection;
                for notice in connection.options().expiry_notices(now, WARNED_BEFORE) {
                    let full_name = format!("{integration}.{}", connection.name());
                    if said.is_due(full_name, notice, now) {
                        say(connection, notice);
                    }
                    // A certificate is parsed for it, beside refreshes and the API.
                    tokio::task::yield_now().await;
                }
            }
        }
        said.forget_old(now);
    }
}

fn say(connection: &Connection, notice: ExpiryNotice) {
    let (message, end) = match notice {
        ExpiryNotice::SecretExpires(day) => (SECRET_EXPIRES, day.to_string()),
        ExpiryNotice::SecretExpired(day) => (SECRET_EXPIRED, day.to_string()),
        ExpiryNotice::CertificateExpires(end) => (CERTIFICATE_EXPIRES, end.to_string()),
        ExpiryNotice::CertificateExpired(end) => (CERTIFICATE_EXPIRED, end.to_string()),
        ExpiryNotice::CertificateNotYetValid(begin) => (CERTIFICATE_TOO_EARLY, begin.to_string()),
    };
    let (integration, name) = (connection.integration().as_str(), connection.name().as_str());
    match notice {
        ExpiryNotice::SecretExpires(_) | ExpiryNotice::SecretExpired(_) => {
            tracing::warn!(integration, connection.name = name, expires_on = end, "{message}");
        }
        ExpiryNotice::CertificateExpires(_) | ExpiryNotice::CertificateExpired(_) => {
            tracing::warn!(integration, connection.name = name, not_after = end, "{message}");
        }
        ExpiryNotice::CertificateNotYetValid(_) => {
            tracing::warn!(integration, connection.name = name, not_before = end, "{message}");
        }
    }
}

const SECRET_EXPIRES: &str = "the secret of a connection is about to expire, as its operator has \
                              written down: replace it, and its expires_on";
const SECRET_EXPIRED: &str = "the secret of a connection has expired, as its operator has written \
                              down: replace it, and its expires_on";
const CERTIFICATE_EXPIRES: &str = "the client certificate of a connection is about to expire: give \
                                   the connection another";
const CERTIFICATE_EXPIRED: &str = "the client certificate of a connection has expired: give the \
                                   connection another";
const CERTIFICATE_TOO_EARLY: &str = "the client certificate of a connection is not valid yet: give \
                                     the connection another, or wait";

/// The interval at which it is looked for ends that are new.
const LOOK_INTERVAL: SignedDuration = SignedDuration::from_hours(1);

const ONE_DAY: SignedDuration = SignedDuration::from_hours(24);

/// The time before its end from which on a secret is warned of.
const WARNED_BEFORE: SignedDuration = SignedDuration::from_hours(14 * 24);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_notice_is_said_once_a_day_and_a_new_one_at_once() {
        let (mut said, day) = (SaidNotices::default(), jiff::civil::date(2030, 1, 31));
        let (near, over) = (ExpiryNotice::SecretExpires(day), ExpiryNotice::SecretExpired(day));
        let at = |hours: i64| Timestamp::UNIX_EPOCH + SignedDuration::from_hours(hours);
        for (hours, name, notice, is_said) in [
            (0, "acme.one", near, true),
            (1, "acme.one", near, false),
            (1, "acme.two", near, true),
            (2, "acme.one", over, true),
            (23, "acme.one", near, false),
            (24, "acme.one", near, true),
            (25, "acme.one", near, false),
        ] {
            assert_eq!(said.is_due(name.to_owned(), notice, at(hours)), is_said, "{hours} {name}");
            said.forget_old(at(hours));
        }
    }
}
