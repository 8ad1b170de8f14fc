//! Records of requests: one entry for each, the log, metrics and spans.
//!
//! Owns the log, its formats, the metrics and the spans that wait; promises one entry for every request, which is
//! written without holding the request up; must never see a secret: it is given names, not fields, and
//! patterns that only mask.

mod audit_buffer;
mod entry;
mod line;
mod listing;
mod log_buffer;
mod logs;
mod metrics;
mod request_stats;
mod span;
mod span_buffer;
mod span_export;
mod usage;

pub use audit_buffer::AuditBuffer;
pub use entry::{Decision, Entry, Ledger, RequestLine};
pub use listing::{LoggedConnection, NamedListing};
pub use log_buffer::{LogBuffer, LogWriter};
pub use logs::{FilterError, LineFormat, install};
pub use metrics::{
    ConnectionCounters, EchoPlace, Metrics, ProcessStats, SpanCounters, WebhookOutcome,
};
pub use request_stats::{ConnectionStats, CountedCell, StatsChange};
pub use span_buffer::SpanBuffer;
pub use span_export::{SpanBatch, rejected_spans};
pub use usage::ConnectionUsage;
