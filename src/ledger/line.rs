//! Formats an entry as a line of the log.

use std::borrow::Cow;
use std::io::Write as _;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;

use super::entry::{Decision, Entry};
use super::logs::LineFormat;
use crate::model::name::IntegrationName;
use crate::model::origin::Origin;
use crate::model::remedy::FailureRemedy;
use crate::model::target::decode_unparsable;
use crate::model::token;

/// Writes `entry` to `buffer`, with the names of contract §7.
pub(super) fn write(buffer: &mut Vec<u8>, entry: &Entry, total: Duration, format: LineFormat) {
    match format {
        LineFormat::Json => write_json(buffer, entry, total),
        LineFormat::Pretty => write_pretty(buffer, entry, total),
    }
    buffer.push(b'\n');
}

fn write_json(buffer: &mut Vec<u8>, entry: &Entry, total: Duration) {
    // Names and codes have no characters that JSON escapes, so they are copied. Text from callers
    // and operators is escaped.
    buffer.reserve(USUAL_LINE_LEN);
    buffer.extend_from_slice(b"{\"time\":\"");
    write_time(buffer, entry.time);
    buffer.extend_from_slice(
        b"\",\"level\":\"INFO\",\"target\":\"keyferry::access\",\"request_id\":\"",
    );
    entry.write_request_id(buffer);
    buffer.extend_from_slice(b"\",\"caller\":");
    push_json_string(buffer, entry.caller.as_deref());
    push_unescaped(
        buffer,
        b",\"integration\":\"",
        entry.integration.as_ref().map(IntegrationName::as_str),
    );
    push_unescaped(buffer, b"\",\"connection\":\"", entry.connection());
    let opening = entry.opening.as_ref();
    push_unescaped(
        buffer,
        b"\",\"method\":\"",
        opening.map(|opening| masked(entry, opening.method.as_str())),
    );
    let scheme = if entry.origin.is_some() { "https://" } else { "" };
    push_unescaped(buffer, b"\",\"origin\":\"", Some(scheme));
    push_unescaped(buffer, b"", entry.origin.as_ref().map(Origin::authority));
    buffer.extend_from_slice(b"\",\"path\":");
    let path = opening.map(|opening| decode_unparsable(opening.target.path()));
    push_json_string(buffer, path.as_ref().map(|path| masked(entry, path)));
    push_unescaped(buffer, b",\"form\":\"", Some(entry.form));
    let (decision, code) = match entry.decision {
        Decision::Allow => ("allow", ""),
        Decision::Refuse(code) => ("refuse", code),
    };
    push_unescaped(buffer, b"\",\"decision\":\"", Some(decision));
    push_unescaped(buffer, b"\",\"code\":\"", Some(code));
    push_unescaped(buffer, b"\",\"rule\":\"", Some(entry.rule));
    push_number(buffer, b"\",\"status\":", u64::from(entry.status));
    push_number(buffer, b",\"request_bytes\":", entry.request_bytes());
    push_number(buffer, b",\"response_bytes\":", entry.response_bytes);
    push_milliseconds(buffer, b",\"total_ms\":", total);
    push_milliseconds(buffer, b",\"upstream_ms\":", entry.upstream.unwrap_or_default());
    push_unescaped(buffer, b",\"instance\":\"", Some(entry.instance()));
    buffer.push(b'"');
    write_optional(buffer, entry);
    buffer.push(b'}');
}

/// Writes the members that not every entry has.
fn write_optional(buffer: &mut Vec<u8>, entry: &Entry) {
    if let Decision::Refuse(code) = entry.decision
        && let Some(remedy) = FailureRemedy::of_refusal(FailureRemedy::kind(code, entry.who))
    {
        push_unescaped(buffer, b",\"who\":\"", Some(remedy.who.as_str()));
        buffer.push(b'"');
    }
    if let Some(trace) = &entry.trace {
        let _infallible = write!(buffer, ",\"trace_id\":\"{}\"", trace.trace_id());
    }
    if let Some(cause) = &entry.cause {
        buffer.extend_from_slice(b",\"cause\":");
        push_json_string(buffer, Some(cause));
    }
}

fn write_pretty(buffer: &mut Vec<u8>, entry: &Entry, total: Duration) {
    let time = entry.time.strftime("%H:%M:%S%.3f");
    let mut put = |text: std::fmt::Arguments<'_>| {
        let _infallible = buffer.write_fmt(text);
    };
    let opening = entry.opening.as_ref();
    let method = opening.map_or("-", |opening| opening.method.as_str());
    let path =
        opening.map_or(Cow::Borrowed("-"), |opening| decode_unparsable(opening.target.path()));
    // A terminal gets no character that could control it, and no token.
    let (method, path) = (masked(entry, method), masked(entry, &path));
    put(format_args!("{time}Z {:>3} ", entry.status));
    match entry.decision {
        Decision::Allow => put(format_args!("allow  ")),
        Decision::Refuse(code) => put(format_args!("refuse {code} ")),
    }
    let origin = entry.origin.as_ref().map_or("", |origin| origin.authority());
    put(format_args!("{} {origin}{} ", printable(method), printable(path)));
    if let Some(connection) = entry.connection() {
        let integration = entry.integration.as_ref().map_or("", |name| name.as_str());
        put(format_args!("{integration}.{connection} "));
    }
    if let Some(caller) = &entry.caller {
        put(format_args!("by {} ", printable(caller)));
    }
    put(format_args!("{:.1}ms", total.as_secs_f64() * 1000.0));
    if let Some(upstream) = entry.upstream {
        put(format_args!(" (origin {:.1}ms)", upstream.as_secs_f64() * 1000.0));
    }
    if let Some(trace) = &entry.trace {
        put(format_args!(" trace {}", trace.trace_id()));
    }
    if let Some(cause) = &entry.cause {
        put(format_args!(" cause: {}", printable(cause)));
    }
}

