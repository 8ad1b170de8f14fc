//! The entry of one request: opened when its head has arrived, written when the last byte of its
//! answer was sent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, Instant};

use bytes::Bytes;
use http::{HeaderValue, Method, Uri};
use jiff::Timestamp;

use super::audit_buffer::AuditBuffer;
use super::line;
use super::listing::{EarlierConnections, LoggedConnection, NamedListing};
use super::log_buffer::LogBuffer;
use super::logs::{self, LineFormat};
use super::metrics::{EchoPlace, Metrics, Part};
use super::request_stats::RequestEnd;
use super::span;
use super::span_buffer::SpanBuffer;
use crate::clock::{Clock, instant};
use crate::model::credential::{CredentialPatterns, masked};
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::model::remedy::RemedyActor;
use crate::model::trace::SpanContext;

/// Writes entries to the log, the metrics and the audit trail.
#[derive(Debug)]
pub struct Ledger {
    /// The buffer of log lines.
    pub sink: Arc<LogBuffer>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The time of day.
    pub clock: Clock,
    /// The format of log lines.
    pub format: LineFormat,
    /// The name of this process, which is part of every entry.
    pub instance: Box<str>,
    /// The entries that wait to be stored; `None` where the store keeps no audit trail.
    pub trail: Option<Arc<AuditBuffer>>,
    /// The spans that wait to be sent; `None` without a collector.
    pub spans: Option<Arc<SpanBuffer>>,
    next: AtomicU64,
}

/// A request's method and target.
#[derive(Clone, Debug)]
pub struct RequestLine {
    /// The method.
    pub method: Method,
    /// The target. Only its path is written, never its query.
    pub target: Uri,
}

/// The decision about a request.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// No rule has refused the request: it was sent to its origin, its tunnel was opened, or it was
    /// answered here (`OPTIONS` with `Max-Forwards: 0`).
    Allow,
    /// The request was refused with this code.
    Refuse(&'static str),
}

/// The entry of one request. Dropping it writes it.
#[derive(Debug)]
pub struct Entry {
    ledger: Arc<Ledger>,
    listing: Option<Arc<dyn LoggedConnection>>,
    /// The connection that a refused request names.
    named: Option<Box<NamedListing>>,
    /// Connections that were chosen before `listing`, while the request waited for tokens.
    earlier: Option<Box<EarlierConnections>>,
    started: Instant,
    number: u64,
    /// The time at which the request arrived.
    pub(super) time: Timestamp,
    /// The request line; `None` for a conn that was refused before a request.
    pub(super) opening: Option<RequestLine>,
    /// The request's form.
    pub form: &'static str,
    /// The caller's name.
    pub caller: Option<Arc<str>>,
    /// Tells whether the caller's token has expired or is not for the data plane: it has no more
    /// room in the audit trail than a stranger, and its requests say nothing of a connection.
    pub is_unsuited: bool,
    /// The integration; `None` until it is known.
    pub integration: Option<IntegrationName>,
    /// The origin that was allowed, or the https origin that a refused request names.
    pub origin: Option<Origin>,
    /// The decision.
    pub decision: Decision,
    /// The one who must act upon a refusal, where its code does not tell.
    pub who: Option<RemedyActor>,
    /// The name of the rule that decided.
    pub rule: &'static str,
    /// Tells whether the caller speaks gRPC, whose refusals have a form of their own.
    pub is_grpc: bool,
    /// The status of the answer; 0 when the caller has gone before there was one.
    pub status: u16,
    /// The counter of the request's body, in bytes.
    pub request_count: Option<Arc<AtomicU64>>,
    /// The bytes of the response's body so far.
    pub response_bytes: u64,
    /// The reason of a failure, for the operator, with credentials masked.
    pub(super) cause: Option<Box<str>>,
    /// The request's place in its trace; `None` without a collector.
    pub(super) trace: Option<Box<SpanContext>>,
    own: Option<Duration>,
    pub(super) upstream: Option<Duration>,
}

impl Ledger {
    /// A ledger without an audit trail.
    pub fn new(
        sink: Arc<LogBuffer>,
        metrics: Arc<Metrics>,
        clock: Clock,
        format: LineFormat,
        instance: &str,
    ) -> Self {
        let (instance, next) = (instance.into(), AtomicU64::new(0));
        Self { sink, metrics, clock, format, instance, trail: None, spans: None, next }
    }

    /// Opens the entry of a request, or of a conn that was refused before it has sent one (`None`).
    pub fn open_entry(self: &Arc<Self>, opening: Option<RequestLine>) -> Entry {
        Entry {
            ledger: Arc::clone(self),
            listing: None,
            named: None,
            earlier: None,
            started: instant(),
            number: self.next.fetch_add(1, Relaxed),
            time: self.clock.now(),
            opening,
            form: "",
            caller: None,
            is_unsuited: false,
            integration: None,
            origin: None,
            decision: Decision::Allow,
            who: None,
            rule: "",
            is_grpc: false,
            status: 0,
            request_count: None,
            response_bytes: 0,
            cause: None,
            trace: None,
            own: None,
            upstream: None,
        }
    }
}

