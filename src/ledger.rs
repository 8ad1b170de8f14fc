//! What is written down: one entry per request, and the figures.
//!
//! Owns the log, its formats and the metrics; promises one entry for every request, written off
//! the request's path; must never see a secret: it is given names, not fields.

mod entry;
mod line;
mod logs;
mod metrics;
mod pulse;
mod sink;
mod trail;
mod usage;

pub use entry::{Decision, Entry, Ledger, Listed, Opening};
pub use logs::{FilterError, Format, install};
pub use metrics::{Metrics, Tally, Vitals};
pub use pulse::{BOUNDS, Beat, Lookback, Pulse};
pub use sink::{Sink, Writer};
pub use trail::Trail;
pub use usage::{Usage, Used};
