//! Metrics in Prometheus' text format (contract §7).

mod spans;
mod tokens;
mod webhook;

use std::fmt;
use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use parking_lot::Mutex;
use prometheus_client::encoding::{EncodeLabelSet, text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub use self::spans::SpanCounters;
use self::tokens::TokenMetrics;
pub use self::webhook::WebhookOutcome;
use super::request_stats::{ConnectionStats, RequestStats, StatsChange};
use crate::model::connection::Connection;

/// The metrics of the process.
pub struct Metrics {
    registry: Mutex<Registry>,
    requests: Family<RequestLabels, Counter>,
    echoes: Family<EchoLabels, Counter>,
    durations: [Histogram; 3],
    caller_conns: Gauge,
    upstream_conns: Family<Label, Gauge>,
    handshakes: Family<Label, Counter>,
    leaves: Gauge,
    log_lines_dropped: Counter,
    seal_failures: Counter,
    audit_entries_lost: Counter,
    store_staleness: Gauge<f64, AtomicU64>,
    store_writable: Gauge,
    /// The reason of the last failed write; `None` while the store is writable.
    store_unwritable: Mutex<Option<&'static str>>,
    tokens: TokenMetrics,
    spans: SpanCounters,
    webhook: Family<Label, Counter>,
    seen: Mutex<std::collections::HashSet<(String, String)>>,
    overflow: Arc<ConnectionCounters>,
    /// The counters of allowed requests without a connection: tunnels.
    pub(super) unchosen: ConnectionCounters,
    stats: RequestStats,
}

/// The counters of one connection's allowed requests by status class.
///
/// Each counter is looked up in its family once, so that counting a request is one addition.
#[derive(Debug)]
pub struct ConnectionCounters {
    labels: (String, String),
    requests: Family<RequestLabels, Counter>,
    echoes: Family<EchoLabels, Counter>,
    allowed: [OnceLock<Counter>; 6],
}

/// The part of an answer in which an origin has repeated a credential.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EchoPlace {
    /// A field, a trailer or the reason phrase.
    Field,
    /// The body.
    Body,
}

/// Values that are read at the time of a scrape.
#[derive(Clone, Copy, Debug)]
pub struct ProcessStats {
    /// Conns of callers.
    pub caller_conns: usize,
    /// Conns to origins.
    pub upstream: crate::upstream::UpstreamStats,
    /// Log lines lost since the start.
    pub log_lines_dropped: u64,
    /// Cached leaves of the interception CA.
    pub leaves: usize,
}

/// The parts of a request's duration.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Total = 0,
    Own = 1,
    Upstream = 2,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct RequestLabels {
    integration: String,
    connection: String,
    decision: &'static str,
    code: &'static str,
    status_class: &'static str,
}

#[derive(Clone, Debug, EncodeLabelSet, Eq, Hash, PartialEq)]
struct EchoLabels {
    integration: String,
    connection: String,
    place: &'static str,
}

/// The one label of a family.
type Label = [(&'static str, &'static str); 1];

