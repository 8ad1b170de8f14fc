//! Metrics of provider tokens, of secrets whose end an operator has written down, and of those that
//! commands print.

use std::sync::atomic::AtomicU64;

use jiff::Timestamp;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ConnectionCounters, Metrics, register};

/// Metrics of provider tokens, and of secrets that expire.
#[derive(Debug)]
pub(super) struct TokenMetrics {
    refreshes: Family<[(&'static str, &'static str); 2], Counter>,
    expiry: ExpiryFamily,
    grant_expiry: ExpiryFamily,
    secret_expiry: ExpiryFamily,
    certificate_expiry: ExpiryFamily,
    reauthorizations_needed: Gauge,
    command_failures: Counter,
}

/// Seconds until something of each connection expires.
type ExpiryFamily = Family<[(&'static str, String); 2], Gauge<f64, AtomicU64>>;

impl TokenMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        // 1. Provider tokens, and the grants that they belong to.
        let help = "Refreshes of provider tokens, by outcome and cause";
        let refreshes = register(registry, "oauth_refreshes", help);
        let help = "Time until the access token expires; negative after that";
        let expiry = register(registry, "oauth_token_expiry_seconds", help);
        let help = "Time until the grant ends unless a refresh puts it off; negative after that";
        let grant_expiry = register(registry, "oauth_grant_expiry_seconds", help);
        let help = "OAuth connections whose grant has lapsed: authorize them again";
        let reauthorizations_needed = register(registry, "oauth_reauthorizations_needed", help);
        // 2. Other secrets.
        let help = "Time until the day is over on which the secret expires, as its operator has \
                    written down; negative after that";
        let secret_expiry = register(registry, "connection_expires_seconds", help);
        let help = "Time until the connection's client certificate expires; negative after that";
        let certificate_expiry = register(registry, "client_certificate_expiry_seconds", help);
        let help = "Failures of commands that print secrets, at each place that names one when the \
                    configuration is read";
        let command_failures = register(registry, "secret_command_failures", help);
        Self {
            refreshes,
            expiry,
            grant_expiry,
            secret_expiry,
            certificate_expiry,
            reauthorizations_needed,
            command_failures,
        }
    }
}

impl Metrics {
    /// Counts runs of commands that print secrets which failed, or printed what is unfit.
    pub fn count_secret_command_failures(&self, number: usize) {
        self.tokens.command_failures.inc_by(u64::try_from(number).unwrap_or(u64::MAX));
    }

    /// Counts a refresh of a connection's provider tokens.
    pub fn count_refresh(
        &self,
        (integration, connection): (&str, &str),
        at: Timestamp,
        outcome: &'static str,
        cause: &'static str,
    ) {
        self.stats_of(integration, connection).note_refresh(at, outcome == "refreshed");
        let labels = [("outcome", outcome), ("cause", cause)];
        self.tokens.refreshes.get_or_create(&labels).inc();
    }

    /// Sets the seconds until each OAuth connection's access token expires and until its grant
    /// ends, as far as they are known, and the number of connections whose grant has lapsed.
    /// Connections that share a label show the earliest.
    pub fn note_tokens<'a>(
        &self,
        tokens: impl Iterator<Item = (&'a ConnectionCounters, f64)>,
        grants: impl Iterator<Item = (&'a ConnectionCounters, f64)>,
        reauthorizations_needed: usize,
    ) {
        note_expiries(&self.tokens.expiry, tokens);
        note_expiries(&self.tokens.grant_expiry, grants);
        let needed = i64::try_from(reauthorizations_needed).unwrap_or(i64::MAX);
        self.tokens.reauthorizations_needed.set(needed);
    }

    /// Sets the seconds until each connection's secret expires, of those for which an operator has
    /// written down a day.
    pub fn note_secrets<'a>(&self, ends: impl Iterator<Item = (&'a ConnectionCounters, f64)>) {
        note_expiries(&self.tokens.secret_expiry, ends);
    }

    /// Sets the seconds until each client certificate expires. Connections that share a label show
    /// the earliest.
    pub fn note_certificates<'a>(
        &self,
        certificates: impl Iterator<Item = (&'a ConnectionCounters, f64)>,
    ) {
        note_expiries(&self.tokens.certificate_expiry, certificates);
    }
}

fn note_expiries<'a>(
    family: &ExpiryFamily,
    expiries: impl Iterator<Item = (&'a ConnectionCounters, f64)>,
) {
    family.clear();
    for (counters, seconds) in expiries {
        let (integration, connection) = counters.labels.clone();
        let labels = [("integration", integration), ("connection", connection)];
        let known = family.get(&labels).map(|gauge| gauge.get());
        family.get_or_create(&labels).set(known.map_or(seconds, |known| known.min(seconds)));
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use crate::ledger::Metrics;

    #[test]
    fn a_refresh_is_counted_with_its_connection() {
        let (metrics, at) = (Metrics::new(), Timestamp::UNIX_EPOCH);
        metrics.count_refresh(("acme", "crm"), at, "refreshed", "use");
        metrics.count_refresh(("acme", "crm"), at, "refused", "use");
        let changes = metrics.take_stats();
        let counts = &changes[0].cells[0].counts;
        assert_eq!((&*changes[0].connection, changes.len()), ("crm", 1));
        assert_eq!((counts.refreshed, counts.not_refreshed), (1, 1));
    }
}
