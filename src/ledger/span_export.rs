//! Spans as a collector is sent them (OTLP, protobuf).

use bytes::Bytes;
use opentelemetry_proto::tonic::collector::trace::v1::{
    ExportTraceServiceRequest, ExportTraceServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::InstrumentationScope;
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use opentelemetry_proto::tonic::resource::v1::Resource;
use opentelemetry_proto::tonic::trace::v1::{ResourceSpans, ScopeSpans, Span};
use prost::Message as _;

use super::span::attribute;

/// Spans that are sent at once.
#[derive(Clone, Debug)]
pub struct SpanBatch {
    /// The number of spans.
    pub count: u64,
    /// The request's body.
    pub body: Bytes,
}

impl SpanBatch {
    /// The spans of the process `instance`.
    pub fn new(spans: Vec<Span>, instance: &str) -> Self {
        let count = u64::try_from(spans.len()).unwrap_or(u64::MAX);
        // 1. The process.
        let text = |key, value: &str| attribute(key, Value::StringValue(value.to_owned()));
        let attributes = vec![
            text("service.name", "keyferry"),
            text("service.version", VERSION),
            text("service.instance.id", instance),
        ];
        // 2. The spans.
        let scope = InstrumentationScope {
            name: "keyferry".to_owned(),
            version: VERSION.to_owned(),
            ..InstrumentationScope::default()
        };
        let of_scope = ScopeSpans { scope: Some(scope), spans, schema_url: SCHEMA.to_owned() };
        let request = ExportTraceServiceRequest {
            resource_spans: vec![ResourceSpans {
                resource: Some(Resource { attributes, ..Resource::default() }),
                scope_spans: vec![of_scope],
                schema_url: SCHEMA.to_owned(),
            }],
        };
        Self { count, body: request.encode_to_vec().into() }
    }
}

/// The number of spans that a collector has not taken of a batch that it answers with 200, and its
/// reason.
#[must_use]
pub fn rejected_spans(answer: &[u8]) -> (u64, String) {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    let partial = answer.partial_success.unwrap_or_default();
    (u64::try_from(partial.rejected_spans).unwrap_or_default(), partial.error_message)
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The version of the conventions by which attributes are named.
const SCHEMA: &str = "https://opentelemetry.io/schemas/1.27.0";
