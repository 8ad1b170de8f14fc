//! A request's place in a distributed trace: read from the caller's fields, and sent on (W3C Trace
//! Context). Without a collector the fields pass as they came.

use http::header::Entry as Field;
use http::{HeaderMap, HeaderName, HeaderValue};

use crate::ledger::SpanBuffer;
use crate::model::trace::{ParentSpan, SpanContext};

/// The place of a request with these fields. A `traceparent` that breaks a rule, or one of several,
/// names no parent.
pub(super) fn place_of(spans: &SpanBuffer, headers: &HeaderMap) -> Option<SpanContext> {
    let mut values = headers.get_all(TRACEPARENT).iter();
    let parent = match (values.next(), values.next()) {
        (Some(only), None) => ParentSpan::parse(only.as_bytes()),
        _ => None,
    };
    spans.place_of(parent)
}

/// Makes the request's own span the parent of what its origin does. The caller's `tracestate`
/// belongs to its trace, and goes where another begins (§3.3).
pub(super) fn send_on(trace: &SpanContext, headers: &mut HeaderMap) {
    if let Ok(value) = HeaderValue::try_from(trace.to_field()) {
        headers.insert(TRACEPARENT, value);
    }
    if trace.parent_id.is_none()
        && let Field::Occupied(state) = headers.entry(TRACESTATE)
    {
        state.remove_entry_mult();
    }
}

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");
const TRACESTATE: HeaderName = HeaderName::from_static("tracestate");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ledger::Metrics;
    use crate::model::trace::SampleRatio;

    const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00";

    fn sent_on(parents: &[&str], states: &[&str]) -> (SpanContext, HeaderMap) {
        let spans = SpanBuffer::new(SampleRatio::default(), Metrics::new().span_counters());
        let mut headers = HeaderMap::new();
        for (name, values) in [(TRACEPARENT, parents), (TRACESTATE, states)] {
            for value in values {
                headers.append(&name, value.parse().unwrap());
            }
        }
        let trace = place_of(&spans, &headers).unwrap();
        send_on(&trace, &mut headers);
        (trace, headers)
    }

    #[test]
    fn a_callers_trace_goes_on_with_its_state() {
        let (trace, headers) = sent_on(&[PARENT], &["a=1", "b=2"]);
        assert!(trace.parent_id.is_some() && !trace.is_sampled);
        assert_eq!(headers.get_all(TRACEPARENT).iter().count(), 1);
        assert_eq!(headers[&TRACEPARENT], trace.to_field());
        assert_eq!(headers.get_all(&TRACESTATE).iter().count(), 2);
    }

    #[test]
    fn where_no_one_parent_is_named_a_trace_begins_without_the_state() {
        for parents in [&[][..], &["00-x"], &[PARENT, PARENT]] {
            let (trace, headers) = sent_on(parents, &["a=1"]);
            assert!(trace.parent_id.is_none() && trace.is_sampled);
            assert_eq!(headers[&TRACEPARENT], trace.to_field());
            assert_eq!(headers.get(&TRACESTATE), None);
        }
    }
}