impl Metrics {
    /// Metrics that are all zero.
    pub fn new() -> Self {
        // 1. Requests and conns.
        let mut registry = Registry::with_prefix("keyferry");
        let help = "Requests of callers, by connection, decision, code and status class";
        let requests = register(&mut registry, "requests", help);
        let help = "Echoes of a credential that were masked in answers, by connection and place";
        let echoes = register(&mut registry, "echoes_masked", help);
        let caller_conns = register(&mut registry, "caller_connections", "Open conns of callers");
        let help = "Cached certificates of the interception CA";
        let leaves = register(&mut registry, "leaf_cache_entries", help);
        let help = "Conns to origins, idle or active";
        let upstream_conns = register(&mut registry, "upstream_connections", help);
        let help = "TLS handshakes with origins, by outcome";
        let handshakes = register(&mut registry, "upstream_handshakes", help);
        // 2. Counters of losses and alarms.
        let help = "Log lines lost because the output blocked: look at the consumer of the log";
        let log_lines_dropped = register(&mut registry, "log_lines_dropped", help);
        let help = "Audit records lost: store failing, buffer full, or too many without a caller";
        let audit_entries_lost = register(&mut registry, "audit_entries_lost", help);
        let help = "Records of the store whose secret or MAC did not verify under the master keys";
        let seal_failures = register(&mut registry, "seal_failures", help);
        // 3. The store, provider tokens, the version, and durations.
        let help = "Time since the store last answered; 0 while it answers";
        let store_staleness = register(&mut registry, "store_staleness_seconds", help);
        let help = "1 while the store is writable, 0 after a failed write";
        let store_writable: Gauge = register(&mut registry, "store_writable", help);
        store_writable.set(1);
        let tokens = TokenMetrics::register(&mut registry);
        registry.register("build", "The version of Keyferry", Info::new(VERSION.to_vec()));
        let durations = register_durations(&mut registry);
        Self {
            spans: SpanCounters::register(&mut registry),
            webhook: webhook::register_attempts(&mut registry),
            registry: Mutex::new(registry),
            overflow: Arc::new(ConnectionCounters::with_label(OVERFLOW_LABEL, &requests, &echoes)),
            unchosen: ConnectionCounters::with_label("", &requests, &echoes),
            requests,
            echoes,
            durations,
            caller_conns,
            leaves,
            upstream_conns,
            handshakes,
            log_lines_dropped,
            seal_failures,
            audit_entries_lost,
            store_staleness,
            store_writable,
            store_unwritable: Mutex::default(),
            tokens,
            seen: Mutex::default(),
            stats: RequestStats::default(),
        }
    }

    /// The counters of `connection`. Beyond 1,000 connections all others share one set.
    pub fn counters_of(&self, connection: &Connection) -> Arc<ConnectionCounters> {
        let labels = (connection.integration().to_string(), connection.name().to_string());
        let mut seen = self.seen.lock();
        if seen.len() >= MAX_CONNECTION_LABELS && !seen.contains(&labels) {
            return Arc::clone(&self.overflow);
        }
        seen.insert(labels.clone());
        Arc::new(ConnectionCounters::new(labels, &self.requests, &self.echoes))
    }

    /// The counts of a connection; `""` is that of an integration's requests without one.
    pub fn stats_of(&self, integration: &str, connection: &str) -> Arc<ConnectionStats> {
        self.stats.slot_of(integration, connection)
    }

    /// Takes the counts that have changed since this was asked last.
    pub fn take_stats(&self) -> Vec<StatsChange> {
        self.stats.take_changes()
    }

    /// Counts a refused request, for the connection of `counters` where one was chosen.
    pub(super) fn count_refusal(
        &self,
        counters: Option<&ConnectionCounters>,
        code: &'static str,
        status: u16,
    ) {
        let (integration, connection) =
            counters.map(|counters| counters.labels.clone()).unwrap_or_default();
        let labels = RequestLabels {
            integration,
            connection,
            decision: "refuse",
            code,
            status_class: status_class_of(status).1,
        };
        self.requests.get_or_create(&labels).inc();
    }

    /// Counts a record of the store whose secret or MAC did not verify.
    pub fn count_seal_failure(&self) {
        self.seal_failures.inc();
    }

    /// Sets the number of audit records lost since the start.
    pub fn note_audit_entries_lost(&self, lost: u64) {
        catch_up(&self.audit_entries_lost, lost);
    }

    /// Sets the time since the store last answered; zero while it answers.
    pub fn note_store_staleness(&self, staleness: Duration) {
        self.store_staleness.set(staleness.as_secs_f64());
    }

    /// The time since the store last answered.
    pub fn store_staleness(&self) -> Duration {
        Duration::try_from_secs_f64(self.store_staleness.get()).unwrap_or_default()
    }

    /// Notes that the store is writable, or the reason why it is not.
    pub fn note_store_writable(&self, unwritable: Option<&'static str>) {
        self.store_writable.set(i64::from(unwritable.is_none()));
        *self.store_unwritable.lock() = unwritable;
    }