impl Entry {
    /// Sets the connection that was chosen. Earlier ones are kept for masking, because their
    /// credential may have been sent.
    pub fn set_connection(&mut self, listing: Arc<dyn LoggedConnection>) {
        if let Some(before) = self.listing.replace(listing) {
            self.earlier.get_or_insert_default().0.push(before);
        }
    }

    /// Sets the connection that a refused request names. Metrics have no label for it.
    pub fn set_named(&mut self, named: Box<NamedListing>) {
        self.named = Some(named);
    }

    /// Sets the reason of a failure. After the departure the text may repeat words of the origin,
    /// which has the credential, so credentials are masked in it.
    pub fn set_cause(&mut self, cause: impl Into<Box<str>>) {
        let cause = cause.into();
        self.cause = Some(if self.own.is_some() { self.without_credentials(cause) } else { cause });
    }

    /// Masks every credential that may have been sent.
    fn without_credentials(&self, text: Box<str>) -> Box<str> {
        let Some(patterns) = self.sent_patterns() else { return text };
        let shown = masked(&patterns, text.as_bytes(), false);
        String::from_utf8_lossy(&shown).into()
    }

    /// The patterns of every credential that may have been sent; `None` without one.
    pub fn sent_patterns(&self) -> Option<Arc<CredentialPatterns>> {
        let listings = self.chosen();
        let origin = self.origin.as_ref();
        let mut credentials = listings.flat_map(|listing| listing.credentials(origin)).flatten();
        match (credentials.next()?, credentials.next()) {
            (only, None) => Some(Arc::clone(only.patterns())),
            (first, Some(second)) => {
                let all = [first, second].into_iter().chain(credentials);
                Some(Arc::new(CredentialPatterns::of(all)))
            }
        }
    }

    /// Tells whether credentials are masked in the body of the answer too.
    pub fn masks_bodies(&self) -> bool {
        self.chosen().any(|listing| listing.masks_bodies())
    }

    /// Every connection that was chosen, the latest first.
    fn chosen(&self) -> impl Iterator<Item = &Arc<dyn LoggedConnection>> {
        let earlier = self.earlier.iter().flat_map(|earlier| &earlier.0);
        self.listing.iter().chain(earlier)
    }

    /// Counts echoes of the credential that were masked in the answer.
    pub fn count_echoes(&self, place: EchoPlace, number: usize) {
        let Some(listing) = &self.listing else { return };
        listing.counters().count_echoes(place, number);
        if listing.usage().note_echoes(number) {
            let integration = self.integration.as_ref().map(IntegrationName::as_str);
            let (connection, place) = (listing.name(), place.as_str());
            tracing::warn!(
                integration,
                connection,
                place,
                "an origin repeats the connection's credential in its answers; it is masked there"
            );
        }
    }

    /// Notes the end of our own work: from here on the time is the origin's.
    pub fn mark_departed(&mut self) {
        self.own = Some(self.started.elapsed());
    }

    /// Notes that the origin has answered or failed.
    pub fn mark_answered(&mut self) {
        let own = self.own.unwrap_or_default();
        self.upstream = Some(self.started.elapsed().saturating_sub(own));
    }

    /// The time at which the request arrived.
    pub fn time(&self) -> Timestamp {
        self.time
    }

    /// Sets the request's place in its trace.
    pub fn set_trace(&mut self, trace: Option<SpanContext>) {
        self.trace = trace.map(Box::new);
    }

    /// The request's place in its trace; `None` without a collector.
    pub fn trace(&self) -> Option<&SpanContext> {
        self.trace.as_deref()
    }

    /// The name of the connection that was chosen, or that a refused request names.
    pub fn connection(&self) -> Option<&str> {
        let chosen = self.listing.as_deref().map(LoggedConnection::name);
        chosen.or_else(|| self.named.as_ref().map(|named| named.name.as_str()))
    }

    pub(super) fn request_id_text(&self) -> String {
        let mut id = Vec::new();
        self.write_request_id(&mut id);
        String::from_utf8(id).unwrap_or_default()
    }

    /// Writes the `request_id`: the instance's name and a counter, so it is unique over instances.
    pub(super) fn write_request_id(&self, buffer: &mut Vec<u8>) {
        buffer.extend_from_slice(self.instance().as_bytes());
        buffer.push(b'-');
        let mut digits = itoa::Buffer::new();
        buffer.extend_from_slice(digits.format(self.number).as_bytes());
    }

