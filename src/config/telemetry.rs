//! `[telemetry]`: the traces that are sent to a collector.

use serde_json::json;
use toml::de::DeValue;

use super::TelemetryConfig;
use super::item::Item;
use super::readers::{Reader, or_empty, text};
use super::section::{Section, keys, row, section};
use crate::model::collector::CollectorUrl;
use crate::model::trace::SampleRatio;

pub(super) fn telemetry(root: &mut Section<'_>) -> Option<TelemetryConfig> {
    section! { root, "telemetry", "Traces, which are sent to a collector by OTLP over HTTP.";
        /// The base URL of the collector; spans go to /v1/traces below it. "" sends none, and lets
        /// traceparent pass as it comes.
        otlp_endpoint = "" => or_empty(text(
            "a URL such as \"http://127.0.0.1:4318\"",
            "^[Hh][Tt][Tt][Pp][Ss]?://[^?#@]+$",
            CollectorUrl::parse,
        )), at_start;
        /// The share of the traces that begin here which is recorded, from 0 to 1; a caller's
        /// traceparent decides for its own.
        sample = 1.0 => share(), at_start;
    }
    Some(TelemetryConfig { otlp_endpoint, sample })
}

/// A number from 0 to 1.
fn share() -> Reader<SampleRatio> {
    let what = "a number from 0 to 1";
    Reader::new(what, json!({ "type": "number", "minimum": 0, "maximum": 1 }), move |item| {
        let mark = item.mark();
        let number = match item.typed(what)? {
            Item { value: DeValue::Float(number), .. } => number.as_str().parse().ok(),
            Item { value: DeValue::Integer(number), .. } => number.as_str().parse().ok(),
            item => return item.expected(what),
        };
        let ratio = number.and_then(SampleRatio::new);
        ratio.or_else(|| mark.refuse(format!("must be {what}")))
    })
}