    /// The reason why the store is not writable; `None` while it is.
    pub fn store_unwritable(&self) -> Option<&'static str> {
        *self.store_unwritable.lock()
    }

    pub(super) fn observe(&self, part: Part, seconds: f64) {
        if let Some(histogram) = self.durations.get(part as usize) {
            histogram.observe(seconds);
        }
    }

    /// All metrics in Prometheus' text format.
    pub fn render(&self, stats: &ProcessStats) -> String {
        self.caller_conns.set(i64::try_from(stats.caller_conns).unwrap_or(i64::MAX));
        let upstream = &stats.upstream;
        for (state, value) in [("idle", upstream.idle), ("active", upstream.open - upstream.idle)] {
            self.upstream_conns.get_or_create(&[("state", state)]).set(value);
        }
        for (outcome, value) in [
            ("completed", upstream.completed),
            ("failed", upstream.failed),
            ("certificate_invalid", upstream.certificate_invalid),
        ] {
            catch_up(&self.handshakes.get_or_create(&[("outcome", outcome)]), value);
        }
        self.leaves.set(i64::try_from(stats.leaves).unwrap_or(i64::MAX));
        catch_up(&self.log_lines_dropped, stats.log_lines_dropped);
        let mut rendered = String::new();
        let _infallible = text::encode(&mut rendered, &self.registry.lock());
        rendered
    }
}

impl EchoPlace {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Field => "field",
            Self::Body => "body",
        }
    }
}

impl ConnectionCounters {
    fn new(
        labels: (String, String),
        requests: &Family<RequestLabels, Counter>,
        echoes: &Family<EchoLabels, Counter>,
    ) -> Self {
        let (requests, echoes) = (requests.clone(), echoes.clone());
        Self { labels, requests, echoes, allowed: Default::default() }
    }

    /// Counters that several connections share, under this label.
    fn with_label(
        label: &str,
        requests: &Family<RequestLabels, Counter>,
        echoes: &Family<EchoLabels, Counter>,
    ) -> Self {
        Self::new((label.to_owned(), label.to_owned()), requests, echoes)
    }

    /// Counts echoes of the credential that were masked.
    pub(super) fn count_echoes(&self, place: EchoPlace, number: usize) {
        let (integration, connection) = self.labels.clone();
        let labels = EchoLabels { integration, connection, place: place.as_str() };
        let number = u64::try_from(number).unwrap_or(u64::MAX);
        self.echoes.get_or_create_owned(&labels).inc_by(number);
    }

    /// Counts an allowed request.
    pub(super) fn count_allowed(&self, status: u16) {
        let (index, status_class) = status_class_of(status);
        let Some(cell) = self.allowed.get(index) else { return };
        cell.get_or_init(|| {
            let (integration, connection) = self.labels.clone();
            self.requests.get_or_create_owned(&RequestLabels {
                integration,
                connection,
                decision: "allow",
                code: "",
                status_class,
            })
        })
        .inc();
    }
}

fn register<M: Metric + Clone + Default>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

/// A histogram for each [`Part`].
fn register_durations(registry: &mut Registry) -> [Histogram; 3] {
    let family = Family::<Label, Histogram>::new_with_constructor(|| {
        Histogram::new(DURATION_BUCKETS_SECONDS.iter().copied())
    });
    registry.register(
        "request_duration_seconds",
        "Duration of requests: total, the proxy's own, and the origin's until its response head",
        family.clone(),
    );
    ["total", "own", "upstream"].map(|part| family.get_or_create_owned(&[("part", part)]))
}

fn catch_up(counter: &Counter, value: u64) {
    counter.inc_by(value.saturating_sub(counter.get()));
}

fn status_class_of(status: u16) -> (usize, &'static str) {
    match status {
        100..200 => (0, "1xx"),
        200..300 => (1, "2xx"),
        300..400 => (2, "3xx"),
        400..500 => (3, "4xx"),
        500..600 => (4, "5xx"),
        _ => (5, "other"),
    }
}

const VERSION: [(&str, &str); 1] = [("version", env!("CARGO_PKG_VERSION"))];
const OVERFLOW_LABEL: &str = "other";
const MAX_CONNECTION_LABELS: usize = 1000;
const DURATION_BUCKETS_SECONDS: [f64; 18] = [
    0.000_025, 0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1,
    0.25, 0.5, 1.0, 2.5, 10.0, 60.0,
];
