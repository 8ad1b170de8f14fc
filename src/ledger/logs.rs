//! The log of events beside entries: its set-up, format and level.

use std::fmt;
use std::io::Write as _;
use std::sync::Arc;

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::{FilterExt as _, LevelFilter, Targets, filter_fn};
use tracing_subscriber::layer::{Context, SubscriberExt as _};
use tracing_subscriber::util::SubscriberInitExt as _;

use super::line::{printable, write_time};
use super::log_buffer::LogBuffer;
use crate::clock::Clock;
use crate::error::chain;

/// The format of log lines.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LineFormat {
    /// One JSON object per line.
    Json,
    /// Text for people.
    Pretty,
}

/// A filter that `tracing` does not understand.
#[derive(Debug, thiserror::Error)]
#[error(
    "the log level is not understood: {0}; set a level such as info, or directives as in RUST_LOG"
)]
pub struct FilterError(String);

/// The target of entries, by which a filter can name them.
pub(super) const ACCESS: &str = "keyferry::access";

/// Sends the process's log to `sink`. `filter` is a level, or directives as in `RUST_LOG`.
///
/// # Errors
/// [`FilterError`] when the filter is not understood, or a log is installed already.
pub fn install(
    sink: Arc<LogBuffer>,
    format: LineFormat,
    clock: Clock,
    filter: &str,
) -> Result<(), FilterError> {
    let filter = parse_filter(filter)?.and(filter_fn(may_be_shown));
    tracing_subscriber::registry()
        .with(LogLayer { sink, format, clock }.with_filter(filter))
        .try_init()
        .map_err(|error| FilterError(error.to_string()))
}

/// Reads levels and `target=level` pairs. What selects by spans is passed over: there are none.
fn parse_filter(text: &str) -> Result<Targets, FilterError> {
    let parts = text.split(',').map(str::trim);
    let parts: Vec<_> = parts.filter(|part| !part.is_empty() && !part.contains('[')).collect();
    if parts.is_empty() {
        return Ok(Targets::new().with_default(LevelFilter::ERROR));
    }
    parts.join(",").parse::<Targets>().map_err(|error| FilterError(error.to_string()))
}

/// Tells whether events of this kind may be logged at all. Below INFO the HTTP/2 library logs
/// frames with the peer's own text, which may repeat the credential.
fn may_be_shown(metadata: &Metadata<'_>) -> bool {
    // Asked for each request: the level first, which is a comparison of numbers.
    *metadata.level() <= Level::INFO || !is_of_h2(metadata.target())
}

fn is_of_h2(target: &str) -> bool {
    target.strip_prefix("h2").is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// Tells whether the filter lets entries through.
pub(super) fn access_is_on() -> bool {
    tracing::enabled!(target: ACCESS, Level::INFO)
}

/// The layer that writes events in the same format as entries.
struct LogLayer {
    sink: Arc<LogBuffer>,
    format: LineFormat,
    clock: Clock,
}

impl<S: Subscriber> Layer<S> for LogLayer {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let mut fields = EventFields { members: serde_json::Map::new(), message: String::new() };
        event.record(&mut fields);
        let metadata = event.metadata();
        self.sink.append(|buffer| match self.format {
            LineFormat::Json => self.write_json(buffer, metadata, &fields),
            LineFormat::Pretty => self.write_pretty(buffer, metadata, &fields),
        });
    }
}

impl LogLayer {
    fn write_json(&self, buffer: &mut Vec<u8>, metadata: &Metadata<'_>, fields: &EventFields) {
        buffer.extend_from_slice(b"{\"time\":\"");
        write_time(buffer, self.clock.now());
        let _infallible = write!(
            buffer,
            "\",\"level\":\"{}\",\"target\":\"{}\",\"message\":{}",
            metadata.level(),
            metadata.target(),
            serde_json::Value::from(fields.message.as_str())
        );
        for (name, value) in &fields.members {
            let _infallible = write!(buffer, ",\"{name}\":{value}");
        }
        buffer.extend_from_slice(b"}\n");
    }

    fn write_pretty(&self, buffer: &mut Vec<u8>, metadata: &Metadata<'_>, fields: &EventFields) {
        let time = self.clock.now().strftime("%H:%M:%S%.3f");
        let message = printable(&fields.message);
        let _infallible = write!(buffer, "{time}Z {:>5} {message}", metadata.level());
        for (name, value) in &fields.members {
            let _infallible = write!(buffer, " {name}={value}");
        }
        buffer.push(b'\n');
    }
}

struct EventFields {
    members: serde_json::Map<String, serde_json::Value>,
    message: String,
}

impl EventFields {
    fn put(&mut self, field: &Field, value: impl Into<serde_json::Value>) {
        self.members.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for EventFields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let text = format!("{value:?}");
        if field.name() == "message" {
            self.message = text;
        } else {
            self.put(field, text);
        }
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.put(field, chain(value).to_string());
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_is_levels_and_pairs_of_a_target_and_a_level() {
        let shows = |filter: &str, target: &str, level: Level| {
            parse_filter(filter).unwrap().would_enable(target, &level)
        };
        assert!(shows("info", "keyferry::app", Level::INFO));
        assert!(!shows("info", "keyferry::app", Level::DEBUG));
        assert!(shows("info, keyferry::app=debug,", "keyferry::app::server", Level::DEBUG));
        assert!(!shows("info,keyferry::access=off", ACCESS, Level::ERROR));
        assert!(!shows("hyper,keyferry=warn", "keyferry::app", Level::INFO));
        assert!(shows("hyper,keyferry=warn", "hyper::proto", Level::TRACE));
        // As RUST_LOG may have it for other programs.
        assert!(shows("", "keyferry", Level::ERROR) && !shows("", "keyferry", Level::WARN));
        assert!(shows("info,[span]=debug", "keyferry", Level::INFO));
        assert!(parse_filter("keyferry=loud").is_err());
    }
}
