//! Makes an entry's span: one of kind server, with the attributes of OpenTelemetry's conventions for
//! HTTP, and our own.

use std::time::Duration;

use http::Method;
use jiff::Timestamp;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::common::v1::{AnyValue, KeyValue};
use opentelemetry_proto::tonic::trace::v1::span::SpanKind;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, SpanFlags, Status};

use super::entry::{Decision, Entry};
use super::line::masked;
use crate::model::name::IntegrationName;
use crate::model::target::decode_unparsable;
use crate::model::trace::SpanContext;
use crate::random;

/// The span of `entry`, which took `total`. It has what the log's line has, and neither the cause nor
/// anything else that an origin has said.
pub(super) fn of(entry: &Entry, trace: &SpanContext, total: Duration) -> Span {
    let method = entry.opening.as_ref().map(|opening| known_method(&opening.method));
    let start = nanos_of(entry.time());
    let failure = failure_of(entry);
    let is_error = entry.status == 0 || entry.status >= 500;
    Span {
        trace_id: trace.trace_id.to_vec(),
        span_id: trace.span_id.to_vec(),
        parent_span_id: trace.parent_id.map(|id| id.to_vec()).unwrap_or_default(),
        flags: flags_of(trace),
        name: method.unwrap_or("HTTP").to_owned(),
        kind: SpanKind::Server.into(),
        start_time_unix_nano: start,
        end_time_unix_nano: start.saturating_add(nanos(total)),
        attributes: attributes(entry, failure),
        status: is_error.then(|| Status { code: StatusCode::Error.into(), ..Status::default() }),
        ..Span::default()
    }
}

impl Entry {
    /// Adds a span below the request's: it has waited from then on, for this time, for tokens of the
    /// provider at `host`, and in vain where it `failed`.
    pub fn add_token_wait(&self, since: Timestamp, took: Duration, host: &str, failed: bool) {
        let trace = self.trace.as_ref().filter(|trace| trace.is_sampled);
        let (Some(spans), Some(trace), Ok(span_id)) = (self.spans(), trace, random::bytes::<8>())
        else {
            return;
        };
        // Whom the provider is asked for is known, so that it has no more room than requests have.
        spans.push(false, || {
            let start = nanos_of(since);
            let mut attributes = Attributes(Vec::new());
            attributes.text("server.address", host);
            attributes.text("keyferry.connection", self.connection().unwrap_or_default());
            Span {
                trace_id: trace.trace_id.to_vec(),
                span_id: span_id.to_vec(),
                parent_span_id: trace.span_id.to_vec(),
                flags: u32::from(trace.is_sampled) | SpanFlags::ContextHasIsRemoteMask as u32,
                name: "wait for tokens".to_owned(),
                kind: SpanKind::Internal.into(),
                start_time_unix_nano: start,
                end_time_unix_nano: start.saturating_add(nanos(took)),
                attributes: attributes.0,
                status: failed
                    .then(|| Status { code: StatusCode::Error.into(), ..Status::default() }),
                ..Span::default()
            }
        });
    }
}

/// The facts of an entry, each under its name.
fn attributes(entry: &Entry, failure: Option<String>) -> Vec<KeyValue> {
    let mut attributes = Attributes(Vec::with_capacity(USUAL_COUNT));
    // 1. The request. Its method has a known name, or stands beside it.
    if let Some(opening) = &entry.opening {
        let (method, known) = (opening.method.as_str(), known_method(&opening.method));
        let named = if known == "HTTP" { "_OTHER" } else { known };
        attributes.text("http.request.method", named);
        if named == "_OTHER" {
            attributes.text("http.request.method_original", masked(entry, method));
        }
        let path = decode_unparsable(opening.target.path());
        attributes.text("url.path", masked(entry, &path));
    }
    if let Some(origin) = &entry.origin {
        attributes.text("url.scheme", "https");
        attributes.text("server.address", origin.host());
        attributes.integer("server.port", u64::from(origin.port()));
    }
    attributes.integer("http.request.body.size", entry.request_bytes());
    // 2. Its answer.
    if entry.status != 0 {
        attributes.integer("http.response.status_code", u64::from(entry.status));
    }
    attributes.integer("http.response.body.size", entry.response_bytes);
    attributes.text("error.type", &failure.unwrap_or_default());
    // 3. Our own facts.
    attributes.text("keyferry.request_id", &entry.request_id_text());
    attributes.text(
        "keyferry.integration",
        entry.integration.as_ref().map_or("", IntegrationName::as_str),
    );
    attributes.text("keyferry.connection", entry.connection().unwrap_or_default());
    attributes.text("keyferry.caller", entry.caller.as_deref().unwrap_or_default());
    attributes.text("keyferry.form", entry.form);
    attributes.text("keyferry.rule", entry.rule);
    // 4. The phases.
    let (own, upstream) = entry.phase_durations();
    attributes.milliseconds("keyferry.own_ms", own);
    attributes.milliseconds("keyferry.upstream_ms", upstream);
    attributes.0
}

/// Attributes while they are collected. An empty text is none.
struct Attributes(Vec<KeyValue>);

impl Attributes {
    fn text(&mut self, key: &str, value: &str) {
        if !value.is_empty() {
            self.0.push(attribute(key, Value::StringValue(value.to_owned())));
        }
    }

    fn integer(&mut self, key: &str, value: u64) {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        self.0.push(attribute(key, Value::IntValue(value)));
    }

    fn milliseconds(&mut self, key: &str, value: Option<Duration>) {
        if let Some(value) = value {
            self.0.push(attribute(key, Value::DoubleValue(value.as_secs_f64() * 1000.0)));
        }
    }
}

/// An attribute of a span or a resource.
pub(super) fn attribute(key: &str, value: Value) -> KeyValue {
    let value = Some(AnyValue { value: Some(value) });
    KeyValue { key: key.to_owned(), value, ..KeyValue::default() }
}

/// The reason of a failure as `error.type` has it: our code, the origin's status, or that the caller
/// has gone.
fn failure_of(entry: &Entry) -> Option<String> {
    match (entry.decision, entry.status) {
        (Decision::Refuse(code), _) => Some(code.to_owned()),
        (Decision::Allow, 0) => Some("caller_gone".to_owned()),
        (Decision::Allow, status @ 500..) => Some(status.to_string()),
        (Decision::Allow, _) => None,
    }
}

/// The method, if the conventions know it; else `HTTP`, which names such a request's span.
fn known_method(method: &Method) -> &str {
    let known =
        ["GET", "HEAD", "POST", "PUT", "DELETE", "CONNECT", "OPTIONS", "TRACE", "PATCH", "QUERY"];
    known.into_iter().find(|name| *name == method.as_str()).unwrap_or("HTTP")
}

/// The trace's own flags, and that its parent, if there is one, is another process's.
fn flags_of(trace: &SpanContext) -> u32 {
    let remote = if trace.parent_id.is_some() { SpanFlags::ContextIsRemoteMask as u32 } else { 0 };
    u32::from(trace.is_sampled) | SpanFlags::ContextHasIsRemoteMask as u32 | remote
}

fn nanos_of(time: Timestamp) -> u64 {
    u64::try_from(time.as_nanosecond()).unwrap_or_default()
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// The number of attributes of a usual request.
const USUAL_COUNT: usize = 16;
