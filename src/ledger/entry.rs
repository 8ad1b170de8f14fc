//! One request's entry: opened at the door, closed when the last byte of the answer has gone.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Uri};
use jiff::Timestamp;

use super::audit_buffer::AuditBuffer;
use super::line;
use super::log_buffer::LogBuffer;
use super::logs::{self, LineFormat};
use super::metrics::{ConnectionCounters, Metrics, Part};
use super::usage::ConnectionUsage;
use crate::clock::{Clock, instant};
use crate::model::credential::{Credential, masked};
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;

/// Where entries are written.
#[derive(Debug)]
pub struct Ledger {
    /// Where lines go.
    pub sink: Arc<LogBuffer>,
    /// The figures.
    pub metrics: Arc<Metrics>,
    /// The time of day.
    pub clock: Clock,
    /// How lines look.
    pub format: LineFormat,
    /// A name for this process, in every entry.
    pub instance: Box<str>,
    /// Where entries wait to be kept in the store, if there is one that keeps anything.
    pub trail: Option<Arc<AuditBuffer>>,
    next: AtomicU64,
}

/// What is known of a request when it arrives.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The target, of which only the path is written.
    pub target: Uri,
}

/// What was decided.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// No rule refused the request: it was sent to its origin, or its tunnel was opened, unless it
    /// was to end here (`OPTIONS` with `Max-Forwards: 0`).
    Allow,
    /// The request was refused with this code.
    Refuse(&'static str),
}

/// The entry of one request. It is written when it is dropped.
#[derive(Debug)]
pub struct Entry {
    ledger: Arc<Ledger>,
    listing: Option<Arc<dyn LoggedConnection>>,
    /// The connections that were chosen before that one, while the request waited.
    earlier: Vec<Arc<dyn LoggedConnection>>,
    started: Instant,
    number: u64,
    /// When the request arrived.
    pub(super) time: Timestamp,
    /// What is known from the start.
    pub(super) opening: Option<RequestLine>,
    /// The request's form.
    pub form: &'static str,
    /// The caller's name.
    pub caller: Option<Arc<str>>,
    /// The integration, once it is known.
    pub integration: Option<IntegrationName>,
    /// The origin that was allowed, or the https origin that a refused request names.
    pub origin: Option<Origin>,
    /// What was decided.
    pub decision: Decision,
    /// The rule that decided.
    pub rule: &'static str,
    /// Tells whether the caller speaks gRPC, which reads refusals in its own form.
    pub is_grpc: bool,
    /// The status of the answer; 0 when the caller went away before there was one.
    pub status: u16,
    /// Where the bytes of the request's body are counted.
    pub request_count: Option<Arc<AtomicU64>>,
    /// Bytes of the response's body so far.
    pub response_bytes: u64,
    /// The reason why it failed, for the operator.
    pub(super) cause: Option<Box<str>>,
    own: Option<Duration>,
    upstream: Option<Duration>,
}

/// A connection as an entry needs it: its name, its counters, and the credential that must not be
/// written down.
pub trait LoggedConnection: std::fmt::Debug + Send + Sync {
    /// The connection's name.
    fn name(&self) -> &str;
    /// Its counters.
    fn counters(&self) -> &ConnectionCounters;
    /// How it is used.
    fn usage(&self) -> &ConnectionUsage;
    /// The credential that its requests are sent with, if there is one.
    fn credential(&self) -> Option<&Credential>;
}

impl Ledger {
    /// A ledger with no entries.
    #[must_use]
    pub fn new(
        sink: Arc<LogBuffer>,
        metrics: Arc<Metrics>,
        clock: Clock,
        format: LineFormat,
        instance: &str,
    ) -> Self {
        let (instance, next) = (instance.into(), AtomicU64::new(0));
        Self { sink, metrics, clock, format, instance, trail: None, next }
    }