/// The caller's text, or asterisks where a refused request has an access token in it: the entry
/// must not keep the token.
pub(super) fn masked<'t>(entry: &Entry, text: &'t str) -> &'t str {
    let refused = matches!(entry.decision, Decision::Refuse(_));
    if refused && token::occurs_in(text.as_bytes()) { "*****" } else { truncated(text) }
}

/// The beginning of a text, up to the length that an entry keeps: by HPACK an unauthenticated
/// caller can send a long text in a few bytes.
fn truncated(text: &str) -> &str {
    text.get(..text.floor_char_boundary(MAX_TEXT_LEN)).unwrap_or(text)
}

/// Replaces every character that could move a terminal's cursor, end the line or reorder its text.
pub(super) fn printable(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || is_format(c) { '\u{fffd}' } else { c }).collect()
}

/// Tells whether a character is invisible and changes the display of others: Unicode's category Cf,
/// line and paragraph separators, variation selectors and private-use characters.
fn is_format(c: char) -> bool {
    matches!(c,
        '\u{ad}' | '\u{34f}' | '\u{600}'..='\u{605}' | '\u{61c}' | '\u{6dd}' | '\u{70f}'
        | '\u{890}'..='\u{891}' | '\u{8e2}' | '\u{115f}'..='\u{1160}' | '\u{17b4}'..='\u{17b5}'
        | '\u{180b}'..='\u{180f}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
        | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{e000}'..='\u{f8ff}'
        | '\u{fe00}'..='\u{fe0f}' | '\u{feff}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}'
        | '\u{110bd}' | '\u{110cd}' | '\u{13430}'..='\u{1345f}' | '\u{1bca0}'..='\u{1bca3}'
        | '\u{1d173}'..='\u{1d17a}' | '\u{e0000}'..='\u{10ffff}')
}

/// Writes a time as RFC 3339 with milliseconds. All but the milliseconds is formatted once a
/// second.
pub(super) fn write_time(buffer: &mut Vec<u8>, time: Timestamp) {
    static SECOND: Mutex<(i64, [u8; 19])> = Mutex::new((i64::MIN, [b'0'; 19]));
    let mut cached = SECOND.lock();
    if cached.0 != time.as_second() {
        let text = time.strftime("%Y-%m-%dT%H:%M:%S").to_string();
        if let Ok(bytes) = text.as_bytes().try_into() {
            *cached = (time.as_second(), bytes);
        }
    }
    buffer.extend_from_slice(&cached.1);
    drop(cached);
    let millis = u32::try_from(time.subsec_millisecond()).unwrap_or(0);
    let digit = |value: u32| b'0' + u8::try_from(value % 10).unwrap_or(0);
    buffer.extend_from_slice(&[b'.', digit(millis / 100), digit(millis / 10), digit(millis), b'Z']);
}

/// Writes `before` and a value that needs no escapes.
fn push_unescaped(buffer: &mut Vec<u8>, before: &[u8], value: Option<&str>) {
    buffer.extend_from_slice(before);
    buffer.extend_from_slice(value.unwrap_or_default().as_bytes());
}

/// Writes a JSON string.
fn push_json_string(buffer: &mut Vec<u8>, value: Option<&str>) {
    // Writing to a vector can't fail.
    let _infallible = serde_json::to_writer(buffer, value.unwrap_or_default());
}

fn push_number(buffer: &mut Vec<u8>, before: &[u8], value: u64) {
    buffer.extend_from_slice(before);
    let mut digits = itoa::Buffer::new();
    buffer.extend_from_slice(digits.format(value).as_bytes());
}

/// Writes milliseconds with three decimals by integer division, which is cheaper than formatting a
/// float.
fn push_milliseconds(buffer: &mut Vec<u8>, before: &[u8], value: Duration) {
    let micros = u64::try_from(value.as_micros()).unwrap_or(u64::MAX);
    push_number(buffer, before, micros / 1000);
    let rest = micros % 1000;
    let digit = |value: u64| b'0' + u8::try_from(value % 10).unwrap_or(0);
    buffer.extend_from_slice(&[b'.', digit(rest / 100), digit(rest / 10), digit(rest)]);
}

const USUAL_LINE_LEN: usize = 640;
/// The longest path or method that an entry keeps, in bytes.
const MAX_TEXT_LEN: usize = 1024;
