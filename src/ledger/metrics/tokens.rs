//! The figures of OAuth's tokens.

use std::sync::atomic::AtomicU64;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::{ConnectionCounters, Metrics};

/// The figures of OAuth's tokens.
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
        registry.register("oauth_refreshes", "Refreshes of OAuth tokens", refreshes);
        registry.register(
            "oauth_token_expiry_seconds",
            "Until the access token ends; less than zero when it has ended",
            figures.expiry.clone(),
        );
        registry.register(
            "oauth_reauthorizations_needed",
            "OAuth connections that only a new flow helps",
            figures.reauthorizations_needed.clone(),
        );
        figures
    }
}

impl Metrics {
    /// Counts a refresh of an integration's OAuth tokens.
    pub fn count_refresh(&self, integration: &str, outcome: &'static str, cause: &'static str) {
        self.history_of(integration).note_refresh(outcome == "refreshed");
        self.tokens.refreshes.get_or_create(&RefreshLabels { outcome, cause }).inc();
    }

    /// Notes how the tokens of all OAuth connections stand: the connection and in how many seconds
    /// its access token ends; and how many need a new flow. Those that share a label show the one
    /// that ends first.
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
