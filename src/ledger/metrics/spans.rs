//! Metrics of spans that are sent to a collector.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

use super::{Metrics, register};

/// The counters of spans.
#[derive(Clone, Debug)]
pub struct SpanCounters {
    exported: Counter,
    dropped: Counter,
}

impl SpanCounters {
    pub(super) fn register(registry: &mut Registry) -> Self {
        let help = "Spans that the collector has taken";
        let exported = register(registry, "telemetry_spans_exported", help);
        let help = "Spans lost: the queue was full, or the collector did not take them";
        let dropped = register(registry, "telemetry_spans_dropped", help);
        Self { exported, dropped }
    }

    /// Counts spans that the collector has taken.
    pub fn count_exported(&self, spans: u64) {
        self.exported.inc_by(spans);
    }

    /// Counts spans that are lost.
    pub fn count_dropped(&self, spans: u64) {
        self.dropped.inc_by(spans);
    }

    #[cfg(test)]
    pub(in crate::ledger) fn dropped(&self) -> u64 {
        self.dropped.get()
    }
}

impl Metrics {
    /// The counters of spans.
    pub fn span_counters(&self) -> SpanCounters {
        self.spans.clone()
    }
}