    /// Opens the entry of a request, or of a conn that was turned away before it was one.
    #[must_use]
    pub fn open_entry(self: &Arc<Self>, opening: Option<RequestLine>) -> Entry {
        Entry {
            ledger: Arc::clone(self),
            listing: None,
            earlier: Vec::new(),
            started: instant(),
            number: self.next.fetch_add(1, Relaxed),
            time: self.clock.now(),
            opening,
            form: "",
            caller: None,
            integration: None,
            origin: None,
            decision: Decision::Allow,
            rule: "",
            is_grpc: false,
            status: 0,
            request_count: None,
            response_bytes: 0,
            cause: None,
            own: None,
            upstream: None,
        }
    }
}

impl Entry {
    /// Notes the connection that was chosen. One that was chosen before is remembered, because its
    /// credential may have been sent.
    pub fn set_connection(&mut self, listing: Arc<dyn LoggedConnection>) {
        self.earlier.extend(self.listing.replace(listing));
    }

    /// Notes the reason why the request failed. Once it has departed the words may be a peer's, who
    /// knows the credential: it is masked in them.
    pub fn set_cause(&mut self, cause: impl Into<Box<str>>) {
        let cause = cause.into();
        self.cause = Some(if self.own.is_some() { self.without_credentials(cause) } else { cause });
    }

    /// The text with asterisks where a credential stands in it that may have been sent.
    fn without_credentials(&self, text: Box<str>) -> Box<str> {
        let listings = self.listing.iter().chain(&self.earlier);
        let mut credentials = listings.filter_map(|listing| listing.credential()).peekable();
        if credentials.peek().is_none() {
            return text;
        }
        let shown = masked(credentials, text.as_bytes(), false);
        String::from_utf8_lossy(&shown).into()
    }

    /// The decision has been made; from here on the time is the origin's.
    pub fn mark_departed(&mut self) {
        self.own = Some(self.started.elapsed());
    }

    /// The origin has answered, or failed to.
    pub fn mark_answered(&mut self) {
        let own = self.own.unwrap_or_default();
        self.upstream = Some(self.started.elapsed().saturating_sub(own));
    }

    /// When the request arrived.
    #[must_use]
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// The connection's name, once it has been chosen.
    #[must_use]
    pub fn connection(&self) -> Option<&str> {
        self.listing.as_deref().map(LoggedConnection::name)
    }

