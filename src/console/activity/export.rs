//! The list of requests as a file: lines of JSON, or of values with commas between them.

use axum::response::IntoResponse as _;
use http::header;

use super::{filter, reader};
use crate::console::errors;
use crate::console::page_context::{PageContext, PageResult};
use crate::store::PageRange;
use crate::wire::AuditEntry;

/// The requests that the filters select, newest first, up to a bound.
pub(in crate::console) async fn export(context: PageContext) -> PageResult {
    // 1. The form of the file.
    let is_csv = match context.query("format") {
        "csv" => true,
        "ndjson" => false,
        _ => return Err(context.tell(&errors::NOWHERE)),
    };
    // 2. The entries, page by page.
    let (reader, query) = (reader(&context)?, filter::query(&context));
    let mut text = if is_csv { COLUMNS.join(",") + "\r\n" } else { String::new() };
    let (mut left, mut after) = (MAX_EXPORTED, None);
    for _round in 0..MAX_ROUNDS {
        let window = PageRange { after, before: None, limit: left.min(ENTRIES_AT_ONCE) };
        let found =
            reader.find(&query, &window).await.map_err(|refused| context.refuse(refused))?;
        let items = &found.listing.items;
        text.extend(items.iter().map(|(_, entry)| if is_csv { csv(entry) } else { json(entry) }));
        left = left.saturating_sub(u32::try_from(items.len()).unwrap_or(u32::MAX));
        let last = found.looked_until.or_else(|| items.last().map(|(position, _)| *position));
        let Some(last) = last.filter(|_| found.listing.has_more && left > 0) else { break };
        after = Some(last.to_string());
    }
    // 3. The file.
    let (name, kind) = if is_csv {
        ("requests.csv", "text/csv; charset=utf-8; header=present")
    } else {
        ("requests.ndjson", "application/x-ndjson")
    };
    let disposition = format!("attachment; filename=\"{name}\"");
    let fields =
        [(header::CONTENT_TYPE, kind.to_owned()), (header::CONTENT_DISPOSITION, disposition)];
    Ok((fields, text).into_response())
}

fn json(entry: &AuditEntry) -> String {
    // Texts and numbers can always be written as JSON.
    let mut line = serde_json::to_string(entry).unwrap_or_default();
    line.push('\n');
    line
}

/// A line of RFC 4180.
fn csv(entry: &AuditEntry) -> String {
    // In the order of the columns.
    let numbers = [
        entry.status.to_string(),
        entry.request_bytes.to_string(),
        entry.response_bytes.to_string(),
        entry.total_ms.to_string(),
        entry.upstream_ms.to_string(),
    ];
    let [status, request_bytes, response_bytes, total_ms, upstream_ms] = &numbers;
    let values = [
        &entry.time,
        &entry.request_id,
        &entry.caller,
        &entry.integration,
        &entry.connection,
        &entry.method,
        &entry.origin,
        &entry.path,
        &entry.form,
        &entry.decision,
        &entry.code,
        &entry.rule,
        status,
        request_bytes,
        response_bytes,
        total_ms,
        upstream_ms,
        &entry.instance,
        &entry.cause,
    ];
    let mut line = values.map(|value| quoted(value)).join(",");
    line.push_str("\r\n");
    line
}

/// A value, in quotes where it needs them: some spreadsheets separate by semicolons. A spreadsheet
/// takes one that begins like a formula for a text.
fn quoted(value: &str) -> String {
    let value = match value.as_bytes().first() {
        Some(b'=' | b'+' | b'-' | b'@' | b'\t' | b'\r') => format!("'{value}"),
        _ => value.to_owned(),
    };
    if value.contains(['"', ',', ';', '\t', '\r', '\n']) {
        return format!("\"{}\"", value.replace('"', "\"\""));
    }
    value
}

const COLUMNS: [&str; 19] = [
    "time",
    "request_id",
    "caller",
    "integration",
    "connection",
    "method",
    "origin",
    "path",
    "form",
    "decision",
    "code",
    "rule",
    "status",
    "request_bytes",
    "response_bytes",
    "total_ms",
    "upstream_ms",
    "instance",
    "cause",
];

/// The largest number of entries in a file.
pub(super) const MAX_EXPORTED: u32 = 10_000;

/// The number of entries that are read at once.
const ENTRIES_AT_ONCE: u32 = 1000;

/// The number of searches for a file; one that finds little reads much.
const MAX_ROUNDS: u32 = 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_quoted_and_formulas_are_texts() {
        for (value, written) in [
            ("/v1", "/v1"),
            ("a,b", "\"a,b\""),
            ("say \"no\"\n", "\"say \"\"no\"\"\n\""),
            ("=1+1", "'=1+1"),
            ("@SUM(A1)", "'@SUM(A1)"),
        ] {
            assert_eq!(quoted(value), written);
        }
        let entry = AuditEntry { path: "/a,b".into(), total_ms: 1.5, ..AuditEntry::default() };
        assert_eq!(csv(&entry), ",,,,,,,\"/a,b\",,,,,0,0,0,1.5,0,,\r\n");
        assert_eq!(csv(&entry).matches(',').count(), COLUMNS.len());
    }
}
