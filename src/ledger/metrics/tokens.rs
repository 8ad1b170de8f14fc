//! Metrics of provider tokens.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ConnectionCounters, Metrics};

/// Metrics of provider tokens.
#[derive(Debug)]
pub(super) struct TokenMetrics {
    refreshes: Family<RefreshLabels, Counter>,
    expiry: Family<ConnectionLabels, Gauge<f64, AtomicU64>>,
    reauthorizations_needed: Gauge,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RefreshLabels {
    outcome: &'static str,
    cause: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct ConnectionLabels {
    integration: String,
    connection: String,
}

impl TokenMetrics {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let figures = Self {
            refreshes: Family::default(),
            expiry: Family::default(),
            reauthorizations_needed: Gauge::default(),
        };
        let refreshes = figures.refreshes.clone();
        registry.register(
            "oauth_refreshes",
            "Refreshes of provider tokens, by outcome and cause",
            refreshes,
        );
        registry.register(
            "oauth_token_expiry_seconds",
            "Time until the access token expires; negative after that",
            figures.expiry.clone(),
        );
        registry.register(
            "oauth_reauthorizations_needed",
            "OAuth connections whose grant has lapsed: authorize them again",
            figures.reauthorizations_needed.clone(),
        );
        figures
    }
}

impl Metrics {
    /// Counts a refresh of an integration's provider tokens.
    pub fn count_refresh(&self, integration: &str, outcome: &'static str, cause: &'static str) {
        self.history_of(integration).note_refresh(outcome == "refreshed");
        self.tokens.refreshes.get_or_create(&RefreshLabels { outcome, cause }).inc();
    }

    /// Sets the seconds until each OAuth connection's access token expires, and the number of
    /// connections whose grant has lapsed. Connections that share a label show the earliest expiry.
    pub fn note_tokens<'a>(
        &self,
        tokens: impl Iterator<Item = (&'a ConnectionCounters, f64)>,
        reauthorizations_needed: usize,
    ) {
        let expiry = &self.tokens.expiry;
        expiry.clear();
        for (counters, seconds) in tokens {
            let (integration, connection) = counters.labels.clone();
            let labels = ConnectionLabels { integration, connection };
            let known = expiry.get(&labels).map(|gauge| gauge.get());
            expiry.get_or_create(&labels).set(known.map_or(seconds, |known| known.min(seconds)));
        }
        let needed = i64::try_from(reauthorizations_needed).unwrap_or(i64::MAX);
        self.tokens.reauthorizations_needed.set(needed);
    }
}

#[cfg(test)]
mod tests {
    use crate::ledger::{Metrics, TimeWindow};

    #[test]
    fn a_refresh_is_charted_with_its_integration() {
        let metrics = Metrics::new();
        metrics.count_refresh("acme", "refreshed", "use");
        metrics.count_refresh("acme", "refused", "use");
        let latest = |of| metrics.look_back(of, TimeWindow::Hour).pop().unwrap_or_default();
        let counted = |of| (latest(of).refreshed, latest(of).not_refreshed);
        assert_eq!((counted(Some("acme")), counted(Some("other"))), ((1, 1), (0, 0)));
        assert_eq!(counted(None), (1, 1));
    }
}