    /// The instance and a number that counts up: unique without asking anyone.
    pub(super) fn write_request_id(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self.instance().as_bytes());
        buffer.push(b'-');
        let mut digits = itoa::Buffer::new();
        buffer.extend_from_slice(digits.format(self.number).as_bytes());
    }

    /// The entry's `request_id`, as the answer's field carries it.
    #[must_use]
    pub fn request_id(&self) -> HeaderValue {
        // As long as it will be, so that it becomes the field's value without being copied.
        let digits = self.number.checked_ilog10().map_or(1, |last| last as usize + 1);
        let mut text = Vec::with_capacity(self.instance().len() + 1 + digits);
        self.write_request_id(&mut text);
        HeaderValue::from_maybe_shared(Bytes::from(text))
            .unwrap_or_else(|_never| HeaderValue::from_static(""))
    }

    pub(super) fn instance(&self) -> &str {
        &self.ledger.instance
    }

    /// Whether the answer has no body whatever its head says (RFC 9110 §9.3.2).
    #[must_use]
    pub fn is_head(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.method == Method::HEAD)
    }

    /// Bytes of the request's body so far.
    #[must_use]
    pub fn request_bytes(&self) -> u64 {
        self.request_count.as_ref().map_or(0, |bytes| bytes.load(Relaxed))
    }

    /// How long it was until the request left, and from then until its answer began.
    #[must_use]
    pub fn times(&self) -> (Option<Duration>, Option<Duration>) {
        (self.own, self.upstream)
    }

    pub(super) fn upstream(&self) -> Option<Duration> {
        self.upstream
    }

    /// Writes the line, and copies it to the trail if it is what the trail wants; whether it was.
    fn write_to_log(&self, total: Duration) -> bool {
        let (ledger, mut copied) = (&self.ledger, false);
        ledger.sink.append(|buffer| {
            let start = buffer.len();
            line::write(buffer, self, total, ledger.format);
            if let (LineFormat::Json, Some(trail)) = (ledger.format, &ledger.trail) {
                let line = buffer.get(start..).unwrap_or_default();
                trail.push(self.caller.is_none(), |lines| lines.extend_from_slice(line));
                copied = true;
            }
        });
        copied
    }

    fn count(&self, total: Duration) {
        let metrics = &self.ledger.metrics;
        let counters = self.listing.as_deref().map(LoggedConnection::counters);
        match (self.decision, counters) {
            (Decision::Allow, Some(counters)) => counters.count_allowed(self.status),
            (Decision::Allow, None) => metrics.count_unchosen(self.status),
            (Decision::Refuse(code), counters) => {
                metrics.count_refusal(counters, code, self.status)
            }
        }
        let refused = match self.decision {
            Decision::Allow => None,
            Decision::Refuse(code) => Some(code),
        };
        if let Some(listing) = self.listing.as_deref() {
            listing.usage().note(self.time, self.status, refused);
        }
        let took = self.own.zip(self.upstream).map(|(own, upstream)| own + upstream);
        let ended = self.started + total;
        if let Some(listing) = self.listing.as_deref() {
            listing.usage().history.note(ended, took, refused);
        } else {
            let integration = self.integration.as_ref().map_or("", IntegrationName::as_str);
            metrics.history_of(integration).note(ended, took, refused);
        }
        metrics.observe(Part::Total, total.as_secs_f64());
        if let Some(own) = self.own {
            metrics.observe(Part::Own, own.as_secs_f64());
        }
        if let Some(upstream) = self.upstream {
            metrics.observe(Part::Upstream, upstream.as_secs_f64());
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let total = self.started.elapsed();
        self.count(total);
        let written = logs::access_is_on() && self.write_to_log(total);
        if !written && let Some(trail) = &self.ledger.trail {
            let of_stranger = self.caller.is_none();
            trail.push(of_stranger, |lines| line::write(lines, self, total, LineFormat::Json));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::connection::Connection;
    use crate::model::domain::AllowedDomain;
    use crate::model::name::ConnectionName;
    use crate::model::record::Detail;
    use crate::secret::Secret;

    /// A connection whose credential may have been sent.
    #[derive(Debug)]
    struct Used {
        connection: Connection,
        counters: Arc<ConnectionCounters>,
        usage: ConnectionUsage,
    }

    impl LoggedConnection for Used {
        fn name(&self) -> &str {
            self.connection.name().as_str()
        }

        fn counters(&self) -> &ConnectionCounters {
            &self.counters
        }

        fn usage(&self) -> &ConnectionUsage {
            &self.usage
        }

        fn credential(&self) -> Option<&Credential> {
            self.connection.credential()
        }
    }

    fn used(secret: &str) -> Arc<dyn LoggedConnection> {
        let connection = Connection::new(
            IntegrationName::parse("acme").unwrap(),
            ConnectionName::parse("api").unwrap(),
            AllowedDomain::parse("api.example.com").unwrap(),
            Detail::BearerToken,
            &Secret::new(secret),
        )
        .unwrap();
        let metrics = Metrics::new();
        let (counters, usage) =
            (metrics.counters_of(&connection), ConnectionUsage::new(metrics.history_of("acme")));
        Arc::new(Used { connection, counters, usage })
    }

    fn entry() -> Entry {
        let (sink, metrics, clock) = (Arc::default(), Arc::default(), Clock::system());
        Arc::new(Ledger::new(sink, metrics, clock, LineFormat::Json, "x")).open_entry(None)
    }

    #[test]
    fn every_credential_that_may_have_been_sent_is_masked_in_the_cause() {
        let mut entry = entry();
        entry.set_connection(used("first-secret"));
        entry.mark_departed();
        entry.set_connection(used("second-secret"));
        entry.set_cause("it said: first-secret, and Bearer%20second-secret");
        assert_eq!(entry.cause.as_deref(), Some("it said: *****, and *****"));
    }

    #[test]
    fn a_cause_in_our_own_words_stays_as_it_is() {
        let mut entry = entry();
        entry.set_connection(used("token"));
        entry.set_cause("the token has ended");
        assert_eq!(entry.cause.as_deref(), Some("the token has ended"));
        entry.mark_departed();
        entry.set_cause("the conn was closed");
        assert_eq!(entry.cause.as_deref(), Some("the conn was closed"));
    }
}