    /// The `request_id` as the value of a response field.
    pub fn request_id(&self) -> HeaderValue {
        // With its exact length reserved, the buffer becomes the field's value without a copy.
        let digits = self.number.checked_ilog10().map_or(1, |last| last as usize + 1);
        let mut text = Vec::with_capacity(self.instance().len() + 1 + digits);
        self.write_request_id(&mut text);
        HeaderValue::from_maybe_shared(Bytes::from(text))
            .unwrap_or_else(|_never| HeaderValue::from_static(""))
    }

    pub(super) fn instance(&self) -> &str {
        &self.ledger.instance
    }

    pub(super) fn spans(&self) -> Option<&SpanBuffer> {
        self.ledger.spans.as_deref()
    }

    /// Tells whether the method is HEAD, whose answer has no body (RFC 9110 §9.3.2).
    pub fn is_head(&self) -> bool {
        self.opening.as_ref().is_some_and(|opening| opening.method == Method::HEAD)
    }

    /// The bytes of the request's body so far.
    pub fn request_bytes(&self) -> u64 {
        self.request_count.as_ref().map_or(0, |bytes| bytes.load(Relaxed))
    }

    /// The reason of a failure, for the operator, with credentials masked.
    pub fn cause(&self) -> Option<&str> {
        self.cause.as_deref()
    }

    /// The time until the request left, and from then until its answer's head; `None` where it has
    /// not come that far.
    pub fn phase_durations(&self) -> (Option<Duration>, Option<Duration>) {
        (self.own, self.upstream)
    }

    /// Writes the log line. A JSON line is also copied to the audit trail, so that it is formatted
    /// once; `true` when it was.
    fn write_to_log(&self, total: Duration) -> bool {
        let (ledger, mut copied) = (&self.ledger, false);
        ledger.sink.append(|buffer| {
            let start = buffer.len();
            line::write(buffer, self, total, ledger.format);
            if let (LineFormat::Json, Some(trail)) = (ledger.format, &ledger.trail) {
                let line = buffer.get(start..).unwrap_or_default();
                trail.push(self.is_of_stranger(), |lines| lines.extend_from_slice(line));
                copied = true;
            }
        });
        copied
    }

    fn is_of_stranger(&self) -> bool {
        self.caller.is_none() || self.is_unsuited
    }

    fn count_outcome(&self, total: Duration) {
        let metrics = &self.ledger.metrics;
        // 1. The counter of the connection, the decision and the status.
        let counters = self.listing.as_deref().map(LoggedConnection::counters);
        match (self.decision, counters) {
            (Decision::Allow, Some(counters)) => counters.count_allowed(self.status),
            (Decision::Allow, None) => metrics.unchosen.count_allowed(self.status),
            (Decision::Refuse(code), counters) => {
                metrics.count_refusal(counters, code, self.status);
            }
        }
        // 2. The counts and the health of the connection that was chosen, or was named.
        let refused = match self.decision {
            Decision::Allow => None,
            Decision::Refuse(code) => Some(code),
        };
        let end = RequestEnd {
            at: self.time.checked_add(total).unwrap_or(self.time),
            caller: self.caller.as_ref(),
            status: self.status,
            refused,
            who: self.who,
            took: self.own.zip(self.upstream).map(|(own, upstream)| own + upstream),
        };
        let named = self.named.as_deref();
        let of_named =
            named.filter(|_| !self.is_unsuited).and_then(|named| named.listing.as_deref());
        if let Some(listing) = self.listing.as_deref().or(of_named) {
            listing.usage().stats.note_request(&end, || self.request_id_text());
        } else {
            let is_known = named.is_none_or(|named| named.is_of_known_integration);
            let integration = self.integration.as_ref().filter(|_| is_known);
            let integration = integration.map_or("", IntegrationName::as_str);
            metrics.stats_of(integration, "").note_request(&end, String::new);
        }
        // 3. The durations.
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
        self.count_outcome(total);
        let written = logs::access_is_on() && self.write_to_log(total);
        if !written && let Some(trail) = &self.ledger.trail {
            let is_of_stranger = self.is_of_stranger();
            trail.push(is_of_stranger, |lines| line::write(lines, self, total, LineFormat::Json));
        }
        if let (Some(spans), Some(trace)) = (&self.ledger.spans, &self.trace)
            && trace.is_sampled
        {
            spans.push(self.is_of_stranger(), || span::of(self, trace, total));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::{ConnectionCounters, ConnectionUsage};
    use crate::model::connection::Connection;
    use crate::model::credential::Credential;
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

        fn credentials(&self, origin: Option<&Origin>) -> [Option<&Credential>; 2] {
            self.connection.credentials_at(origin)
        }

        fn masks_bodies(&self) -> bool {
            false
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
        let (counters, usage) = (
            metrics.counters_of(&connection),
            ConnectionUsage::new(metrics.stats_of("acme", "api")),
        );
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
